//! Second-order pruning in one sweep over the columns, in the manner of SparseGPT
//! (Frantar & Alistarh 2023).
//!
//! Two things differ from it. What removing a weight costs is `w²/[H⁻¹]` of the whole
//! layer, so that it does not hang on a column's place in the order; and how many each
//! block of columns keeps is decided over all of them, so that columns which matter
//! little lose more.

use super::columns::Columns;
use crate::CompressError;
use rayon::prelude::*;
use std::ops::Range;

/// Columns among which weights to remove are chosen, with what the columns before
/// left of them.
const BLOCK: usize = 16;

/// Which weights a sweep removes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Sparsity {
    /// None beyond those that are gone.
    #[default]
    Keep,
    /// All but this share.
    Density(f64),
    /// All but `n` of every window of `m` columns of a row.
    NofM {
        /// Kept columns in a window.
        n: usize,
        /// Columns in a window.
        m: usize,
    },
}

/// What is left of some weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Pruned {
    /// `[rows, depth]`; 0 where nothing is kept.
    pub values: Vec<f64>,
    /// `[rows, depth]`
    pub kept: Vec<bool>,
}

/// Removes weights, and changes the others so that `Σ (w − v)·H·(w − v)ᵀ` over the
/// rows is small.
///
/// weights: `[rows, depth]`; moments: `[depth, depth]`; `support`: positions that are
/// not gone already; `windows`: of each column, where windows are asked for.
///
/// # Errors
/// Moments that are not finite.
pub fn remove(
    weights: &[f64],
    depth: usize,
    moments: &[f64],
    support: Option<&[bool]>,
    sparsity: Sparsity,
    windows: &[usize],
    damping: f64,
) -> Result<Pruned, CompressError> {
    let remover = match sparsity {
        Sparsity::NofM { .. } => Remover::by_windows(moments, depth, windows, damping)?,
        Sparsity::Keep | Sparsity::Density(_) => Remover::new(moments, depth, damping)?,
    };
    Ok(remover.remove(weights, support, sparsity))
}

/// What removals from a layer have in common, however many weights they remove.
pub(super) struct Remover {
    columns: Columns,
    /// Columns among which weights to remove are chosen.
    blocks: Vec<Range<usize>>,
}

impl Remover {
    /// For second moments `[depth, depth]`.
    ///
    /// # Errors
    /// Moments that are not finite.
    pub(super) fn new(moments: &[f64], depth: usize, damping: f64) -> Result<Self, CompressError> {
        let widths = (0..depth).step_by(BLOCK);
        let widths = widths.map(|start| BLOCK.min(depth - start));
        Ok(Self {
            columns: Columns::new(moments, depth, damping)?,
            blocks: runs(widths),
        })
    }

    /// With the columns of a window together.
    fn by_windows(
        moments: &[f64],
        depth: usize,
        windows: &[usize],
        damping: f64,
    ) -> Result<Self, CompressError> {
        let mut order: Vec<usize> = (0..depth).collect();
        order.sort_by_key(|&column| windows[column]);
        let together = order.chunk_by(|&a, &b| windows[a] == windows[b]);
        let blocks = runs(together.map(<[usize]>::len));
        Ok(Self {
            columns: Columns::in_order(moments, depth, damping, order)?,
            blocks,
        })
    }

    /// As [`remove`].
    pub(super) fn remove(
        &self,
        weights: &[f64],
        support: Option<&[bool]>,
        sparsity: Sparsity,
    ) -> Pruned {
        let (columns, blocks) = (&self.columns, &self.blocks);
        let d = columns.len();
        let free = columns.inverse_diagonal();
        let rows = weights.chunks_exact(d.max(1)).enumerate();
        let mut rows: Vec<Row> = rows
            .map(|(r, weights)| Row {
                values: columns.arranged(weights),
                kept: match support {
                    Some(support) => columns.arranged(&support[r * d..(r + 1) * d]),
                    None => vec![true; d],
                },
            })
            .collect();
        let counts = match sparsity {
            Sparsity::Density(density) => kept_in_blocks(&rows, blocks, &free, density),
            Sparsity::Keep | Sparsity::NofM { .. } => vec![usize::MAX; blocks.len()],
        };
        for (block, count) in blocks.iter().zip(counts) {
            keep_largest(&mut rows, block.clone(), &free, count);
            rows.par_iter_mut().for_each(|row| {
                if let Sparsity::NofM { n, m } = sparsity {
                    // The last window may be narrower.
                    let keep = (n * block.len()).div_ceil(m.max(1));
                    keep_largest(std::slice::from_mut(row), block.clone(), &free, keep);
                }
                for j in block.clone() {
                    let settled = if row.kept[j] { row.values[j] } else { 0.0 };
                    columns.settle(&mut row.values, j, settled);
                }
            });
        }
        let mut pruned = Pruned {
            values: vec![0.0; weights.len()],
            kept: vec![false; weights.len()],
        };
        for (r, row) in rows.iter().enumerate() {
            let place = r * d..(r + 1) * d;
            columns.restore(&row.values, &mut pruned.values[place.clone()]);
            columns.restore(&row.kept, &mut pruned.kept[place]);
        }
        pruned
    }
}

