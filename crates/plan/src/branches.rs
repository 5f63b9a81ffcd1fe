//! A graph for given inputs: where a condition hangs on no more than their extents, and the values of
//! those that are small, the branch that is taken stands in place of the choice.

use secateur_model::control::truth;
use secateur_model::infer::fold;
use secateur_model::ops::{self, ShapeInput};
use secateur_model::{
    Constant, Control, DType, Flow, Graph, ModelError, Node, Op, Shape, Tensor, ValueInfo,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Most elements of a value that is worked out on the way: conditions hang on shapes and their like.
const MAX_KNOWN: usize = 1 << 10;

/// Whether a graph has a choice in it.
pub fn chooses(graph: &Graph) -> bool {
    let is_choice = |node: &Node| match &node.op {
        Op::Control(control) => matches!(control.flow, Flow::If { .. }),
        _ => false,
    };
    graph.nodes.iter().any(is_choice)
}

/// The graph with the branches that are taken for inputs of these extents and, where they are known, values.
///
/// # Errors
/// A condition that is no single boolean.
pub fn taken(
    graph: &Graph,
    shapes: &[Shape],
    values: &[Option<Arc<Tensor>>],
) -> Result<Graph, ModelError> {
    let mut taking = Taking {
        graph: Graph {
            nodes: Vec::with_capacity(graph.nodes.len()),
            ..graph.clone()
        },
        facts: HashMap::new(),
        choices: 0,
    };
    let mut names = HashMap::new();
    for ((input, shape), value) in graph.inputs.iter().zip(shapes).zip(values) {
        let name = match value {
            Some(value) => taking.constant(input, value),
            None => input.name.clone(),
        };
        let fact = Fact {
            dtype: input.dtype,
            shape: shape.clone(),
            value: value.clone(),
        };
        names.insert(input.name.clone(), name.clone());
        taking.facts.insert(name, fact);
    }
    taking.nodes(&graph.nodes, &mut names, "")?;
    Ok(taking.graph)
}

/// What is known of a value.
#[derive(Clone)]
struct Fact {
    dtype: DType,
    shape: Shape,
    value: Option<Arc<Tensor>>,
}

impl Fact {
    fn of(constant: &Constant) -> Self {
        match constant {
            Constant::Tensor(tensor) => Self {
                dtype: tensor.dtype(),
                shape: tensor.shape().clone(),
                value: (tensor.shape().elements() <= MAX_KNOWN).then(|| Arc::new(tensor.clone())),
            },
            Constant::Weight(weight) => Self {
                dtype: DType::F32,
                shape: weight.shape().clone(),
                value: None,
            },
        }
    }

    fn as_input(&self) -> ShapeInput<'_> {
        match &self.value {
            Some(tensor) => ShapeInput::of(tensor),
            None => ShapeInput::new(self.dtype, self.shape.clone()),
        }
    }
}

/// A graph in the making.
struct Taking {
    graph: Graph,
    facts: HashMap<String, Fact>,
    /// Choices met so far, which give the names of inner graphs apart.
    choices: usize,
}

impl Taking {
    /// A constant of an input's value.
    fn constant(&mut self, input: &ValueInfo, value: &Arc<Tensor>) -> String {
        let name = self.graph.fresh_name(&format!("{}.value", input.name));
        let constant = Constant::Tensor(value.as_ref().clone());
        self.graph.constants.insert(name.clone(), constant);
        name
    }

    /// Nodes of the graph or of a branch, whose values go by the names that `names` has for them; those
    /// that a branch computes begin with `prefix`.
    fn nodes(
        &mut self,
        nodes: &[Node],
        names: &mut HashMap<String, String>,
        prefix: &str,
    ) -> Result<(), ModelError> {
        for node in nodes {
            let mut node = node.clone();
            node.name = format!("{prefix}{}", node.name);
            for input in node.inputs.iter_mut().filter(|name| !name.is_empty()) {
                if let Some(name) = names.get(input) {
                    input.clone_from(name);
                }
            }
            if !prefix.is_empty() {
                for output in node.outputs.iter_mut().filter(|name| !name.is_empty()) {
                    let own = format!("{prefix}{output}");
                    names.insert(std::mem::replace(output, own.clone()), own);
                }
            }
            match self.branch(&node)? {
                Some((control, branch)) => self.inline(&node, &control, &branch)?,
                None => {
                    self.learn(&node);
                    self.graph.nodes.push(node);
                }
            }
        }
        Ok(())
    }

    /// The branch that a choice takes, if that is known.
    fn branch(&self, node: &Node) -> Result<Option<(Control, Graph)>, ModelError> {
        let Op::Control(control) = &node.op else {
            return Ok(None);
        };
        let fact = node.input(0).and_then(|name| self.fact(name));
        let Some(condition) = fact.and_then(|fact| fact.value) else {
            return Ok(None);
        };
        let branch = control.branch(truth(node, &condition)?);
        Ok(branch.map(|branch| (control.as_ref().clone(), branch.clone())))
    }

    /// A branch in place of its choice.
    fn inline(&mut self, node: &Node, control: &Control, branch: &Graph) -> Result<(), ModelError> {
        let prefix = format!("{}.branch{}/", node.name, self.choices);
        self.choices += 1;
        let captured = node.inputs.iter().skip(control.flow.parameters());
        let captures = control.captures.iter().cloned().zip(captured.cloned());
        let mut names: HashMap<String, String> = captures.collect();
        for (name, constant) in &branch.constants {
            let own = format!("{prefix}{name}");
            self.graph.constants.insert(own.clone(), constant.clone());
            names.insert(name.clone(), own);
        }
        self.nodes(&branch.nodes, &mut names, &prefix)?;
        for (index, (output, inner)) in node.outputs.iter().zip(&branch.outputs).enumerate() {
            let inner = names.get(&inner.name).unwrap_or(&inner.name).clone();
            let name = format!("{prefix}output {index}");
            let given = Node::new(name, Op::Identity, &[&inner], &[output]);
            self.learn(&given);
            self.graph.nodes.push(given);
        }
        Ok(())
    }

