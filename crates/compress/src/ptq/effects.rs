//! What layers can bear: what removing weights costs a layer's output, and what an error there does to
//! the network's.

use super::layers::{Layer, layers};
use super::moments::Moments;
use super::pruning::{Sparsity, remove};
use super::rounding::output_error;
use super::samples::{Probe, Samples};
use super::solve::block;
use super::sweep::{observe, passes};
use crate::CompressError;
use crate::linalg::dot;
use secateur_model::{Bitmask, Constant, Graph, Weight};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Shares of a layer's weights that are removed to see what it costs.
const REMOVED: [f64; 4] = [0.2, 0.5, 0.75, 0.9];

/// The error of a layer by which its effect is measured: large enough to be seen at the outputs, small
/// enough that twice as much does twice as much.
const PROBED: f64 = 0.02;

/// Steps between no density and all.
const STEPS: usize = 100;

/// What a layer can bear.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The weight's name.
    pub weight: String,
    /// Its elements.
    pub elements: usize,
    /// What removing a share of the weights, in one second-order sweep, changes of the layer's output:
    /// share and part of the variance, both rising.
    pub removal: Vec<[f64; 2]>,
    /// What the layer's error, a part of its output's variance, is multiplied by to be one of the
    /// network's.
    pub gain: f64,
}

/// Measures each of these layers alone, in a network that is otherwise as it is. `progress` is told
/// layers done and in all.
///
/// # Errors
/// Samples that cannot be run, a layer that no sample reaches, `progress` that breaks off.
pub fn effects(
    graph: &Graph,
    samples: &dyn Samples,
    wanted: &[&str],
    (damping, centred): (f64, bool),
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<Effect>, CompressError> {
    let all: Vec<Layer> = layers(graph)
        .into_iter()
        .filter(|layer| wanted.contains(&layer.weight.as_str()))
        .collect();
    let outputs = Outputs::of(graph, samples)?;
    let mut effects = Vec::new();
    for pass in passes(graph, &all) {
        let pairs: Vec<(&Layer, &Layer)> = pass.iter().map(|&layer| (layer, layer)).collect();
        let moments = observe(graph, graph, samples, &pairs)?;
        for (layer, moments) in pass.into_iter().zip(moments) {
            let Some(weight) = graph.weight(&layer.weight) else {
                continue;
            };
            let trials = removals(layer, weight, &moments, damping, centred)?;
            let far = |trial: &Trial| (trial.error.max(f64::MIN_POSITIVE) / PROBED).ln().abs();
            let probed = trials.iter().min_by(|a, b| far(a).total_cmp(&far(b)));
            let mut gain = 0.0;
            if let Some(trial) = probed.filter(|trial| trial.error > 0.0) {
                let values = layer.to_stored(&trial.values);
                let mut changed = graph.clone();
                let values = Weight::dense(weight.shape().clone(), values)?;
                let name = layer.weight.clone();
                changed.constants.insert(name, Constant::Weight(values));
                layer.shift_bias(&mut changed, &trial.shift)?;
                gain = outputs.error(&changed, samples)? / trial.error;
            }
            effects.push(Effect {
                weight: layer.weight.clone(),
                elements: weight.shape().elements(),
                removal: rising(&trials),
                gain,
            });
            if progress(effects.len(), all.len()).is_break() {
                return Err(CompressError::Stopped {
                    step: "calibration",
                });
            }
        }
    }
    Ok(effects)
}

/// The share of each layer's weights that is kept, so that in all a share is and the network's error
/// is least, where errors of layers add up.
pub fn densities(effects: &[Effect], density: f64) -> BTreeMap<String, f64> {
    let all: usize = effects.iter().map(|e| e.elements).sum();
    let kept_at = |price: f64| {
        let kept: Vec<f64> = effects.iter().map(|e| e.density_at(price)).collect();
        let weights = effects
            .iter()
            .zip(&kept)
            .map(|(e, d)| e.elements as f64 * d);
        let share = weights.sum::<f64>() / all.max(1) as f64;
        (share, kept)
    };
    // What a weight kept costs, by bisection over many orders of magnitude.
    let (mut low, mut high) = (-40.0f64, 10.0f64);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match kept_at(middle.exp()).0 > density {
            true => low = middle,
            false => high = middle,
        }
    }
    let (_, kept) = kept_at(high.exp());
    let names = effects.iter().map(|e| e.weight.clone());
    names.zip(kept).collect()
}

impl Effect {
    /// The density of the least error and price together.
    fn density_at(&self, price: f64) -> f64 {
        let cost = |kept: usize| {
            let density = kept as f64 / STEPS as f64;
            self.gain * self.error_without(1.0 - density) + price * density * self.elements as f64
        };
        let best = (1..=STEPS).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
        best.unwrap_or(STEPS) as f64 / STEPS as f64
    }

    /// The layer's error without a share of its weights: a power of the share between those measured.
    fn error_without(&self, share: f64) -> f64 {
        if share <= 0.0 {
            return 0.0;
        }
        let known = self.removal.iter().position(|[s, _]| *s >= share);
        let upper = known.unwrap_or(self.removal.len() - 1).max(1);
        let ([a, of_a], [b, of_b]) = (self.removal[upper - 1], self.removal[upper]);
        let power = (of_b / of_a).ln() / (b / a).ln();
        of_a * (share / a).powf(power.max(1.0))
    }
}

/// A layer without some of its weights.
struct Trial {
    removed: f64,
    error: f64,
    /// `[outputs, depth]`
    values: Vec<f32>,
    /// What makes the outputs' means good, where biases do.
    shift: Vec<f64>,
}

