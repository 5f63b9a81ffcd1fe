//! The table: what every choice for every layer loses, weighs and takes, with that layer alone changed.

use super::{LayerTime, Machine, apply};
use crate::activations::{activation_scales, quantizable, quantize_activations};
use crate::record::{Choice, ChoiceCost, LayerSensitivity};
use crate::{CompressError, Histogram, Range, View, Width, prune};
use secateur_data::Dataset;
use secateur_io::codec::Store;
use secateur_io::sct;
use secateur_model::{Constant, Graph};
use secateur_train::{logits, observe};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// The newest form of a table that this build reads.
pub const VERSION: u32 = 1;

/// What each choice for each layer costs: measured once, solved for any target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The form it is written in.
    pub version: u32,
    /// Name of the network.
    pub network: String,
    /// Name of the data set.
    pub data: String,
    /// Samples that the losses were measured on.
    pub samples: usize,
    /// What the losses are.
    #[serde(default)]
    pub measure: Measure,
    /// The layers, in network order.
    pub layers: Vec<LayerSensitivity>,
}

/// How far outputs have moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The mean Kullback-Leibler divergence, in nats, where an output is a class each.
    #[default]
    Divergence,
    /// The squared error over the square of the outputs.
    SquaredError,
}

impl Measure {
    /// That of a network with so many outputs for samples.
    fn of(outputs: usize, samples: &Dataset) -> Self {
        let classes = samples.classes.len();
        match classes > 1 && outputs == classes * samples.len() {
            true => Self::Divergence,
            false => Self::SquaredError,
        }
    }

    /// What figures are in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Divergence => "nats",
            Self::SquaredError => "of the outputs' square",
        }
    }
}

/// Images whose activations give the scales of the networks that are timed: time does not hang on them.
const CALIBRATION_IMAGES: usize = 64;

