//! Second-order rounding, and pruning in the same sweep.
//!
//! Columns are rounded one after another, and what an error costs the layer's
//! output is made good by the columns that are still free: Optimal Brain
//! Quantization in one order for all rows (GPTQ, Frantar et al. 2023), with
//! removed weights as codes of 0 (SparseGPT, Frantar & Alistarh 2023).

use super::linalg::{inverse_factor, subtract};
use crate::CompressError;
use rayon::prelude::*;
use std::ops::Range;

/// Columns among which weights to remove are chosen.
const BLOCK: usize = 128;

/// Which weights a sweep removes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Sparsity {
    /// None beyond those that are gone.
    #[default]
    Keep,
    /// All but this share.
    Density(f64),
    /// All but `n` of every `m` columns of a row.
    NofM {
        /// Kept columns in a window.
        n: usize,
        /// Columns in a window.
        m: usize,
    },
}

/// What is rounded, to which steps.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// Columns.
    pub depth: usize,
    /// The values to come near to, `[rows, depth]`.
    pub target: &'a [f64],
    /// Second moments of the inputs, `[depth, depth]`.
    pub moments: &'a [f64],
    /// What a code is worth, one for each row.
    pub scales: &'a [f64],
    /// The largest magnitude of a code.
    pub limit: i32,
    /// Positions that are not zero already, `[rows, depth]`; `None`: all.
    pub support: Option<&'a [bool]>,
    /// What to remove.
    pub sparsity: Sparsity,
    /// Part of the mean diagonal that is added to the diagonal.
    pub damping: f64,
}

/// Codes, and which positions are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounded {
    /// `[rows, depth]`; 0 where nothing is kept.
    pub codes: Vec<i16>,
    /// `[rows, depth]`
    pub kept: Vec<bool>,
}

/// Rounds so that `Σ (w − q·s)·H·(w − q·s)ᵀ` over the rows is small.
///
/// # Errors
/// Moments that are not finite.
pub fn round(problem: &Problem<'_>) -> Result<Rounded, CompressError> {
    let d = problem.depth;
    let order = order(problem);
    let moments = permuted_square(problem, &order);
    let factor = inverse_factor(&moments, d).ok_or_else(|| CompressError::Refused {
        step: "quantize",
        reason: "the second moments of a layer's inputs are not finite".into(),
    })?;
    let rows = problem.target.chunks_exact(d.max(1)).enumerate();
    let mut rows: Vec<Row> = rows
        .map(|(r, target)| Row {
            scale: problem.scales[r],
            values: order.iter().map(|&c| target[c]).collect(),
            kept: match problem.support {
                Some(support) => order.iter().map(|&c| support[r * d + c]).collect(),
                None => vec![true; d],
            },
            codes: vec![0; d],
        })
        .collect();
    let free = inverse_diagonal(&factor, d);
    let blocks: Vec<Range<usize>> = (0..d).step_by(BLOCK).map(|s| s..d.min(s + BLOCK)).collect();
    let keep = match problem.sparsity {
        Sparsity::Density(density) => Some(kept_in_blocks(&rows, &blocks, &free, density)),
        Sparsity::Keep | Sparsity::NofM { .. } => None,
    };
    for (index, block) in blocks.into_iter().enumerate() {
        if let Some(keep) = &keep {
            keep_largest(&mut rows, block.clone(), &free, keep[index]);
        }
        rows.par_iter_mut().for_each(|row| {
            for j in block.clone() {
                if let Sparsity::NofM { n, m } = problem.sparsity
                    && j % m == 0
                {
                    keep_largest(std::slice::from_mut(row), j..d.min(j + m), &free, n);
                }
                row.round(j, &factor[j * d..(j + 1) * d], problem.limit);
            }
        });
    }
    let mut rounded = Rounded {
        codes: vec![0; rows.len() * d],
        kept: vec![false; rows.len() * d],
    };
    for (r, row) in rows.iter().enumerate() {
        for (place, &column) in order.iter().enumerate() {
            rounded.codes[r * d + column] = row.codes[place];
            rounded.kept[r * d + column] = row.kept[place];
        }
    }
    Ok(rounded)
}

/// Columns of much weight first, while there are others to make good; windows
/// stay together.
fn order(problem: &Problem<'_>) -> Vec<usize> {
    let d = problem.depth;
    let mut order: Vec<usize> = (0..d).collect();
    if !matches!(problem.sparsity, Sparsity::NofM { .. }) {
        let weight = |c: usize| problem.moments[c * d + c];
        order.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)));
    }
    order
}

fn permuted_square(problem: &Problem<'_>, order: &[usize]) -> Vec<f64> {
    let d = problem.depth;
    let row = |&i: &usize| order.iter().map(move |&j| problem.moments[i * d + j]);
    let mut out: Vec<f64> = order.iter().flat_map(row).collect();
    dampen(&mut out, d, problem.damping);
    out
}

