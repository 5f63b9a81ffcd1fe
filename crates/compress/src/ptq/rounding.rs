//! Second-order rounding: columns are rounded one after another, and what an error
//! costs the layer's output is made good by the columns that are still free. Optimal
//! Brain Quantization in one order for all rows (GPTQ, Frantar et al. 2023).

use super::columns::Columns;
use super::prices::Prices;
use crate::CompressError;
use crate::linalg::dot;
use rayon::prelude::*;

/// What is rounded, to which steps.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// The values to come near to, `[rows, depth]`.
    pub target: &'a [f64],
    /// What a code is worth, one for each row.
    pub scales: &'a [f64],
    /// The largest magnitude of a code.
    pub limit: i32,
    /// Positions that may be other than zero, `[rows, depth]`; `None`: all.
    pub support: Option<&'a [bool]>,
}

/// Rounds with the same second moments, as often as is wanted.
pub struct Rounder(Columns);

impl Rounder {
    /// For second moments `[depth, depth]` of the inputs; a part of their mean diagonal is added to the diagonal.
    ///
    /// # Errors
    /// Moments that are not finite.
    pub fn new(moments: &[f64], depth: usize, damping: f64) -> Result<Self, CompressError> {
        Columns::new(moments, depth, damping).map(Self)
    }

    /// What the output of one row changes by, in all, where each of its values is off by one.
    pub fn cost_of_row(&self) -> f64 {
        (0..self.0.len()).map(|j| self.0.cost(j)).sum()
    }

    /// Codes `q`, `[rows, depth]`, with which `Σ (w − q·s)·H·(w − q·s)ᵀ` over the rows is small; 0 outside the
    /// support. With prices, whose places are `[rows, depth]` too, that and what the codes cost together.
    pub fn round(&self, problem: &Problem<'_>, prices: Option<Prices<'_>>) -> Vec<i16> {
        let (d, columns) = (self.0.len(), &self.0);
        let limit = f64::from(problem.limit);
        let mut codes = vec![0; problem.target.len()];
        let rows = codes.par_chunks_exact_mut(d.max(1)).enumerate();
        rows.for_each(|(r, codes)| {
            let row = r * d..(r + 1) * d;
            let mut values = columns.arranged(&problem.target[row.clone()]);
            let kept = problem.support.map(|s| columns.arranged(&s[row.clone()]));
            let prices = prices.map(|p| (p, columns.arranged(&p.places[row])));
            let scale = problem.scales[r];
            let mut arranged = vec![0i16; d];
            for j in 0..d {
                let nearest = (values[j] / scale).round_ties_even().clamp(-limit, limit);
                let code = match (kept.as_ref().is_none_or(|kept| kept[j]), &prices) {
                    (false, _) => 0.0,
                    (true, None) => nearest,
                    (true, Some((prices, places))) => {
                        let cost = |code: f64| {
                            let error = (values[j] - code * scale).powi(2) * columns.cost(j);
                            error + prices.of(places[j], code)
                        };
                        let nearer_zero = (nearest.abs() - 1.0).max(0.0).copysign(nearest);
                        let options = [nearest, nearer_zero, 0.0];
                        let best = options
                            .into_iter()
                            .min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
                        best.unwrap_or(nearest)
                    }
                };
                arranged[j] = code as i16;
                columns.settle(&mut values, j, code * scale);
            }
            columns.restore(&arranged, codes);
        });
        codes
    }
}

