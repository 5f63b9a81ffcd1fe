//! Weights while they are trained: full-precision values behind the form that
//! compression gave them.

use crate::TrainError;
use crate::ops::Live;
use crate::optimiser::{Optimiser, Pace};
use crate::rate::{Coded, Rate, RateOptions};
use crate::steps::{Steps, first_step, gradient_factor, step_slope};
use secateur_model::weight::max_code;
use secateur_model::{Bitmask, Codebook, Constant, Graph, Scale, Support, Values, Weight};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every weight of a graph as latent f32 values with its constraint.
///
/// A step computes with the *effective* values (masked, shared, rounded); the
/// gradient of an effective value moves the latent ones: straight through a
/// rounding (Bengio et al. 2013), averaged over the members of a shared value
/// (Han et al. 2016), and not at all where the mask has removed it. Steps of
/// integers stay, or are learned too (Esser et al. 2020).
#[derive(Debug, Clone)]
pub struct LatentWeights {
    weights: BTreeMap<String, Latent>,
}

#[derive(Debug, Clone)]
pub(crate) struct Latent {
    pub weight: Weight,
    /// What is trained: a value for each position, or for each codebook entry.
    pub values: Vec<f32>,
    support: Support,
    removed: Removed,
    /// The scales of an integer weight, where they are learned.
    pub steps: Option<Steps>,
    /// How its integers are trained to be cheap; `values` are then in steps.
    rate: Option<Rate>,
    /// Rows and columns that may have values, where others may not.
    pub live: Option<Arc<Live>>,
    /// Whether weight decay applies: matrices and kernels, not vectors.
    decays: bool,
    /// First and second moments of the optimiser.
    moments: [Vec<f32>; 2],
}

/// What steps change of a weight whose support stays.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LatentState {
    values: Vec<f32>,
    moments: [Vec<f32>; 2],
    steps: Option<Steps>,
    rate: Option<Rate>,
    live: Option<Live>,
}

fn both_or_none<T>(a: &Option<T>, b: &Option<T>, fits: impl Fn(&T, &T) -> bool) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => fits(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// What becomes of the values that a support does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// They are cleared, and stay zero until a support keeps them again.
    Cleared,
    /// They go on training out of sight, as if the network computed with them, so that a later
    /// support may keep them again.
    Shadow,
}

impl LatentWeights {
    /// The weights of a graph. Rounded ones start from the values of `unrounded`,
    /// where it has a weight of that name and shape.
    pub(crate) fn new(graph: &Graph, unrounded: Option<&Graph>, learn_steps: bool) -> Self {
        let latent = |name: &str, weight: &Weight| {
            let mut latent = Latent::new(weight);
            let exact = unrounded.and_then(|graph| graph.weight(name));
            let unrounded = exact.is_some_and(|exact| latent.start_from(exact));
            if learn_steps {
                latent.learn_steps(unrounded);
            }
            latent
        };
        let weights = graph
            .weights()
            .map(|(name, weight)| (name.to_owned(), latent(name, weight)))
            .collect();
        Self { weights }
    }

