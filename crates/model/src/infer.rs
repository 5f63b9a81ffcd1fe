//! Types and extents of every value of a graph, from the extents of its inputs.

use crate::eval::{Given, describe};
use crate::ops::{self, ShapeInput};
use crate::{Constant, DType, Dim, Graph, ModelError, Node, Op, Shape, Tensor, ValueInfo};
use indexmap::IndexMap;
use std::collections::{BTreeMap, HashMap};

/// Integer values of at most so many elements are computed while shapes are
/// inferred: lists of extents, never feature maps.
const FOLDED_ELEMENTS: usize = 1024;

/// Element type and extents of every input, constant and computed value, in
/// the order in which they become known.
///
/// Inputs whose extents are all fixed need not be given. Arithmetic on extents
/// (Shape → Gather → Concat → Reshape) is followed.
///
/// ```
/// use secateur_model::{Shape, infer, zoo};
/// let net = zoo::build("lenet-5", [1, 28, 28], 10, 1)?;
/// let shapes = infer(&net, &[("input", Shape::new(&[4, 1, 28, 28])?)])?;
/// assert_eq!(shapes["logits"].1.dims(), [4, 10]);
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
///
/// # Errors
/// As [`eval`](fn@crate::eval), from the shapes alone; a shape that hangs on a
/// value that is only known when the graph runs.
pub fn infer(
    graph: &Graph,
    input_shapes: &[(&str, Shape)],
) -> Result<IndexMap<String, (DType, Shape)>, ModelError> {
    let known = inputs(graph, input_shapes)?;
    walk(graph, known, HashMap::new()).map(|(known, _)| known)
}

/// Multiply-accumulates that each kernel takes part in, by its name: for all items of the inputs,
/// padding counted as if it were multiplied ([`ops::macs`]).
///
/// ```
/// use secateur_model::{Shape, infer, zoo};
/// let net = zoo::build("lenet-5", [1, 28, 28], 10, 1)?;
/// let macs = infer::macs(&net, &[("input", Shape::new(&[1, 1, 28, 28])?)])?;
/// assert_eq!(macs["conv1.weight"], 24 * 24 * 20 * 25);
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
///
/// # Errors
/// As [`infer`](fn@infer).
pub fn macs(
    graph: &Graph,
    input_shapes: &[(&str, Shape)],
) -> Result<BTreeMap<String, u64>, ModelError> {
    let shapes = infer(graph, input_shapes)?;
    let mut macs = BTreeMap::new();
    for node in &graph.nodes {
        let Some((name, _)) = graph.kernel_of(node) else {
            continue;
        };
        let inputs: Vec<Option<&Shape>> = (0..node.inputs.len())
            .map(|i| Some(&shapes.get(node.input(i)?)?.1))
            .collect();
        let all: &mut u64 = macs.entry(name.to_owned()).or_default();
        *all = all.saturating_add(ops::macs(node, &inputs));
    }
    Ok(macs)
}

/// Types and extents of the outputs of a graph that reads what is given.
pub(crate) fn outputs<'a>(
    graph: &Graph,
    given: impl Iterator<Item = (&'a str, ShapeInput<'a>)>,
) -> Result<Vec<(DType, Shape)>, ModelError> {
    let (mut known, mut folded) = (IndexMap::new(), HashMap::new());
    for (name, input) in given {
        if let Some(value) = input.value
            && value.shape().elements() <= FOLDED_ELEMENTS
        {
            folded.insert(name, value.clone());
        }
        known.insert(name.to_owned(), (input.dtype, input.shape));
    }
    let (known, _) = walk(graph, known, folded)?;
    let output = |name: &str| {
        let missing = || ModelError::Graph(format!("output `{name}` is computed by nothing"));
        known.get(name).cloned().ok_or_else(missing)
    };
    graph.outputs.iter().map(|o| output(&o.name)).collect()
}

/// Types and extents by name.
type Known = IndexMap<String, (DType, Shape)>;