    /// Works out what a node gives, as far as extents and short lists of integers tell.
    fn learn(&mut self, node: &Node) {
        let facts = (0..node.inputs.len()).map(|index| match node.input(index) {
            None => Some(None),
            Some(name) => self.fact(name).map(Some),
        });
        // Nothing is known behind what hangs on values that are computed.
        let Some(facts) = facts.collect::<Option<Vec<Option<Fact>>>>() else {
            return;
        };
        let inputs: Vec<_> = facts
            .iter()
            .map(|fact| fact.as_ref().map(Fact::as_input))
            .collect();
        let Ok(outputs) = ops::infer(node, &inputs) else {
            return;
        };
        let mut value = fold(node, &inputs, &outputs).ok().flatten().map(Arc::new);
        for (name, (dtype, shape)) in node.outputs.iter().zip(outputs) {
            let value = value.take();
            self.facts.insert(
                name.clone(),
                Fact {
                    dtype,
                    shape,
                    value,
                },
            );
        }
    }

    fn fact(&self, name: &str) -> Option<Fact> {
        let constant = || self.graph.constants.get(name).map(Fact::of);
        self.facts.get(name).cloned().or_else(constant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::{UnknownOp, eval};

    fn value(name: &str, dtype: DType) -> ValueInfo {
        ValueInfo {
            name: name.into(),
            dtype,
            dims: None,
        }
    }

    fn graph(inputs: &[(&str, DType)], nodes: Vec<Node>, outputs: &[&str]) -> Graph {
        Graph {
            inputs: inputs
                .iter()
                .map(|(name, dtype)| value(name, *dtype))
                .collect(),
            nodes,
            outputs: outputs.iter().map(|name| value(name, DType::F32)).collect(),
            ..Graph::default()
        }
    }

    fn choice(then: Graph, otherwise: Graph, captures: &[&str]) -> Op {
        Op::Control(Box::new(Control {
            flow: Flow::If { then, otherwise },
            captures: captures.iter().map(|&name| name.into()).collect(),
            carried: UnknownOp {
                domain: String::new(),
                op_type: "If".into(),
                attributes: Vec::new(),
                captures: Vec::new(),
            },
        }))
    }

    /// `state` where `rate` is 8, else its sigmoid; then, by its rank, its Relu or its negation. Inner
    /// values go by one name in both.
    fn network() -> Graph {
        let same = Node::new("same", Op::Identity, &["inner"], &["t"]);
        let turned = Node::new("same", Op::Sigmoid, &["inner"], &["t"]);
        let first = choice(
            graph(&[], vec![same], &["t"]),
            graph(&[], vec![turned], &["t"]),
            &["inner"],
        );
        let relu = Node::new("same", Op::Relu, &["t"], &["u"]);
        let tanh = Node::new("same", Op::Tanh, &["t"], &["u"]);
        let second = choice(
            graph(&[], vec![relu], &["u"]),
            graph(&[], vec![tanh], &["u"]),
            &["t"],
        );
        let whole = Op::Shape {
            start: 0,
            end: None,
        };
        let nodes = vec![
            Node::new(
                "is",
                Op::Binary(secateur_model::Binary::Equal),
                &["rate", "eight"],
                &["c"],
            ),
            Node::new("first", first, &["c", "state"], &["a"]),
            Node::new("shape", whole, &["a"], &["s"]),
            Node::new("rank", Op::Size, &["s"], &["r"]),
            Node::new(
                "flat",
                Op::Binary(secateur_model::Binary::Equal),
                &["r", "two"],
                &["f"],
            ),
            Node::new("second", second, &["f", "a"], &["y"]),
        ];
        let mut graph = graph(
            &[("state", DType::F32), ("rate", DType::I64)],
            nodes,
            &["y"],
        );
        for (name, number) in [("eight", 8), ("two", 2)] {
            let tensor = Tensor::i64(&[], vec![number]).unwrap();
            graph
                .constants
                .insert(name.into(), Constant::Tensor(tensor));
        }
        graph
    }

    #[test]
    fn branches_are_those_that_would_be_taken() {
        let graph = network();
        for dims in [&[2, 3][..], &[6]] {
            for rate in [8, 9] {
                let state = Tensor::f32(dims, vec![-2.0, -1.0, 0.0, 0.5, 1.0, 2.0]).unwrap();
                let rate = Tensor::i64(&[], vec![rate]).unwrap();
                let shapes = [state.shape().clone(), rate.shape().clone()];
                let values = [None, Some(Arc::new(rate.clone()))];
                let taken = taken(&graph, &shapes, &values).unwrap();
                assert!(chooses(&graph) && !chooses(&taken));
                let inputs = [("state", state), ("rate", rate)];
                assert_eq!(
                    eval(&taken, &inputs).unwrap(),
                    eval(&graph, &inputs).unwrap()
                );
            }
        }
    }

    #[test]
    fn what_hangs_on_computed_values_stays() {
        let graph = network();
        let shapes = [Shape::new(&[6]).unwrap(), Shape::scalar()];
        assert!(chooses(&taken(&graph, &shapes, &[None, None]).unwrap()));
    }
}
