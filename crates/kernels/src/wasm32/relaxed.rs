//! Dense f32 with products that the machine fuses, where it does.
//!
//! A browser makes of `relaxed_madd` what its machine has: a fused multiply-add, with the bits that every
//! other set gives, or a product and a sum, which round twice. Which of them is asked once; for as long as
//! the module lives the answer is the same.

use std::{arch::wasm32::*, hint::black_box, ops::Range, sync::LazyLock};

use super::dense_f32::PANEL;
use crate::{Clamp, Rows, RowsMut, dense_f32::PanelsF32};

/// Pixels of a tile: 8 accumulators.
const PIXELS: usize = 2;
/// Lanes of a register.
const LANES: usize = 4;
/// Registers of a panel.
const REGISTERS: usize = PANEL / LANES;

/// Whether a product and the sum behind it are rounded once here.
pub(super) fn is_fused() -> bool {
    static FUSED: LazyLock<bool> = LazyLock::new(|| {
        // The square has a bit that only a sum before rounding keeps.
        let w = black_box(1.0 + f32::EPSILON * 2048.0);
        let acc = black_box(-(w * w));
        madd(w, w, acc) == w.mul_add(w, acc)
    });
    *FUSED
}

#[target_feature(enable = "simd128,relaxed-simd")]
fn madd(w: f32, x: f32, acc: f32) -> f32 {
    let sum = f32x4_relaxed_madd(f32x4_splat(w), f32x4_splat(x), f32x4_splat(acc));
    f32x4_extract_lane::<0>(sum)
}

/// # Safety
/// As the table says; the machine [fuses](is_fused).
#[target_feature(enable = "simd128,relaxed-simd")]
pub(super) unsafe fn dense(
    layer: PanelsF32<'_>,
    x: Rows<'_, f32>,
    outputs: Range<usize>,
    clamp: Clamp,
    mut y: RowsMut<'_, f32>,
) {
    for first in outputs.clone().step_by(PANEL) {
        let (panel, bias) = (layer.panel(first / PANEL), layer.panel_bias(first / PANEL));
        let to = first - outputs.start..(first + PANEL).min(outputs.end) - outputs.start;
        let mut put = |pixel: usize, sums: &[[f32; PANEL]]| {
            for (p, sums) in sums.iter().enumerate() {
                for (y, &sum) in y.row_mut(pixel + p)[to.clone()].iter_mut().zip(sums) {
                    *y = clamp.apply(sum);
                }
            }
        };
        let pairs = x.rows() / PIXELS * PIXELS;
        for pixel in (0..pairs).step_by(PIXELS) {
            put(pixel, &tile(panel, bias, [x.row(pixel), x.row(pixel + 1)]));
        }
        for pixel in pairs..x.rows() {
            put(pixel, &tile(panel, bias, [x.row(pixel)]));
        }
    }
}

/// One panel at `P` pixels.
#[inline]
#[target_feature(enable = "simd128,relaxed-simd")]
fn tile<const P: usize>(panel: &[f32], bias: &[f32], x: [&[f32]; P]) -> [[f32; PANEL]; P] {
    // SAFETY: four of 16 numbers each.
    let quarter =
        |from: &[f32], n: usize| unsafe { v128_load(from[n * LANES..][..LANES].as_ptr().cast()) };
    let mut acc = [[f32x4_splat(0.0); REGISTERS]; P];
    for n in 0..REGISTERS {
        let bias = quarter(bias, n);
        for p in 0..P {
            acc[p][n] = bias;
        }
    }
    let depth = panel.len() / PANEL;
    let x = x.map(|x| &x[..depth]);
    for (k, w) in panel.chunks_exact(PANEL).enumerate() {
        let x = x.map(|x| f32x4_splat(x[k]));
        for n in 0..REGISTERS {
            let w = quarter(w, n);
            for p in 0..P {
                acc[p][n] = f32x4_relaxed_madd(w, x[p], acc[p][n]);
            }
        }
    }
    let mut sums = [[0.0; PANEL]; P];
    for p in 0..P {
        for (to, acc) in sums[p].chunks_exact_mut(LANES).zip(acc[p]) {
            // SAFETY: four numbers.
            unsafe { v128_store(to.as_mut_ptr().cast(), acc) };
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DenseF32, Isa};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_have_the_bits_of_the_definition(
            (depth, pixels, outputs) in (0..40usize, 1..6usize, 1..40usize),
            seed: u32,
        ) {
            let number = |i: usize| ((i as u32 ^ seed).wrapping_mul(2_654_435_761) as i32) as f32 * 1e-9;
            let of = |n: usize, from: usize| (0..n).map(|i| number(from + i)).collect::<Vec<_>>();
            let (w, bias, x) = (of(outputs * depth, 0), of(outputs, 7), of(pixels * depth, 99));
            let run = |isa| {
                let layer = DenseF32::pack(isa, &w, outputs, depth, Some(&bias)).unwrap();
                let mut y = vec![0.0; pixels * outputs];
                let rows = Rows::new(&x, pixels, depth).unwrap();
                layer.run(rows, 0..outputs, Clamp::NONE, RowsMut::new(&mut y, pixels, outputs).unwrap()).unwrap();
                y
            };
            prop_assert_eq!(run(Isa::Simd128), run(Isa::Generic));
        }
    }
}
