//! Small graphs, each with a way in which channels hang together.

use secateur_model::ops::{Cell, ConvTranspose, Direction, Recurrent};
use secateur_model::{
    Constant, DType, Dim, Graph, Node, Op, Shape, Tensor, ValueInfo, Weight, Window,
};

/// Pseudo-random numbers in `-1 ..= 1`.
pub fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// A graph in the making; every call gives the name of a value.
pub struct Net {
    pub graph: Graph,
}

impl Net {
    pub fn new(name: &str, input: &[usize]) -> Self {
        let graph = Graph {
            name: name.into(),
            inputs: vec![ValueInfo {
                name: "x".into(),
                dtype: DType::F32,
                dims: Some(input.iter().map(|&n| Dim::Known(n)).collect()),
            }],
            ..Graph::default()
        };
        Self { graph }
    }

    pub fn weight(&mut self, dims: &[usize]) -> String {
        let name = format!("w{}", self.graph.constants.len());
        let shape = Shape::new(dims).unwrap();
        let values = noise(shape.elements(), self.graph.constants.len() as u64 + 5);
        let weight = Weight::dense(shape, values).unwrap();
        self.graph
            .constants
            .insert(name.clone(), Constant::Weight(weight));
        name
    }

    pub fn ints(&mut self, values: &[i64]) -> String {
        self.tensor(Tensor::i64(&[values.len()], values.to_vec()).unwrap())
    }

    pub fn tensor(&mut self, tensor: Tensor) -> String {
        let name = format!("c{}", self.graph.constants.len());
        self.graph
            .constants
            .insert(name.clone(), Constant::Tensor(tensor));
        name
    }

    pub fn ops(&mut self, op: Op, inputs: &[&str], outputs: usize) -> Vec<String> {
        let name = format!("{}{}", op.name(), self.graph.nodes.len());
        let names: Vec<String> = (0..outputs).map(|i| format!("{name}.{i}")).collect();
        let named: Vec<&str> = names.iter().map(String::as_str).collect();
        self.graph.nodes.push(Node::new(name, op, inputs, &named));
        names
    }

    pub fn op(&mut self, op: Op, inputs: &[&str]) -> String {
        self.ops(op, inputs, 1).remove(0)
    }

    pub fn conv(&mut self, x: &str, from: usize, to: usize, size: usize, groups: usize) -> String {
        let (w, b) = (
            self.weight(&[to, from / groups, size, size]),
            self.weight(&[to]),
        );
        let window = Window::new(&[size, size]).pad(&[size / 2; 4]);
        self.op(Op::Conv { window, groups }, &[x, &w, &b])
    }

    pub fn linear(&mut self, x: &str, from: usize, to: usize) -> String {
        let (w, b) = (self.weight(&[to, from]), self.weight(&[to]));
        self.op(Op::linear(), &[x, &w, &b])
    }

    pub fn relu(&mut self, x: &str) -> String {
        self.op(Op::Relu, &[x])
    }

    pub fn finish(mut self, outputs: &[&str]) -> Graph {
        self.graph.outputs = outputs
            .iter()
            .map(|name| ValueInfo {
                name: (*name).into(),
                dtype: DType::F32,
                dims: None,
            })
            .collect();
        self.graph
    }
}

/// Two branches joined, then parted unevenly, one part pooled and flattened.
pub fn branches() -> Graph {
    let mut net = Net::new("branches", &[2, 3, 6, 6]);
    let a = net.conv("x", 3, 6, 3, 1);
    let a = net.relu(&a);
    let b = net.conv("x", 3, 4, 1, 1);
    let slope = net.weight(&[4, 1, 1]);
    let b = net.op(Op::PRelu, &[&b, &slope]);
    let joined = net.op(Op::Concat { axis: 1 }, &[&b, &a, "x"]);
    let y = net.conv(&joined, 13, 9, 3, 1);
    let sizes = net.ints(&[4, 5]);
    let split = Op::Split {
        axis: -3,
        num_outputs: None,
    };
    let parts = net.ops(split, &[&y, &sizes], 2);
    let even = net.conv(&parts[0], 4, 8, 1, 1);
    let split = Op::Split {
        axis: 1,
        num_outputs: Some(2),
    };
    let halves = net.ops(split, &[&even], 2);
    let product = net.op(Op::Mul, &[&halves[0], &halves[1]]);
    let pool = Op::MaxPool {
        window: Window::new(&[2, 2]).stride(&[2, 2]),
        column_major: false,
    };
    let pooled = net.op(pool, &[&parts[1]]);
    let to = net.ints(&[0, 45]);
    let flat = net.op(Op::Reshape { allow_zero: false }, &[&pooled, &to]);
    let left = net.linear(&flat, 45, 3);
    let right = net.conv(&product, 4, 2, 3, 1);
    net.finish(&[&left, &right])
}