/// All that follows from what is known and from the values that are folded.
fn walk<'g>(
    graph: &'g Graph,
    mut known: Known,
    mut folded: HashMap<&'g str, Tensor>,
) -> Result<(Known, HashMap<&'g str, Tensor>), ModelError> {
    for (name, constant) in &graph.constants {
        let typed = match constant {
            Constant::Tensor(tensor) => (tensor.dtype(), tensor.shape().clone()),
            Constant::Weight(weight) => (DType::F32, weight.shape().clone()),
        };
        known.entry(name.clone()).or_insert(typed);
    }
    for node in &graph.nodes {
        let read = read(graph, node, &known, &folded)?;
        let outputs = ops::infer(node, &read)?;
        let value = fold(node, &read, &outputs)?;
        for (name, typed) in node.outputs.iter().zip(outputs) {
            if !name.is_empty() {
                known.insert(name.clone(), typed);
            }
        }
        if let (Some(name), Some(value)) = (node.output(0), value) {
            folded.insert(name, value);
        }
    }
    Ok((known, folded))
}

fn inputs(graph: &Graph, shapes: &[(&str, Shape)]) -> Result<Known, ModelError> {
    let mut given = Given::default();
    for (name, shape) in shapes {
        let declared = graph.inputs.iter().find(|i| i.name == *name);
        given.take(graph, name, declared.map_or(DType::F32, |d| d.dtype), shape)?;
    }
    let mut known = IndexMap::new();
    for input in &graph.inputs {
        let shape = match shapes.iter().find(|(name, _)| *name == input.name) {
            Some((_, shape)) => shape.clone(),
            None if graph.constants.contains_key(&input.name) => continue,
            None => fixed(input)?,
        };
        known.insert(input.name.clone(), (input.dtype, shape));
    }
    Ok(known)
}

/// The extents of an input that declares all of them.
fn fixed(input: &ValueInfo) -> Result<Shape, ModelError> {
    let dims: Option<Vec<usize>> = input.dims.as_ref().and_then(|dims| {
        dims.iter()
            .map(|dim| match dim {
                Dim::Known(n) => Some(*n),
                Dim::Named(_) => None,
            })
            .collect()
    });
    let dims = dims.ok_or_else(|| ModelError::Input {
        name: input.name.clone(),
        needed: format!("a shape for {}", describe(input)),
        found: "nothing".into(),
    })?;
    Shape::new(&dims)
}

/// What is known of a node's inputs.
fn read<'a>(
    graph: &'a Graph,
    node: &Node,
    known: &Known,
    folded: &'a HashMap<&str, Tensor>,
) -> Result<Vec<Option<ShapeInput<'a>>>, ModelError> {
    node.inputs
        .iter()
        .map(|name| {
            if name.is_empty() {
                return Ok(None);
            }
            let (dtype, shape) = known.get(name).ok_or_else(|| {
                ModelError::at(node, format!("`{name}` is read before it is computed"))
            })?;
            let is_input = graph.inputs.iter().any(|input| &input.name == name);
            let constant = match graph.constants.get(name) {
                // A graph input may override its default.
                Some(Constant::Tensor(tensor)) if !is_input => Some(tensor),
                _ => None,
            };
            Ok(Some(ShapeInput {
                dtype: *dtype,
                shape: shape.clone(),
                value: folded.get(name.as_str()).or(constant),
            }))
        })
        .collect()
}