/// Adds a part of the mean diagonal to the diagonal.
pub(super) fn dampen(moments: &mut [f64], d: usize, part: f64) {
    let mean = (0..d).map(|i| moments[i * d + i]).sum::<f64>() / d.max(1) as f64;
    // Where no input ever was anything, any rounding is as good.
    let more = (part * mean).max(1e-12);
    (0..d).for_each(|i| moments[i * d + i] += more);
}

struct Row {
    scale: f64,
    values: Vec<f64>,
    kept: Vec<bool>,
    codes: Vec<i16>,
}

impl Row {
    /// Rounds a column and spreads its error over those behind.
    fn round(&mut self, j: usize, factor: &[f64], limit: i32) {
        let value = self.values[j];
        if self.kept[j] {
            let limit = f64::from(limit);
            let code = (value / self.scale).round_ties_even().clamp(-limit, limit);
            self.codes[j] = code as i16;
        }
        let error = (value - f64::from(self.codes[j]) * self.scale) / factor[j];
        subtract(&mut self.values[j + 1..], error, &factor[j + 1..]);
    }

    /// What removing a column costs (Hassibi & Stork 1993), by the diagonal of the
    /// inverse: the same for all rows, wherever the column stands in the order.
    fn cost(&self, j: usize, free: &[f64]) -> f64 {
        match self.kept[j] {
            true => self.values[j].powi(2) / free[j],
            false => -1.0,
        }
    }
}

/// The diagonal of `H⁻¹ = Uᵀ·U`.
fn inverse_diagonal(factor: &[f64], d: usize) -> Vec<f64> {
    let mut diagonal = vec![0.0; d];
    for row in factor.chunks_exact(d.max(1)) {
        diagonal
            .iter_mut()
            .zip(row)
            .for_each(|(sum, u)| *sum += u * u);
    }
    diagonal
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
    if keep == 0 || sorted.is_empty() {
        return vec![0; blocks.len()];
    }
    let (_, least, _) = sorted.select_nth_unstable_by(keep - 1, |a, b| b.total_cmp(a));
    let least = *least;
    let count = |block: &Range<usize>| {
        let inside = costs.iter().flat_map(|row| &row[block.clone()]);
        inside.filter(|&&cost| cost >= least && cost >= 0.0).count()
    };
    blocks.iter().map(count).collect()
}

