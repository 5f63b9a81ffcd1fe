//! Running a graph node by node: slow, and what everything faster must agree
//! with.

use crate::{Constant, Graph, ModelError, Node, Shape, Tensor, ValueInfo, ops};
use crate::{DType, Dim};
use std::borrow::Cow;
use std::collections::HashMap;

/// The graph's outputs, in its order, for inputs given by name.
///
/// Nodes must stand in an order in which values are computed before they are
/// read ([`Graph::sort`]). A value is freed after its last use.
///
/// ```
/// use secateur_model::{Tensor, eval, zoo};
/// let net = zoo::build("lenet-300-100", [1, 8, 8], 10, 1)?;
/// let digits = Tensor::f32(&[2, 1, 8, 8], vec![0.5; 128])?;
/// let logits = eval(&net, &[("input", digits)])?;
/// assert_eq!(logits[0].shape().dims(), [2, 10]);
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
///
/// # Errors
/// An input that is missing, not the graph's, given twice, or not of the
/// declared type and extents (a named extent must be the same everywhere); a
/// value read before it is computed; whatever [`ops::evaluate`] refuses.
pub fn eval(graph: &Graph, inputs: &[(&str, Tensor)]) -> Result<Vec<Tensor>, ModelError> {
    let mut given = Given::default();
    for (name, tensor) in inputs {
        given.take(graph, name, tensor.dtype(), tensor.shape())?;
    }
    given.complete(graph)?;

    let values = inputs
        .iter()
        .map(|(name, tensor)| (*name, Cow::Borrowed(tensor)))
        .collect();
    run(graph, values)
}

/// Values by name.
pub(crate) type Scope<'v> = HashMap<&'v str, Cow<'v, Tensor>>;

/// The outputs of a graph that reads what is in scope.
pub(crate) fn run<'v>(graph: &'v Graph, mut values: Scope<'v>) -> Result<Vec<Tensor>, ModelError> {
    let last_use = last_uses(graph);
    for (index, node) in graph.nodes.iter().enumerate() {
        let read = node
            .inputs
            .iter()
            .map(|name| match name.as_str() {
                "" => Ok(None),
                name => value(graph, &values, name).map(Some),
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|reason| ModelError::at(node, reason))?;
        let read: Vec<Option<&Tensor>> = read.iter().map(Option::as_deref).collect();
        let computed = ops::evaluate(node, &read)?;
        for (name, tensor) in node.outputs.iter().zip(computed) {
            values.insert(name, Cow::Owned(tensor));
        }
        drop_dead(node, index, &last_use, &mut values);
    }
    graph
        .outputs
        .iter()
        .map(|output| {
            value(graph, &values, &output.name)
                .map(Cow::into_owned)
                .map_err(|reason| ModelError::Graph(format!("output: {reason}")))
        })
        .collect()
}

/// A computed or given value, or a constant; a weight is materialised for the
/// one use.
fn value<'v>(
    graph: &'v Graph,
    values: &'v HashMap<&str, Cow<'_, Tensor>>,
    name: &str,
) -> Result<Cow<'v, Tensor>, String> {
    match (values.get(name), graph.constants.get(name)) {
        (Some(tensor), _) => Ok(Cow::Borrowed(tensor.as_ref())),
        (None, Some(Constant::Tensor(tensor))) => Ok(Cow::Borrowed(tensor)),
        (None, Some(Constant::Weight(weight))) => Ok(Cow::Owned(weight.to_tensor())),
        (None, None) => Err(format!("`{name}` is read before it is computed")),
    }
}

/// Index of the last node that reads each value; outputs live for ever.
fn last_uses(graph: &Graph) -> HashMap<&str, usize> {
    let mut last = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        for name in node.reads() {
            last.insert(name, index);
        }
    }
    for output in &graph.outputs {
        last.insert(output.name.as_str(), usize::MAX);
    }
    last
}

/// Frees what node `index` read for the last time or computed for nobody.
fn drop_dead(
    node: &Node,
    index: usize,
    last_use: &HashMap<&str, usize>,
    values: &mut HashMap<&str, Cow<'_, Tensor>>,
) {
    for name in node.reads().chain(node.outputs.iter().map(String::as_str)) {
        if last_use.get(name).is_none_or(|&last| last <= index) {
            values.remove(name);
        }
    }
}

/// Inputs met so far, checked against what the graph declares.
#[derive(Default)]
pub(crate) struct Given<'g> {
    names: Vec<&'g str>,
    extents: HashMap<&'g str, usize>,
}

