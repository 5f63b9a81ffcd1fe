//! A graph executed on the tensor library, so that gradients flow.
//!
//! A value is a flat tensor with its extents beside it; each operator reshapes
//! on use, so there are no module structs and no rank parameters. Types and
//! extents are the model's own inference, made before anything is computed: a
//! graph that does not fit together is refused there. What no gradient flows
//! through -- what hangs on constants and extents alone (Shape → Gather → Concat),
//! and whatever has no gradient here where none is asked for -- is computed by the
//! model's reference evaluation.

#[cfg(test)]
mod tests;

mod elementwise;
mod function;
mod layout;
mod linear;
mod norm;
mod operator;
mod reduce;
mod value;
mod window;

pub(crate) use elementwise::codes_of;
pub(crate) use value::{Value, to_vec};
pub(crate) use window::geometry;

use crate::TrainError;
use operator::Operands;
use secateur_model::{DType, Dim, Graph, Node, Op, Shape, Tensor, infer, ops};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

/// Batch statistics of one normalisation, to update its running ones.
pub(crate) struct BatchStatistics {
    pub mean_name: String,
    pub variance_name: String,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// What a run is for.
pub(crate) enum Mode<'a> {
    /// Running statistics are used, nothing is dropped.
    Evaluate,
    /// Batch statistics are used, and collected.
    Train {
        statistics: &'a mut Vec<BatchStatistics>,
        /// None drops nothing.
        dropout: Option<Dropout<'a>>,
    },
}

/// What Dropout nodes draw from.
pub(crate) struct Dropout<'a> {
    pub seed: u64,
    /// By place of the node: the share of its probability that holds; all of it
    /// where none is named.
    pub shares: &'a HashMap<usize, f32>,
}

