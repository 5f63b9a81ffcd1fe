//! Which constants are trained parameters.

use crate::IoError;
use rayon::prelude::*;
use secateur_model::{
    Bitmask, Constant, Data, Graph, Node, Op, Scale, Shape, Support, Tensor, Values, Weight, quant,
};
use std::collections::{HashMap, HashSet};

/// Share of exact zeros from which on a matrix counts as pruned.
const PRUNED: f64 = 0.3;

/// Turns the f32 constants that feed operators as parameters into weights.
///
/// # Errors
/// A value of a Conv, Gemm or MatMul parameter that is not finite.
pub(super) fn promote(file: &str, graph: &mut Graph) -> Result<(), IoError> {
    let mut wanted = HashSet::new();
    let mut nodes: Vec<&Node> = graph.nodes.iter().collect();
    while let Some(node) = nodes.pop() {
        if let Op::Control(control) = &node.op {
            // What is captured has the name here that it has there.
            nodes.extend(control.flow.graphs().flat_map(|inner| &inner.nodes));
        }
        for index in parameter_inputs(&node.op) {
            let Some(name) = node.input(index) else {
                continue;
            };
            let Some(Constant::Tensor(tensor)) = graph.constants.get(name) else {
                continue;
            };
            let Ok(values) = tensor.as_f32() else {
                continue;
            };
            match values.iter().position(|v| !v.is_finite()) {
                Some(at) if multiplies(&node.op) => {
                    return Err(IoError::malformed(
                        file,
                        format!("node `{}`", node.name),
                        format!(
                            "parameter `{name}` is not finite: value {at} is {}",
                            values[at]
                        ),
                    ));
                }
                None if values.len() > 1 => {
                    wanted.insert(name.to_owned());
                }
                _ => {}
            }
        }
    }
    let constants = graph.constants.iter_mut();
    let promoted: Vec<Result<(), IoError>> = constants
        .filter(|(name, _)| wanted.contains(*name))
        .collect::<Vec<_>>()
        .into_par_iter()
        .with_max_len(1)
        .map(|(name, constant)| {
            if let Constant::Tensor(tensor) = constant
                && let Ok(values) = tensor.as_f32()
            {
                let weight = weight_of(tensor.shape(), values)
                    .map_err(IoError::model(file, format!("tensor `{name}`")))?;
                *constant = Constant::Weight(weight);
            }
            Ok(())
        })
        .collect();
    // The error of the first one, whichever thread was first.
    promoted.into_iter().collect()
}

/// Folds `DequantizeLinear` of constant codes around zero, where a Conv, Gemm or
/// MatMul reads the result: int8 into integer weights, int32 into f32 biases.
pub(super) fn fold_dequantized(graph: &mut Graph) {
    let mut read: HashSet<&str> = HashSet::new();
    for node in graph.nodes.iter().filter(|n| multiplies(&n.op)) {
        read.extend([1, 2].into_iter().filter_map(|i| node.input(i)));
    }
    let folded: HashMap<String, (String, Weight)> = graph
        .nodes
        .par_iter()
        .filter_map(|node| {
            let output = node.output(0).filter(|o| read.contains(o))?;
            Some((output.to_owned(), dequantized(graph, node)?))
        })
        .collect();
    if folded.is_empty() {
        return;
    }
    let mut parts: HashSet<String> = HashSet::new();
    graph.nodes.retain(|node| {
        let fold = node.output(0).is_some_and(|o| folded.contains_key(o));
        if fold {
            parts.extend(node.inputs.iter().cloned());
        }
        !fold
    });
    for node in &graph.nodes {
        for name in node.reads() {
            parts.remove(name);
        }
    }
    for output in &graph.outputs {
        parts.remove(&output.name);
    }
    let mut weights: HashMap<String, Vec<(String, Weight)>> = HashMap::new();
    for (name, (codes, weight)) in folded {
        weights.entry(codes).or_default().push((name, weight));
    }
    // A weight takes the place of its codes, so that the file's order stays.
    let constants = std::mem::take(&mut graph.constants);
    for (name, constant) in constants {
        if let Some(mut made) = weights.remove(&name) {
            made.sort_by(|a, b| a.0.cmp(&b.0));
            let made = made.into_iter().map(|(n, w)| (n, Constant::Weight(w)));
            graph.constants.extend(made);
        }
        if !parts.contains(&name) {
            graph.constants.insert(name, constant);
        }
    }
}