fn removals(
    layer: &Layer,
    weight: &Weight,
    moments: &[Moments],
    damping: f64,
    centred: bool,
) -> Result<Vec<Trial>, CompressError> {
    let depth = layer.depth;
    let rows: Vec<f64> = layer.rows(weight).into_iter().map(f64::from).collect();
    let mask = weight.support().mask().map(Bitmask::to_bools);
    let mask = mask.map(|mask| layer.to_rows(&mask));
    let mut trials: Vec<Trial> = Vec::new();
    let seen = |m: &Moments| (m.second(centred).0, m.means().0);
    let seen: Vec<(Vec<f64>, Vec<f64>)> = moments.iter().map(seen).collect();
    for removed in REMOVED {
        let mut values = vec![0.0f32; rows.len()];
        let mut shift = vec![0.0; layer.outputs];
        let (mut squares, mut of) = (0.0, 0.0);
        for (part, (xx, means)) in layer.parts().iter().zip(&seen) {
            let d = part.columns.len();
            let weights = block(&rows, depth, part);
            let support = mask.as_ref().map(|mask| block(mask, depth, part));
            let sparsity = Sparsity::Density(1.0 - removed);
            let left = remove(&weights, d, xx, support.as_deref(), sparsity, &[], damping)?;
            let gone = weights.iter().zip(&left.values).map(|(w, v)| w - v);
            let gone: Vec<f64> = gone.collect();
            squares += output_error(&gone, xx, d);
            of += output_error(&weights, xx, d);
            let rows = left.values.chunks_exact(d).zip(gone.chunks_exact(d));
            for (row, (left, gone)) in part.rows.clone().zip(rows) {
                let to = &mut values[row * depth..][part.columns.clone()];
                to.iter_mut().zip(left).for_each(|(t, v)| *t = *v as f32);
                if centred {
                    shift[row] += dot(gone, means);
                }
            }
        }
        trials.push(Trial {
            removed,
            error: squares / of.max(f64::MIN_POSITIVE),
            values,
            shift,
        });
    }
    Ok(trials)
}

/// Share and error, such that more removed never costs less.
fn rising(trials: &[Trial]) -> Vec<[f64; 2]> {
    let mut most = f64::MIN_POSITIVE;
    let point = |trial: &Trial| {
        most = most.max(trial.error);
        [trial.removed, most]
    };
    trials.iter().map(point).collect()
}

/// What a network gives for the samples.
struct Outputs {
    names: Vec<String>,
    /// Of each output, sample after sample.
    values: Vec<Vec<f32>>,
}

impl Outputs {
    fn of(graph: &Graph, samples: &dyn Samples) -> Result<Self, CompressError> {
        let names: Vec<String> = graph.outputs.iter().map(|o| o.name.clone()).collect();
        let values = Self::run(graph, &names, samples)?;
        Ok(Self { names, values })
    }

    fn run(
        graph: &Graph,
        names: &[String],
        samples: &dyn Samples,
    ) -> Result<Vec<Vec<f32>>, CompressError> {
        let mut all = vec![Vec::new(); names.len()];
        samples.observe(&[Probe { graph, names }], &mut |values| {
            for (all, value) in all.iter_mut().zip(values.iter().flatten()) {
                all.extend_from_slice(value.as_f32()?);
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// How far another network's outputs are from these: a part of their variance, the mean over
    /// outputs.
    fn error(&self, graph: &Graph, samples: &dyn Samples) -> Result<f64, CompressError> {
        let others = Self::run(graph, &self.names, samples)?;
        let errors = self.values.iter().zip(&others).map(|(these, others)| {
            let mean = these.iter().map(|v| f64::from(*v)).sum::<f64>() / these.len().max(1) as f64;
            let squares = these
                .iter()
                .zip(others)
                .map(|(a, b)| f64::from(a - b).powi(2));
            let of = these.iter().map(|v| (f64::from(*v) - mean).powi(2));
            squares.sum::<f64>() / of.sum::<f64>().max(f64::MIN_POSITIVE)
        });
        Ok(errors.sum::<f64>() / self.values.len().max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(weight: &str, elements: usize, gain: f64) -> Effect {
        Effect {
            weight: weight.into(),
            elements,
            removal: vec![[0.2, 0.008], [0.5, 0.125], [0.75, 0.42], [0.9, 0.73]],
            gain,
        }
    }

    #[test]
    fn what_matters_more_keeps_more_and_the_sum_is_as_asked() {
        let effects = [
            effect("a", 1000, 1.0),
            effect("b", 1000, 9.0),
            effect("c", 50, 1.0),
        ];
        for density in [0.2, 0.5, 0.9] {
            let shares = densities(&effects, density);
            assert!(
                shares["a"] < shares["b"] && shares["a"] < shares["c"],
                "{shares:?}"
            );
            let kept: f64 = effects
                .iter()
                .map(|e| shares[&e.weight] * e.elements as f64)
                .sum();
            assert!((kept / 2050.0 - density).abs() < 0.01, "{shares:?}");
        }
    }

    #[test]
    fn errors_between_those_measured_are_powers() {
        let effect = effect("a", 1, 1.0);
        assert_eq!(effect.error_without(0.0), 0.0);
        assert!((effect.error_without(0.5) - 0.125).abs() < 1e-12);
        assert!((effect.error_without(0.1) - 0.001).abs() < 1e-4);
        assert!(effect.error_without(1.0) > 0.73);
    }
}
