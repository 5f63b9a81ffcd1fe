use std::{arch::wasm32::*, ops::Range};

use super::fused::fused;
use crate::{Clamp, Rows, RowsMut, dense_f32::PanelsF32};

/// Outputs of a panel: eight registers of f64.
pub(crate) const PANEL: usize = 16;
/// Lanes of a register.
const LANES: usize = 2;
/// Registers of a panel.
const REGISTERS: usize = PANEL / LANES;

/// # Safety
/// As the table says.
#[target_feature(enable = "simd128")]
pub(crate) unsafe fn dense(
    layer: PanelsF32<'_>,
    x: Rows<'_, f32>,
    outputs: Range<usize>,
    clamp: Clamp,
    mut y: RowsMut<'_, f32>,
) {
    #[cfg(feature = "relaxed-simd")]
    if super::relaxed::is_fused() {
        // SAFETY: the caller's, and the machine fuses.
        return unsafe { super::relaxed::dense(layer, x, outputs, clamp, y) };
    }
    for first in outputs.clone().step_by(PANEL) {
        let panel = first / PANEL;
        let to = first - outputs.start..(first + PANEL).min(outputs.end) - outputs.start;
        for p in 0..x.rows() {
            let acc = row(layer.panel(panel), layer.panel_bias(panel), x.row(p));
            for (y, acc) in y.row_mut(p)[to.clone()].iter_mut().zip(acc) {
                *y = clamp.apply(acc);
            }
        }
    }
}

/// One panel at one pixel.
#[inline]
#[target_feature(enable = "simd128")]
fn row(panel: &[f32], bias: &[f32], x: &[f32]) -> [f32; PANEL] {
    // SAFETY: two of 16 numbers each.
    let pair = |from: &[f32], n: usize| unsafe {
        f64x2_promote_low_f32x4(v128_load64_zero(from[n * LANES..][..LANES].as_ptr().cast()))
    };
    let mut acc = [f64x2_splat(0.0); REGISTERS];
    for n in 0..REGISTERS {
        acc[n] = pair(bias, n);
    }
    for (w, &x) in panel.chunks_exact(PANEL).zip(x) {
        let x = f64x2_splat(f64::from(x));
        for n in 0..REGISTERS {
            acc[n] = fused(pair(w, n), x, acc[n]);
        }
    }
    let mut lanes = [0.0; PANEL];
    for (lanes, acc) in lanes.chunks_exact_mut(LANES).zip(acc) {
        lanes[0] = f64x2_extract_lane::<0>(acc) as f32;
        lanes[1] = f64x2_extract_lane::<1>(acc) as f32;
    }
    lanes
}
