use std::{arch::aarch64::*, ops::Range};

use crate::{
    Clamp, Rows, RowsMut, SparseF32,
    dense_f32::PanelsF32,
    passes::Group,
    sparse_f32::{Indices, WINDOW16},
};

/// Outputs of a dense panel: four registers.
pub(crate) const PANEL: usize = 16;
/// Pixels of a dense tile: 24 accumulators.
pub(crate) const DENSE_PIXELS: usize = 6;
/// Pixels of a sparse tile: 16 registers of activations, 8 accumulators.
pub(crate) const SPARSE_PIXELS: usize = 4;
/// Lanes of a register.
const LANES: usize = 4;
/// Inputs of a sparse window.
const WINDOW: usize = WINDOW16.window;
/// Rows of a sparse group: two registers.
const ROWS: usize = WINDOW16.rows;

/// # Safety
/// As the table says.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn dense(
    layer: PanelsF32<'_>,
    x: Rows<'_, f32>,
    outputs: Range<usize>,
    clamp: Clamp,
    mut y: RowsMut<'_, f32>,
) {
    for first in outputs.clone().step_by(PANEL) {
        let tile = DenseTile {
            layer,
            panel: first / PANEL,
            x,
            to: first - outputs.start..PANEL.min(outputs.end - first) + first - outputs.start,
            clamp,
        };
        let mut pixel = 0;
        while pixel < x.rows() {
            // SAFETY: the panel exists, the pixels are rows of `x` and `y`.
            pixel += unsafe {
                match x.rows() - pixel {
                    DENSE_PIXELS.. => tile.run::<DENSE_PIXELS>(pixel, &mut y),
                    4.. => tile.run::<4>(pixel, &mut y),
                    2.. => tile.run::<2>(pixel, &mut y),
                    _ => tile.run::<1>(pixel, &mut y),
                }
            };
        }
    }
}

/// One panel.
struct DenseTile<'a> {
    layer: PanelsF32<'a>,
    panel: usize,
    x: Rows<'a, f32>,
    /// Columns of `y`.
    to: Range<usize>,
    clamp: Clamp,
}

impl DenseTile<'_> {
    /// # Safety
    /// `P` pixels from `pixel` on are rows of `x` and `y`; the panel exists.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn run<const P: usize>(&self, pixel: usize, y: &mut RowsMut<'_, f32>) -> usize {
        let stride = self.x.stride();
        let bias = self.layer.panel_bias(self.panel).as_ptr();
        let w = self.layer.panel(self.panel).as_ptr();
        let mut lanes = [[0.0; PANEL]; P];
        // SAFETY: the pixels are rows of `x`; a panel has 16 weights a depth step and 16 biases; `lanes`
        // has 16 for each pixel.
        unsafe {
            let x = self.x.as_ptr().add(pixel * stride);
            let mut acc = [[vdupq_n_f32(0.0); 4]; P];
            for n in 0..4 {
                let bias = vld1q_f32(bias.add(n * LANES));
                for p in 0..P {
                    acc[p][n] = bias;
                }
            }
            for k in 0..self.layer.depth() {
                let mut weights = [vdupq_n_f32(0.0); 4];
                for n in 0..4 {
                    weights[n] = vld1q_f32(w.add(k * PANEL + n * LANES));
                }
                for p in 0..P {
                    let x = vdupq_n_f32(*x.add(p * stride + k));
                    for n in 0..4 {
                        acc[p][n] = vfmaq_f32(acc[p][n], weights[n], x);
                    }
                }
            }
            for p in 0..P {
                for n in 0..4 {
                    let to = lanes[p].as_mut_ptr().add(n * LANES);
                    vst1q_f32(to, clamped(acc[p][n], self.clamp));
                }
            }
        }
        for (p, lanes) in lanes.iter().enumerate() {
            let y = &mut y.row_mut(pixel + p)[self.to.clone()];
            y.copy_from_slice(&lanes[..y.len()]);
        }
        P
    }
}

/// [`Clamp::apply`] of every lane.
#[inline]
#[target_feature(enable = "neon")]
fn clamped(v: float32x4_t, clamp: Clamp) -> float32x4_t {
    let (lo, hi) = (vdupq_n_f32(clamp.lo), vdupq_n_f32(clamp.hi));
    let v = vbslq_f32(vcgtq_f32(lo, v), lo, v);
    vbslq_f32(vcltq_f32(hi, v), hi, v)
}

