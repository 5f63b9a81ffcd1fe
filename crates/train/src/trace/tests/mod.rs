//! Every operator against the model's reference evaluation, and its gradients
//! against finite differences.

mod gradients;
mod shapes;

use super::{Dropout, Mode, Value, run};
use crate::TrainError;
use secateur_model::{
    Constant, DType, Graph, Node, Op, Shape, Support, Tensor, ValueInfo, Values, Weight, eval,
};
use std::collections::HashMap;

/// An input of an operator under test.
#[derive(Clone)]
pub(super) enum Input {
    /// Differentiated: the first one is the batch, the others are parameters.
    Float(Vec<usize>),
    /// A constant.
    Fixed(Tensor),
    /// Left out.
    Absent,
}

pub(super) fn float(dims: &[usize]) -> Input {
    Input::Float(dims.to_vec())
}

pub(super) fn list(values: &[i64]) -> Input {
    Input::Fixed(Tensor::i64(&[values.len()], values.to_vec()).unwrap())
}

pub(super) fn number(value: f32) -> Input {
    Input::Fixed(Tensor::scalar_f32(value))
}

/// Distinct numbers a tenth apart, none nearer to zero than a twentieth, in an
/// order without a pattern: a small step crosses no kink and changes no maximum.
pub(super) fn spread(elements: usize, salt: usize) -> Vec<f32> {
    let n = elements.max(1);
    let step = (1..)
        .map(|k| n * 5 / 8 + k)
        .find(|&s| {
            (1..=n)
                .filter(|&d| n.is_multiple_of(d) && s.is_multiple_of(d))
                .count()
                == 1
        })
        .unwrap();
    (0..elements)
        .map(|i| {
            let place = (i * step + salt) % n;
            (place as f32 - (n / 2) as f32 + 0.5) * 0.1
        })
        .collect()
}

/// A graph of one operator with its parameters.
pub(super) struct Single {
    pub graph: Graph,
    pub batch: Vec<f32>,
    pub batch_dims: Vec<usize>,
    pub parameters: Vec<(String, Vec<f32>, Vec<usize>)>,
}

impl Single {
    pub fn new(op: Op, inputs: &[Input]) -> Self {
        let mut graph = Graph::default();
        let mut names = Vec::new();
        let (mut batch, mut batch_dims, mut parameters) = (vec![], vec![], vec![]);
        for (index, input) in inputs.iter().enumerate() {
            let name = format!("i{index}");
            match input {
                Input::Absent => {
                    names.push(String::new());
                    continue;
                }
                Input::Fixed(tensor) => {
                    let constant = Constant::Tensor(tensor.clone());
                    graph.constants.insert(name.clone(), constant);
                }
                Input::Float(dims) if graph.inputs.is_empty() => {
                    batch = spread(dims.iter().product(), 3);
                    batch_dims = dims.clone();
                    graph.inputs.push(ValueInfo {
                        name: name.clone(),
                        dtype: DType::F32,
                        dims: None,
                    });
                }
                Input::Float(dims) => {
                    let values = spread(dims.iter().product(), index);
                    let shape = Shape::new(dims).unwrap();
                    let weight =
                        Weight::new(shape, Support::All, Values::F32(values.clone())).unwrap();
                    let constant = Constant::Weight(weight);
                    graph.constants.insert(name.clone(), constant);
                    parameters.push((name.clone(), values, dims.clone()));
                }
            }
            names.push(name);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        graph.nodes.push(Node::new("node", op, &names, &["y"]));
        graph.outputs.push(ValueInfo {
            name: "y".into(),
            dtype: DType::F32,
            dims: None,
        });
        Self {
            graph,
            batch,
            batch_dims,
            parameters,
        }
    }

    /// Inputs in order, the batch first.
    pub fn inputs(&self) -> Vec<(Vec<f32>, Vec<usize>)> {
        let parameters = self.parameters.iter();
        std::iter::once((self.batch.clone(), self.batch_dims.clone()))
            .chain(parameters.map(|(_, values, dims)| (values.clone(), dims.clone())))
            .collect()
    }

    pub fn run(&self, inputs: &[Value], training: bool) -> Result<Value, TrainError> {
        let names = self.parameters.iter().map(|(name, ..)| name.clone());
        let parameters: HashMap<String, Value> = names.zip(inputs[1..].iter().cloned()).collect();
        let mut statistics = Vec::new();
        let shares = HashMap::new();
        let mode = match training {
            true => Mode::Train {
                statistics: &mut statistics,
                dropout: Some(Dropout {
                    seed: 5,
                    shares: &shares,
                }),
            },
            false => Mode::Evaluate,
        };
        let wanted = ["y".to_owned()];
        let mut values = run(&self.graph, inputs[0].clone(), &parameters, mode, &wanted)?;
        Ok(values.remove("y").unwrap())
    }

    pub fn forward(&self, training: bool) -> Result<Value, TrainError> {
        let inputs = self.inputs();
        let values: Vec<Value> = inputs
            .iter()
            .map(|(v, d)| Value::new(v.clone(), d))
            .collect();
        self.run(&values, training)
    }

    /// The output agrees with the model's reference evaluation.
    pub fn agrees(&self, what: &str) {
        let found = self
            .forward(false)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let batch = Tensor::f32(&self.batch_dims, self.batch.clone()).unwrap();
        let name = self.graph.inputs[0].name.as_str();
        let wanted = eval(&self.graph, &[(name, batch)]).unwrap();
        assert_eq!(found.dims, wanted[0].shape().dims(), "{what}");
        let (found, wanted) = (found.to_vec(), wanted[0].as_f32().unwrap());
        // Sums of another order differ by the largest terms' rounding.
        let scale = wanted.iter().fold(1.0f32, |scale, w| scale.max(w.abs()));
        for (i, (f, w)) in found.iter().zip(wanted).enumerate() {
            assert!((f - w).abs() <= 1e-5 * scale, "{what}: {i}: {f} for {w}");
        }
    }
}

/// Operators that write over an input do so only where nothing else reads it.
#[test]
fn values_with_other_readers_stay() {
    let mut graph = Graph::default();
    let float = |name: &str| ValueInfo {
        name: name.into(),
        dtype: DType::F32,
        dims: None,
    };
    graph.inputs.push(float("x"));
    graph.nodes = vec![
        Node::new("kept", Op::Relu, &["x"], &["r"]),
        Node::new("again", Op::Add, &["r", "x"], &["s"]),
        Node::new("alias", Op::Identity, &["s"], &["a"]),
        Node::new("over", Op::Relu, &["a"], &["o"]),
        Node::new("twice", Op::Add, &["s", "s"], &["t"]),
        Node::new("last", Op::Add, &["t", "o"], &["y"]),
    ];
    let wanted = ["x", "r", "s", "t", "y"];
    graph.outputs = wanted.map(float).to_vec();
    let x = spread(12, 3);
    let batch = Tensor::f32(&[3, 4], x.clone()).unwrap();
    let expected = eval(&graph, &[("x", batch)]).unwrap();
    let wanted = wanted.map(str::to_owned);
    for value in [Value::new(x.clone(), &[3, 4]), Value::parameter(x, &[3, 4])] {
        let found = run(&graph, value, &HashMap::new(), Mode::Evaluate, &wanted).unwrap();
        for (name, expected) in wanted.iter().zip(&expected) {
            assert_eq!(found[name].to_vec(), expected.as_f32().unwrap(), "{name}");
        }
    }
}