/// `Σ_rows e·H·eᵀ` of a difference `e`: the mean square by which the outputs of
/// a layer differ.  difference: `[rows, depth]`, moments: `[depth, depth]`.
pub fn output_error(difference: &[f64], moments: &[f64], depth: usize) -> f64 {
    let row = |e: &[f64]| -> f64 {
        let products = moments.chunks_exact(depth).zip(e);
        products
            .map(|(h, &f)| if f == 0.0 { 0.0 } else { f * dot(h, e) })
            .sum()
    };
    // Summed in the rows' order, so that threads change nothing.
    let sums: Vec<f64> = difference.par_chunks_exact(depth.max(1)).map(row).collect();
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::super::columns::dampen;
    use super::*;
    use crate::linalg::tests::{naive_inverse, positive};
    use proptest::prelude::*;
    use secateur_io::codec::{Alphabet, Coder, Plane, Quotes, Zeros, encode};

    fn target(rows: usize, d: usize, seed: u64) -> Vec<f64> {
        (0..rows * d)
            .map(|i| ((i as u64 * 2_654_435_761 + seed * 97) % 1000) as f64 / 500.0 - 1.0)
            .collect()
    }

    /// One row, one column after the other: the inverse of what is left, anew.
    fn naive(problem: &Problem<'_>, moments: &[f64], d: usize, damping: f64) -> Vec<i16> {
        let order = Columns::new(moments, d, damping).unwrap();
        let mut moments = moments.to_vec();
        dampen(&mut moments, d, damping);
        let order = order.order();
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
            let moments = positive(d, seed);
            let rounder = Rounder::new(&moments, d, 0.01).unwrap();
            for support in [None, Some(support.as_slice())] {
                let problem = Problem {
                    target: &target,
                    scales: &scales,
                    limit: secateur_model::weight::max_code(bits),
                    support,
                };
                let rounded = rounder.round(&problem, None);
                prop_assert_eq!(&rounded, &naive(&problem, &moments, d, 0.01));
                for (i, &code) in rounded.iter().enumerate() {
                    prop_assert!(support.is_none_or(|s| s[i]) || code == 0);
                }
            }
        }
    }

    fn error(problem: &Problem<'_>, codes: &[i16], moments: &[f64], d: usize) -> f64 {
        let difference: Vec<f64> = (0..codes.len())
            .map(|i| problem.target[i] - f64::from(codes[i]) * problem.scales[i / d])
            .collect();
        output_error(&difference, moments, d)
    }

    #[test]
    fn it_beats_rounding_to_the_nearest() {
        let (d, rows) = (40, 6);
        let (target, moments) = (target(rows, d, 3), positive(d, 9));
        let scales = vec![0.25; rows];
        let problem = Problem {
            target: &target,
            scales: &scales,
            limit: 7,
            support: None,
        };
        let nearest: Vec<i16> = target.iter().map(|w| (w / 0.25).round() as i16).collect();
        let rounder = Rounder::new(&moments, d, 0.001).unwrap();
        let [rounded, nearest] = [rounder.round(&problem, None), nearest]
            .map(|codes| error(&problem, &codes, &moments, d));
        assert!(rounded < 0.7 * nearest);
    }

    /// At coarse steps, fewer bits at the same error than any step to the nearest.
    #[test]
    fn prices_save_bits_at_the_same_error() {
        let (d, rows) = (64, 40);
        let moments = positive(d, 4);
        // About a Laplace distribution, as weights have; every third column is thin.
        let thin = |i: usize| if (i % d).is_multiple_of(3) { 0.3 } else { 1.0 };
        let value =
            |(i, w): (usize, &f64)| -w.signum() * (1.0 - w.abs()).max(1e-3).ln() * 0.3 * thin(i);
        let target = target(rows, d, 5);
        let values: Vec<f64> = target.iter().enumerate().map(value).collect();
        let places: Vec<u32> = (0..values.len() as u32).collect();
        let with_plane = |codes: &[i16], act: &mut dyn FnMut(&Plane<'_>)| {
            let mask: Vec<bool> = codes.iter().map(|&c| c != 0).collect();
            let kept = codes.iter().filter(|&&c| c != 0);
            act(&Plane {
                rows,
                cols: d,
                mask: Some(&mask),
                symbols: &kept.map(|&c| c.into()).collect::<Vec<i32>>(),
                alphabet: Alphabet::Signed { bits: 8 },
            });
        };
        let run = |step: f64, trade: f64| {
            let scales = vec![step; rows];
            let problem = Problem {
                target: &values,
                scales: &scales,
                limit: 127,
                support: None,
            };
            let rounder = Rounder::new(&moments, d, 0.01).unwrap();
            let mut codes = rounder.round(&problem, None);
            if trade > 0.0 {
                let mut quotes = None;
                with_plane(&codes, &mut |plane| {
                    quotes = Some(Quotes::of(plane, Zeros::Masked).unwrap());
                });
                let prices = Prices {
                    quotes: quotes.as_ref().unwrap(),
                    places: &places,
                    bit: Prices::bit(trade, step * step * rounder.cost_of_row() / d as f64),
                };
                codes = rounder.round(&problem, Some(prices));
            }
            let mut bytes = 0;
            with_plane(&codes, &mut |plane| {
                bytes = encode(plane, Coder::Context).unwrap().bytes.len();
            });
            (error(&problem, &codes, &moments, d), bytes as f64)
        };
        let (wanted, bytes) = run(0.4, 1.0);
        // The finest step to the nearest whose error is as small.
        let steps = (1..=200).map(|i| f64::from(i) * 0.002);
        let tried = steps.map(|step| run(step, 0.0));
        let as_good = tried.filter(|(error, _)| *error <= wanted);
        let least = as_good
            .map(|(_, bytes)| bytes)
            .fold(f64::INFINITY, f64::min);
        assert!(bytes < 0.97 * least, "{bytes} {least}");
    }

    #[test]
    fn inputs_that_never_were_anything_do_not_matter() {
        let problem = Problem {
            target: &[0.6, -0.4],
            scales: &[0.5],
            limit: 7,
            support: None,
        };
        let rounder = Rounder::new(&[0.0; 4], 2, 0.01).unwrap();
        assert_eq!(rounder.round(&problem, None), [1, -1]);
        assert!(Rounder::new(&[f64::NAN; 4], 2, 0.01).is_err());
    }
}