/// # Safety
/// As the table says.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn sparse(
    layer: &SparseF32,
    x: Rows<'_, f32>,
    outputs: Range<usize>,
    clamp: Clamp,
    mut y: RowsMut<'_, f32>,
) {
    let Indices::Window(indices) = layer.indices() else {
        return;
    };
    let passes = layer.passes();
    for g in passes.groups_of(&outputs) {
        let tile = SparseTile {
            layer,
            indices: indices.as_slice(),
            group: passes.group(g),
            bias: layer.group_bias(g),
            x,
            base: outputs.start,
            clamp,
        };
        let mut pixel = 0;
        while pixel < x.rows() {
            // SAFETY: the group is the layer's, the pixels are rows of `x` and `y`.
            pixel += unsafe {
                match x.rows() - pixel {
                    SPARSE_PIXELS.. => tile.run::<SPARSE_PIXELS>(pixel, &mut y),
                    2.. => tile.run::<2>(pixel, &mut y),
                    _ => tile.run::<1>(pixel, &mut y),
                }
            };
        }
    }
}

/// One group of 8 rows.
struct SparseTile<'a> {
    layer: &'a SparseF32,
    indices: &'a [u8],
    group: Group<'a>,
    bias: &'a [f32],
    x: Rows<'a, f32>,
    base: usize,
    clamp: Clamp,
}

impl SparseTile<'_> {
    /// # Safety
    /// `P` pixels from `pixel` on are rows of `x` and `y`; the group is the layer's.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn run<const P: usize>(&self, pixel: usize, y: &mut RowsMut<'_, f32>) -> usize {
        let depth = self.layer.depth();
        let stride = self.x.stride();
        let mut tails = [[0.0; WINDOW]; P];
        for p in 0..P {
            let left = &self.x.row(pixel + p)[depth / WINDOW * WINDOW..];
            tails[p][..left.len()].copy_from_slice(left);
        }
        let mut lanes = [[0.0; ROWS]; P];
        // SAFETY: the pixels are rows of `x`; windows begin below `depth`, and one that would end beyond
        // it is read from its copy; a pass has 8 indices and 8 values; a group has 8 biases; `lanes`
        // has 8 for each pixel.
        unsafe {
            let rows = self.x.as_ptr().add(pixel * stride);
            let mut at = self.indices.as_ptr().add(self.group.first_pass * ROWS);
            let mut w = self.layer.values().as_ptr();
            w = w.add(self.group.first_pass * ROWS);
            let bias = self.bias.as_ptr();
            let mut acc = [[vld1q_f32(bias), vld1q_f32(bias.add(LANES))]; P];
            for run in self.group.runs {
                let origin = run.origin as usize;
                let (x, step) = if origin + WINDOW <= depth {
                    (rows.add(origin), stride)
                } else {
                    (tails.as_ptr().cast(), WINDOW)
                };
                let mut windows = [vld1q_u8_x4(x.cast()); P];
                for p in 1..P {
                    windows[p] = vld1q_u8_x4(x.add(p * step).cast());
                }
                for _ in 0..run.passes {
                    let bytes = byte_indices(vld1_u8(at));
                    for half in 0..2 {
                        let w = vld1q_f32(w.add(half * LANES));
                        for p in 0..P {
                            let x = vreinterpretq_f32_u8(vqtbl4q_u8(windows[p], bytes[half]));
                            acc[p][half] = vfmaq_f32(acc[p][half], w, x);
                        }
                    }
                    at = at.add(ROWS);
                    w = w.add(ROWS);
                }
            }
            for p in 0..P {
                for half in 0..2 {
                    let to = lanes[p].as_mut_ptr().add(half * LANES);
                    vst1q_f32(to, clamped(acc[p][half], self.clamp));
                }
            }
        }
        for (p, lanes) in lanes.iter().enumerate() {
            let y = y.row_mut(pixel + p);
            for (&row, &lane) in self.group.rows.iter().zip(lanes) {
                y[row as usize - self.base] = lane;
            }
        }
        P
    }
}

/// Where the bytes of 8 numbers lie in a window.
#[inline]
#[target_feature(enable = "neon")]
fn byte_indices(numbers: uint8x8_t) -> [uint8x16_t; 2] {
    // Number `n` to bytes `4n` four times over, then `4n..4n + 4`.
    let first = vshl_n_u8::<2>(numbers);
    let first = vcombine_u8(first, first);
    let offsets = vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes([0, 1, 2, 3])));
    let pairs = vzip1q_u8(first, first);
    let pairs = vreinterpretq_u16_u8(pairs);
    [
        vaddq_u8(vreinterpretq_u8_u16(vzip1q_u16(pairs, pairs)), offsets),
        vaddq_u8(vreinterpretq_u8_u16(vzip2q_u16(pairs, pairs)), offsets),
    ]
}
