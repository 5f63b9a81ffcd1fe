//! The quantize step: weights, biases and calibrated activations.

use super::retrain::Beside;
use super::{Source, Stage, replace_weights};
use crate::ptq::{self, Effect, Images, LayerError, Probe, Samples, Sparsity, Sweep};
use crate::quantize::join_entries;
use crate::recipe::{Biases, QuantizeStep, Rounding, SecondOrder};
use crate::{CompressError, Granularity, Histogram, activations, prune, quantize_weights};
use half::f16;
use secateur_model::{Constant, Graph, Op, Scale, Shape, Support, Values, Weight};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

impl Stage<'_> {
    /// Quantizes by samples, then trains.
    pub(super) fn quantize(
        &mut self,
        graph: &mut Graph,
        step: &QuantizeStep,
    ) -> Result<(), CompressError> {
        let images: Images<'_>;
        let samples: &dyn Samples = match self.data {
            Source::Labelled { train: data, .. } => {
                let limit = step.samples;
                images = Images { data, limit };
                &images
            }
            Source::Unlabelled(samples) => samples,
        };
        prepare(graph, step)?;
        let unrounded = graph.clone();
        let observer = &mut *self.observer;
        let mut progress = |done, total| observer.progress(done, total, f32::NAN);
        // What is trained from the weights before their rounding starts from their
        // activations, too: few bits untrained give others.
        let seen = step.retrain.as_ref().map(|_| &unrounded);
        self.rounded = round(graph, step, samples, seen, &mut progress)?;
        let beside = Beside {
            unrounded: Some(unrounded),
            ..Beside::default()
        };
        self.retrain_with(graph, step.retrain.as_ref(), beside)?;
        join(graph)
    }
}

