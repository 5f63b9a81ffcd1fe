//! Depthwise convolutions, vectorised over channels by the compiler: the bodies are inlined into each
//! instruction set's entries.

use std::ops::Range;

use crate::{Clamp, DepthwiseF32, DepthwiseI8, IntOut, RowsMut, epilogue::LANES};

/// Channels that an f32 tile keeps in registers.
const CHANNELS: usize = 64;

/// # Safety
/// None beyond the table's: safe code.
pub(crate) unsafe fn f32(
    layer: &DepthwiseF32,
    image: &[f32],
    pixels: Range<usize>,
    clamp: Clamp,
    y: RowsMut<'_, f32>,
) {
    f32_body(layer, image, pixels, clamp, y);
}

/// # Safety
/// None beyond the table's: safe code.
pub(crate) unsafe fn i8(
    layer: &DepthwiseI8,
    image: &[u8],
    pad: u8,
    pixels: Range<usize>,
    out: IntOut<'_>,
) {
    i8_body(layer, image, pad, pixels, out);
}

#[inline(always)]
pub(crate) fn f32_body(
    layer: &DepthwiseF32,
    image: &[f32],
    pixels: Range<usize>,
    clamp: Clamp,
    mut y: RowsMut<'_, f32>,
) {
    let window = layer.window();
    let channels = window.channels;
    for (row, pixel) in pixels.enumerate() {
        let y = y.row_mut(row);
        for first in (0..channels).step_by(CHANNELS) {
            let part = first..channels.min(first + CHANNELS);
            let mut acc = [0.0; CHANNELS];
            acc[..part.len()].copy_from_slice(&layer.bias()[part.clone()]);
            for (tap, at) in window.taps_of(pixel).enumerate() {
                let Some(at) = at else { continue };
                let x = &image[at * channels..][part.clone()];
                let w = &layer.weights()[tap * channels..][part.clone()];
                if let (Ok(x), Ok(w)) = (
                    <&[f32; CHANNELS]>::try_from(x),
                    <&[f32; CHANNELS]>::try_from(w),
                ) {
                    chain(&mut acc, x, w);
                } else {
                    chain(&mut acc, x, w);
                }
            }
            for (y, acc) in y[part].iter_mut().zip(acc) {
                *y = clamp.apply(acc);
            }
        }
    }
}

#[inline(always)]
fn chain(acc: &mut [f32; CHANNELS], x: &[f32], w: &[f32]) {
    for ((acc, &x), &w) in acc.iter_mut().zip(x).zip(w) {
        *acc = w.mul_add(x, *acc);
    }
}

#[inline(always)]
pub(crate) fn i8_body(
    layer: &DepthwiseI8,
    image: &[u8],
    pad: u8,
    pixels: Range<usize>,
    mut out: IntOut<'_>,
) {
    let window = layer.window();
    let channels = window.channels;
    let padding = [pad; LANES];
    for (row, pixel) in pixels.enumerate() {
        for first in (0..channels).step_by(LANES) {
            let part = first..channels.min(first + LANES);
            let mut acc = [0; LANES];
            acc[..part.len()].copy_from_slice(&layer.bias()[part.clone()]);
            for (tap, at) in window.taps_of(pixel).enumerate() {
                let x = at.map_or(&padding[..part.len()], |at| {
                    &image[at * channels..][part.clone()]
                });
                let w = &layer.weights()[tap * channels..][part.clone()];
                if let (Ok(x), Ok(w)) = (<&[u8; LANES]>::try_from(x), <&[i8; LANES]>::try_from(w)) {
                    sum(&mut acc, x, w);
                } else {
                    sum(&mut acc, x, w);
                }
            }
            out.put(&[acc], row, 0, first, part.len());
        }
    }
}

#[inline(always)]
fn sum(acc: &mut [i32; LANES], x: &[u8], w: &[i8]) {
    for ((acc, &x), &w) in acc.iter_mut().zip(x).zip(w) {
        *acc = acc.wrapping_add(i32::from(x) * i32::from(w));
    }
}