fn multiplies(op: &Op) -> bool {
    matches!(op, Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul)
}

fn parameter_inputs(op: &Op) -> std::ops::Range<usize> {
    match op {
        Op::Conv { .. } => 1..3,
        Op::Gemm { .. } => 0..3,
        Op::MatMul | Op::Add | Op::Sub | Op::Mul | Op::Div => 0..2,
        Op::BatchNormalization { .. } => 1..5,
        _ => 0..0,
    }
}

/// Where elements are kept, and those. Matrices with many zeros count as pruned; vectors are always
/// kept whole.
fn kept<T: Copy + Default + PartialEq, K: From<T>>(
    shape: &Shape,
    elements: &[T],
) -> (Support, Vec<K>) {
    let mask = Bitmask::of_nonzeros(elements);
    let ones = mask.count_ones();
    let zeros = mask.len() - ones;
    if shape.rank() < 2 || zeros as f64 <= PRUNED * mask.len() as f64 {
        return (Support::All, elements.iter().map(|&x| x.into()).collect());
    }
    let mut kept = Vec::with_capacity(ones);
    kept.extend(mask.ones().map(|at| K::from(elements[at])));
    (Support::Unstructured(mask), kept)
}

fn weight_of(shape: &Shape, values: &[f32]) -> Result<Weight, secateur_model::ModelError> {
    let (support, kept) = kept(shape, values);
    Weight::new(shape.clone(), support, Values::F32(kept))
}

/// The name of the codes and the weight that a node gives, if it gives one.
fn dequantized(graph: &Graph, node: &Node) -> Option<(String, Weight)> {
    let Op::DequantizeLinear {
        axis,
        block_size: 0,
    } = node.op
    else {
        return None;
    };
    let tensor = |index: usize| -> Option<&Tensor> {
        match graph.constants.get(node.input(index)?)? {
            Constant::Tensor(tensor) => Some(tensor),
            Constant::Weight(_) => None,
        }
    };
    let codes = tensor(0)?;
    if node.input(2).is_some() && !is_zero(tensor(2)?) {
        return None;
    }
    let name = node.input(0)?.to_owned();
    let scale = tensor(1)?;
    let (rank, scale_rank) = (codes.shape().rank() as i64, scale.shape().rank());
    let first_axis = axis == 0 || axis == -rank;
    let columns = rank == 2 && matches!(axis, 1 | -1);
    let scale = match (scale.as_f32().ok()?, scale_rank) {
        ([one], _) => Scale::PerTensor(*one),
        (rows, 1) if first_axis => Scale::PerChannel(rows.to_vec()),
        (list, 1) if columns => Scale::PerColumn(list.to_vec()),
        _ => return None,
    };
    let values = match codes.data() {
        Data::I8(values) if rank >= 2 || matches!(scale, Scale::PerTensor(_)) => values,
        Data::I32(values) if rank == 1 => {
            let scales = match &scale {
                Scale::PerChannel(scales) if scales.len() == values.len() => scales.clone(),
                Scale::PerTensor(scale) => vec![*scale; values.len()],
                _ => return None,
            };
            let values = values.iter().zip(scales);
            let values = values.map(|(&code, scale)| quant::dequantize(code, scale, 0));
            let bias = Weight::dense(codes.shape().clone(), values.collect()).ok()?;
            return Some((name, bias));
        }
        _ => return None,
    };
    let (support, kept) = kept(codes.shape(), values);
    let values = Values::Int {
        bits: 8,
        codes: kept,
        scale,
    };
    // -128 has no symmetric counterpart; such codes stay with their node.
    let weight = Weight::new(codes.shape().clone(), support, values).ok()?;
    Some((name, weight))
}

fn is_zero(zero_points: &Tensor) -> bool {
    match zero_points.data() {
        Data::I8(v) => v.iter().all(|&z| z == 0),
        Data::I32(v) => v.iter().all(|&z| z == 0),
        _ => false,
    }
}
