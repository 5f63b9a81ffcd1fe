use std::ops::Range;

use crate::{
    Clamp, DenseI8, IntOut, Rows, RowsMut,
    dense_f32::PanelsF32,
    dense_i8::{PANEL, QUAD},
    epilogue::LANES,
};

/// # Safety
/// None beyond the table's: safe code.
pub(crate) unsafe fn f32(
    layer: PanelsF32<'_>,
    x: Rows<'_, f32>,
    outputs: Range<usize>,
    clamp: Clamp,
    mut y: RowsMut<'_, f32>,
) {
    for first in outputs.clone().step_by(LANES) {
        let panel = layer.panel(first / LANES);
        let to = first - outputs.start..(first + LANES).min(outputs.end) - outputs.start;
        for p in 0..x.rows() {
            let mut acc = [0.0; LANES];
            acc.copy_from_slice(layer.panel_bias(first / LANES));
            for (w, &x) in panel.chunks_exact(LANES).zip(x.row(p)) {
                for (acc, &w) in acc.iter_mut().zip(w) {
                    *acc = w.mul_add(x, *acc);
                }
            }
            for (y, acc) in y.row_mut(p)[to.clone()].iter_mut().zip(acc) {
                *y = clamp.apply(acc);
            }
        }
    }
}

/// # Safety
/// None beyond the table's: safe code.
pub(crate) unsafe fn i8(
    layer: &DenseI8,
    x: Rows<'_, u8>,
    outputs: Range<usize>,
    mut out: IntOut<'_>,
) {
    for first in outputs.clone().step_by(PANEL) {
        let panel = layer.panel(first / PANEL);
        let count = PANEL.min(outputs.end - first);
        for p in 0..x.rows() {
            let mut acc = [0; LANES];
            acc.copy_from_slice(layer.panel_bias(first / PANEL));
            let vectors = panel.chunks_exact(PANEL * QUAD);
            for (w, x) in vectors.zip(x.row(p).chunks(QUAD)) {
                for (acc, w) in acc.iter_mut().zip(w.chunks_exact(QUAD)) {
                    for (&w, &x) in w.iter().zip(x) {
                        *acc = acc.wrapping_add(i32::from(w) * i32::from(x));
                    }
                }
            }
            out.put(&[acc], p, outputs.start, first, count);
        }
    }
}
