use std::{arch::aarch64::*, ops::Range};

use super::dot::{SIGN, dot};
use crate::{
    DenseI8, IntOut, Rows,
    dense_i8::{PANEL, QUAD},
    epilogue::LANES,
};

/// Pixels of a tile with dot products: 24 accumulators.
pub(crate) const DOT_PIXELS: usize = 6;
/// Pixels of a tile without, whose products need more registers: 16 accumulators.
pub(crate) const PIXELS: usize = 4;
/// Lanes of a register.
const QUARTER: usize = LANES / 4;

/// # Safety
/// As the table says; with `DOT` the processor has the dot product instructions.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dense<const DOT: bool>(
    layer: &DenseI8,
    x: Rows<'_, u8>,
    outputs: Range<usize>,
    mut out: IntOut<'_>,
) {
    for first in outputs.clone().step_by(PANEL) {
        let tile = Tile {
            layer,
            x,
            base: outputs.start,
            first,
            count: PANEL.min(outputs.end - first),
        };
        let mut pixel = 0;
        while pixel < x.rows() {
            // SAFETY: the panel exists, the pixels are rows of `x`.
            pixel += unsafe {
                match x.rows() - pixel {
                    DOT_PIXELS.. if DOT => tile.run::<DOT_PIXELS, DOT>(pixel, &mut out),
                    PIXELS.. => tile.run::<PIXELS, DOT>(pixel, &mut out),
                    2.. => tile.run::<2, DOT>(pixel, &mut out),
                    _ => tile.run::<1, DOT>(pixel, &mut out),
                }
            };
        }
    }
}

/// One panel, of output `first` and `count - 1` more.
struct Tile<'a> {
    layer: &'a DenseI8,
    x: Rows<'a, u8>,
    base: usize,
    first: usize,
    count: usize,
}

impl Tile<'_> {
    /// # Safety
    /// With `DOT` the processor has the dot product instructions; `P` pixels from `pixel` on are rows
    /// of `x`.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn run<const P: usize, const DOT: bool>(
        &self,
        pixel: usize,
        out: &mut IntOut<'_>,
    ) -> usize {
        let depth = self.layer.depth();
        let stride = self.x.stride();
        let w = self.layer.panel(self.first / PANEL).as_ptr();
        let bias = self.layer.panel_bias(self.first / PANEL).as_ptr();
        let mut lanes = [[0; LANES]; P];
        // SAFETY: the pixels are rows of `x`, read in whole quads below `depth`; a panel has 64 weights
        // a quad, zeros beyond `depth`, and 16 biases; `lanes` has 16 for each pixel.
        unsafe {
            let mut acc = [[vdupq_n_s32(0); 4]; P];
            for quarter in 0..4 {
                let bias = vld1q_s32(bias.add(quarter * QUARTER));
                for p in 0..P {
                    acc[p][quarter] = bias;
                }
            }
            let x = self.x.as_ptr().add(pixel * stride);
            for q in 0..depth / QUAD {
                let mut quads = [0; P];
                for p in 0..P {
                    let x = x.add(p * stride + q * QUAD);
                    quads[p] = x.cast::<u32>().read_unaligned();
                }
                step::<P, DOT>(&mut acc, w.add(q * PANEL * QUAD), &quads);
            }
            let from = depth / QUAD * QUAD;
            if from < depth {
                let mut quads = [0; P];
                for p in 0..P {
                    let mut bytes = [0; QUAD];
                    bytes[..depth - from].copy_from_slice(&self.x.row(pixel + p)[from..]);
                    quads[p] = u32::from_le_bytes(bytes);
                }
                step::<P, DOT>(&mut acc, w.add(from * PANEL), &quads);
            }
            for p in 0..P {
                for quarter in 0..4 {
                    let to = lanes[p].as_mut_ptr().add(quarter * QUARTER);
                    vst1q_s32(to, acc[p][quarter]);
                }
            }
        }
        out.put(&lanes, pixel, self.base, self.first, self.count);
        P
    }
}

/// Adds 4 depth steps.
///
/// # Safety
/// With `DOT` the processor has the dot product instructions; `w` points to 64 weights.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn step<const P: usize, const DOT: bool>(
    acc: &mut [[int32x4_t; 4]; P],
    w: *const i8,
    x: &[u32; P],
) {
    let mut weights = [vdupq_n_s8(0); 4];
    for quarter in 0..4 {
        // SAFETY: 16 of the 64 weights.
        weights[quarter] = unsafe { vld1q_s8(w.add(quarter * QUARTER * QUAD)) };
    }
    for p in 0..P {
        let x = vdupq_n_u32(x[p] ^ u32::from_ne_bytes([SIGN; QUAD]));
        for quarter in 0..4 {
            // SAFETY: the caller's.
            acc[p][quarter] =
                unsafe { dot::<DOT>(acc[p][quarter], weights[quarter], vreinterpretq_s8_u32(x)) };
        }
    }
}