/// Grouped, depthwise and transposed convolutions.
pub fn groups() -> Graph {
    let mut net = Net::new("groups", &[2, 3, 6, 6]);
    let a = net.conv("x", 3, 12, 3, 1);
    let a = net.conv(&a, 12, 8, 3, 4);
    let a = net.relu(&a);
    let a = net.conv(&a, 8, 10, 1, 1);
    let a = net.conv(&a, 10, 20, 3, 10);
    let transposed = |groups| {
        Op::ConvTranspose(Box::new(ConvTranspose {
            window: Window::new(&[2, 2]).stride(&[2, 2]),
            groups,
            ..ConvTranspose::default()
        }))
    };
    let (w, b) = (net.weight(&[20, 6, 2, 2]), net.weight(&[6]));
    let a = net.op(transposed(1), &[&a, &w, &b]);
    let (w, b) = (net.weight(&[6, 1, 2, 2]), net.weight(&[6]));
    let a = net.op(transposed(6), &[&a, &w, &b]);
    let a = net.conv(&a, 6, 2, 1, 1);
    net.finish(&[&a])
}

/// Squeeze and excitation, then channels last and a matrix.
pub fn excite() -> Graph {
    let mut net = Net::new("excite", &[2, 3, 5, 5]);
    let a = net.conv("x", 3, 8, 3, 1);
    let scale = net.weight(&[8]);
    let norm = [
        net.weight(&[8]),
        net.weight(&[8]),
        net.tensor(Tensor::f32(&[8], vec![1.5; 8]).unwrap()),
    ];
    let norm: Vec<&str> = [&a, &scale]
        .into_iter()
        .chain(&norm)
        .map(String::as_str)
        .collect();
    let a = net.op(Op::BatchNormalization { epsilon: 1e-5 }, &norm);
    let pooled = net.op(Op::GlobalAveragePool, &[&a]);
    let axes = net.ints(&[2, 3]);
    let flat = net.op(Op::Squeeze, &[&pooled, &axes]);
    let gate = net.linear(&flat, 8, 4);
    let gate = net.relu(&gate);
    let gate = net.linear(&gate, 4, 8);
    let gate = net.op(Op::Sigmoid, &[&gate]);
    let gate = net.op(Op::Unsqueeze, &[&gate, &axes]);
    let a = net.op(Op::Mul, &[&a, &gate]);
    let last = net.op(
        Op::Transpose {
            perm: Some(vec![0, 2, 3, 1]),
        },
        &[&a],
    );
    let (w, b) = (net.weight(&[8, 6]), net.weight(&[6]));
    let a = net.op(Op::MatMul, &[&last, &w]);
    let a = net.op(Op::Add, &[&b, &a]);
    let to = net.ints(&[2, -1]);
    let flat = net.op(Op::Reshape { allow_zero: false }, &[&a, &to]);
    let a = net.linear(&flat, 150, 3);
    net.finish(&[&a])
}

/// A layer of attention with three heads, and what is fixed behind it.
pub fn attention() -> Graph {
    let mut net = Net::new("attention", &[2, 5, 4]);
    let project = |net: &mut Net, x: &str, from, to| {
        let (w, b) = (net.weight(&[from, to]), net.weight(&[to]));
        let y = net.op(Op::MatMul, &[x, &w]);
        net.op(Op::Add, &[&y, &b])
    };
    let mut heads = Vec::new();
    for perm in [vec![0, 2, 1, 3], vec![0, 2, 3, 1], vec![0, 2, 1, 3]] {
        let y = project(&mut net, "x", 4, 12);
        let to = net.ints(&[0, 0, 3, 4]);
        let y = net.op(Op::Reshape { allow_zero: false }, &[&y, &to]);
        heads.push(net.op(Op::Transpose { perm: Some(perm) }, &[&y]));
    }
    let scores = net.op(Op::MatMul, &[&heads[0], &heads[1]]);
    let softmax = Op::Softmax {
        axis: -1,
        flattened: false,
    };
    let weights = net.op(softmax, &[&scores]);
    let y = net.op(Op::MatMul, &[&weights, &heads[2]]);
    let y = net.op(
        Op::Transpose {
            perm: Some(vec![0, 2, 1, 3]),
        },
        &[&y],
    );
    let to = net.ints(&[0, 0, 12]);
    let y = net.op(Op::Reshape { allow_zero: false }, &[&y, &to]);
    let y = project(&mut net, &y, 12, 6);
    let (scale, bias) = (net.weight(&[6]), net.weight(&[6]));
    let norm = Op::LayerNormalization {
        axis: -1,
        epsilon: 1e-5,
    };
    let y = net.op(norm, &[&y, &scale, &bias]);
    let z = project(&mut net, &y, 6, 9);
    let z = net.relu(&z);
    let z = project(&mut net, &z, 9, 6);
    let y = net.op(Op::Add, &[&y, &z]);
    net.finish(&[&y])
}

