//! What coding a weight's integers costs, as a term of the loss.
//!
//! Entropy-penalised training (Oktay et al. 2020; Wiedemann et al. 2020): the length of each code
//! under an adaptive model of its own weight, made continuous between the codes, pulls values
//! towards cheaper ones. The model is a small likeness of the range coder's: every row and every
//! column has a density of its own, so that a value in an empty column costs more than one among
//! others, and whole inputs and neurons die by themselves.

use crate::ops::vectorized;
use crate::optimiser::{Optimiser, Pace};
use secateur_model::weight::max_code;
use secateur_model::{Bitmask, Scale, Support, Values};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// Trains weights to be cheap to code: they become integers times a step that is learned, and
/// every bit of the integers has a price in the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct RateOptions {
    /// Price of a bit, in nats of the loss.
    pub nats_per_bit: f32,
    /// Weights that are coded.
    pub weights: BTreeMap<String, Coded>,
    /// Share of the training in which the price rises and what has died may come back.
    pub warm_up: f32,
}

/// A weight that is trained to be cheap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coded {
    /// Step of the integers that it starts from.
    pub step: f32,
    /// What a value that is not zero costs beside its code, in bits: its multiplications.
    pub product_bits: f32,
    /// Whether integers that are zero at the start may come back until the price has risen, as where a
    /// lower price alone has put them out; if not, they stay, as what is pruned does.
    pub zeros_return: bool,
}

/// Width of the integers: a limit that prices keep far from.
const BITS: u8 = 8;
/// Optimiser steps between two counts of the codes.
const COUNT_EVERY: usize = 20;
/// Learning rate of a step's logarithm, for each unit of the values' own.
const STEP_RATE: f32 = 0.5;

/// A weight as `step · round(value)`, and what its integers cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rate {
    columns: usize,
    step: f32,
    product_bits: f32,
    /// Moments of the gradient of the step's logarithm.
    moments: [f32; 2],
    nats_per_bit: f32,
    /// Bits that leaving zero costs: the row's share and the column's.
    row_bits: Vec<f32>,
    column_bits: Vec<f32>,
    /// Bits for each unit of magnitude beyond 1.
    unit_bits: f32,
    /// Rows that are out for good.
    dead_rows: Vec<bool>,
    /// 1 for a column that is left, 0 for one that is out for good.
    alive_columns: Vec<f32>,
}

impl Rate {
    pub(crate) fn new((rows, columns): (usize, usize), coded: Coded) -> Self {
        let columns = columns.max(1);
        Self {
            columns,
            step: coded.step,
            product_bits: coded.product_bits,
            moments: [0.0; 2],
            nats_per_bit: 0.0,
            row_bits: vec![0.0; rows],
            column_bits: vec![0.0; columns],
            unit_bits: 0.0,
            dead_rows: vec![false; rows],
            alive_columns: vec![1.0; columns],
        }
    }

