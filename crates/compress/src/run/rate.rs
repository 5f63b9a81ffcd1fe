//! The rate step: trains weights to be cheap to code, then removes what has died.

use super::retrain::Beside;
use super::{Stage, quantize, replace_weights};
use crate::channels::remove_dead;
use crate::recipe::{RateStep, ResolvedRate};
use crate::{CompressError, prune};
use secateur_model::weight::max_code;
use secateur_model::{Bitmask, Graph, Scale, Values, Weight, infer};
use secateur_train::{Coded, RateOptions};
use std::collections::BTreeMap;

impl Stage<'_> {
    pub(super) fn rate(&mut self, graph: &mut Graph, step: &RateStep) -> Result<(), CompressError> {
        let settings = step.resolve(&graph.name);
        let (name, shape) = self.input(graph)?;
        // Extents are needed for nothing else, and are not known of every network.
        let macs = match settings.product_bits > 0.0 {
            true => infer::macs(graph, &[(&name, shape.clone())])?,
            false => BTreeMap::new(),
        };
        let rate = RateOptions {
            nats_per_bit: settings.nats_per_bit,
            weights: self.coded(graph, settings, &macs),
            warm_up: step.warm_up,
        };
        let coded: Vec<String> = rate.weights.keys().cloned().collect();
        let beside = Beside {
            rate: Some(rate),
            ..Beside::default()
        };
        self.retrain_with(graph, Some(settings.retrain), beside)?;
        let scales = scales(graph, &coded);
        remove_dead(graph, &[(&name, shape)])?;
        // What dead neurons gave is added to biases, which then are no integers any more.
        for (name, scale) in scales {
            replace_weights(graph, vec![name], |weight| integers(weight, scale))?;
        }
        Ok(())
    }

    /// Every kernel and bias. A first step is the one that a weight has, or so many root mean squares of
    /// its values; multiplications cost by `macs`, in which biases have no part. What nothing but a price
    /// has put out may return.
    fn coded(
        &self,
        graph: &Graph,
        settings: ResolvedRate<'_>,
        macs: &BTreeMap<String, u64>,
    ) -> BTreeMap<String, Coded> {
        let parameters = |name: &String| graph.weight(name).map_or(0, |w| w.shape().elements());
        let each = |name: &String| {
            let macs = macs.get(name).copied().unwrap_or(0);
            macs as f64 / parameters(name).max(1) as f64
        };
        let kernels = macs.keys().map(parameters).sum::<usize>().max(1) as f64;
        let mean = macs.values().map(|&macs| macs as f64).sum::<f64>() / kernels;
        let bits = |name: &String| f64::from(settings.product_bits) * each(name) / mean.max(1.0);
        let given_whole = |name: &String| {
            let given = self.teacher.weight(name);
            given.is_none_or(|weight| weight.support().mask().is_none())
        };
        // One step for all of its rows, which differ by far, would round the small ones of a layer that whitens away.
        let names = prune::trainable(graph).chain(quantize::biases(graph));
        names
            .filter_map(|name| {
                let coded = Coded {
                    step: first_step(graph.weight(&name)?, settings.coarseness),
                    product_bits: bits(&name) as f32,
                    zeros_return: !self.pruned && given_whole(&name),
                };
                Some((name, coded))
            })
            .collect()
    }
}

fn first_step(weight: &Weight, coarseness: f32) -> f32 {
    /// A bias may be all zeros.
    const LEAST: f32 = 1e-3;
    if let Some(scale) = scale(weight) {
        return scale;
    }
    let values = weight.kept_f32();
    let squares: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    let rms = (squares / values.len().max(1) as f64).sqrt() as f32;
    coarseness * rms.max(LEAST)
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
    let support = weight.support().narrowed(Bitmask::of_nonzeros(&codes));
    Ok(Weight::new(weight.shape().clone(), support, values)?)
}
