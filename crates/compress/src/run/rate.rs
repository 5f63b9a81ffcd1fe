//! The rate step: trains weights to be cheap to code, then removes what has died.

use super::retrain::Beside;
use super::{Stage, quantize, replace_weights};
use crate::channels::remove_dead;
use crate::recipe::RateStep;
use crate::{CompressError, prune};
use secateur_model::weight::max_code;
use secateur_model::{Bitmask, Graph, Scale, Support, Values, Weight};
use secateur_train::RateOptions;
use std::collections::BTreeMap;

impl Stage<'_> {
    pub(super) fn rate(&mut self, graph: &mut Graph, step: &RateStep) -> Result<(), CompressError> {
        let (nats_per_bit, coarseness, retrain) = step.resolve(&graph.name);
        let rate = RateOptions {
            nats_per_bit,
            steps: first_steps(graph, coarseness),
            warm_up: step.warm_up,
        };
        let coded: Vec<String> = rate.steps.keys().cloned().collect();
        let beside = Beside {
            rate: Some(rate),
            ..Beside::default()
        };
        self.retrain_with(graph, Some(retrain), beside)?;
        let scales = scales(graph, &coded);
        let (name, shape) = self.input(graph)?;
        remove_dead(graph, &[(&name, shape)])?;
        // What dead neurons gave is added to biases, which then are no integers any more.
        for (name, scale) in scales {
            replace_weights(graph, vec![name], |weight| integers(weight, scale))?;
        }
        Ok(())
    }
}

/// A first step for every kernel and bias: the one it has, or so many root mean squares of its
/// values.
fn first_steps(graph: &Graph, coarseness: f32) -> BTreeMap<String, f32> {
    /// A bias may be all zeros.
    const LEAST: f32 = 1e-3;
    let names = prune::prunable(graph)
        .into_iter()
        .chain(quantize::biases(graph));
    names
        .filter_map(|name| {
            let weight = graph.weight(&name)?;
            if let Some(scale) = scale(weight) {
                return Some((name, scale));
            }
            let values = weight.kept_f32();
            let squares: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            let rms = (squares / values.len().max(1) as f64).sqrt() as f32;
            Some((name, coarseness * rms.max(LEAST)))
        })
        .collect()
}

fn scales(graph: &Graph, names: &[String]) -> BTreeMap<String, f32> {
    let names = names.iter();
    names
        .filter_map(|name| Some((name.clone(), scale(graph.weight(name)?)?)))
        .collect()
}

/// The scale of integers that have one.
fn scale(weight: &Weight) -> Option<f32> {
    match weight.values() {
        Values::Int {
            scale: Scale::PerTensor(scale),
            ..
        } => Some(*scale),
        _ => None,
    }
}

/// A weight as integers of this scale: a coarser one where values would not fit, a finer one where
/// much would be rounded away. One that is integers already stays.
fn integers(weight: &Weight, scale: f32) -> Result<Weight, CompressError> {
    const BITS: u8 = 8;
    /// What rounding may change, in scales.
    const LITTLE: f32 = 1.0 / 16.0;
    if matches!(weight.values(), Values::Int { .. }) {
        return Ok(weight.clone());
    }
    let limit = max_code(BITS) as f32;
    let values = weight.to_f32();
    let code = |v: f32, step: f32| (v / step).round_ties_even().clamp(-limit, limit);
    let most = |of: &dyn Fn(f32) -> f32| values.iter().fold(0.0f32, |m, &v| m.max(of(v).abs()));
    let largest = most(&|v| v);
    let mut step = scale.max(largest / limit);
    let fits = |step: f32| largest <= limit * step;
    while most(&|v| v - code(v, step) * step) > LITTLE * scale && fits(step / 2.0) {
        step /= 2.0;
    }
    let codes: Vec<i16> = values.iter().map(|&v| code(v, step) as i16).collect();
    let values = Values::Int {
        bits: BITS,
        codes: codes.iter().copied().filter(|&code| code != 0).collect(),
        scale: Scale::PerTensor(step),
    };
    let support = Support::Unstructured(Bitmask::of_nonzeros(&codes));
    Ok(Weight::new(weight.shape().clone(), support, values)?)
}
