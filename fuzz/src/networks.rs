//! Tiny networks that between them have every form of weight and most operators.

use anyhow::Result;
use secateur_model::{
    Bitmask, Codebook, Constant, DType, Data, Dim, Graph, Node, Op, PadMode, Scale, Shape, Support,
    Tensor, UnknownOp, ValueInfo, Values, Weight, Window,
};

/// All of them.
pub(crate) fn all() -> Result<Vec<Graph>> {
    Ok(vec![
        perceptron()?,
        convolution()?,
        integers()?,
        shapes()?,
        unknown()?,
    ])
}

fn value(name: &str, dims: &[usize]) -> ValueInfo {
    let known = dims.iter().map(|&n| Dim::Known(n));
    ValueInfo {
        name: name.into(),
        dtype: DType::F32,
        dims: Some(
            [Dim::Named("batch".into())]
                .into_iter()
                .chain(known)
                .collect(),
        ),
    }
}

/// A network from `x` to the output of the last node.
fn network(
    name: &str,
    input: &[usize],
    constants: Vec<(&str, Constant)>,
    nodes: Vec<Node>,
) -> Graph {
    let output = nodes.last().and_then(|n| n.output(0)).unwrap_or("x");
    let output = ValueInfo {
        dims: None,
        ..value(output, &[])
    };
    Graph {
        name: name.into(),
        opset: 21,
        inputs: vec![value("x", input)],
        outputs: vec![output],
        constants: constants
            .into_iter()
            .map(|(name, constant)| (name.to_owned(), constant))
            .collect(),
        nodes,
        metadata: [("classes".to_owned(), "cat\ndog".to_owned())].into(),
        ..Graph::default()
    }
}

fn ramp(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i % 7) as f32 * 0.25 - 0.5).collect()
}

fn dense(dims: &[usize]) -> Result<Constant> {
    let shape = Shape::new(dims)?;
    let values = ramp(shape.elements());
    Ok(Constant::Weight(Weight::dense(shape, values)?))
}

/// A third of the positions, with the values that `values` makes for so many.
fn pruned(dims: &[usize], values: impl FnOnce(usize) -> Values) -> Result<Constant> {
    let shape = Shape::new(dims)?;
    let mask = Bitmask::from_fn(shape.elements(), |i| i % 3 == 1);
    let values = values(mask.count_ones());
    let weight = Weight::new(shape, Support::Unstructured(mask), values)?;
    Ok(Constant::Weight(weight))
}

fn codes(len: usize) -> Vec<i16> {
    (0..len).map(|i| (i % 5) as i16 - 2).collect()
}

fn i64s(values: &[i64]) -> Result<Constant> {
    let tensor = Tensor::i64(&[values.len()], values.to_vec())?;
    Ok(Constant::Tensor(tensor))
}

/// f32 and shared values, pruned and not.
fn perceptron() -> Result<Graph> {
    let shared = |kept| Values::Shared {
        codebook: Codebook::F32(vec![-0.5, 0.25, 1.0]),
        codes: (0..kept).map(|i| (i % 3) as u16).collect(),
    };
    let constants = vec![
        ("w1", pruned(&[5, 4], |kept| Values::F32(ramp(kept)))?),
        ("b1", dense(&[5])?),
        ("w2", pruned(&[3, 5], shared)?),
        ("slope.max", Constant::Tensor(Tensor::scalar_f32(6.0))),
    ];
    let nodes = vec![
        Node::new("fc1", Op::linear(), &["x", "w1", "b1"], &["h"]),
        Node::new("clip", Op::Clip, &["h", "", "slope.max"], &["c"]),
        Node::new("leaky", Op::LeakyRelu { alpha: 0.1 }, &["c"], &["r"]),
        Node::new("fc2", Op::linear(), &["r", "w2"], &["y"]),
    ];
    Ok(network("perceptron", &[4], constants, nodes))
}

/// Convolutions, normalisation, pooling; integers per channel and half precision.
fn convolution() -> Result<Graph> {
    let int4 = |kept| Values::Int {
        bits: 4,
        codes: codes(kept),
        scale: Scale::PerChannel(vec![0.5, 0.25, 1.0, 2.0]),
    };
    let positive = |name| -> Result<_> {
        let ones = Weight::dense(Shape::new(&[4])?, vec![1.0, 2.0, 0.5, 1.5])?;
        Ok((name, Constant::Weight(ones)))
    };
    let f16 = |kept| Values::F16(ramp(kept).into_iter().map(half::f16::from_f32).collect());
    let constants = vec![
        ("w", pruned(&[4, 2, 3, 3], int4)?),
        positive("scale")?,
        ("shift", dense(&[4])?),
        ("mean", dense(&[4])?),
        positive("variance")?,
        ("dw", pruned(&[4, 1, 2, 2], f16)?),
        ("fc", dense(&[3, 4])?),
    ];
    let window = Window::new(&[3, 3]).pad(&[1, 1, 1, 1]);
    let pool = Op::MaxPool {
        window: Window::new(&[2, 2]).stride(&[2, 2]),
        column_major: false,
    };
    let depthwise = Op::Conv {
        window: Window::new(&[2, 2]),
        groups: 4,
    };
    let norm = Op::BatchNormalization { epsilon: 1e-5 };
    let softmax = Op::Softmax {
        axis: -1,
        flattened: false,
    };
    let conv = Op::Conv { window, groups: 1 };
    let nodes = vec![
        Node::new("conv", conv, &["x", "w"], &["a"]),
        Node::new(
            "bn",
            norm,
            &["a", "scale", "shift", "mean", "variance"],
            &["b"],
        ),
        Node::new("relu", Op::Relu, &["b"], &["c"]),
        Node::new("pool", pool, &["c"], &["d"]),
        Node::new("depth", depthwise, &["d", "dw"], &["e"]),
        Node::new("mean", Op::GlobalAveragePool, &["e"], &["f"]),
        Node::new("flat", Op::Flatten { axis: 1 }, &["f"], &["g"]),
        Node::new("fc", Op::linear(), &["g", "fc"], &["h"]),
        Node::new("soft", softmax, &["h"], &["y"]),
    ];
    Ok(network("convolution", &[2, 5, 5], constants, nodes))
}

