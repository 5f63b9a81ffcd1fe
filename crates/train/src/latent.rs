//! Weights while they are trained: full-precision values behind the form that
//! compression gave them.

use crate::TrainError;
use crate::optimiser::{Optimiser, Pace};
use crate::steps::{Steps, first_step, gradient_factor, step_slope};
use secateur_model::weight::max_code;
use secateur_model::{Bitmask, Codebook, Constant, Graph, Scale, Support, Values, Weight};
use std::collections::BTreeMap;

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
    mask: Option<Bitmask>,
    /// The scales of an integer weight, where they are learned.
    pub steps: Option<Steps>,
    /// Whether weight decay applies: matrices and kernels, not vectors.
    decays: bool,
    /// First and second moments of the optimiser.
    moments: [Vec<f32>; 2],
}

impl LatentWeights {
    /// The weights of a graph. Rounded ones start from the values of `unrounded`,
    /// where it has a weight of that name and shape.
    pub(crate) fn new(graph: &Graph, unrounded: Option<&Graph>, learn_steps: bool) -> Self {
        let latent = |name: &str, weight: &Weight| {
            let mut latent = Latent::new(weight);
            if let Some(exact) = unrounded.and_then(|graph| graph.weight(name)) {
                latent.start_from(exact);
            }
            if learn_steps {
                latent.learn_steps();
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

    /// Sets which positions are kept; the others are cleared, and stay zero
    /// until a mask keeps them again.
    ///
    /// # Errors
    /// A name that is no weight, a mask of another length, a weight that is
    /// shared or quantized.
    pub fn set_mask(&mut self, name: &str, mask: Bitmask) -> Result<(), TrainError> {
        let latent = self
            .weights
            .get_mut(name)
            .ok_or_else(|| TrainError::Setting(format!("no weight `{name}` to mask")))?;
        if !matches!(latent.weight.values(), Values::F32(_)) || mask.len() != latent.values.len() {
            return Err(TrainError::Setting(format!(
                "`{name}` cannot take a mask of {} positions",
                mask.len()
            )));
        }
        latent.clear_outside(&mask);
        latent.mask = Some(mask);
        Ok(())
    }

    /// Positions that are kept, and all, of a weight.
    pub(crate) fn connections(&self, name: &str) -> Option<(usize, usize)> {
        let latent = self.weights.get(name)?;
        let all = latent.weight.shape().elements();
        Some((latent.mask.as_ref().map_or(all, Bitmask::count_ones), all))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Latent)> {
        self.weights.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Latent)> {
        self.weights.iter_mut()
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
        let mask = weight.support().mask().cloned();
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
            steps: None,
            values,
            mask,
        }
    }

    /// Takes the values that a rounded weight was rounded from.
    fn start_from(&mut self, exact: &Weight) {
        let rounded = !matches!(self.weight.values(), Values::F32(_) | Values::Shared { .. });
        if rounded && exact.shape() == self.weight.shape() {
            self.values = exact.to_f32();
            if let Some(mask) = self.mask.clone() {
                self.clear_outside(&mask);
            }
        }
    }

    /// From here on the scales of an integer weight are trained.
    fn learn_steps(&mut self) {
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
        let starts = starts
            .map(|(&(magnitudes, members), &s)| first_step(magnitudes, members, limit).unwrap_or(s))
            .collect();
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
                        to_code(v, s, *bits, self.mask.is_some()) as f32 * s
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
            .map(|(i, &v)| match &self.mask {
                Some(mask) if !mask.get(i) => (i, 0.0),
                _ => (i, v),
            })
    }

    /// One step against the gradient of the effective values.
    pub fn descend(&mut self, mut effective: Vec<f32>, optimiser: &Optimiser, pace: Pace) {
        let of_steps = self.step_gradient(&mut effective);
        if let (Some(steps), Some(gradient)) = (&mut self.steps, of_steps) {
            steps.descend(gradient, optimiser, pace);
        }
        let gradient = self.gradient(effective);
        let decay = if self.decays { pace.decay } else { 0.0 };
        let pace = Pace { decay, ..pace };
        optimiser.step(&mut self.values, &mut self.moments, &gradient, pace);
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
            let code = to_code(v, s, *bits, self.mask.is_some()) as f32;
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
        if let Some(mask) = &self.mask {
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
        let columns = self.columns();
        let old = self.weight.support().mask();
        let support = match (&self.mask, old) {
            (Some(mask), old) if Some(mask) != old => Support::Unstructured(mask.clone()),
            _ => self.weight.support().clone(),
        };
        let kept: Vec<(usize, f32)> = match &self.mask {
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
                    to_code(v, s, *bits, self.mask.is_some()) as i16
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
        Ok(Weight::new(shape, support, values)?)
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
mod tests {
    use super::*;
    use secateur_model::Shape;

    #[test]
    fn a_shared_gradient_is_the_mean_of_its_members() {
        let weight = Weight::new(
            Shape::new(&[2, 2]).unwrap(),
            Support::Unstructured(Bitmask::from_bools(&[true, false, true, true])),
            Values::Shared {
                codebook: Codebook::F32(vec![0.5, -1.0]),
                codes: vec![0, 1, 0],
            },
        )
        .unwrap();
        let latent = Latent::new(&weight);
        assert_eq!(latent.effective(), [0.5, 0.0, -1.0, 0.5]);
        assert_eq!(latent.gradient(vec![1.0, 10.0, 2.0, 4.0]), [2.5, 2.0]);
        assert_eq!(latent.to_weight().unwrap(), weight);
    }

    #[test]
    fn cleared_weights_stay_cleared() {
        let weight = Weight::dense(Shape::new(&[1, 3]).unwrap(), vec![1.0, 2.0, 3.0]).unwrap();
        let mut graph = Graph::default();
        graph.constants.insert("w".into(), Constant::Weight(weight));
        let mut latent = LatentWeights::new(&graph, None, false);
        let mask = |bits: &[bool]| Bitmask::from_bools(bits);
        latent.set_mask("w", mask(&[true, false, true])).unwrap();
        latent.set_mask("w", mask(&[true, true, false])).unwrap();
        latent.store(&mut graph).unwrap();
        assert_eq!(graph.weight("w").unwrap().to_f32(), [1.0, 0.0, 0.0]);
        assert_eq!(latent.values("w").unwrap(), [1.0, 0.0, 0.0]);
        assert!(latent.set_mask("v", mask(&[true])).is_err());
    }
    /// Two rows of pruned 3-bit integers whose scales are learned.
    fn integers() -> Latent {
        let shape = Shape::new(&[2, 4]).unwrap();
        let keep = [true, true, false, true, true, false, true, true];
        let rounded = Weight::new(
            shape.clone(),
            Support::Unstructured(Bitmask::from_bools(&keep)),
            Values::Int {
                bits: 3,
                codes: vec![3, 1, -2, 1, 3, -1],
                scale: Scale::PerChannel(vec![0.1, 0.2]),
            },
        );
        let exact = vec![0.31, 0.004, 9.0, -0.2, 0.25, 9.0, 0.95, -0.13];
        let exact = Weight::dense(shape, exact).unwrap();
        let mut latent = Latent::new(&rounded.unwrap());
        latent.start_from(&exact);
        latent.learn_steps();
        latent
    }

    #[test]
    fn learned_steps_start_from_the_mean_magnitude_and_are_stored() {
        let mut latent = integers();
        let Some(steps) = &latent.steps else { panic!() };
        let mean = [(0.31 + 0.004 + 0.2) / 3.0, (0.25 + 0.95 + 0.13) / 3.0];
        for (s, mean) in steps.values().iter().zip(mean) {
            assert!((s - 2.0 * mean / 3f32.sqrt()).abs() < 1e-6);
        }
        let pace = Pace {
            rate: 0.1,
            decay: 0.0,
            step: 1,
        };
        let before = latent.steps.as_ref().unwrap().values();
        latent.descend(vec![1.0; 8], &Optimiser::default(), pace);
        let after = latent.steps.as_ref().unwrap().values();
        assert!(before.iter().zip(&after).all(|(b, a)| a != b));

        let stored = latent.to_weight().unwrap();
        assert_eq!(stored.to_f32(), latent.effective());
        assert_eq!(stored.nonzeros(), 6);
        let Values::Int { scale, .. } = stored.values() else {
            panic!()
        };
        assert_eq!(scale, &Scale::PerChannel(after));
    }

    /// Straight through the rounding: its error at this point held fixed, the
    /// rounded values are differentiable, and the gradient is theirs.
    #[test]
    fn gradients_of_steps_and_values_are_those_of_the_held_rounding() {
        let mut latent = integers();
        let Values::Int { bits, scale, .. } = latent.weight.values().clone() else {
            panic!()
        };
        let limit = f64::from(max_code(bits));
        let upstream: Vec<f32> = (0..8).map(|i| (i as f32 - 3.2) * 0.3).collect();
        let row_of = |i: usize| scale.index_at(i / 4, i % 4, 4);
        let steps = latent.steps.as_ref().unwrap().values();
        let at_point: Vec<(usize, f64)> = latent
            .kept()
            .filter(|&(i, _)| latent.mask.as_ref().unwrap().get(i))
            .map(|(i, v)| {
                let s = steps[row_of(i)];
                let clipped = f64::from(v / s).clamp(-limit, limit);
                (i, f64::from(to_code(v, s, bits, true)) - clipped)
            })
            .collect();
        let loss = |values: &[f32], steps: &[f64]| -> f64 {
            let one = |&(i, error): &(usize, f64)| {
                let s = steps[row_of(i)];
                let clipped = (f64::from(values[i]) / s).clamp(-limit, limit);
                f64::from(upstream[i]) * s * (clipped + error)
            };
            at_point.iter().map(one).sum()
        };
        let wide: Vec<f64> = steps.iter().map(|&s| f64::from(s)).collect();
        let mut effective = upstream.clone();
        let of_steps = latent.step_gradient(&mut effective).unwrap();
        for (index, found) in of_steps.iter().enumerate() {
            let moved = |by: f64| {
                let mut steps = wide.clone();
                steps[index] += by;
                loss(&latent.values, &steps)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((f64::from(*found) - slope).abs() < 1e-4, "{found} {slope}");
        }
        let of_values = latent.gradient(effective);
        for (i, found) in of_values.iter().enumerate() {
            let mut moved = |by: f32| {
                let old = latent.values[i];
                latent.values[i] += by;
                let loss = loss(&latent.values, &wide);
                latent.values[i] = old;
                loss
            };
            let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            assert!((f64::from(*found) - slope).abs() < 1e-3, "{found} {slope}");
        }
    }
}