/// Ranges of these lengths, one behind the other.
fn runs(lengths: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let next = |start: &mut usize, length: usize| {
        *start += length;
        Some(*start - length..*start)
    };
    lengths.scan(0, next).collect()
}

struct Row {
    values: Vec<f64>,
    kept: Vec<bool>,
}

impl Row {
    fn cost(&self, j: usize, free: &[f64]) -> f64 {
        match self.kept[j] {
            true => self.values[j].powi(2) / free[j],
            false => -1.0,
        }
    }
}

/// How many weights each block of columns keeps, over all rows, when the costliest
/// of all are kept.
fn kept_in_blocks(rows: &[Row], blocks: &[Range<usize>], free: &[f64], density: f64) -> Vec<usize> {
    let row = |row: &Row| {
        (0..free.len())
            .map(|j| row.cost(j, free))
            .collect::<Vec<_>>()
    };
    let costs: Vec<Vec<f64>> = rows.iter().map(row).collect();
    let mut sorted: Vec<f64> = costs.iter().flatten().copied().collect();
    let keep = (sorted.len() as f64 * density.clamp(0.0, 1.0)).round() as usize;
    if keep == 0 {
        return vec![0; blocks.len()];
    }
    sorted.select_nth_unstable_by(keep - 1, |a, b| b.total_cmp(a));
    let least = sorted[keep - 1];
    let count = |block: &Range<usize>, wanted: &dyn Fn(f64) -> bool| {
        let inside = costs.iter().flat_map(|row| &row[block.clone()]);
        inside.filter(|&&cost| cost > 0.0 && wanted(cost)).count()
    };
    let above: Vec<usize> = blocks
        .iter()
        .map(|block| count(block, &|cost| cost > least))
        .collect();
    // Of those that cost as much as the last, the earlier.
    let mut left = keep - above.iter().sum::<usize>();
    let counts = blocks.iter().zip(above).map(|(block, above)| {
        let equal = count(block, &|cost| cost == least).min(left);
        left -= equal;
        above + equal
    });
    counts.collect()
}

