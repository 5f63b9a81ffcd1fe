//! What layers can bear: what removing weights costs a layer's output, and what an error there does to
//! the network's.

use super::layers::{Bias, Layer, layers};
use super::moments::Moments;
use super::outputs::Outputs;
use super::pruning::{Remover, Sparsity};
use super::rounding::output_error;
use super::samples::Samples;
use super::solve::block;
use super::sweep::{observe, passes};
use crate::CompressError;
use crate::linalg::dot;
use secateur_model::{Bitmask, Constant, Graph, Weight};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Shares of what a layer has left that are removed to see what it costs.
const REMOVED: [f64; 4] = [0.2, 0.5, 0.75, 0.9];

/// The error of a layer by which its effect is measured: large enough to be seen at the outputs, small
/// enough that twice as much does twice as much.
const PROBED: f64 = 0.02;

/// Errors of a layer below this cannot be measured.
const LEAST: f64 = 1e-12;

/// Steps between no density and all.
const STEPS: usize = 100;

/// What a layer can bear.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The weight's name.
    pub weight: String,
    /// Its elements.
    pub elements: usize,
    /// The share of them that is removed already.
    gone: f64,
    /// What removing [`REMOVED`] of the others, in one second-order sweep, changes of the layer's
    /// output: parts of its variance, rising.
    removal: [f64; REMOVED.len()],
    /// What the layer's error, a part of its output's variance, is multiplied by to be one of the
    /// network's.
    pub gain: f64,
}

