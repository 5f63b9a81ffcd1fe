use std::{arch::wasm32::*, ops::Range};

use crate::{
    IntOut, Rows, SparseI8,
    band_bytes::BandBytes,
    epilogue::LANES,
    passes::{BAND, Group},
    sparse_i8::{GATHER16, PASS16},
};

/// Pixels of a tile: 8 accumulators.
pub(crate) const PIXELS: usize = 4;
/// Inputs of a window, and bytes of a register.
const WINDOW: usize = GATHER16.window;
/// Lanes of a register.
const HALF: usize = GATHER16.rows / 2;

/// # Safety
/// As the table says.
#[target_feature(enable = "simd128")]
pub(crate) unsafe fn sparse(
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
                    PIXELS.. => tile.run::<PIXELS>(&mut out),
                    2.. => tile.run::<2>(&mut out),
                    _ => tile.run::<1>(&mut out),
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
    /// `P` pixels from `self.pixel` on are rows of `x`.
    #[inline]
    #[target_feature(enable = "simd128")]
    unsafe fn run<const P: usize>(&self, out: &mut IntOut<'_>) -> usize {
        let passes = self.layer.passes();
        let mut bytes = BandBytes::<P>::new(self.pixel, self.base);
        let mut tails = [[0; WINDOW]; P];
        let tail = self.layer.depth() / WINDOW * WINDOW;
        for p in 0..P {
            let left = &self.x.row(self.pixel + p)[tail..];
            tails[p][..left.len()].copy_from_slice(left);
        }
        let groups = passes.groups_of(self.band);
        for first in groups.clone().step_by(2) {
            let mut lanes = [[0; LANES]; P];
            for g in first..groups.end.min(first + 2) {
                let bias = self.layer.group_bias(g);
                // SAFETY: the group is the layer's, the pixels are rows of `x`.
                let acc = unsafe { self.group::<P>(passes.group(g), bias, &tails) };
                for p in 0..P {
                    let to = &mut lanes[p][(g - first) * GATHER16.rows..][..GATHER16.rows];
                    // SAFETY: 8 lanes.
                    unsafe {
                        v128_store(to.as_mut_ptr().cast(), acc[p][0]);
                        v128_store(to.as_mut_ptr().add(HALF).cast(), acc[p][1]);
                    }
                }
            }
            let lane = (first - groups.start) * GATHER16.rows;
            bytes.put(out, &lanes, lane, passes.rows_of(first, 2));
        }
        let places = self.layer.places(self.band.start / BAND);
        bytes.store(out, self.band, |bytes| permuted(bytes, places));
        P
    }

    /// # Safety
    /// As for `run`; `group` is the layer's, `tails` the pixels' inputs behind the whole windows.
    #[inline]
    #[target_feature(enable = "simd128")]
    unsafe fn group<const P: usize>(
        &self,
        group: Group<'_>,
        bias: &[i32],
        tails: &[[u8; WINDOW]; P],
    ) -> [[v128; 2]; P] {
        let depth = self.layer.depth();
        let stride = self.x.stride();
        // SAFETY: the pixels are rows of `x`; windows begin below `depth`, and one that would end
        // beyond it is read from its copy; a pass has 32 indices and 16 weights of 16 bits; a group has
        // 8 biases.
        unsafe {
            let rows = self.x.as_ptr().add(self.pixel * stride);
            let mut pass = self.layer.data().as_ptr().add(group.first_pass * PASS16);
            let bias = bias.as_ptr();
            let bias = [v128_load(bias.cast()), v128_load(bias.add(HALF).cast())];
            let mut acc = [bias; P];
            for &origin in group.origins {
                let origin = origin as usize;
                let (x, step) = if origin + WINDOW <= depth {
                    (rows.add(origin), stride)
                } else {
                    (tails.as_ptr().cast(), WINDOW)
                };
                let mut at = [i8x16_splat(0); 2];
                let mut w = [i16x8_splat(0); 2];
                for half in 0..2 {
                    at[half] = v128_load(pass.add(half * 16).cast());
                    w[half] = v128_load(pass.add(PASS16 / 2 + half * 16).cast());
                }
                for p in 0..P {
                    let x = v128_load(x.add(p * step).cast());
                    for half in 0..2 {
                        // Every odd index is beyond the window, which gives a zero byte.
                        let x = i8x16_swizzle(x, at[half]);
                        let products = i32x4_dot_i16x8(x, w[half]);
                        acc[p][half] = i32x4_add(acc[p][half], products);
                    }
                }
                pass = pass.add(PASS16);
            }
            acc
        }
    }
}

/// `bytes[places[j]]`; `places` are 64, each below 64.
#[inline]
#[target_feature(enable = "simd128")]
fn permuted(bytes: &[u8; BAND], places: &[u8]) -> [u8; BAND] {
    let mut ordered = [0; BAND];
    let chunks = ordered.chunks_exact_mut(WINDOW);
    for (to, places) in chunks.zip(places.chunks_exact(WINDOW)) {
        // SAFETY: each chunk has 16 bytes, of which `bytes` has four.
        unsafe {
            let places = v128_load(places.as_ptr().cast());
            let mut picked = i8x16_splat(0);
            for (n, bytes) in bytes.chunks_exact(WINDOW).enumerate() {
                let bytes = v128_load(bytes.as_ptr().cast());
                let at = i8x16_sub(places, u8x16_splat((n * WINDOW) as u8));
                picked = v128_or(picked, i8x16_swizzle(bytes, at));
            }
            v128_store(to.as_mut_ptr().cast(), picked);
        }
    }
    ordered
}