    /// Names of the weights.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.weights.keys().map(String::as_str)
    }

    /// The latent value of every position (of every codebook entry for a shared
    /// weight).
    pub fn values(&self, name: &str) -> Option<&[f32]> {
        self.weights.get(name).map(|w| w.values.as_slice())
    }

    /// Which positions of a weight are kept.
    pub fn support(&self, name: &str) -> Option<&Support> {
        self.weights.get(name).map(|w| &w.support)
    }

    /// Sets which positions are kept, and what becomes of the others. The weight is stored in this
    /// form.
    ///
    /// # Errors
    /// A name that is no weight, a support that does not fit its shape, a weight that is shared or
    /// quantized.
    pub fn set_support(
        &mut self,
        name: &str,
        support: Support,
        removed: Removed,
    ) -> Result<(), TrainError> {
        let latent = self
            .weights
            .get_mut(name)
            .ok_or_else(|| TrainError::Setting(format!("no weight `{name}` to prune")))?;
        if !matches!(latent.weight.values(), Values::F32(_)) {
            return Err(TrainError::Setting(format!(
                "`{name}` is shared or quantized and cannot be pruned"
            )));
        }
        let kept = support
            .mask()
            .map_or(latent.values.len(), Bitmask::count_ones);
        let values = Values::F32(vec![0.0; kept]);
        Weight::new(latent.weight.shape().clone(), support.clone(), values)?;
        if let (Some(mask), Removed::Cleared) = (support.mask(), removed) {
            latent.clear_outside(mask);
        }
        latent.live = match removed {
            Removed::Cleared => Live::of(&support, latent.weight.matrix()),
            Removed::Shadow => None,
        };
        (latent.support, latent.removed) = (support, removed);
        Ok(())
    }

    /// Lets weights be integers of steps that are learned, at a price a bit; those that were
    /// trained so go on from where they are.
    ///
    /// # Errors
    /// A name that is no weight, a weight that has another form already, a step that is no positive
    /// number.
    pub(crate) fn code(&mut self, weights: &BTreeMap<String, Coded>) -> Result<(), TrainError> {
        for (name, &coded) in weights {
            let latent = self.weights.get_mut(name);
            let fits = |l: &&mut Latent| match l.weight.values() {
                Values::F32(_) => true,
                Values::Int { scale, .. } => matches!(scale, Scale::PerTensor(_)),
                _ => false,
            };
            let Some(latent) = latent.filter(fits) else {
                return Err(TrainError::Setting(format!(
                    "`{name}` is neither f32 nor integers of one scale, which a price of bits needs"
                )));
            };
            let Coded {
                step, product_bits, ..
            } = coded;
            if !step.is_finite() || step <= 0.0 {
                return Err(TrainError::Setting(format!(
                    "the step of `{name}` must be positive, found {step}"
                )));
            }
            if !product_bits.is_finite() || product_bits < 0.0 {
                return Err(TrainError::Setting(format!(
                    "the bits of products of `{name}` must be 0 or more, found {product_bits}"
                )));
            }
            latent.values.iter_mut().for_each(|v| *v /= step);
            latent.rate = Some(Rate::new(latent.weight.matrix(), coded));
            if coded.zeros_return && matches!(latent.weight.values(), Values::Int { .. }) {
                (latent.support, latent.live) = (Support::All, None);
            }
        }
        Ok(())
    }

    /// Sets the price of a bit for a step of the training.
    pub(crate) fn price(&mut self, options: &RateOptions, step: usize, total: usize) {
        for latent in self.weights.values_mut() {
            let Some(rate) = &mut latent.rate else {
                continue;
            };
            if rate.begin(
                options,
                &mut latent.values,
                &mut latent.moments,
                step,
                total,
            ) {
                let [rows, columns] = rate.living();
                latent.live = Live::new(rows, columns, latent.weight.matrix());
            }
        }
    }

    /// Positions that are kept, and all, of a weight.
    pub(crate) fn connections(&self, name: &str) -> Option<(usize, usize)> {
        let latent = self.weights.get(name)?;
        let all = latent.weight.shape().elements();
        Some((latent.mask().map_or(all, Bitmask::count_ones), all))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Latent)> {
        self.weights.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Latent)> {
        self.weights.iter_mut()
    }

    /// What steps have changed, where no support has.
    pub(crate) fn state(&self) -> BTreeMap<String, LatentState> {
        let state = |latent: &Latent| LatentState {
            values: latent.values.clone(),
            moments: latent.moments.clone(),
            steps: latent.steps.clone(),
            rate: latent.rate.clone(),
            live: latent.live.as_deref().cloned(),
        };
        let weights = self.weights.iter();
        weights
            .map(|(name, latent)| (name.clone(), state(latent)))
            .collect()
    }

    /// Takes back what [`state`](Self::state) gave; false where it is of other weights.
    pub(crate) fn resume(&mut self, mut state: BTreeMap<String, LatentState>) -> bool {
        let own = state.len() == self.weights.len();
        own && self.weights.iter_mut().all(|(name, latent)| {
            let len = latent.values.len();
            let fits = |kept: &LatentState| {
                let live = kept.live.as_ref();
                kept.values.len() == len
                    && kept.moments.iter().all(|m| m.len() == len)
                    && both_or_none(&kept.steps, &latent.steps, Steps::fits)
                    && both_or_none(&kept.rate, &latent.rate, Rate::fits)
                    && live.is_none_or(|live| live.fits(latent.weight.matrix()))
            };
            let Some(kept) = state.remove(name).filter(fits) else {
                return false;
            };
            (latent.values, latent.moments) = (kept.values, kept.moments);
            (latent.steps, latent.rate) = (kept.steps, kept.rate);
            latent.live = kept.live.map(Arc::new);
            true
        })
    }

    /// Writes the trained values back in the form each weight had.
    pub(crate) fn store(&self, graph: &mut Graph) -> Result<(), TrainError> {
        for (name, latent) in &self.weights {
            if latent.values.iter().any(|v| !v.is_finite()) {
                return Err(TrainError::Setting(format!(
                    "`{name}` has a value that is no finite number; lower the learning rate"
                )));
            }
            let weight = latent.to_weight()?;
            graph
                .constants
                .insert(name.clone(), Constant::Weight(weight));
        }
        Ok(())
    }
}