/// Runs the graph on one batch; gives the values in `wanted`. Others are
/// dropped after their last reader.
///
/// `parameters` are the weights as they stand; what is not among them is read
/// from the graph's constants.
pub(crate) fn run(
    graph: &Graph,
    input: Value,
    parameters: &HashMap<String, Value>,
    mut mode: Mode<'_>,
    wanted: &[String],
) -> Result<HashMap<String, Value>, TrainError> {
    let name = match graph.inputs.first() {
        Some(first) => first.name.clone(),
        None => return Err(TrainError::Setting("the network has no input".into())),
    };
    let types = types(graph, &name, &input.dims)?;
    let mut readers: HashMap<&str, usize> = HashMap::new();
    let reads = graph.nodes.iter().flat_map(Node::reads);
    reads
        .chain(wanted.iter().map(String::as_str))
        .for_each(|name| *readers.entry(name).or_default() += 1);
    let values = RefCell::new(HashMap::from([(name, input)]));
    let mut fixed: HashMap<&str, Tensor> = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if node.outputs.iter().all(String::is_empty) {
            continue;
        }
        let output = node.outputs[0].as_str();
        let dims = types
            .get(output)
            .map(|(_, shape)| shape.dims())
            .unwrap_or_default();
        let operands = Operands {
            graph,
            node,
            index,
            values: &values,
            readers: &readers,
            parameters,
            fixed: &fixed,
            dims,
        };
        if let Op::Shape { start, end } = node.op {
            fixed.insert(output, extents(&operands, &types, start, end)?);
        } else if operands.any_computed() {
            let asked = |name: &String| readers.contains_key(name.as_str());
            let computed = operator::apply(&operands, &mut mode).and_then(|computed| {
                // Such as the places of maxima.
                match node.outputs.iter().skip(computed.len()).any(asked) {
                    true => Err(unsupported(node, "no gradient with its further outputs")),
                    false => Ok(computed),
                }
            });
            match computed {
                Ok(computed) => {
                    for (name, value) in named(node, computed) {
                        let dims = types.get(name).map_or(dims, |(_, shape)| shape.dims());
                        if value.dims != dims {
                            let found = format!("{:?} was computed, not {dims:?}", value.dims);
                            return Err(unsupported(node, found));
                        }
                        values.borrow_mut().insert(name.to_owned(), value);
                    }
                }
                Err(TrainError::Unsupported { .. }) if operands.may_be_by_reference() => {
                    for (name, tensor) in named(node, reference(&operands)?) {
                        match tensor.as_f32() {
                            Ok(found) => {
                                let value = Value::new(found.to_vec(), tensor.shape().dims());
                                values.borrow_mut().insert(name.to_owned(), value);
                            }
                            Err(_) => _ = fixed.insert(name, tensor),
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        } else {
            fixed.extend(named(node, reference(&operands)?));
        }
        for name in node.reads() {
            let left = readers.entry(name).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                values.borrow_mut().remove(name);
                fixed.remove(name);
            }
        }
    }
    // What was asked for may hang on numbers that are no floats.
    for name in wanted {
        if let Some(tensor) = fixed.get(name.as_str())
            && let Ok(found) = tensor.as_f32()
        {
            let value = Value::new(found.to_vec(), tensor.shape().dims());
            values.borrow_mut().insert(name.clone(), value);
        }
    }
    Ok(values.into_inner())
}

/// What a node gives, by name; what has none is not asked for.
fn named<T>(node: &Node, given: Vec<T>) -> impl Iterator<Item = (&str, T)> {
    let names = node.outputs.iter().map(String::as_str);
    names.zip(given).filter(|(name, _)| !name.is_empty())
}

pub(crate) type Types = HashMap<String, (DType, Shape)>;

/// Elements of the largest value that is computed: 1 GiB of f32.
const MAX_ELEMENTS: usize = 1 << 28;

/// Type and extents of every value for this batch. A batch extent that the
/// graph fixes is no obstacle to another: it is what the exporter happened to
/// have.
pub(crate) fn types(graph: &Graph, name: &str, dims: &[usize]) -> Result<Types, TrainError> {
    let declared = graph.inputs.first().and_then(|i| i.dims.as_deref());
    let another = |dims: &[Dim]| matches!(dims.first(), Some(Dim::Known(_)));
    let graph = match declared {
        Some(list)
            if another(list)
                && list.len() == dims.len()
                && list.first() != dims.first().map(|&d| Dim::Known(d)).as_ref() =>
        {
            let mut open = graph.clone();
            if let Some(list) = open.inputs.first_mut().and_then(|i| i.dims.as_mut()) {
                list[0] = Dim::Known(dims[0]);
            }
            Cow::Owned(open)
        }
        _ => Cow::Borrowed(graph),
    };
    let types = infer(&graph, &[(name, Shape::new(dims)?)])?;
    for node in &graph.nodes {
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            let elements = types.get(name).map_or(1, |(_, shape)| shape.elements());
            if !(1..=MAX_ELEMENTS).contains(&elements) {
                let found = format!("`{name}` has {elements} elements, 1 to {MAX_ELEMENTS} can be");
                return Err(unsupported(node, found));
            }
        }
    }
    Ok(types.into_iter().collect())
}

/// The value of a Shape node.
fn extents(
    operands: &Operands<'_>,
    types: &Types,
    start: i64,
    end: Option<i64>,
) -> Result<Tensor, TrainError> {
    let shape = operands.node.input(0).and_then(|name| types.get(name));
    let dims = shape.map(|(_, s)| s.dims()).unwrap_or_default();
    let rank = dims.len() as i64;
    let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let (start, end) = (place(start), end.map_or(dims.len(), place));
    let part = dims.get(start..end).unwrap_or_default();
    let part: Vec<i64> = part.iter().map(|&d| d as i64).collect();
    Ok(Tensor::i64(&[part.len()], part)?)
}

/// What a node gives by the model's reference evaluation.
fn reference(operands: &Operands<'_>) -> Result<Vec<Tensor>, TrainError> {
    let node = operands.node;
    let inputs: Vec<Option<Cow<'_, Tensor>>> = (0..node.inputs.len())
        .map(|index| match node.input(index) {
            None => Ok(None),
            Some(name) => operands
                .as_tensor(index)?
                .map(Some)
                .ok_or_else(|| unsupported(node, format!("`{name}` is not computed here"))),
        })
        .collect::<Result<_, TrainError>>()?;
    let inputs: Vec<Option<&Tensor>> = inputs.iter().map(Option::as_deref).collect();
    Ok(ops::evaluate(node, &inputs)?)
}

pub(crate) fn unsupported(node: &Node, reason: impl Into<String>) -> TrainError {
    TrainError::Unsupported {
        node: node.name.clone(),
        op: node.op.name().to_owned(),
        reason: reason.into(),
    }
}
