//! Depthwise convolutions, vectorised over channels by the compiler: the bodies are inlined into each
//! instruction set's entries.

use std::ops::Range;

use crate::{Clamp, DepthwiseF32, DepthwiseI8, IntOut, RowsMut, epilogue::LANES};

/// Vectors of 16 channels that a tile keeps in registers.
const WIDE: usize = 4;

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
    for (row, pixel) in pixels.enumerate() {
        let y = y.row_mut(row);
        let mut first = 0;
        while first < y.len() {
            let part = &mut y[first..];
            first += match part.len() / LANES {
                WIDE.. => f32_tile::<WIDE>(layer, image, pixel, first, clamp, part),
                1.. => f32_tile::<1>(layer, image, pixel, first, clamp, part),
                0 => f32_tail(layer, image, pixel, first, clamp, part),
            };
        }
    }
}

/// `V` vectors of channels from `first` on, which stay in registers over the taps.
#[inline(always)]
fn f32_tile<const V: usize>(
    layer: &DepthwiseF32,
    image: &[f32],
    pixel: usize,
    first: usize,
    clamp: Clamp,
    y: &mut [f32],
) -> usize {
    let channels = layer.window().channels;
    let mut acc = vectors::<f32, V>(&layer.bias()[first..]);
    for (tap, at) in layer.window().taps_of(pixel).enumerate() {
        let Some(at) = at else { continue };
        let x = vectors::<f32, V>(&image[at * channels + first..]);
        let w = vectors::<f32, V>(&layer.weights()[tap * channels + first..]);
        for v in 0..V {
            for l in 0..LANES {
                acc[v][l] = w[v][l].mul_add(x[v][l], acc[v][l]);
            }
        }
    }
    for (y, &acc) in y.iter_mut().zip(acc.as_flattened()) {
        *y = clamp.apply(acc);
    }
    V * LANES
}

/// The channels that do not fill a vector.
#[inline(always)]
fn f32_tail(
    layer: &DepthwiseF32,
    image: &[f32],
    pixel: usize,
    first: usize,
    clamp: Clamp,
    y: &mut [f32],
) -> usize {
    let channels = layer.window().channels;
    y.copy_from_slice(&layer.bias()[first..]);
    for (tap, at) in layer.window().taps_of(pixel).enumerate() {
        let Some(at) = at else { continue };
        let x = &image[at * channels + first..];
        let w = &layer.weights()[tap * channels + first..];
        for ((y, &x), &w) in y.iter_mut().zip(x).zip(w) {
            *y = w.mul_add(x, *y);
        }
    }
    y.iter_mut().for_each(|y| *y = clamp.apply(*y));
    y.len()
}

/// The first `V` vectors of `values`, which are that long.
#[inline(always)]
fn vectors<T: Copy + Default, const V: usize>(values: &[T]) -> [[T; LANES]; V] {
    let mut vectors = [[T::default(); LANES]; V];
    vectors
        .as_flattened_mut()
        .copy_from_slice(&values[..V * LANES]);
    vectors
}

#[inline(always)]
pub(crate) fn i8_body(
    layer: &DepthwiseI8,
    image: &[u8],
    pad: u8,
    pixels: Range<usize>,
    mut out: IntOut<'_>,
) {
    let channels = layer.window().channels;
    for (row, pixel) in pixels.enumerate() {
        let mut first = 0;
        while first < channels {
            match (channels - first) / LANES {
                WIDE.. => {
                    let acc = i8_tile::<WIDE>(layer, image, pad, pixel, first);
                    for acc in acc {
                        out.put(&[acc], row, 0, first, LANES);
                        first += LANES;
                    }
                }
                1.. => {
                    let acc = i8_tile::<1>(layer, image, pad, pixel, first);
                    out.put(&acc, row, 0, first, LANES);
                    first += LANES;
                }
                0 => {
                    let acc = i8_tail(layer, image, pad, pixel, first);
                    out.put(&[acc], row, 0, first, channels - first);
                    first = channels;
                }
            }
        }
    }
}

/// `V` vectors of channels from `first` on, which stay in registers over the taps.
#[inline(always)]
fn i8_tile<const V: usize>(
    layer: &DepthwiseI8,
    image: &[u8],
    pad: u8,
    pixel: usize,
    first: usize,
) -> [[i32; LANES]; V] {
    let channels = layer.window().channels;
    let (weights, bias) = layer.taps();
    let mut acc = vectors::<i32, V>(&bias[first..]);
    for (tap, at) in layer.window().taps_of(pixel).enumerate() {
        let x = at.map_or([[pad; LANES]; V], |at| {
            vectors(&image[at * channels + first..])
        });
        let w = vectors::<i8, V>(&weights[tap * channels + first..]);
        for v in 0..V {
            for l in 0..LANES {
                acc[v][l] = acc[v][l].wrapping_add(product(x[v][l], w[v][l]));
            }
        }
    }
    acc
}

/// The channels that do not fill a vector, then zeros.
#[inline(always)]
fn i8_tail(layer: &DepthwiseI8, image: &[u8], pad: u8, pixel: usize, first: usize) -> [i32; LANES] {
    let channels = layer.window().channels;
    let (weights, bias) = layer.taps();
    let mut acc = [0; LANES];
    acc[..channels - first].copy_from_slice(&bias[first..]);
    for (tap, at) in layer.window().taps_of(pixel).enumerate() {
        let w = &weights[tap * channels..][first..channels];
        for (c, (acc, &w)) in acc.iter_mut().zip(w).enumerate() {
            let x = at.map_or(pad, |at| image[at * channels + first + c]);
            *acc = acc.wrapping_add(product(x, w));
        }
    }
    acc
}

/// `x·w`, which fits 16 bits: 255·-128 > -2¹⁵.
#[inline(always)]
fn product(x: u8, w: i8) -> i32 {
    i32::from(i16::from(x).wrapping_mul(i16::from(w)))
}
