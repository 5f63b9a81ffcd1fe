//! Sparse int8 for processors that shuffle bytes only within 16: windows of 16 inputs, 4 slots a row.

use crate::{
    buffer::Aligned,
    passes::{Form, Passes},
    sparse_i8::quads,
};

/// For registers of 32 bytes.
pub(crate) const QUADS16X8: Form = Form {
    window: 16,
    rows: 8,
    slots: 4,
};
/// For registers of 64 bytes.
pub(crate) const QUADS16X16: Form = Form {
    window: 16,
    rows: 16,
    slots: 4,
};
/// A bit of a pass's first index that no shuffle looks at: some pair of the pass is not [`narrow`].
pub(crate) const WIDE: u8 = 0x40;
/// Weights of one sign, added up, that 255 multiplies into 16 bits.
const NARROW_SUM: i32 = 128;

/// As [`quads`], with the slots of every row arranged for `vpmaddubsw`, which adds neighbouring
/// products in 16 bits: the largest weight of four beside the least.  A pass in which that is not
/// enough is marked [`WIDE`].
pub(crate) fn narrow_quads(passes: &Passes, weights: &[i8], depth: usize) -> Aligned<u8> {
    let mut data = quads(passes, weights, depth, QUADS16X8);
    let bytes = QUADS16X8.rows * QUADS16X8.slots;
    for pass in data.as_mut_slice().chunks_exact_mut(2 * bytes) {
        let (indices, weights) = pass.split_at_mut(bytes);
        let mut wide = false;
        let rows = indices.chunks_exact_mut(4).zip(weights.chunks_exact_mut(4));
        for (indices, weights) in rows {
            let mut slots = [(0i8, 0u8); 4];
            for ((slot, &w), &at) in slots.iter_mut().zip(&*weights).zip(&*indices) {
                *slot = (w as i8, at);
            }
            slots.sort_unstable();
            let [a, b, c, d] = slots;
            for (n, (w, at)) in [a, d, b, c].into_iter().enumerate() {
                weights[n] = w as u8;
                indices[n] = at;
            }
            wide |= !narrow(a.0, d.0) || !narrow(b.0, c.0);
        }
        if wide {
            indices[0] |= WIDE;
        }
    }
    data
}

/// Whether `a·x + b·y` fits 16 bits for any two bytes.
fn narrow(a: i8, b: i8) -> bool {
    let [a, b] = [i32::from(a), i32::from(b)];
    a.max(0) + b.max(0) <= NARROW_SUM && a.min(0) + b.min(0) >= -NARROW_SUM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_pairs_fit_16_bits() {
        for a in i8::MIN..=i8::MAX {
            for b in i8::MIN..=i8::MAX {
                let sum = |x: i32, y: i32| i32::from(a) * x + i32::from(b) * y;
                let sums = [sum(0, 255), sum(255, 0), sum(255, 255)];
                let fits = sums.iter().all(|&s| i16::try_from(s).is_ok());
                assert_eq!(narrow(a, b), fits, "{a} {b}");
            }
        }
    }

    #[test]
    fn only_a_pass_that_needs_it_is_wide() {
        let wide = |row: [i8; 16]| {
            let passes = Passes::plan(QUADS16X8, &row, 1, 16);
            narrow_quads(&passes, &row, 16).as_slice()[0] & WIDE != 0
        };
        let mut row = [0; 16];
        row[1..5].copy_from_slice(&[127, -128, 127, -128]);
        assert!(!wide(row));
        row[2] = 100;
        assert!(wide(row));
        row[1..5].copy_from_slice(&[127, 0, 0, 127]);
        assert!(!wide(row));
    }
}