/// Channels that change places between groups.
pub fn shuffle() -> Graph {
    let mut net = Net::new("shuffle", &[2, 3, 4, 4]);
    let a = net.conv("x", 3, 12, 1, 1);
    let to = net.ints(&[2, 3, 4, 4, 4]);
    let a = net.op(Op::Reshape { allow_zero: false }, &[&a, &to]);
    let perm = Some(vec![0, 2, 1, 3, 4]);
    let a = net.op(Op::Transpose { perm }, &[&a]);
    let to = net.ints(&[2, 12, 4, 4]);
    let a = net.op(Op::Reshape { allow_zero: false }, &[&a, &to]);
    let a = net.conv(&a, 12, 4, 3, 1);
    net.finish(&[&a])
}

/// A convolution along time, read by an LSTM and by a quantized layer.
pub fn audio() -> Graph {
    let mut net = Net::new("audio", &[2, 2, 9]);
    let (w, b) = (net.weight(&[6, 2, 3]), net.weight(&[6]));
    let window = Window::new(&[3]).stride(&[2]).pad(&[1, 1]);
    let a = net.op(Op::Conv { window, groups: 1 }, &["x", &w, &b]);
    let a = net.relu(&a);
    let (scale, zero) = (
        net.tensor(Tensor::f32(&[6], (1..7).map(|i| i as f32 / 99.0).collect()).unwrap()),
        net.tensor(Tensor::u8(&[6], vec![3; 6]).unwrap()),
    );
    let quantize = Op::QuantizeLinear {
        axis: 1,
        block_size: 0,
        to: None,
    };
    let dequantize = Op::DequantizeLinear {
        axis: 1,
        block_size: 0,
    };
    let q = net.op(quantize, &[&a, &scale, &zero]);
    let a = net.op(dequantize, &[&q, &scale, &zero]);
    let steps = net.op(
        Op::Transpose {
            perm: Some(vec![2, 0, 1]),
        },
        &[&a],
    );
    let (w, r, b) = (
        net.weight(&[1, 16, 6]),
        net.weight(&[1, 16, 4]),
        net.weight(&[1, 32]),
    );
    let lstm = Op::Recurrent(Box::new(Recurrent {
        cell: Cell::Lstm,
        direction: Direction::Forward,
        activations: vec![],
        clip: None,
        hidden: Some(4),
        batch_first: false,
        linear_before_reset: false,
    }));
    let y = net.op(lstm, &[&steps, &w, &r, &b]);
    net.finish(&[&y])
}

/// Extents that the graph computes: those of channels follow, or are fixed.
pub fn computed() -> Graph {
    let mut net = Net::new("computed", &[2, 3, 4, 4]);
    let a = net.conv("x", 3, 6, 3, 1);
    let shape = net.op(
        Op::Shape {
            start: 0,
            end: None,
        },
        &[&a],
    );
    let at = net.ints(&[0, 1]);
    let first = net.op(Op::Gather { axis: 0 }, &[&shape, &at]);
    let rest = net.ints(&[-1]);
    let to = net.op(Op::Concat { axis: 0 }, &[&first, &rest]);
    let rows = net.op(Op::Reshape { allow_zero: false }, &[&a, &to]);
    let axes = net.ints(&[2]);
    let mean = Op::Reduce {
        kind: secateur_model::Reduction::Mean,
        keep_dims: false,
        noop_with_empty_axes: false,
    };
    let y = net.op(mean, &[&rows, &axes]);
    let y = net.linear(&y, 6, 5);
    let other = net.linear(&y, 5, 7);
    let shape = net.op(
        Op::Shape {
            start: -1,
            end: None,
        },
        &[&other],
    );
    let count = net.op(Op::Cast { to: DType::F32 }, &[&shape]);
    let y = net.linear(&other, 7, 4);
    let y = net.op(Op::Div, &[&y, &count]);
    net.finish(&[&y])
}

pub fn hand_made() -> Vec<Graph> {
    vec![
        branches(),
        groups(),
        excite(),
        attention(),
        shuffle(),
        audio(),
        computed(),
    ]
}