impl<'g> Given<'g> {
    /// Takes an input's type and extents.
    pub(crate) fn take(
        &mut self,
        graph: &'g Graph,
        name: &str,
        dtype: DType,
        shape: &Shape,
    ) -> Result<(), ModelError> {
        let wrong = |needed: String, found: String| ModelError::Input {
            name: name.to_owned(),
            needed,
            found,
        };
        let Some(declared) = graph.inputs.iter().find(|i| i.name == name) else {
            let names: Vec<&str> = graph.inputs.iter().map(|i| i.name.as_str()).collect();
            let needed = format!("one of the graph's inputs ({})", names.join(", "));
            return Err(wrong(needed, "another name".into()));
        };
        if self.names.contains(&name) {
            return Err(wrong("one value".into(), "two".into()));
        }
        let mismatch = || wrong(describe(declared), format!("{dtype}{shape}"));
        if dtype != declared.dtype {
            return Err(mismatch());
        }
        self.names.push(&declared.name);
        let Some(dims) = &declared.dims else {
            return Ok(());
        };
        if dims.len() != shape.rank() {
            return Err(mismatch());
        }
        for (dim, &extent) in dims.iter().zip(shape.iter()) {
            let needed = match dim {
                Dim::Known(n) => *n,
                Dim::Named(n) => *self.extents.entry(n).or_insert(extent),
            };
            if needed == extent {
                continue;
            }
            return Err(match dim {
                Dim::Known(_) => mismatch(),
                Dim::Named(n) => wrong(
                    format!("{} with {n} = {needed} as before", describe(declared)),
                    format!("{dtype}{shape}"),
                ),
            });
        }
        Ok(())
    }

    /// Every input without a default value must have been taken.
    fn complete(&self, graph: &Graph) -> Result<(), ModelError> {
        let missing = graph.inputs.iter().find(|input| {
            !self.names.contains(&input.name.as_str()) && !graph.constants.contains_key(&input.name)
        });
        match missing {
            None => Ok(()),
            Some(input) => Err(ModelError::Input {
                name: input.name.clone(),
                needed: describe(input),
                found: "nothing".into(),
            }),
        }
    }
}

/// `f32[batch, 3, 32, 32]`.
pub(crate) fn describe(value: &ValueInfo) -> String {
    let Some(dims) = &value.dims else {
        return format!("{} of any shape", value.dtype);
    };
    let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
    format!("{}[{}]", value.dtype, dims.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dim, Op, zoo};

    fn batch(dims: &[usize]) -> Tensor {
        let n = dims.iter().product();
        Tensor::f32(dims, (0..n).map(|i| (i % 7) as f32 / 7.0).collect()).unwrap()
    }

    #[test]
    fn built_in_networks_run() {
        for (name, _) in zoo::NETWORKS {
            let net = zoo::build(name, [1, 16, 16], 3, 1).unwrap();
            let y = eval(&net, &[("input", batch(&[1, 1, 16, 16]))]).unwrap();
            let declared = net.outputs[0].dims.as_deref().unwrap();
            let shape = y[0].shape().dims();
            assert_eq!((shape.len(), shape[0]), (declared.len(), 1), "{name}");
            for (dim, &found) in declared.iter().zip(shape).skip(1) {
                assert_eq!(*dim, Dim::Known(found), "{name}");
            }
            assert!(
                y[0].as_f32().unwrap().iter().all(|v| v.is_finite()),
                "{name}"
            );
        }
    }

    #[test]
    fn inputs_must_be_what_is_declared() {
        let net = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let error = |inputs: &[(&str, Tensor)]| eval(&net, inputs).unwrap_err().to_string();
        assert!(error(&[]).contains("nothing"));
        assert!(error(&[("x", batch(&[1]))]).contains("input"));
        let wrong = error(&[("input", batch(&[1, 1, 8, 9]))]);
        assert!(wrong.contains("f32[batch, 1, 8, 8]") && wrong.contains("[1, 1, 8, 9]"));
        let image = || batch(&[1, 1, 8, 8]);
        assert!(error(&[("input", image()), ("input", image())]).contains("two"));
        let bytes = Tensor::u8(&[1, 1, 8, 8], vec![0; 64]).unwrap();
        assert!(error(&[("input", bytes)]).contains("u8"));
    }

    fn sum() -> Graph {
        let value = |name: &str| ValueInfo {
            name: name.into(),
            dtype: DType::F32,
            dims: Some(vec![Dim::Named("n".into())]),
        };
        Graph {
            inputs: vec![value("a"), value("b")],
            outputs: vec![value("y"), value("a")],
            nodes: vec![
                Node::new("sum", Op::Add, &["a", "b"], &["s"]),
                Node::new("twice", Op::Add, &["s", "s"], &["y"]),
            ],
            ..Graph::default()
        }
    }

    #[test]
    fn named_extents_agree_and_inputs_may_be_outputs() {
        let y = eval(&sum(), &[("a", batch(&[2])), ("b", batch(&[2]))]).unwrap();
        assert_eq!(y[1], batch(&[2]));
        let error = eval(&sum(), &[("a", batch(&[2])), ("b", batch(&[1]))]).unwrap_err();
        assert!(error.to_string().contains("n = 2"), "{error}");
    }

    #[test]
    fn a_wrong_order_is_an_error() {
        let mut graph = sum();
        graph.nodes.reverse();
        let error = eval(&graph, &[("a", batch(&[2])), ("b", batch(&[2]))]).unwrap_err();
        assert!(
            error.to_string().contains("before it is computed"),
            "{error}"
        );
    }
}