    /// Whether this is of a weight of the same matrix as another.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        let extents = |rate: &Self| {
            let rows = [rate.row_bits.len(), rate.dead_rows.len()];
            let columns = [rate.column_bits.len(), rate.alive_columns.len()];
            (rate.columns, rows, columns)
        };
        extents(self) == extents(other)
    }

    /// Sets the price for step `number` of `total`, and from time to time counts the codes.
    /// Whether rows or columns may have died.
    pub(crate) fn begin(
        &mut self,
        options: &RateOptions,
        values: &mut [f32],
        moments: &mut [Vec<f32>; 2],
        number: usize,
        total: usize,
    ) -> bool {
        let warm = (total as f32 * options.warm_up).max(1.0);
        self.nats_per_bit = options.nats_per_bit * (number as f32 / warm).min(1.0);
        if !number.is_multiple_of(COUNT_EVERY) {
            return false;
        }
        let buries = number as f32 >= warm && self.row_bits.len() > 1;
        if buries {
            self.bury(values, moments);
        }
        self.count(values);
        buries
    }

    /// Moves values and step against the gradient of the effective values and the price.
    pub(crate) fn descend(
        &mut self,
        values: &mut [f32],
        moments: &mut [Vec<f32>; 2],
        mut gradient: Vec<f32>,
        optimiser: &Optimiser,
        pace: Pace,
    ) {
        let of_step = self.gradient(values, &mut gradient);
        self.move_step(of_step, pace.rate * STEP_RATE, pace.step);
        let [first, second] = moments;
        for range in self.living_rows() {
            vectorized(
                #[inline(always)]
                || {
                    let moments = [&mut first[range.clone()], &mut second[range.clone()]];
                    let (values, gradient) = (&mut values[range.clone()], &gradient[range]);
                    optimiser.step(values, moments, gradient, Pace { decay: 0.0, ..pace });
                },
            );
        }
    }

    /// What the network computes with.
    pub(crate) fn effective(&self, values: &[f32]) -> Vec<f32> {
        let mut all = vec![0.0; values.len()];
        vectorized(
            #[inline(always)]
            || {
                for range in self.living_rows() {
                    for (e, &v) in all[range.clone()].iter_mut().zip(&values[range]) {
                        *e = rounded(v) * self.step;
                    }
                }
            },
        );
        all
    }

    /// Where of these positions the integers are, and what. The step keeps as many digits as make it two
    /// bytes.
    pub(crate) fn form(&self, values: &[f32], support: &Support) -> (Support, Values) {
        let codes = values.iter().map(|&v| rounded(v) as i16);
        let mask: Vec<bool> = codes.clone().map(|code| code != 0).collect();
        let values = Values::Int {
            bits: BITS,
            codes: codes.filter(|&code| code != 0).collect(),
            scale: Scale::PerTensor(half::bf16::from_f32(self.step).to_f32()),
        };
        (support.narrowed(Bitmask::from_bools(&mask)), values)
    }

    /// Rows and columns that are left.
    pub(crate) fn living(&self) -> [Vec<usize>; 2] {
        let rows = self.dead_rows.iter().enumerate();
        let columns = self.alive_columns.iter().enumerate();
        let rows = rows.filter(|(_, dead)| !**dead).map(|(row, _)| row);
        let columns = columns.filter(|(_, alive)| **alive > 0.0).map(|(c, _)| c);
        [rows.collect(), columns.collect()]
    }

    /// Positions of the rows that are left.
    fn living_rows(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let columns = self.columns;
        let rows = self.dead_rows.clone().into_iter().enumerate();
        rows.filter(|(_, dead)| !dead)
            .map(move |(row, _)| row * columns..(row + 1) * columns)
    }

    /// Counts the codes: the model adapts as the range coder does.
    fn count(&mut self, values: &[f32]) {
        let (rows, columns) = (self.row_bits.len(), self.columns);
        let (mut in_row, mut in_column) = (vec![0u32; rows], vec![0u32; columns]);
        let (mut kept, mut magnitude) = (0u64, 0u64);
        for range in self.living_rows() {
            let ones = &mut in_row[range.start / columns];
            for (&value, in_column) in values[range].iter().zip(&mut in_column) {
                let code = rounded(value).abs() as u64;
                if code > 0 {
                    *ones += 1;
                    *in_column += 1;
                    kept += 1;
                    magnitude += code;
                }
            }
        }
        // Half a count on either side (Krichevsky & Trofimov 1981) keeps logits finite.
        let logit = |ones: f64, of: f64| ((ones + 0.5) / (of - ones + 0.5)).log2();
        let all = logit(kept as f64, (rows * columns) as f64);
        // A magnitude is geometric: it goes on with this probability.
        let goes_on = ((magnitude - kept) as f64 + 0.5) / (magnitude as f64 + 1.0);
        let (sign_bits, stop_bits) = (1.0, -(1.0 - goes_on).log2());
        self.unit_bits = -goes_on.log2() as f32;
        let leaving = sign_bits + stop_bits + all + f64::from(self.product_bits);
        for (bits, &ones) in self.row_bits.iter_mut().zip(&in_row) {
            *bits = (leaving - logit(ones.into(), columns as f64)) as f32;
        }
        for (bits, &ones) in self.column_bits.iter_mut().zip(&in_column) {
            // The columns of a vector are single values: they say nothing of their own.
            *bits = match rows {
                1 => -all as f32,
                _ => -logit(ones.into(), rows as f64) as f32,
            };
        }
    }

    /// Declares empty rows and columns dead: they never come back.
    fn bury(&mut self, values: &mut [f32], moments: &mut [Vec<f32>; 2]) {
        let columns = self.columns;
        let mut filled = vec![false; columns];
        for (values, dead) in values.chunks(columns).zip(&mut self.dead_rows) {
            *dead = true;
            for (&value, filled) in values.iter().zip(&mut filled) {
                if rounded(value) != 0.0 {
                    *dead = false;
                    *filled = true;
                }
            }
        }
        let alive = filled.iter().map(|&filled| f32::from(u8::from(filled)));
        self.alive_columns = alive.collect();
        let [first, second] = moments;
        for (i, value) in values.iter_mut().enumerate() {
            if self.dead_rows[i / columns] || !filled[i % columns] {
                *value = 0.0;
                first[i] = 0.0;
                second[i] = 0.0;
            }
        }
    }

    /// Turns the gradient of the effective values into that of the values in steps, with the
    /// price of their bits. Gives that of the step's logarithm.
    fn gradient(&self, values: &[f32], gradient: &mut [f32]) -> f32 {
        let (columns, step, price) = (self.columns, self.step, self.nats_per_bit);
        let unit = price * self.unit_bits;
        let mut of_step = 0.0f64;
        vectorized(
            #[inline(always)]
            || {
                for range in self.living_rows() {
                    let row_bits = self.row_bits[range.start / columns];
                    let (values, gradient) = (&values[range.clone()], &mut gradient[range]);
                    of_step += f64::from(step * product_sum(values, gradient));
                    let columns = self.column_bits.iter().zip(&self.alive_columns);
                    for ((&value, g), (bits, alive)) in values.iter().zip(gradient).zip(columns) {
                        let leaving = price * (row_bits + bits).max(0.0);
                        let slope = if value.abs() < 1.0 { leaving } else { unit };
                        let pull = if value == 0.0 {
                            0.0
                        } else {
                            slope.copysign(value)
                        };
                        *g = alive * (*g * step + pull);
                    }
                }
            },
        );
        of_step as f32
    }

    /// Adam on the step's logarithm.
    fn move_step(&mut self, gradient: f32, rate: f32, number: usize) {
        const BETAS: [f32; 2] = [0.9, 0.99];
        let [first, second] = &mut self.moments;
        *first = BETAS[0] * *first + (1.0 - BETAS[0]) * gradient;
        *second = BETAS[1] * *second + (1.0 - BETAS[1]) * gradient * gradient;
        let correct = |beta: f32| 1.0 - beta.powi(number.min(100_000) as i32);
        let (m, v) = (*first / correct(BETAS[0]), *second / correct(BETAS[1]));
        self.step *= (-rate * m / (v.sqrt() + 1e-12)).exp();
    }
}