impl Latent {
    fn new(weight: &Weight) -> Self {
        let values = match weight.values() {
            Values::Shared { codebook, .. } => {
                (0..codebook.len()).map(|i| codebook.value(i)).collect()
            }
            _ => weight.to_f32(),
        };
        Self {
            moments: [vec![0.0; values.len()], vec![0.0; values.len()]],
            decays: weight.shape().rank() > 1,
            weight: weight.clone(),
            support: weight.support().clone(),
            removed: Removed::Cleared,
            steps: None,
            rate: None,
            live: Live::of(weight.support(), weight.matrix()),
            values,
        }
    }

    fn mask(&self) -> Option<&Bitmask> {
        self.support.mask()
    }

    /// Takes the values that a rounded weight was rounded from, where it was.
    fn start_from(&mut self, exact: &Weight) -> bool {
        let rounded = !matches!(self.weight.values(), Values::F32(_) | Values::Shared { .. });
        let fits = rounded && exact.shape() == self.weight.shape();
        if fits {
            self.values = exact.to_f32();
            if let Some(mask) = self.mask().cloned() {
                self.clear_outside(&mask);
            }
        }
        fits
    }

    /// From here on the scales of an integer weight are trained: from those that suit values before their
    /// rounding, else from where they are.
    fn learn_steps(&mut self, unrounded: bool) {
        let Values::Int { bits, scale, .. } = self.weight.values() else {
            return;
        };
        let limit = max_code(*bits) as f32;
        let mut sums = vec![(0.0f64, 0usize); scale.steps().len()];
        let columns = self.columns();
        for position in self.weight.positions() {
            let index = scale.index_at(position / columns, position % columns, columns);
            let (magnitudes, members) = &mut sums[index];
            *magnitudes += f64::from(self.values[position].abs());
            *members += 1;
        }
        let starts = sums.iter().zip(scale.steps());
        let start = |(&(magnitudes, members), &stored): (&(f64, usize), &f32)| {
            let first = first_step(magnitudes, members, limit).filter(|_| unrounded);
            first.unwrap_or(stored)
        };
        let starts = starts.map(start).collect();
        let factors = sums.iter().map(|&(_, n)| gradient_factor(n, limit));
        self.steps = Some(Steps::new(starts, factors.collect()));
    }

