use std::{arch::aarch64::*, ops::Range};

use super::dot::{SIGN, dot};
use crate::{
    IntOut, Rows, SparseI8,
    band_bytes::BandBytes,
    epilogue::LANES,
    passes::{BAND, Group},
    sparse_i8::{GATHER64, PASS64},
};

/// Pixels of a tile: 8 registers of activations, 8 accumulators; with three of each, some are spilled.
pub(crate) const PIXELS: usize = 2;
/// Inputs of a window.
const WINDOW: usize = GATHER64.window;
/// Bytes of a register.
const BYTES: usize = 16;
/// Lanes of a register.
const QUARTER: usize = LANES / 4;

/// # Safety
/// As the table says; with `DOT` the processor has the dot product instructions.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn sparse<const DOT: bool>(
    layer: &SparseI8,
    x: Rows<'_, u8>,
    outputs: Range<usize>,
    mut out: IntOut<'_>,
) {
    let mut first = outputs.start;
    while first < outputs.end {
        let band = first..outputs.end.min(first + BAND);
        let mut pixel = 0;
        while pixel < x.rows() {
            let tile = Tile {
                layer,
                x,
                base: outputs.start,
                band: &band,
                pixel,
            };
            // SAFETY: the tile's pixels are rows of `x`.
            pixel += unsafe {
                match x.rows() - pixel {
                    PIXELS.. => tile.run::<PIXELS, DOT>(&mut out),
                    _ => tile.run::<1, DOT>(&mut out),
                }
            };
        }
        first = band.end;
    }
}

/// One band of rows at several pixels.
struct Tile<'a> {
    layer: &'a SparseI8,
    x: Rows<'a, u8>,
    base: usize,
    band: &'a Range<usize>,
    pixel: usize,
}

impl Tile<'_> {
    /// # Safety
    /// With `DOT` the processor has the dot product instructions; `P` pixels from `self.pixel` on are
    /// rows of `x`.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn run<const P: usize, const DOT: bool>(&self, out: &mut IntOut<'_>) -> usize {
        let passes = self.layer.passes();
        let mut bytes = BandBytes::<P>::new(self.pixel, self.base);
        let mut tails = [[0; WINDOW]; P];
        let tail = self.layer.depth() / WINDOW * WINDOW;
        for p in 0..P {
            let left = &self.x.row(self.pixel + p)[tail..];
            tails[p][..left.len()].copy_from_slice(left);
        }
        for (n, g) in passes.groups_of(self.band).enumerate() {
            let group = passes.group(g);
            // SAFETY: the group is the layer's, the pixels are rows of `x`.
            let lanes = unsafe { self.group::<P, DOT>(group, self.layer.group_bias(g), &tails) };
            bytes.put(out, &lanes, n * LANES, group.rows);
        }
        let places = self.layer.places(self.band.start / BAND);
        bytes.store(out, self.band, |bytes| permuted(bytes, places));
        P
    }

    /// # Safety
    /// As for `run`; `group` is the layer's, `tails` the pixels' inputs behind the whole windows.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn group<const P: usize, const DOT: bool>(
        &self,
        group: Group<'_>,
        bias: &[i32],
        tails: &[[u8; WINDOW]; P],
    ) -> [[i32; LANES]; P] {
        let depth = self.layer.depth();
        let stride = self.x.stride();
        let mut lanes = [[0; LANES]; P];
        // SAFETY: the pixels are rows of `x`; windows begin below `depth`, and one that would end
        // beyond it is read from its copy; a pass has 64 indices and 64 weights; a group has 16 biases;
        // `lanes` has 16 for each pixel.
        unsafe {
            let rows = self.x.as_ptr().add(self.pixel * stride);
            let mut pass = self.layer.data().as_ptr().add(group.first_pass * PASS64);
            let mut acc = [[vdupq_n_s32(0); 4]; P];
            for quarter in 0..4 {
                let bias = vld1q_s32(bias.as_ptr().add(quarter * QUARTER));
                for p in 0..P {
                    acc[p][quarter] = bias;
                }
            }
            for run in group.runs {
                let origin = run.origin as usize;
                let (x, step) = if origin + WINDOW <= depth {
                    (rows.add(origin), stride)
                } else {
                    (tails.as_ptr().cast(), WINDOW)
                };
                let mut windows = [window(x); P];
                for p in 1..P {
                    windows[p] = window(x.add(p * step));
                }
                for _ in 0..run.passes {
                    for quarter in 0..4 {
                        let at = vld1q_u8(pass.add(quarter * BYTES));
                        let w = vld1q_s8(pass.add(PASS64 / 2 + quarter * BYTES).cast());
                        for p in 0..P {
                            let x = vreinterpretq_s8_u8(vqtbl4q_u8(windows[p], at));
                            acc[p][quarter] = dot::<DOT>(acc[p][quarter], w, x);
                        }
                    }
                    pass = pass.add(PASS64);
                }
            }
            for p in 0..P {
                for quarter in 0..4 {
                    let to = lanes[p].as_mut_ptr().add(quarter * QUARTER);
                    vst1q_s32(to, acc[p][quarter]);
                }
            }
        }
        lanes
    }
}

/// 64 activations as the products want them.
///
/// # Safety
/// `x` points to 64 bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn window(x: *const u8) -> uint8x16x4_t {
    let sign = vdupq_n_u8(SIGN);
    // SAFETY: the caller's.
    let uint8x16x4_t(a, b, c, d) = unsafe { vld1q_u8_x4(x) };
    uint8x16x4_t(
        veorq_u8(a, sign),
        veorq_u8(b, sign),
        veorq_u8(c, sign),
        veorq_u8(d, sign),
    )
}

/// `bytes[places[j]]`; `places` are 64, each below 64.
#[inline]
#[target_feature(enable = "neon")]
fn permuted(bytes: &[u8; BAND], places: &[u8]) -> [u8; BAND] {
    let mut ordered = [0; BAND];
    // SAFETY: 64 bytes; each chunk has 16.
    unsafe {
        let bytes = vld1q_u8_x4(bytes.as_ptr());
        let chunks = ordered.chunks_exact_mut(BYTES);
        for (to, places) in chunks.zip(places.chunks_exact(BYTES)) {
            vst1q_u8(
                to.as_mut_ptr(),
                vqtbl4q_u8(bytes, vld1q_u8(places.as_ptr())),
            );
        }
    }
    ordered
}