/// Quantizes a network as the step says, but for its retraining. Gives what
/// became of each layer where it was rounded on the samples.
///
/// # Errors
/// A weight that cannot be quantized, samples that the network cannot be run on.
pub fn quantize(
    graph: &mut Graph,
    step: &QuantizeStep,
    samples: &dyn Samples,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<LayerError>, CompressError> {
    prepare(graph, step)?;
    let errors = round(graph, step, samples, None, progress)?;
    join(graph)?;
    Ok(errors)
}

/// Joins equal entries of codebooks.
fn join(graph: &mut Graph) -> Result<(), CompressError> {
    let shared = graph
        .weights()
        .filter(|(_, weight)| matches!(weight.values(), Values::Shared { .. }));
    let names = shared.map(|(name, _)| name.to_owned()).collect();
    replace_weights(graph, names, join_entries)
}

/// Makes weights easier to round: normalisations folded, ranges equalized.
fn prepare(graph: &mut Graph, step: &QuantizeStep) -> Result<(), CompressError> {
    ptq::fold_norms(graph)?;
    if step.equalize {
        ptq::equalize(graph)?;
    }
    Ok(())
}

/// Rounds weights and activations; the latter's ranges are those in `seen`, by default in the
/// network itself.
fn round(
    graph: &mut Graph,
    step: &QuantizeStep,
    samples: &dyn Samples,
    seen: Option<&Graph>,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<LayerError>, CompressError> {
    let mut errors = Vec::new();
    match &step.rounding {
        Rounding::Nearest => {
            round_to_nearest(graph, step, &prune::prunable(graph))?;
            calibrate(graph, step, samples, seen, &mut |_, _| progress(0, 1))?;
        }
        Rounding::SecondOrder(settings) => {
            let dense = graph.clone();
            let effects = measure(&dense, step, settings, samples, progress)?;
            let measured = effects.len();
            let mut stand_still = |_, _| progress(measured, (2 * measured).max(1));
            calibrate(graph, step, samples, seen, &mut stand_still)?;
            let sweep = plan(graph, step, settings, &effects);
            errors = ptq::sweep(&dense, graph, samples, &sweep, &mut |done, total| {
                progress(measured + done, measured + total)
            })?;
            // Weights that several layers share, and others without moments.
            let rest = prune::prunable(graph).into_iter().filter(|name| {
                let weight = graph.weight(name);
                weight.is_some_and(|w| !matches!(w.values(), Values::Int { .. }))
            });
            let rest: Vec<String> = rest.collect();
            round_to_nearest(graph, step, &rest)?;
        }
    }
    ptq::make_room_for_biases(graph)?;
    quantize_recurrent(graph)?;
    if step.biases == Biases::F16 {
        replace_weights(graph, biases(graph), half_precision)?;
    }
    Ok(errors)
}

/// Rounds each weight to the nearest of its codes. Integers no wider than asked stay: what they cost in
/// the file was decided before.
fn round_to_nearest(
    graph: &mut Graph,
    step: &QuantizeStep,
    names: &[String],
) -> Result<(), CompressError> {
    let columns = with_outputs_in_columns(graph);
    let all = weights(graph);
    let wanted = |name: &&str| names.iter().any(|n| n == name);
    for (name, bits) in step
        .bits_of(&all)
        .into_iter()
        .filter(|(name, _)| wanted(name))
    {
        let narrow = |w: &Weight| matches!(w.values(), Values::Int { bits: b, .. } if *b <= bits);
        if graph.weight(name).is_some_and(narrow) {
            continue;
        }
        let granularity = match step.granularity {
            Granularity::PerChannel if columns.contains(name) => Granularity::PerColumn,
            other => other,
        };
        replace_weights(graph, vec![name.to_owned()], |weight| {
            quantize_weights(weight, bits, granularity, step.weight_range)
        })?;
    }
    Ok(())
}

/// Puts quantizers where layers read, with ranges from the samples.
fn calibrate(
    graph: &mut Graph,
    step: &QuantizeStep,
    samples: &dyn Samples,
    seen: Option<&Graph>,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<(), CompressError> {
    let Some(range) = step.activation_range else {
        return Ok(());
    };
    let names = activations::quantizable(graph);
    let mut calibration: BTreeMap<String, Histogram> = BTreeMap::new();
    let seen = seen.unwrap_or(graph);
    let part = ptq::prefix(seen, &names);
    let probe = Probe {
        graph: &part,
        names: &names,
    };
    samples.observe(&[probe], &mut |values| {
        for (name, value) in names.iter().zip(values.iter().flatten()) {
            calibration
                .entry(name.clone())
                .or_default()
                .add(value.as_f32()?);
        }
        Ok(())
    })?;
    let mut scales =
        activations::activation_scales(&names, &calibration, range, step.activation_width())?;
    if let Some(most) = step.activation_error {
        scales = ptq::affordable(seen, scales, samples, most, progress)?;
    }
    activations::quantize_activations(graph, &scales)
}

/// What each layer that is rounded can bear, where something is shared out among them.
fn measure(
    graph: &Graph,
    step: &QuantizeStep,
    settings: &SecondOrder,
    samples: &dyn Samples,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<Effect>, CompressError> {
    let shared = matches!(settings.sparsity(), Some(Sparsity::Density(_)));
    if settings.error.is_none() && !shared {
        return Ok(Vec::new());
    }
    let all = weights(graph);
    let removable: BTreeSet<String> = removable(graph).collect();
    let names = step.bits_of(&all).into_iter().map(|(name, _)| name);
    let asked = |name: &&str| settings.error.is_some() || removable.contains(*name);
    let names: Vec<&str> = names.filter(asked).collect();
    let (damping, centred) = (settings.damping, settings.correct_bias);
    ptq::effects(
        graph,
        samples,
        &names,
        damping,
        centred,
        &mut |done, total| progress(done, 2 * total),
    )
}

/// What the sweep does with each layer.
fn plan(graph: &Graph, step: &QuantizeStep, settings: &SecondOrder, effects: &[Effect]) -> Sweep {
    let weights = weights(graph);
    let bits = step.bits_of(&weights).into_iter();
    let sparsity = settings.sparsity().unwrap_or(Sparsity::Keep);
    let removable: BTreeSet<String> = removable(graph).collect();
    let sparsity = match sparsity {
        Sparsity::Density(density) => {
            let removable = effects.iter().filter(|e| removable.contains(&e.weight));
            let shares = ptq::densities(removable, density).into_iter();
            shares
                .map(|(name, d)| (name, Sparsity::Density(d)))
                .collect()
        }
        other => removable.into_iter().map(|name| (name, other)).collect(),
    };
    Sweep {
        bits: bits.map(|(name, bits)| (name.to_owned(), bits)).collect(),
        granularity: step.granularity,
        range: step.weight_range,
        sparsity,
        correct_bias: settings.correct_bias,
        match_outputs: (settings.match_outputs > 0.0).then_some(settings.match_outputs),
        damping: settings.damping,
        trade: settings.trade,
        error: settings
            .error
            .map_or_else(BTreeMap::new, |e| parts_of_error(effects, e)),
    }
}

/// The weights that a sweep may remove from: depthwise layers and the first have few, and each counts.
fn removable(graph: &Graph) -> impl Iterator<Item = String> {
    let layers = ptq::layers(graph).into_iter().skip(1);
    layers.filter(|l| !l.is_depthwise()).map(|l| l.weight)
}

/// No layer is off by more than this part of its output's variance, however little it seems to matter.
const MOST_ERROR: f64 = 0.3;

/// Each layer's part of an error of the network, by its number of weights and by what it does to the
/// network. A bit less a weight is four times the error: so the sum of the bytes is least where what
/// errors do is as the numbers of weights.
fn parts_of_error(effects: &[Effect], error: f64) -> BTreeMap<String, f64> {
    let all: f64 = effects.iter().map(|e| e.elements as f64).sum();
    let part = |effect: &Effect| {
        let part = error * effect.elements as f64 / all.max(1.0);
        let part = (part / effect.gain.max(f64::MIN_POSITIVE)).min(MOST_ERROR);
        (effect.weight.clone(), part)
    };
    effects.iter().map(part).collect()
}

/// The weights of convolutions and fully connected layers, in the network's order,
/// and whether they are of depthwise ones.
fn weights(graph: &Graph) -> Vec<(String, bool)> {
    let layers = ptq::layers(graph);
    let depthwise = |name: &String| layers.iter().any(|l| l.weight == *name && l.is_depthwise());
    let names = prune::prunable(graph).into_iter();
    names.map(|name| (name.clone(), depthwise(&name))).collect()
}

/// Names of the matrices that lie as `[depth, outputs]`.
pub(super) fn with_outputs_in_columns(graph: &Graph) -> BTreeSet<String> {
    let views = prune::views(graph).into_iter();
    views
        .filter(|(_, view)| view.columns)
        .map(|(name, _)| name)
        .collect()
}

/// Eight bits for the weights of recurrent layers, `[directions, gates, depth]`, with a
/// scale for each gate of each cell: narrower, they cost more accuracy than bytes.
fn quantize_recurrent(graph: &mut Graph) -> Result<(), CompressError> {
    let layers = graph.nodes.iter();
    let layers = layers.filter(|n| matches!(n.op, Op::Recurrent(_)));
    let inputs = layers.flat_map(|n| [n.input(1), n.input(2)]).flatten();
    let names: BTreeSet<String> = inputs.map(str::to_owned).collect();
    for name in names {
        let weight = match graph.constants.get(&name) {
            Some(Constant::Weight(weight)) => weight.clone(),
            Some(Constant::Tensor(tensor)) if tensor.as_f32().is_ok() => {
                Weight::dense(tensor.shape().clone(), tensor.as_f32()?.to_vec())?
            }
            _ => continue,
        };
        let (&[directions, gates, depth], Values::F32(_)) =
            (weight.shape().dims(), weight.values())
        else {
            continue;
        };
        let rows = Shape::new(&[directions * gates, depth])?;
        let (shape, support, values) = weight.into_parts();
        let mask = support.mask().cloned();
        let flat = Weight::new(
            rows,
            mask.map_or(Support::All, Support::Unstructured),
            values,
        )?;
        let flat = quantize_weights(&flat, 8, Granularity::PerChannel, crate::Range::Mse)?;
        let (_, _, values) = flat.into_parts();
        if let Values::Int {
            bits,
            codes,
            scale: Scale::PerChannel(scales),
        } = values
        {
            let scale = Scale::PerGroup {
                size: depth,
                scales,
            };
            let weight = Weight::new(shape, support, Values::Int { bits, codes, scale })?;
            graph.constants.insert(name, Constant::Weight(weight));
        }
    }
    Ok(())
}

/// Names of the biases of convolutions and fully connected layers.
pub(super) fn biases(graph: &Graph) -> Vec<String> {
    graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::Conv { .. } | Op::Gemm { .. }))
        .filter_map(|n| n.input(2))
        .map(str::to_owned)
        .collect()
}

/// A weight in two bytes a value; integers stay.
pub(super) fn half_precision(weight: &Weight) -> Result<Weight, CompressError> {
    if matches!(weight.values(), Values::Int { .. }) {
        return Ok(weight.clone());
    }
    let values = weight.kept_f32().into_iter().map(f16::from_f32).collect();
    let (shape, support, _) = weight.clone().into_parts();
    Ok(Weight::new(shape, support, Values::F16(values))?)
}