    /// The scale as it stands.
    fn scale(&self, stored: &Scale) -> Scale {
        match &self.steps {
            Some(steps) => stored.with_steps(&steps.values()),
            None => stored.clone(),
        }
    }

    /// Columns of the matrix view.
    fn columns(&self) -> usize {
        self.weight.matrix().1.max(1)
    }

    fn clear_outside(&mut self, mask: &Bitmask) {
        for i in (0..self.values.len()).filter(|&i| !mask.get(i)) {
            self.values[i] = 0.0;
            self.moments.iter_mut().for_each(|m| m[i] = 0.0);
        }
    }

    /// The value that the network computes with at every position.
    pub fn effective(&self) -> Vec<f32> {
        if let Some(rate) = &self.rate {
            return rate.effective(&self.values);
        }
        let columns = self.columns();
        match self.weight.values() {
            Values::Shared { codebook, codes } => {
                let entries: Vec<f32> = match codebook {
                    Codebook::F32(_) => self.values.clone(),
                    Codebook::Int { scale, .. } => self
                        .values
                        .iter()
                        .map(|&v| to_code(v, *scale, 8, true) as f32 * scale)
                        .collect(),
                };
                let mut all = vec![0.0; self.weight.shape().elements()];
                for (position, &code) in self.weight.positions().zip(codes) {
                    all[position] = entries[usize::from(code)];
                }
                all
            }
            Values::Int { bits, scale, .. } => {
                let scale = self.scale(scale);
                self.kept()
                    .map(|(i, v)| {
                        let s = scale.at(i / columns, i % columns, columns);
                        to_code(v, s, *bits, self.mask().is_some()) as f32 * s
                    })
                    .collect()
            }
            _ => self.kept().map(|(_, v)| v).collect(),
        }
    }

    /// The latent values with zeros outside the mask.
    fn kept(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.values
            .iter()
            .enumerate()
            .map(|(i, &v)| match self.mask() {
                Some(mask) if !mask.get(i) => (i, 0.0),
                _ => (i, v),
            })
    }

    /// One step against the gradient of the effective values.
    pub fn descend(&mut self, mut effective: Vec<f32>, optimiser: &Optimiser, pace: Pace) {
        if let Some(rate) = &mut self.rate {
            if let Some(mask) = self.support.mask() {
                let removed = effective.iter_mut().enumerate();
                removed
                    .filter(|(i, _)| !mask.get(*i))
                    .for_each(|(_, g)| *g = 0.0);
            }
            return rate.descend(
                &mut self.values,
                &mut self.moments,
                effective,
                optimiser,
                pace,
            );
        }
        let of_steps = self.step_gradient(&mut effective);
        if let (Some(steps), Some(gradient)) = (&mut self.steps, of_steps) {
            steps.descend(gradient, optimiser, pace);
        }
        let gradient = self.gradient(effective);
        let decay = if self.decays { pace.decay } else { 0.0 };
        let pace = Pace { decay, ..pace };
        let [first, second] = &mut self.moments;
        optimiser.step(&mut self.values, [first, second], &gradient, pace);
    }

    /// The gradient of learned steps; where a value saturates, that of the value
    /// itself becomes zero.
    fn step_gradient(&self, effective: &mut [f32]) -> Option<Vec<f32>> {
        let (Some(_), Values::Int { bits, scale, .. }) = (&self.steps, self.weight.values()) else {
            return None;
        };
        let (scale, columns) = (self.scale(scale), self.columns());
        let limit = max_code(*bits) as f32;
        let mut sums = vec![0.0f64; scale.steps().len()];
        for position in self.weight.positions() {
            let index = scale.index_at(position / columns, position % columns, columns);
            let (s, v) = (scale.steps()[index], self.values[position]);
            let code = to_code(v, s, *bits, self.mask().is_some()) as f32;
            let slope = step_slope(v / s, code, [-limit, limit]);
            sums[index] += f64::from(effective[position] * slope);
            if (v / s).abs() > limit {
                effective[position] = 0.0;
            }
        }
        Some(sums.into_iter().map(|sum| sum as f32).collect())
    }