/// An integer layer between quantized activations.
fn integers() -> Result<Graph> {
    let int8 = |kept| Values::Int {
        bits: 8,
        codes: codes(kept),
        scale: Scale::PerTensor(0.125),
    };
    let scale = |value| Constant::Tensor(Tensor::scalar_f32(value));
    let zero = |value| -> Result<Constant> {
        let tensor = Tensor::new(Shape::scalar(), Data::U8(vec![value]))?;
        Ok(Constant::Tensor(tensor))
    };
    let constants = vec![
        ("w", pruned(&[3, 6], int8)?),
        ("b", dense(&[3])?),
        ("s", scale(0.05)),
        ("z", zero(3)?),
        ("s2", scale(0.5)),
        ("z2", zero(0)?),
    ];
    let quantize = Op::QuantizeLinear {
        axis: 1,
        block_size: 0,
        to: None,
    };
    let dequantize = Op::DequantizeLinear {
        axis: 1,
        block_size: 0,
    };
    let nodes = vec![
        Node::new("q", quantize.clone(), &["x", "s", "z"], &["xq"]),
        Node::new("dq", dequantize.clone(), &["xq", "s", "z"], &["xd"]),
        Node::new("fc", Op::linear(), &["xd", "w", "b"], &["h"]),
        Node::new("relu", Op::Relu, &["h"], &["r"]),
        Node::new("q2", quantize, &["r", "s2", "z2"], &["hq"]),
        Node::new("dq2", dequantize, &["hq", "s2", "z2"], &["y"]),
    ];
    Ok(network("integers", &[6], constants, nodes))
}

/// Operators that move and count elements.
fn shapes() -> Result<Graph> {
    let constants = vec![
        ("pads", i64s(&[0, 0, 1, 0, 0, 0, 1, 2])?),
        ("first", i64s(&[0])?),
        ("rest", i64s(&[-1])?),
        ("axes", i64s(&[2])?),
        ("half", Constant::Tensor(Tensor::scalar_f32(0.5))),
    ];
    let mode = PadMode::Constant;
    let whole = Op::Shape {
        start: 0,
        end: None,
    };
    let perm = Some(vec![0, 1, 3, 2]);
    let reshape = Op::Reshape { allow_zero: false };
    let average = Op::AveragePool {
        window: Window::new(&[2, 2]),
        count_include_pad: true,
    };
    let nodes = vec![
        Node::new("pad", Op::Pad { mode }, &["x", "pads"], &["a"]),
        Node::new("turn", Op::Transpose { perm }, &["a"], &["b"]),
        Node::new("average", average, &["b"], &["c"]),
        Node::new("shape", whole, &["c"], &["s"]),
        Node::new("batch", Op::Gather { axis: 0 }, &["s", "first"], &["n"]),
        Node::new("dims", Op::Concat { axis: 0 }, &["n", "rest"], &["d"]),
        Node::new("reshape", reshape, &["c", "d"], &["e"]),
        Node::new("up", Op::Unsqueeze, &["e", "axes"], &["f"]),
        Node::new("down", Op::Squeeze, &["f", "axes"], &["g"]),
        Node::new("sigmoid", Op::Sigmoid, &["g"], &["h"]),
        Node::new("half", Op::Mul, &["h", "half"], &["i"]),
        Node::new("sum", Op::Add, &["i", "g"], &["j"]),
        Node::new("tanh", Op::Tanh, &["j"], &["k"]),
        Node::new("cast", Op::Cast { to: DType::F32 }, &["k"], &["y"]),
    ];
    Ok(network("shapes", &[1, 2, 3], constants, nodes))
}

/// An operator that is only carried through.
fn unknown() -> Result<Graph> {
    let mystery = UnknownOp {
        domain: "com.example".into(),
        op_type: "Mystery".into(),
        attributes: vec![],
        captures: vec![],
    };
    let node = Node::new(
        "mystery",
        Op::Unknown(Box::new(mystery)),
        &["x", "w"],
        &["y"],
    );
    let mut graph = network("unknown", &[2], vec![("w", dense(&[2, 2])?)], vec![node]);
    graph.other_opsets.insert("com.example".into(), 3);
    Ok(graph)
}