/// The value of a node's only output, if it is a short list of integers or
/// booleans that hangs on nothing but known values and shapes.
///
/// # Errors
/// Values that have no result.
pub fn fold(
    node: &Node,
    inputs: &[Option<ShapeInput<'_>>],
    outputs: &[(DType, Shape)],
) -> Result<Option<Tensor>, ModelError> {
    let short = |dtype: DType, shape: &Shape| {
        matches!(dtype, DType::I64 | DType::I32 | DType::Bool)
            && shape.elements() <= FOLDED_ELEMENTS
    };
    let [(dtype, shape)] = outputs else {
        return Ok(None);
    };
    if !short(*dtype, shape) {
        return Ok(None);
    }
    if let (Op::Shape { start, end }, Some(Some(x))) = (&node.op, inputs.first()) {
        return ops::shape_value(&x.shape, *start, *end).map(Some);
    }
    if let (Op::Size, Some(Some(x))) = (&node.op, inputs.first()) {
        return ops::size_value(&x.shape).map(Some);
    }
    let mut values = Vec::with_capacity(inputs.len());
    for input in inputs {
        match input {
            None => values.push(None),
            Some(input) => match input.value {
                Some(value) if short(value.dtype(), value.shape()) => values.push(Some(value)),
                _ => return Ok(None),
            },
        }
    }
    let mut computed = ops::evaluate(node, &values)?;
    Ok(computed.pop())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Binary, eval, zoo};

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).unwrap()
    }

    fn flattening() -> Graph {
        let value = |name: &str, dims| ValueInfo {
            name: name.into(),
            dtype: DType::F32,
            dims,
        };
        let dims = vec![Dim::Named("batch".into()), Dim::Known(3), Dim::Known(4)];
        let list = |v: &[i64]| Constant::Tensor(Tensor::i64(&[v.len()], v.to_vec()).unwrap());
        let zero = Constant::Tensor(Tensor::i64(&[], vec![0]).unwrap());
        Graph {
            inputs: vec![value("x", Some(dims))],
            outputs: vec![value("y", None)],
            constants: [("zero", zero), ("axes", list(&[0])), ("rest", list(&[-1]))]
                .map(|(name, c)| (name.to_owned(), c))
                .into_iter()
                .collect(),
            nodes: vec![
                Node::new(
                    "shape",
                    Op::Shape {
                        start: 0,
                        end: None,
                    },
                    &["x"],
                    &["s"],
                ),
                Node::new("first", Op::Gather { axis: 0 }, &["s", "zero"], &["n"]),
                Node::new("list", Op::Unsqueeze, &["n", "axes"], &["l"]),
                Node::new("join", Op::Concat { axis: 0 }, &["l", "rest"], &["to"]),
                Node::new(
                    "flat",
                    Op::Reshape { allow_zero: false },
                    &["x", "to"],
                    &["y"],
                ),
            ],
            ..Graph::default()
        }
    }

    #[test]
    fn arithmetic_on_extents_is_followed() {
        let shapes = infer(&flattening(), &[("x", shape(&[5, 3, 4]))]).unwrap();
        assert_eq!(shapes["y"], (DType::F32, shape(&[5, 12])));
        assert_eq!(shapes["to"], (DType::I64, shape(&[2])));
    }

    #[test]
    fn extents_are_chosen_by_comparisons() {
        let mut graph = flattening();
        let twelve = Constant::Tensor(Tensor::i64(&[1], vec![12]).unwrap());
        graph.constants.insert("twelve".into(), twelve);
        let nodes = [
            Node::new("open", Op::Binary(Binary::Equal), &["to", "rest"], &["o"]),
            Node::new("fill", Op::Where, &["o", "twelve", "to"], &["filled"]),
        ];
        graph.nodes[4].inputs[1] = "filled".into();
        graph.nodes.splice(4..4, nodes);
        let shapes = infer(&graph, &[("x", shape(&[5, 3, 4]))]).unwrap();
        assert_eq!(shapes["y"], (DType::F32, shape(&[5, 12])));
    }

    #[test]
    fn inputs_with_open_extents_must_be_given() {
        let error = infer(&flattening(), &[]).unwrap_err().to_string();
        assert!(error.contains("batch"), "{error}");
        assert!(infer(&flattening(), &[("x", shape(&[5, 3, 3]))]).is_err());
        let mut fixed = flattening();
        fixed.inputs[0].dims = Some(vec![Dim::Known(2); 3]);
        assert_eq!(infer(&fixed, &[]).unwrap()["y"].1, shape(&[2, 4]));
    }

    #[test]
    fn inference_agrees_with_evaluation() {
        for (name, _) in zoo::NETWORKS {
            let net = zoo::build(name, [3, 16, 16], 4, 1).unwrap();
            let shapes = infer(&net, &[("input", shape(&[1, 3, 16, 16]))]).unwrap();
            let x = Tensor::f32(&[1, 3, 16, 16], vec![0.1; 768]).unwrap();
            let y = eval(&net, &[("input", x)]).unwrap();
            let output = net.outputs[0].name.as_str();
            assert_eq!(&shapes[output].1, y[0].shape(), "{name}");
        }
    }
}