/// To the nearest integer, ties to even, within the width: without a call, so that loops vectorise.
#[inline(always)]
fn rounded(value: f32) -> f32 {
    // Adding 1.5 · 2^23 leaves no bits below the ones.
    const ROUND: f32 = 12_582_912.0;
    let limit = max_code(BITS) as f32;
    (value.clamp(-limit, limit) + ROUND) - ROUND
}

/// `Σ gradient · code`, in lanes so that loops vectorise.
#[inline(always)]
fn product_sum(values: &[f32], gradient: &[f32]) -> f32 {
    let ((values, rest), (gradient, more)) = (values.as_chunks::<8>(), gradient.as_chunks::<8>());
    let mut sums = [0.0f32; 8];
    for (values, gradient) in values.iter().zip(gradient) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += rounded(values[lane]) * gradient[lane];
        }
    }
    let rest: f32 = rest.iter().zip(more).map(|(&v, g)| rounded(v) * g).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> RateOptions {
        RateOptions {
            nats_per_bit: 0.5,
            weights: BTreeMap::new(),
            warm_up: 0.5,
        }
    }

    const CODED: Coded = Coded {
        step: 0.1,
        product_bits: 0.0,
        zeros_return: true,
    };

    /// 3 rows of 4; the last row and the last column are empty.
    const VALUES: [f32; 12] = [1.2, 0.3, -2.0, 0.1, 0.9, -0.2, 0.0, 0.4, 0.2, 0.0, 0.0, 0.1];

    #[test]
    fn rounding_is_rounding() {
        for v in [-0.5, 0.5, 1.5, 2.5, -3.49, 100.2, 126.9, 0.0] {
            assert_eq!(rounded(v), v.round_ties_even());
        }
        assert_eq!((rounded(1e9), rounded(-1e9)), (127.0, -127.0));
    }

    #[test]
    fn fuller_rows_and_columns_are_cheaper() {
        let mut rate = Rate::new((3, 4), CODED);
        rate.count(&VALUES);
        assert!(rate.row_bits[0] < rate.row_bits[1] && rate.row_bits[1] < rate.row_bits[2]);
        assert!(rate.column_bits[0] < rate.column_bits[2]);
        assert!(rate.column_bits[2] < rate.column_bits[3]);
    }

    #[test]
    fn products_cost_what_they_are_said_to() {
        let product_bits = 3.0;
        let mut rates = [
            CODED,
            Coded {
                product_bits,
                ..CODED
            },
        ]
        .map(|c| Rate::new((3, 4), c));
        rates.iter_mut().for_each(|rate| rate.count(&VALUES));
        let [plain, priced] = &rates;
        assert_eq!(plain.column_bits, priced.column_bits);
        for (plain, priced) in plain.row_bits.iter().zip(&priced.row_bits) {
            assert!((priced - plain - product_bits).abs() < 1e-5);
        }
    }

    #[test]
    fn the_gradient_is_the_slope_of_loss_and_price() {
        let mut rate = Rate::new((3, 4), CODED);
        rate.nats_per_bit = 0.5;
        rate.count(&VALUES);
        let effective: Vec<f32> = (0..12).map(|i| i as f32 - 4.0).collect();
        let mut gradient = effective.clone();
        let of_step = rate.gradient(&VALUES, &mut gradient);
        let mut expected_step = 0.0;
        for (i, (&v, &g)) in VALUES.iter().zip(&effective).enumerate() {
            let bits = rate.row_bits[i / 4] + rate.column_bits[i % 4];
            let pull = match v.abs() {
                0.0 => 0.0,
                m if m < 1.0 => bits.max(0.0) * v.signum(),
                _ => rate.unit_bits * v.signum(),
            };
            assert!((gradient[i] - (0.1 * g + 0.5 * pull)).abs() < 1e-5, "{i}");
            expected_step += 0.1 * g * v.round_ties_even();
        }
        assert!((of_step - expected_step).abs() < 1e-4);
    }

    #[test]
    fn the_dead_stay_dead_and_only_after_the_warm_up() {
        let mut rate = Rate::new((3, 4), CODED);
        let mut values = VALUES;
        let mut moments = [vec![1.0; 12], vec![1.0; 12]];
        assert!(!rate.begin(&options(), &mut values, &mut moments, 0, 100));
        assert_eq!(rate.living(), [vec![0, 1, 2], vec![0, 1, 2, 3]]);
        assert!(rate.begin(&options(), &mut values, &mut moments, 60, 100));
        assert_eq!(rate.living(), [vec![0, 1], vec![0, 2]]);
        let (optimiser, pace) = (
            Optimiser::adam(),
            Pace {
                rate: 0.5,
                decay: 0.0,
                step: 61,
            },
        );
        rate.descend(&mut values, &mut moments, vec![7.0; 12], &optimiser, pace);
        for (i, v) in values.iter().enumerate() {
            let dead = i / 4 == 2 || [1, 3].contains(&(i % 4));
            assert_eq!(*v == 0.0, dead, "{i}");
        }
        let (support, _) = rate.form(&values, &Support::All);
        assert!(support.mask().is_some_and(|mask| mask.len() == 12));
    }

    #[test]
    fn a_high_price_makes_everything_zero() {
        let mut rate = Rate::new((3, 4), CODED);
        let mut values = VALUES;
        let mut moments = [vec![0.0; 12], vec![0.0; 12]];
        for number in 0..200 {
            rate.begin(&options(), &mut values, &mut moments, number, 200);
            let pace = Pace {
                rate: 0.05,
                decay: 0.0,
                step: number + 1,
            };
            let none = vec![0.0; 12];
            rate.descend(&mut values, &mut moments, none, &Optimiser::adam(), pace);
        }
        assert!(rate.effective(&values).iter().all(|&v| v == 0.0));
    }
}
