use std::{arch::wasm32::*, ops::Range};

use crate::{
    DenseI8, IntOut, Rows,
    dense_i8::{PANEL, QUAD},
    epilogue::LANES,
};

/// Pixels of a tile: 8 accumulators.
pub(crate) const PIXELS: usize = 2;
/// Lanes of a register.
const QUARTER: usize = LANES / 4;

/// # Safety
/// As the table says.
#[target_feature(enable = "simd128")]
pub(crate) unsafe fn dense(
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
                    PIXELS.. => tile.run::<PIXELS>(pixel, &mut out),
                    _ => tile.run::<1>(pixel, &mut out),
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
    /// `P` pixels from `pixel` on are rows of `x`; the panel exists.
    #[inline]
    #[target_feature(enable = "simd128")]
    unsafe fn run<const P: usize>(&self, pixel: usize, out: &mut IntOut<'_>) -> usize {
        let depth = self.layer.depth();
        let stride = self.x.stride();
        let w = self.layer.panel(self.first / PANEL).as_ptr();
        let bias = self.layer.panel_bias(self.first / PANEL).as_ptr();
        let mut lanes = [[0; LANES]; P];
        // SAFETY: the pixels are rows of `x`, read in whole quads below `depth`; a panel has 64 weights
        // a quad, zeros beyond `depth`, and 16 biases; `lanes` has 16 for each pixel.
        unsafe {
            let mut acc = [[i32x4_splat(0); 4]; P];
            for quarter in 0..4 {
                let bias = v128_load(bias.add(quarter * QUARTER).cast());
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
                step(&mut acc, w.add(q * PANEL * QUAD), &quads);
            }
            let from = depth / QUAD * QUAD;
            if from < depth {
                let mut quads = [0; P];
                for p in 0..P {
                    let mut bytes = [0; QUAD];
                    bytes[..depth - from].copy_from_slice(&self.x.row(pixel + p)[from..]);
                    quads[p] = u32::from_le_bytes(bytes);
                }
                step(&mut acc, w.add(from * PANEL), &quads);
            }
            for p in 0..P {
                for quarter in 0..4 {
                    let to = lanes[p].as_mut_ptr().add(quarter * QUARTER);
                    v128_store(to.cast(), acc[p][quarter]);
                }
            }
        }
        out.put(&lanes, pixel, self.base, self.first, self.count);
        P
    }
}

/// Adds 4 depth steps, whose activations split into even and odd bytes widened to 16 bits.
///
/// # Safety
/// `w` points to 64 weights.
#[inline]
#[target_feature(enable = "simd128")]
unsafe fn step<const P: usize>(acc: &mut [[v128; 4]; P], w: *const i8, x: &[u32; P]) {
    let mut even = [i16x8_splat(0); P];
    let mut odd = [i16x8_splat(0); P];
    for p in 0..P {
        let x = u32x4_splat(x[p]);
        even[p] = v128_and(x, i16x8_splat(0xff));
        odd[p] = u16x8_shr(x, 8);
    }
    for quarter in 0..4 {
        // `[2 halves][even, odd k][8 outputs][2 k]`: 8 weights are 4 outputs of one parity.
        let at = quarter / 2 * 32 + quarter % 2 * 8;
        // SAFETY: 8 of the 64 weights each.
        let [w_even, w_odd] = unsafe {
            [
                i16x8_load_extend_i8x8(w.add(at)),
                i16x8_load_extend_i8x8(w.add(at + 16)),
            ]
        };
        for p in 0..P {
            let sum = i32x4_add(
                i32x4_dot_i16x8(even[p], w_even),
                i32x4_dot_i16x8(odd[p], w_odd),
            );
            acc[p][quarter] = i32x4_add(acc[p][quarter], sum);
        }
    }
}