/// Keeps so many weights of a block of columns, over these rows: those that cost
/// most, of equal ones the earlier.
fn keep_largest(rows: &mut [Row], block: Range<usize>, free: &[f64], keep: usize) {
    let width = block.len();
    if keep >= rows.len() * width {
        return;
    }
    let mut costs: Vec<(f64, usize)> = rows
        .iter()
        .enumerate()
        .flat_map(|(r, row)| {
            let start = block.start;
            let cost = move |j| (row.cost(j, free), r * width + j - start);
            block.clone().map(cost)
        })
        .collect();
    costs.select_nth_unstable_by(keep, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    for &(_, at) in &costs[keep..] {
        rows[at / width].kept[block.start + at % width] = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::rounding::output_error;
    use super::*;
    use crate::linalg::tests::{naive_inverse, positive};
    use proptest::prelude::*;

    fn weights(rows: usize, d: usize, seed: u64) -> Vec<f64> {
        (0..rows * d)
            .map(|i| ((i as u64 * 2_654_435_761 + seed * 97) % 1000) as f64 / 500.0 - 1.0)
            .collect()
    }

    fn error(weights: &[f64], values: &[f64], moments: &[f64], d: usize) -> f64 {
        let difference: Vec<f64> = weights.iter().zip(values).map(|(a, b)| a - b).collect();
        output_error(&difference, moments, d)
    }

    #[test]
    fn it_beats_pruning_by_magnitude() {
        let (d, rows) = (40, 6);
        let (w, moments) = (weights(rows, d, 3), positive(d, 9));
        let pruned = remove(&w, d, &moments, None, Sparsity::Density(0.5), &[], 0.01).unwrap();
        assert_eq!(pruned.kept.iter().filter(|&&k| k).count(), rows * d / 2);
        let mut order: Vec<usize> = (0..rows * d).collect();
        order.sort_by(|&a, &b| w[b].abs().total_cmp(&w[a].abs()));
        let mut magnitude = w.clone();
        order[rows * d / 2..]
            .iter()
            .for_each(|&i| magnitude[i] = 0.0);
        let ratio = error(&w, &pruned.values, &moments, d) / error(&w, &magnitude, &moments, d);
        assert!(ratio < 0.9, "{ratio}");
    }

    #[test]
    fn a_narrow_window_keeps_its_share_and_equal_costs_their_number() {
        let (w, moments) = (weights(3, 6, 1), positive(6, 2));
        let windows = [0, 0, 0, 0, 1, 1];
        let sparsity = Sparsity::NofM { n: 2, m: 4 };
        let pruned = remove(&w, 6, &moments, None, sparsity, &windows, 0.01).unwrap();
        for kept in pruned.kept.chunks(6) {
            let count = |part: &[bool]| part.iter().filter(|&&kept| kept).count();
            assert_eq!((count(&kept[..4]), count(&kept[4..])), (2, 1));
        }
        let mut identity = vec![0.0; 40 * 40];
        (0..40).for_each(|i| identity[i * 41] = 1.0);
        let half = Sparsity::Density(0.5);
        let pruned = remove(&[1.0; 80], 40, &identity, None, half, &[], 0.01).unwrap();
        assert_eq!(pruned.kept.iter().filter(|&&kept| kept).count(), 40);
    }

    proptest! {
        /// The values of one weight removed are those of Optimal Brain Surgeon.
        #[test]
        fn one_removal_is_optimal_brain_surgeons(d in 2usize..8, seed in 0u64..200) {
            let (w, moments) = (weights(1, d, seed), positive(d, seed));
            let inverse = naive_inverse(&moments, d);
            let density = (d - 1) as f64 / d as f64;
            let found = remove(&w, d, &moments, None, Sparsity::Density(density), &[], 0.0).unwrap();
            let cost = |j: usize| w[j] * w[j] / inverse[j * d + j];
            let gone: Vec<usize> = (0..d).filter(|&j| !found.kept[j]).collect();
            prop_assume!(gone.len() == 1 && (0..d).all(|j| w[j] != 0.0));
            let p = gone[0];
            prop_assert!((0..d).all(|j| cost(p) <= cost(j) * (1.0 + 1e-6)));
            // Columns settled before it stay; where it is settled first, all move.
            let order = Columns::new(&moments, d, 0.0).unwrap();
            if order.order()[0] == p {
                for j in 0..d {
                    let want = w[j] - w[p] / inverse[p * d + p] * inverse[j * d + p];
                    prop_assert!((found.values[j] - want).abs() < 1e-6 * (1.0 + want.abs()));
                }
            }
        }

        #[test]
        fn what_is_gone_stays_gone(d in 1usize..12, rows in 1usize..4, seed in 0u64..100, n in 1usize..3) {
            let (w, moments) = (weights(rows, d, seed), positive(d, seed));
            let support: Vec<bool> = (0..rows * d).map(|i| (seed >> (i % 7)) & 1 == 0).collect();
            let w: Vec<f64> = w.iter().zip(&support).map(|(&w, &s)| if s { w } else { 0.0 }).collect();
            // Windows of at most four columns that do not lie side by side.
            let windows: Vec<usize> = (0..d).map(|column| column % d.div_ceil(4)).collect();
            for sparsity in [Sparsity::Keep, Sparsity::Density(0.5), Sparsity::NofM { n, m: 4 }] {
                let found = remove(&w, d, &moments, Some(&support), sparsity, &windows, 0.01).unwrap();
                let kept = found.kept.iter().zip(&found.values);
                for (&there, (&kept, &value)) in support.iter().zip(kept) {
                    prop_assert!(there || !kept);
                    prop_assert!(kept || value == 0.0);
                }
                if let Sparsity::NofM { n, .. } = sparsity {
                    for row in found.kept.chunks(d) {
                        for window in 0..d.div_ceil(4) {
                            let here = (0..d).filter(|&c| windows[c] == window && row[c]).count();
                            prop_assert!(here <= n);
                        }
                    }
                }
            }
        }
    }
}
