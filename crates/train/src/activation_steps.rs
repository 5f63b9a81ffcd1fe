//! Scales of activation quantizers while they are learned.

use crate::TrainError;
use crate::optimiser::{Optimiser, Pace};
use crate::steps::{Steps, gradient_factor};
use crate::trace::{self, Value};
use secateur_model::{Constant, Data, Graph, Node, Op, Shape, Tensor};
use std::collections::{BTreeMap, HashSet};

/// The scale of every QuantizeLinear that can be learned, by its constant's name.
/// Zero points stay, and so a zero stays a zero.
pub(crate) struct ActivationSteps {
    scales: BTreeMap<String, Scale>,
}

struct Scale {
    steps: Steps,
    shape: Shape,
}

impl ActivationSteps {
    /// None, where no scale is learned.
    pub fn none() -> Self {
        Self {
            scales: BTreeMap::new(),
        }
    }

    /// Those of a graph that sees images of these extents, as they were calibrated.
    /// A scale is left as it is where anything but a quantizer and what takes its
    /// codes back reads it.
    pub fn new(graph: &Graph, image: [usize; 3]) -> Result<Self, TrainError> {
        let [c, h, w] = image;
        let input = graph.inputs.first().map(|i| i.name.as_str());
        let types = trace::types(graph, input.unwrap_or_default(), &[1, c, h, w])?;
        let quantized: HashSet<&str> = graph
            .nodes
            .iter()
            .filter(|node| is_quantizer(node))
            .filter_map(|node| node.output(0))
            .collect();
        let mut members: BTreeMap<&str, (usize, f32)> = BTreeMap::new();
        for node in graph.nodes.iter().filter(|node| is_quantizer(node)) {
            let (Some(scale), Some(value)) = (node.input(1), node.input(0)) else {
                continue;
            };
            let zero = node.input(2).and_then(|name| tensor(graph, name));
            let Ok(codes) = trace::codes_of(node, zero) else {
                continue;
            };
            let elements = types.get(value).map_or(1, |(_, shape)| shape.elements());
            let (count, highest) = members.entry(scale).or_default();
            *count += elements;
            *highest = highest.max(codes.range[1]);
        }
        for node in &graph.nodes {
            let takes_back = matches!(node.op, Op::DequantizeLinear { .. })
                && node.input(0).is_some_and(|codes| quantized.contains(codes));
            for (place, name) in node.inputs.iter().enumerate() {
                if !(place == 1 && (is_quantizer(node) || takes_back)) {
                    members.remove(name.as_str());
                }
            }
        }
        let scale = |(name, (count, highest)): (&str, (usize, f32))| {
            let found = tensor(graph, name)?;
            let start = found.as_f32().ok().filter(|s| s.len() == 1)?.to_vec();
            let steps = Steps::new(start, vec![gradient_factor(count, highest)]);
            let shape = found.shape().clone();
            Some((name.to_owned(), Scale { steps, shape }))
        };
        let scales = members.into_iter().filter_map(scale).collect();
        Ok(Self { scales })
    }

    /// The scales as values that gradients are asked for.
    pub fn parameters(&self) -> impl Iterator<Item = (String, Value)> {
        self.scales.iter().map(|(name, scale)| {
            let value = Value::parameter(scale.steps.values(), scale.shape.dims());
            (name.clone(), value)
        })
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Steps)> {
        self.scales
            .iter_mut()
            .map(|(name, scale)| (name, &mut scale.steps))
    }

    /// One step against the gradients, by name.
    pub fn descend(
        &mut self,
        mut gradients: BTreeMap<String, Vec<f32>>,
        optimiser: &Optimiser,
        pace: Pace,
    ) {
        for (name, steps) in self.iter_mut() {
            if let Some(gradient) = gradients.remove(name) {
                steps.descend(gradient, optimiser, pace);
            }
        }
    }

    /// What steps have changed, by name.
    pub fn state(&self) -> BTreeMap<String, Steps> {
        let scales = self.scales.iter();
        scales
            .map(|(name, scale)| (name.clone(), scale.steps.clone()))
            .collect()
    }

    /// Takes back what [`state`](Self::state) gave; false where it is of others.
    pub fn resume(&mut self, mut state: BTreeMap<String, Steps>) -> bool {
        let own = state.len() == self.scales.len();
        own && self.iter_mut().all(|(name, steps)| {
            let kept = state.remove(name);
            let kept = kept.filter(|kept| kept.fits(steps));
            kept.map(|kept| *steps = kept).is_some()
        })
    }

    /// Writes the learned scales into the graph.
    pub fn store(&self, graph: &mut Graph) -> Result<(), TrainError> {
        for (name, scale) in &self.scales {
            let tensor = Tensor::new(scale.shape.clone(), Data::F32(scale.steps.values()))?;
            graph
                .constants
                .insert(name.clone(), Constant::Tensor(tensor));
        }
        Ok(())
    }
}

fn is_quantizer(node: &Node) -> bool {
    matches!(node.op, Op::QuantizeLinear { .. })
}

fn tensor<'a>(graph: &'a Graph, name: &str) -> Option<&'a Tensor> {
    match graph.constants.get(name) {
        Some(Constant::Tensor(tensor)) => Some(tensor),
        _ => None,
    }
}