    /// The gradient of the latent values from that of the effective ones.
    ///
    /// For a shared weight the derivative of an entry is the sum over its
    /// members; it is divided by their number, which makes a step the projection
    /// of the members' own steps onto equal values. So one learning rate suits
    /// shared and free weights, however large a cluster is.
    fn gradient(&self, mut effective: Vec<f32>) -> Vec<f32> {
        if let Values::Shared { codebook, codes } = self.weight.values() {
            let mut sums = vec![(0.0f64, 0u32); codebook.len()];
            for (position, &code) in self.weight.positions().zip(codes) {
                let (sum, members) = &mut sums[usize::from(code)];
                *sum += f64::from(effective[position]);
                *members += 1;
            }
            // An entry that is zero stands for removed weights and stays zero.
            let mean = |((sum, members), &v): ((f64, u32), &f32)| match v {
                0.0 => 0.0,
                _ => (sum / f64::from(members.max(1))) as f32,
            };
            return sums.into_iter().zip(&self.values).map(mean).collect();
        }
        if let (Some(mask), Removed::Cleared) = (self.mask(), self.removed) {
            for (i, g) in effective.iter_mut().enumerate() {
                if !mask.get(i) {
                    *g = 0.0;
                }
            }
        }
        effective
    }

    fn to_weight(&self) -> Result<Weight, TrainError> {
        let shape = self.weight.shape().clone();
        if let Some(rate) = &self.rate {
            let (support, values) = rate.form(&self.values, &self.support);
            return Ok(Weight::new(shape, support, values)?);
        }
        let columns = self.columns();
        let kept: Vec<(usize, f32)> = match self.mask() {
            Some(mask) if !matches!(self.weight.values(), Values::Shared { .. }) => {
                mask.ones().map(|i| (i, self.values[i])).collect()
            }
            _ => self.values.iter().copied().enumerate().collect(),
        };
        let floats = || kept.iter().map(|&(_, v)| v);
        let values = match self.weight.values() {
            Values::F32(_) => Values::F32(floats().collect()),
            Values::F16(_) => Values::F16(floats().map(half_of).collect()),
            Values::BF16(_) => Values::BF16(floats().map(bhalf_of).collect()),
            Values::Int { bits, scale, .. } => {
                let scale = self.scale(scale);
                let code = |&(i, v): &(usize, f32)| {
                    let s = scale.at(i / columns, i % columns, columns);
                    to_code(v, s, *bits, self.mask().is_some()) as i16
                };
                Values::Int {
                    bits: *bits,
                    codes: kept.iter().map(code).collect(),
                    scale,
                }
            }
            Values::Shared { codebook, codes } => Values::Shared {
                codebook: match codebook {
                    Codebook::F32(_) => Codebook::F32(self.values.clone()),
                    Codebook::Int { scale, .. } => Codebook::Int {
                        codes: floats()
                            .map(|v| to_code(v, *scale, 8, true) as i8)
                            .collect(),
                        scale: *scale,
                    },
                },
                codes: codes.clone(),
            },
        };
        Ok(Weight::new(shape, self.support.clone(), values)?)
    }
}

fn half_of(v: f32) -> half::f16 {
    half::f16::from_f32(v)
}

fn bhalf_of(v: f32) -> half::bf16 {
    half::bf16::from_f32(v)
}

/// The nearest code; with `keep`, a kept weight never becomes zero.
fn to_code(value: f32, scale: f32, bits: u8, keep: bool) -> i32 {
    let limit = max_code(bits);
    match ((value / scale).round_ties_even() as i32).clamp(-limit, limit) {
        0 if keep && value != 0.0 => value.signum() as i32,
        code => code,
    }
}

#[cfg(test)]
mod tests;