/// Measures each of these layers alone, in a network that is otherwise as it is. `damping` is the part
/// of the mean second moment that is added to the diagonal; `centred` says that biases make good what
/// changes on average. `progress` is told layers done and in all. Of the samples only the network's
/// outputs are kept.
///
/// # Errors
/// Samples that cannot be run, a layer that no sample reaches, outputs that do not vary,
/// `progress` that breaks off.
pub fn effects(
    graph: &Graph,
    samples: &dyn Samples,
    wanted: &[&str],
    damping: f64,
    centred: bool,
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
            effects.push(Effect {
                weight: layer.weight.clone(),
                elements: weight.shape().elements(),
                gone: 1.0 - weight.kept() as f64 / weight.shape().elements().max(1) as f64,
                removal: rising(trials.each_ref().map(|trial| trial.error)),
                gain: gain(graph, layer, &trials, &outputs, samples)?,
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
pub fn densities<'a>(
    effects: impl IntoIterator<Item = &'a Effect>,
    density: f64,
) -> BTreeMap<String, f64> {
    let effects: Vec<&Effect> = effects.into_iter().collect();
    let all: usize = effects.iter().map(|e| e.elements).sum();
    let wanted = density * all as f64;
    let kept_at = |price: f64| -> Vec<f64> {
        let price = price.exp();
        effects.iter().map(|e| e.density_at(price)).collect()
    };
    let weights = |kept: &[f64]| -> f64 {
        let each = effects.iter().zip(kept).map(|(e, d)| e.elements as f64 * d);
        each.sum()
    };
    // What a weight costs, by bisection over many orders of magnitude.
    let (mut low, mut high) = (-40.0f64, 10.0f64);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match weights(&kept_at(middle)) > wanted {
            true => low = middle,
            false => high = middle,
        }
    }
    // At one price a large layer may go from much to little: what is left over is given out in order.
    let (more, mut kept) = (kept_at(low), kept_at(high));
    let mut left = wanted - weights(&kept);
    for ((effect, kept), more) in effects.iter().zip(&mut kept).zip(more) {
        let step = (left / effect.elements.max(1) as f64).clamp(0.0, (more - *kept).max(0.0));
        *kept += step;
        left -= step * effect.elements as f64;
    }
    let names = effects.iter().map(|e| e.weight.clone());
    names.zip(kept).collect()
}

impl Effect {
    /// The density of the least error and price together.
    fn density_at(&self, price: f64) -> f64 {
        let cost = |kept: usize| {
            let density = kept as f64 / STEPS as f64;
            // Nothing lost costs nothing, even where any loss would be without bounds.
            let lost = Some(self.error_without(1.0 - density)).filter(|lost| *lost > 0.0);
            lost.map_or(0.0, |lost| self.gain * lost) + price * density * self.elements as f64
        };
        let best = (1..=STEPS).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
        best.unwrap_or(STEPS) as f64 / STEPS as f64
    }

    /// The layer's error without a share of its weights: a power of the share between those measured,
    /// and at least in proportion before the first.
    fn error_without(&self, share: f64) -> f64 {
        let share = (share - self.gone) / (1.0 - self.gone);
        if share.is_nan() || share <= 0.0 {
            return 0.0;
        }
        let known = REMOVED.iter().position(|&r| r >= share);
        let upper = known.unwrap_or(REMOVED.len() - 1).max(1);
        let [a, b] = [upper - 1, upper].map(|at| (REMOVED[at], self.removal[at]));
        let power = (b.1 / a.1).ln() / (b.0 / a.0).ln();
        let power = if share < a.0 { power.max(1.0) } else { power };
        a.1 * (share / a.0).powf(power)
    }
}

/// A layer without some of its weights.
struct Trial {
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
) -> Result<[Trial; REMOVED.len()], CompressError> {
    let (depth, centred) = (layer.depth, centred && layer.bias != Bias::None);
    let rows: Vec<f64> = layer.rows(weight).into_iter().map(f64::from).collect();
    let mask = weight.support().mask().map(Bitmask::to_bools);
    let mask = mask.map(|mask| layer.to_rows(&mask));
    let mut trials = REMOVED.map(|_| Trial {
        error: 0.0,
        values: vec![0.0; rows.len()],
        shift: vec![0.0; layer.outputs],
    });
    let mut of = 0.0;
    for (part, moments) in layer.parts().iter().zip(moments) {
        let (xx, means) = (moments.second(centred).0, moments.means().0);
        let d = part.columns.len();
        let weights = block(&rows, depth, part);
        let support = mask.as_ref().map(|mask| block(mask, depth, part));
        let there = support.as_ref().map_or(weights.len(), |support| {
            support.iter().filter(|&&there| there).count()
        });
        let there = there as f64 / weights.len().max(1) as f64;
        of += output_error(&weights, &xx, d);
        let remover = Remover::new(&xx, d, damping)?;
        for (trial, removed) in trials.iter_mut().zip(REMOVED) {
            let sparsity = Sparsity::Density(there * (1.0 - removed));
            let left = remover.remove(&weights, support.as_deref(), sparsity);
            let gone = weights.iter().zip(&left.values).map(|(w, v)| w - v);
            let gone: Vec<f64> = gone.collect();
            trial.error += output_error(&gone, &xx, d);
            let rows = left.values.chunks_exact(d).zip(gone.chunks_exact(d));
            for (row, (left, gone)) in part.rows.clone().zip(rows) {
                let to = &mut trial.values[row * depth..][part.columns.clone()];
                to.iter_mut().zip(left).for_each(|(t, v)| *t = *v as f32);
                if centred {
                    trial.shift[row] += dot(gone, &means);
                }
            }
        }
    }
    for trial in &mut trials {
        trial.error /= of.max(f64::MIN_POSITIVE);
    }
    Ok(trials)
}

/// More removed never costs less, and never nothing.
fn rising(errors: [f64; REMOVED.len()]) -> [f64; REMOVED.len()] {
    let mut most = LEAST;
    errors.map(|error| {
        most = most.max(error);
        most
    })
}

/// What the network's error is of the layer's, by the trial that is nearest to [`PROBED`]; none where
/// the layer gives nothing at all.
fn gain(
    graph: &Graph,
    layer: &Layer,
    trials: &[Trial],
    outputs: &Outputs,
    samples: &dyn Samples,
) -> Result<f64, CompressError> {
    let far = |trial: &&Trial| (trial.error / PROBED).ln().abs();
    let seen = trials.iter().filter(|trial| trial.error > LEAST);
    let Some(trial) = seen.min_by(|a, b| far(a).total_cmp(&far(b))) else {
        return Ok(0.0);
    };
    let Some(weight) = graph.weight(&layer.weight) else {
        return Ok(0.0);
    };
    let mut changed = graph.clone();
    let values = Weight::dense(weight.shape().clone(), layer.to_stored(&trial.values))?;
    let name = layer.weight.clone();
    changed.constants.insert(name, Constant::Weight(values));
    layer.shift_bias(&mut changed, &trial.shift)?;
    Ok(outputs.error(&changed, samples)? / trial.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(weight: &str, elements: usize, gain: f64) -> Effect {
        Effect {
            weight: weight.into(),
            elements,
            gone: 0.0,
            removal: [0.008, 0.125, 0.42, 0.73],
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
            let kept = effects
                .iter()
                .map(|e| shares[&e.weight] * e.elements as f64);
            assert!(
                (kept.sum::<f64>() / 2050.0 - density).abs() < 1e-9,
                "{shares:?}"
            );
        }
    }

    #[test]
    fn errors_between_those_measured_are_powers() {
        let dense = effect("a", 1, 1.0);
        assert_eq!(dense.error_without(0.0), 0.0);
        for (share, error) in REMOVED.into_iter().zip(dense.removal) {
            assert!((dense.error_without(share) - error).abs() < 1e-12);
        }
        assert!((dense.error_without(0.1) - 0.001).abs() < 1e-4);
        assert!(dense.error_without(1.0) > 0.73);
        // Of a layer that is pruned already, what is left counts.
        let pruned = Effect { gone: 0.8, ..dense };
        assert_eq!(pruned.error_without(0.8), 0.0);
        assert!((pruned.error_without(0.9) - 0.125).abs() < 1e-12);
    }
}