/// Keeps so many weights of a block of columns, over these rows: those that cost
/// most, of equal ones the earlier.
fn keep_largest(rows: &mut [Row], block: Range<usize>, free: &[f64], keep: usize) {
    let width = block.len();
    let mut costs: Vec<(f64, usize)> = rows
        .iter()
        .enumerate()
        .flat_map(|(r, row)| {
            let cost = move |j| (row.cost(j, free), r * width + j - block.start);
            block.clone().map(cost)
        })
        .collect();
    if keep < costs.len() {
        costs.select_nth_unstable_by(keep, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for &(_, at) in &costs[keep..] {
            rows[at / width].kept[block.start + at % width] = false;
        }
    }
}

/// `Σ_rows e·H·eᵀ` of a difference `e`: the mean square by which the outputs of
/// a layer differ.  difference: `[rows, depth]`, moments: `[depth, depth]`.
pub fn output_error(difference: &[f64], moments: &[f64], depth: usize) -> f64 {
    let row = |e: &[f64]| -> f64 {
        let products = moments.chunks_exact(depth).zip(e);
        products
            .map(|(h, &f)| {
                if f == 0.0 {
                    0.0
                } else {
                    f * super::linalg::dot(h, e)
                }
            })
            .sum()
    };
    // Summed in the rows' order, so that threads change nothing.
    let sums: Vec<f64> = difference.par_chunks_exact(depth.max(1)).map(row).collect();
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::super::linalg::tests::{naive_inverse, positive};
    use super::*;
    use proptest::prelude::*;

    fn target(rows: usize, d: usize, seed: u64) -> Vec<f64> {
        (0..rows * d)
            .map(|i| ((i as u64 * 2_654_435_761 + seed * 97) % 1000) as f64 / 500.0 - 1.0)
            .collect()
    }

    /// One row, one column after the other: the inverse of what is left, anew.
    fn naive(problem: &Problem<'_>) -> Vec<i16> {
        let d = problem.depth;
        let mut moments = problem.moments.to_vec();
        dampen(&mut moments, d, problem.damping);
        let order = order(problem);
        let mut codes = vec![0; problem.target.len()];
        for (r, target) in problem.target.chunks(d).enumerate() {
            let mut w = target.to_vec();
            for at in 0..d {
                let free = &order[at..];
                let k = free.len();
                let sub: Vec<f64> = free
                    .iter()
                    .flat_map(|&i| free.iter().map(move |&j| (i, j)))
                    .map(|(i, j)| moments[i * d + j])
                    .collect();
                let inverse = naive_inverse(&sub, k);
                let c = free[0];
                let kept = problem.support.is_none_or(|s| s[r * d + c]);
                let code = match kept {
                    true => (w[c] / problem.scales[r])
                        .round_ties_even()
                        .clamp(-f64::from(problem.limit), f64::from(problem.limit)),
                    false => 0.0,
                };
                codes[r * d + c] = code as i16;
                let error = (w[c] - code * problem.scales[r]) / inverse[0];
                for (i, &column) in free.iter().enumerate() {
                    w[column] -= error * inverse[i * k];
                }
            }
        }
        codes
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_order_of_optimal_brain_quantization(
            d in 1usize..8, rows in 1usize..4, seed in 0u64..200, bits in 2u8..=4,
        ) {
            let target = target(rows, d, seed);
            let support: Vec<bool> = (0..rows * d).map(|i| (seed >> (i % 8)) & 1 == 0).collect();
            let scales = vec![0.3; rows];
            for support in [None, Some(support.as_slice())] {
                let problem = Problem {
                    depth: d,
                    target: &target,
                    moments: &positive(d, seed),
                    scales: &scales,
                    limit: secateur_model::weight::max_code(bits),
                    support,
                    sparsity: Sparsity::Keep,
                    damping: 0.01,
                };
                let rounded = round(&problem).unwrap();
                prop_assert_eq!(&rounded.codes, &naive(&problem));
                for (i, &code) in rounded.codes.iter().enumerate() {
                    prop_assert!(support.is_none_or(|s| s[i]) || code == 0);
                }
            }
        }
    }

    fn error(problem: &Problem<'_>, codes: &[i16]) -> f64 {
        let d = problem.depth;
        let difference: Vec<f64> = (0..codes.len())
            .map(|i| problem.target[i] - f64::from(codes[i]) * problem.scales[i / d])
            .collect();
        output_error(&difference, problem.moments, d)
    }

    #[test]
    fn it_beats_rounding_to_the_nearest_and_pruning_by_magnitude() {
        let (d, rows) = (40, 6);
        let (target, moments) = (target(rows, d, 3), positive(d, 9));
        let scales = vec![0.25; rows];
        let mut problem = Problem {
            depth: d,
            target: &target,
            moments: &moments,
            scales: &scales,
            limit: 7,
            support: None,
            sparsity: Sparsity::Keep,
            damping: 0.001,
        };
        let nearest: Vec<i16> = target.iter().map(|w| (w / 0.25).round() as i16).collect();
        let rounded = round(&problem).unwrap();
        assert!(error(&problem, &rounded.codes) < 0.7 * error(&problem, &nearest));

        problem.sparsity = Sparsity::Density(0.5);
        let rounded = round(&problem).unwrap();
        assert_eq!(rounded.kept.iter().filter(|&&k| k).count(), rows * d / 2);
        let mut order: Vec<usize> = (0..rows * d).collect();
        order.sort_by(|&a, &b| target[b].abs().total_cmp(&target[a].abs()));
        let mut magnitude = nearest.clone();
        order[rows * d / 2..].iter().for_each(|&i| magnitude[i] = 0);
        let ratio = error(&problem, &rounded.codes) / error(&problem, &magnitude);
        assert!(ratio < 0.9, "{ratio}");
    }

    #[test]
    fn windows_keep_no_more_than_n() {
        let (d, rows) = (10, 3);
        let (target, moments) = (target(rows, d, 1), positive(d, 2));
        let problem = Problem {
            depth: d,
            target: &target,
            moments: &moments,
            scales: &[0.05; 3],
            limit: 127,
            support: None,
            sparsity: Sparsity::NofM { n: 2, m: 4 },
            damping: 0.01,
        };
        let rounded = round(&problem).unwrap();
        for row in rounded.kept.chunks(d) {
            assert!(row.chunks(4).all(|w| w.iter().filter(|&&k| k).count() <= 2));
        }
        let zero = |(&c, &k): (&i16, &bool)| k || c == 0;
        assert!(rounded.codes.iter().zip(&rounded.kept).all(zero));
    }

    #[test]
    fn inputs_that_never_were_anything_do_not_matter() {
        let problem = Problem {
            depth: 2,
            target: &[0.6, -0.4],
            moments: &[0.0; 4],
            scales: &[0.5],
            limit: 7,
            support: None,
            sparsity: Sparsity::Keep,
            damping: 0.01,
        };
        assert_eq!(round(&problem).unwrap().codes, [1, -1]);
        let problem = Problem {
            moments: &[f64::NAN; 4],
            ..problem
        };
        assert!(round(&problem).is_err());
    }
}