/// Fills a table: every prunable layer of the graph at every choice, the others left as they are.
///
/// The loss is what the outputs move by on the samples, in a [`Measure`]. Labels are not looked at. Bytes are those of the real coder; times are the machine's.
/// `progress` is told how many choices of how many are done, and may stop.
///
/// # Errors
/// Samples that do not fit the network, a choice that does not exist, a network that the machine
/// cannot run, a progress that stops.
pub fn measure(
    graph: &Graph,
    samples: &Dataset,
    choices: &[Choice],
    machine: &mut dyn Machine,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Table, CompressError> {
    let failed = |error| CompressError::Train {
        step: "policy".into(),
        error,
    };
    let views = prune::views(graph);
    let timed = times(graph, samples, choices, machine)?;
    let reference = logits(graph, samples).map_err(failed)?;
    let total = views.len() * choices.len();
    let mut layers = Vec::with_capacity(views.len());
    let mut changed = graph.clone();
    for (index, (name, view)) in views.iter().enumerate() {
        let Some(weight) = graph.weight(name) else {
            continue;
        };
        let mut costs = Vec::with_capacity(choices.len());
        for (number, choice) in choices.iter().enumerate() {
            if progress(index * choices.len() + number, total).is_break() {
                return Err(CompressError::Stopped { step: "policy" });
            }
            let made = apply(weight, *view, choice)?;
            let bytes = sct::weight_bytes(&made, Store::Small).map_err(|e| refused(name, &e))?;
            let loss_increase = match made == *weight {
                true => 0.0,
                false => {
                    put(&mut changed, name, made);
                    let outputs = logits(&changed, samples).map_err(failed)?;
                    moved(&reference, &outputs, samples)
                }
            };
            let time = timed[number].get(name);
            costs.push(ChoiceCost {
                choice: choice.clone(),
                loss_increase,
                bytes: bytes as u64,
                microseconds: time.map(|t| t.microseconds),
                picojoules: time.and_then(|t| t.picojoules),
            });
        }
        put(&mut changed, name, weight.clone());
        layers.push(LayerSensitivity {
            layer: name.clone(),
            parameters: weight.shape().elements(),
            choices: costs,
        });
    }
    Ok(Table {
        version: VERSION,
        network: graph.name.clone(),
        data: samples.name.clone(),
        samples: samples.len(),
        measure: Measure::of(reference.len(), samples),
        layers,
    })
}

impl Table {
    /// Puts a choice in place for every layer: `chosen` counts from the first of each.
    ///
    /// # Errors
    /// As [`apply`]; a table of another network.
    pub fn assemble(&self, graph: &Graph, chosen: &[usize]) -> Result<Graph, CompressError> {
        let mut made = graph.clone();
        let views: BTreeMap<String, View> = prune::views(graph).into_iter().collect();
        for (layer, &index) in self.layers.iter().zip(chosen) {
            let found = (
                graph.weight(&layer.layer),
                views.get(&layer.layer),
                layer.choices.get(index),
            );
            let (Some(weight), Some(&view), Some(cost)) = found else {
                return Err(CompressError::Refused {
                    step: "policy",
                    reason: format!(
                        "the table has a layer `{}`, the network has not",
                        layer.layer
                    ),
                });
            };
            put(&mut made, &layer.layer, apply(weight, view, &cost.choice)?);
        }
        Ok(made)
    }
}

/// What each layer takes on the machine at each choice: all layers take it at once, on codes wherever it
/// rounds the weights, as they will when they run.
fn times(
    graph: &Graph,
    samples: &Dataset,
    choices: &[Choice],
    machine: &mut dyn Machine,
) -> Result<Vec<BTreeMap<String, LayerTime>>, CompressError> {
    let mut calibration: BTreeMap<String, Histogram> = BTreeMap::new();
    let mut add = |name: &str, values: &[f32]| {
        calibration.entry(name.to_owned()).or_default().add(values);
    };
    let names = quantizable(graph);
    observe(graph, samples, CALIBRATION_IMAGES, &names, &mut add).map_err(|error| {
        CompressError::Train {
            step: "policy".into(),
            error,
        }
    })?;
    let scales = activation_scales(&names, &calibration, Range::MinMax, Width::Eight)?;
    let mut all = Vec::with_capacity(choices.len());
    for choice in choices {
        let mut made = graph.clone();
        for (name, view) in prune::views(graph) {
            if let Some(weight) = graph.weight(&name) {
                put(&mut made, &name, apply(weight, view, choice)?);
            }
        }
        if choice.bits <= 8 {
            quantize_activations(&mut made, &scales)?;
        }
        all.push(machine.layers(&made).map_err(CompressError::Machine)?);
    }
    Ok(all)
}

fn put(graph: &mut Graph, name: &str, weight: secateur_model::Weight) {
    graph
        .constants
        .insert(name.to_owned(), Constant::Weight(weight));
}

fn refused(name: &str, error: &dyn std::error::Error) -> CompressError {
    CompressError::Refused {
        step: "policy",
        reason: format!("`{name}`: {error}"),
    }
}

/// The distance of outputs that are not finite any more: farther than any others.
const BEYOND: f64 = 1e9;

/// How far outputs have moved from the reference.
pub(crate) fn moved(reference: &[f32], outputs: &[f32], samples: &Dataset) -> f64 {
    let distance = distance(reference, outputs, samples);
    if distance.is_finite() {
        distance
    } else {
        BEYOND
    }
}

fn distance(reference: &[f32], outputs: &[f32], samples: &Dataset) -> f64 {
    if Measure::of(reference.len(), samples) == Measure::Divergence {
        let width = samples.classes.len();
        let pairs = reference
            .chunks_exact(width)
            .zip(outputs.chunks_exact(width));
        return pairs.map(|(p, q)| divergence(p, q)).sum::<f64>() / samples.len() as f64;
    }
    let square = |v: f64| v * v;
    let error: f64 = reference
        .iter()
        .zip(outputs)
        .map(|(&a, &b)| square(f64::from(a) - f64::from(b)))
        .sum();
    let size: f64 = reference.iter().map(|&a| square(a.into())).sum();
    error / size.max(f64::MIN_POSITIVE)
}

/// Kullback-Leibler divergence of softmax(q) from softmax(p), in nats.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let log_softmax = |z: &[f32]| -> Vec<f64> {
        let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = z.iter().map(|&z| f64::from(z - top).exp()).sum();
        z.iter().map(|&z| f64::from(z - top) - sum.ln()).collect()
    };
    let (p, q) = (log_softmax(p), log_softmax(q));
    p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{FULL_BITS, NoMachine};
    use secateur_model::zoo;

    fn choice(density: f64, bits: u8) -> Choice {
        Choice {
            density,
            pattern: "unstructured".into(),
            bits,
        }
    }

    #[test]
    fn divergence_is_zero_for_the_same_and_as_by_hand() {
        assert!(divergence(&[1.0, 2.0, 3.0], &[11.0, 12.0, 13.0]).abs() < 1e-9);
        // p = (1/2, 1/2), q = (3/4, 1/4).
        let by_hand = 0.5 * (0.5f64 / 0.75).ln() + 0.5 * (0.5f64 / 0.25).ln();
        let found = divergence(&[0.0, 0.0], &[3f32.ln(), 0.0]);
        assert!((found - by_hand).abs() < 1e-7, "{found}");
    }

    #[test]
    fn a_table_has_bytes_of_the_coder_times_of_the_machine_and_growing_losses() {
        struct Counts;
        impl Machine for Counts {
            fn layers(
                &mut self,
                graph: &Graph,
            ) -> Result<BTreeMap<String, LayerTime>, crate::policy::Unknown> {
                let time = |weight: &secateur_model::Weight| LayerTime {
                    microseconds: weight.nonzeros() as f64,
                    picojoules: None,
                };
                let weights = graph.weights().map(|(n, w)| (n.to_owned(), time(w)));
                Ok(weights.collect())
            }
            fn milliseconds(&mut self, _: &Graph) -> Result<Option<f64>, crate::policy::Unknown> {
                Ok(None)
            }
        }
        let data = secateur_data::load("digits").unwrap();
        let samples = data.train.subset(&(0..60).collect::<Vec<_>>());
        let graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 3).unwrap();
        let choices = [
            choice(1.0, FULL_BITS),
            choice(0.5, FULL_BITS),
            choice(0.5, 8),
            choice(0.01, 2),
        ];
        let mut steps = 0;
        let mut progress = |_, total| {
            assert_eq!(total, 12);
            steps += 1;
            ControlFlow::Continue(())
        };
        let table = measure(&graph, &samples, &choices, &mut Counts, &mut progress).unwrap();
        assert_eq!((steps, table.layers.len(), table.samples), (12, 3, 60));
        for layer in &table.layers {
            let losses: Vec<f64> = layer.choices.iter().map(|c| c.loss_increase).collect();
            assert!(
                losses[0] == 0.0 && losses[1] > 0.0 && losses[3] > losses[1],
                "{losses:?}"
            );
            let bytes: Vec<u64> = layer.choices.iter().map(|c| c.bytes).collect();
            assert!(bytes.is_sorted_by(|a, b| a > b), "{bytes:?}");
            let half = layer.parameters as f64 / 2.0;
            assert!((layer.choices[1].microseconds.unwrap() - half).abs() < 1.0);
        }

        let small = table.assemble(&graph, &[1, 3, 0]).unwrap();
        assert_eq!(small.weight("fc3.weight"), graph.weight("fc3.weight"));
        assert_eq!(small.weight("fc2.weight").unwrap().kept(), 300);

        let mut stop = |done: usize, _| match done {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        assert!(measure(&graph, &samples, &choices, &mut NoMachine, &mut stop).is_err());
    }
}
