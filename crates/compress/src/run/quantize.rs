//! The quantize step: weights, biases, then calibrated activations.

use super::retrain::Beside;
use super::{Stage, replace_weights};
use crate::recipe::{Biases, QuantizeStep};
use crate::{CompressError, Granularity, Histogram, activations, prune, quantize_weights};
use half::f16;
use secateur_model::{Graph, Op, Values, Weight};
use secateur_train::observe;
use std::collections::{BTreeMap, BTreeSet};

/// Images that calibrate activations.
const CALIBRATION_IMAGES: usize = 1000;

impl Stage<'_> {
    pub(super) fn quantize(
        &mut self,
        graph: &mut Graph,
        step: &QuantizeStep,
    ) -> Result<(), CompressError> {
        let unrounded = graph.clone();
        let columns = with_outputs_in_columns(graph);
        let names = prune::prunable(graph);
        let layers = names.len();
        for (index, name) in names.into_iter().enumerate() {
            let bits = step.bits_of(index, layers);
            let granularity = match step.granularity {
                Granularity::PerChannel if columns.contains(&name) => Granularity::PerColumn,
                other => other,
            };
            replace_weights(graph, vec![name], |weight| {
                quantize_weights(weight, bits, granularity, step.weight_range)
            })?;
        }
        if step.biases == Biases::F16 {
            replace_weights(graph, biases(graph), half_precision)?;
        }
        if let Some(range) = step.activation_range {
            let names = activations::quantizable(graph);
            let mut calibration: BTreeMap<String, Histogram> = BTreeMap::new();
            let mut add = |name: &str, values: &[f32]| {
                calibration.entry(name.to_owned()).or_default().add(values);
            };
            // What is trained from the weights before their rounding starts from their
            // activations, too: few bits untrained give others.
            let seen = match step.retrain {
                Some(_) => &unrounded,
                None => &*graph,
            };
            observe(seen, self.train, CALIBRATION_IMAGES, &names, &mut add)
                .map_err(|e| self.failed(e))?;
            activations::quantize_activations(graph, &calibration, range)?;
        }
        let beside = Beside {
            unrounded: Some(unrounded),
            ..Beside::default()
        };
        self.retrain_with(graph, step.retrain.as_ref(), beside)
    }
}

/// Names of the matrices that lie as `[depth, outputs]`.
fn with_outputs_in_columns(graph: &Graph) -> BTreeSet<String> {
    let columns = |op: &Op| matches!(op, Op::MatMul | Op::Gemm { trans_b: false, .. });
    let layers = graph.nodes.iter().filter(|n| columns(&n.op));
    let weights = layers.filter_map(|n| graph.kernel_of(n));
    let matrices = weights.filter(|(_, weight)| weight.shape().rank() == 2);
    matrices.map(|(name, _)| name.to_owned()).collect()
}

/// Names of the biases of convolutions and fully connected layers.
fn biases(graph: &Graph) -> Vec<String> {
    graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::Conv { .. } | Op::Gemm { .. }))
        .filter_map(|n| n.input(2))
        .map(str::to_owned)
        .collect()
}

fn half_precision(weight: &Weight) -> Result<Weight, CompressError> {
    let values = weight.kept_f32().into_iter().map(f16::from_f32).collect();
    let (shape, support, _) = weight.clone().into_parts();
    Ok(Weight::new(shape, support, Values::F16(values))?)
}
