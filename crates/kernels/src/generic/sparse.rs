use std::ops::Range;

use crate::{
    Clamp, IntOut, Patches, Rows, RowsMut, SparseF32, SparseI8,
    epilogue::LANES,
    sparse_f32::Indices,
    sparse_i8::{GATHER64, PASS64},
};

/// # Safety
/// None beyond the table's: safe code.
pub(crate) unsafe fn f32(
    layer: &SparseF32,
    x: Rows<'_, f32>,
    outputs: Range<usize>,
    clamp: Clamp,
    mut y: RowsMut<'_, f32>,
) {
    let Indices::Depth(indices) = layer.indices() else {
        return;
    };
    let passes = layer.passes();
    for g in passes.groups_of(&outputs) {
        let group = passes.group(g);
        let slots = group.first_pass * LANES..(group.first_pass + group.origins.len()) * LANES;
        for p in 0..x.rows() {
            let x = x.row(p);
            let mut acc = [0.0; LANES];
            acc.copy_from_slice(layer.group_bias(g));
            let indices = indices.as_slice()[slots.clone()].chunks_exact(LANES);
            for (k, w) in indices.zip(layer.values()[slots.clone()].chunks_exact(LANES)) {
                for ((acc, &k), &w) in acc.iter_mut().zip(k).zip(w) {
                    *acc = w.mul_add(x[k as usize], *acc);
                }
            }
            let y = y.row_mut(p);
            for (&row, acc) in group.rows.iter().zip(acc) {
                y[row as usize - outputs.start] = clamp.apply(acc);
            }
        }
    }
}

/// # Safety
/// None beyond the table's: safe code.
pub(crate) unsafe fn i8(
    layer: &SparseI8,
    x: Patches<'_, u8>,
    outputs: Range<usize>,
    mut out: IntOut<'_>,
) {
    let passes = layer.passes();
    let line = layer.line();
    for g in passes.groups_of(&outputs) {
        let group = passes.group(g);
        for p in 0..x.pixels() {
            let start = x.start(p);
            let mut acc = [0; LANES];
            acc.copy_from_slice(layer.group_bias(g));
            let data = layer.data()[group.first_pass * PASS64..].chunks_exact(PASS64);
            for ((pass, &origin), &l) in data.zip(group.origins).zip(group.lines) {
                let in_line = origin as usize - l as usize * line;
                let window = &x.data[start + l as usize * x.pitch_of(line) + in_line..];
                let (indices, weights) = pass.split_at(PASS64 / 2);
                for (n, (&k, &w)) in indices.iter().zip(weights).enumerate() {
                    let product = i32::from(w as i8) * i32::from(window[usize::from(k)]);
                    let acc = &mut acc[n / GATHER64.slots];
                    *acc = acc.wrapping_add(product);
                }
            }
            out.scatter(&[acc], p, outputs.start, group.rows);
        }
    }
}
