use super::*;
use crate::Planner;
use crate::draft::{Arithmetic, Clamp};
use secateur_kernels::Isa;
use secateur_model::{
    Constant, DType, Data, Dim, Op, Scale, Shape, Support, Tensor, ValueInfo, Values, Weight,
    Window,
};

fn value(name: &str, dims: &[usize]) -> ValueInfo {
    ValueInfo {
        name: name.into(),
        dtype: DType::F32,
        dims: Some(dims.iter().map(|&d| Dim::Known(d)).collect()),
    }
}

fn graph(input: &[usize], nodes: Vec<Node>, constants: Vec<(&str, Constant)>) -> Graph {
    let constants = constants.into_iter().map(|(n, c)| (n.to_owned(), c));
    Graph {
        inputs: vec![value("x", input)],
        outputs: vec![ValueInfo {
            dims: None,
            ..value("y", &[])
        }],
        nodes,
        constants: constants.collect(),
        ..Graph::default()
    }
}

fn weight(dims: &[usize], values: &[f32]) -> Constant {
    Constant::Weight(Weight::dense(Shape::new(dims).unwrap(), values.to_vec()).unwrap())
}

fn tensor(data: Data) -> Constant {
    Constant::Tensor(Tensor::new(Shape::scalar(), data).unwrap())
}

fn ops(draft: &Draft) -> Vec<&str> {
    draft.graph.nodes.iter().map(|n| n.op.name()).collect()
}

fn quantize() -> Op {
    Op::QuantizeLinear {
        axis: 1,
        block_size: 0,
        to: None,
    }
}

fn dequantize() -> Op {
    Op::DequantizeLinear {
        axis: 1,
        block_size: 0,
    }
}

#[test]
fn identities_give_their_names_away() {
    let nodes = vec![
        Node::new("a", Op::Relu, &["x"], &["p"]),
        Node::new("b", Op::Identity, &["p"], &["q"]),
        Node::new("c", Op::Sigmoid, &["q"], &["r"]),
        Node::new("d", Op::Identity, &["r"], &["y"]),
    ];
    let (draft, _) = lower(&graph(&[2], nodes, vec![])).unwrap();
    assert_eq!(ops(&draft), ["Relu", "Sigmoid"]);
    assert_eq!(draft.graph.nodes[1].outputs, ["y"]);
}

#[test]
fn an_identity_from_input_to_output_stays_and_says_why() {
    let nodes = vec![Node::new("a", Op::Identity, &["x"], &["y"])];
    let (draft, notes) = lower(&graph(&[2], nodes, vec![])).unwrap();
    assert_eq!(ops(&draft), ["Identity"]);
    assert!(notes.iter().any(|n| n.node == "a" && n.skipped.is_some()));
}

#[test]
fn normalization_folds_into_a_convolution() {
    let conv = Op::Conv {
        window: Window::new(&[1, 1]),
        groups: 1,
    };
    let nodes = vec![
        Node::new("conv", conv, &["x", "w"], &["p"]),
        Node::new(
            "norm",
            Op::BatchNormalization { epsilon: 0.0 },
            &["p", "g", "b", "m", "v"],
            &["q"],
        ),
        Node::new("relu", Op::Relu, &["q"], &["y"]),
    ];
    let constants = vec![
        ("w", weight(&[2, 1, 1, 1], &[1.0, 2.0])),
        ("g", weight(&[2], &[2.0, 1.0])),
        ("b", weight(&[2], &[0.5, 0.0])),
        ("m", weight(&[2], &[1.0, 0.0])),
        ("v", weight(&[2], &[4.0, 1.0])),
    ];
    let net = graph(&[1, 1, 1, 1], nodes, constants);
    let (draft, _) = lower(&net).unwrap();
    assert_eq!(ops(&draft), ["Conv"]);
    assert_eq!(draft.fused["conv"].clamp, Clamp::RELU);
    let x = Tensor::f32(&[1, 1, 1, 1], vec![3.0]).unwrap();
    let y = draft.evaluate(&[("x", &x)]).unwrap();
    assert_eq!(y[0].as_f32().unwrap(), [2.5, 6.0]);
}

/// `Conv → MaxPool → BatchNormalization → Relu`, with these factors.
fn normalized_behind_a_pool(gamma: [f32; 2]) -> Graph {
    let conv = Op::Conv {
        window: Window::new(&[1, 1]),
        groups: 1,
    };
    let pool = Op::MaxPool {
        window: Window::new(&[2, 1]),
        column_major: false,
    };
    let norm = Op::BatchNormalization { epsilon: 0.0 };
    let nodes = vec![
        Node::new("conv", conv, &["x", "w"], &["c"]),
        Node::new("pool", pool, &["c"], &["p"]),
        Node::new("norm", norm, &["p", "g", "b", "m", "v"], &["q"]),
        Node::new("relu", Op::Relu, &["q"], &["y"]),
    ];
    let constants = vec![
        ("w", weight(&[2, 1, 1, 1], &[1.0, -2.0])),
        ("g", weight(&[2], &gamma)),
        ("b", weight(&[2], &[0.5, 3.0])),
        ("m", weight(&[2], &[1.0, 0.0])),
        ("v", weight(&[2], &[4.0, 1.0])),
    ];
    graph(&[1, 1, 2, 1], nodes, constants)
}

#[test]
fn layers_take_in_what_stands_behind_their_pool() {
    let x = Tensor::f32(&[1, 1, 2, 1], vec![3.0, 1.0]).unwrap();
    for (gamma, expected) in [
        ([2.0, 1.0], vec!["Conv", "MaxPool"]),
        // The largest of a channel that is turned around was its smallest.
        (
            [2.0, -1.0],
            vec!["Conv", "MaxPool", "BatchNormalization", "Relu"],
        ),
    ] {
        let net = normalized_behind_a_pool(gamma);
        let before = secateur_model::eval(&net, &[("x", x.clone())]).unwrap();
        let (draft, _) = lower(&net).unwrap();
        assert_eq!(ops(&draft), expected);
        let after = draft.evaluate(&[("x", &x)]).unwrap();
        assert_eq!(after[0].as_f32().unwrap(), before[0].as_f32().unwrap());
    }
}

#[test]
fn shapes_that_are_computed_are_known_while_planning() {
    let nodes = vec![
        Node::new("relu", Op::Relu, &["x"], &["p"]),
        Node::new(
            "shape",
            Op::Shape {
                start: 0,
                end: Some(1),
            },
            &["p"],
            &["n"],
        ),
        Node::new("concat", Op::Concat { axis: 0 }, &["n", "rest"], &["s"]),
        Node::new(
            "reshape",
            Op::Reshape { allow_zero: false },
            &["p", "s"],
            &["y"],
        ),
    ];
    let rest = Constant::Tensor(Tensor::i64(&[1], vec![-1]).unwrap());
    let net = graph(&[2, 3, 4], nodes, vec![("rest", rest)]);
    let planner = Planner::new(&net, Isa::Generic).unwrap();
    let plan = planner.plan(&[Shape::new(&[2, 3, 4]).unwrap()], 1).unwrap();
    assert_eq!(plan.steps.len(), 1);
    assert_eq!(plan.outputs[0].shape.dims(), [2, 12]);
}

/// `Q → DQ → MaxPool → Flatten → Gemm → Relu → Q → DQ → Gemm`, signed codes.
fn signed_network() -> Graph {
    let pool = Op::MaxPool {
        window: Window::new(&[2, 2]).stride(&[2, 2]),
        column_major: false,
    };
    let nodes = vec![
        Node::new("q1", quantize(), &["x", "s", "z"], &["a"]),
        Node::new("d1", dequantize(), &["a", "s", "z"], &["b"]),
        Node::new("pool", pool, &["b"], &["c"]),
        Node::new("flatten", Op::Flatten { axis: 1 }, &["c"], &["d"]),
        Node::new("dw", dequantize_rows(), &["w8", "sw", "zw"], &["w"]),
        Node::new("fc1", Op::linear(), &["d", "w", "bias"], &["e"]),
        Node::new("relu", Op::Relu, &["e"], &["f"]),
        Node::new("q2", quantize(), &["f", "s", "z"], &["g"]),
        Node::new("d2", dequantize(), &["g", "s", "z"], &["h"]),
        Node::new("fc2", Op::MatMul, &["h", "v"], &["y"]),
    ];
    let codes = Tensor::i8(&[3, 8], (0..24).map(|i| i * 5 - 60).collect()).unwrap();
    let v = Weight::new(
        Shape::new(&[3, 2]).unwrap(),
        Support::All,
        Values::Int {
            bits: 4,
            codes: vec![1, -2, 3, -4, 5, -6],
            scale: Scale::PerTensor(0.25),
        },
    )
    .unwrap();
    let constants = vec![
        ("s", tensor(Data::F32(vec![0.03]))),
        ("z", tensor(Data::I8(vec![-5]))),
        ("w8", Constant::Tensor(codes)),
        (
            "sw",
            Constant::Tensor(Tensor::f32(&[3], vec![0.01, 0.02, 0.03]).unwrap()),
        ),
        (
            "zw",
            Constant::Tensor(Tensor::i8(&[3], vec![0; 3]).unwrap()),
        ),
        ("bias", weight(&[3], &[0.3, -0.2, 0.1])),
        ("v", Constant::Weight(v)),
    ];
    graph(&[2, 2, 4, 4], nodes, constants)
}

fn dequantize_rows() -> Op {
    Op::DequantizeLinear {
        axis: 0,
        block_size: 0,
    }
}

#[test]
fn quantized_layers_become_integer_layers_on_unsigned_codes() {
    let (draft, notes) = lower(&signed_network()).unwrap();
    assert_eq!(
        ops(&draft),
        ["QuantizeLinear", "MaxPool", "Flatten", "Gemm", "MatMul"],
        "{notes:#?}"
    );
    for layer in ["fc1", "fc2"] {
        let Arithmetic::Integer { x, y } = draft.fused[layer].arithmetic else {
            panic!("{layer} is float");
        };
        assert_eq!((x.dtype, x.zero_point), (DType::U8, 123));
        assert_eq!(y.is_some(), layer == "fc1");
    }
}

#[test]
fn integer_layers_are_what_the_pairs_mean() {
    let net = signed_network();
    let values = (0..64).map(|i| ((i * 29) % 64) as f32 / 16.0 - 2.0);
    let x = Tensor::f32(&[2, 2, 4, 4], values.collect()).unwrap();
    let expected = secateur_model::eval(&net, &[("x", x.clone())]).unwrap();
    let (draft, _) = lower(&net).unwrap();
    let found = draft.evaluate(&[("x", &x)]).unwrap();
    let pairs = found[0]
        .as_f32()
        .unwrap()
        .iter()
        .zip(expected[0].as_f32().unwrap());
    for (found, expected) in pairs {
        // One unit of the hidden layer times the largest weight.
        assert!(
            (found - expected).abs() <= 0.03 * 1.5 + 1e-4,
            "{found} {expected}"
        );
    }
}

#[test]
fn a_float_weight_stays_float() {
    let mut net = signed_network();
    net.constants.insert("v".into(), weight(&[3, 2], &[0.1; 6]));
    let (draft, notes) = lower(&net).unwrap();
    assert!(matches!(
        draft.fused["fc1"].arithmetic,
        Arithmetic::Integer { y: Some(_), .. }
    ));
    assert!(!draft.fused.contains_key("fc2"));
    let why = notes
        .iter()
        .find(|n| n.node == "fc2" && n.skipped.is_some());
    assert!(why.unwrap().skipped.as_ref().unwrap().contains("integers"));
}

#[test]
fn sums_of_integers_keep_their_activation() {
    let nodes = vec![
        Node::new("", Op::Cast { to: DType::I64 }, &["x"], &["p"]),
        Node::new("", Op::Add, &["p", "p"], &["q"]),
        Node::new("", Op::Relu, &["q"], &["y"]),
    ];
    let (draft, _) = lower(&graph(&[2], nodes, vec![])).unwrap();
    assert_eq!(ops(&draft), ["Cast", "Add", "Relu"]);
}

/// An operator on bytes, with a bias, and the quantizers at its ends.
fn integer_operator(op: Op, weight: &[usize], scales: Vec<f32>) -> Graph {
    let codes = (0..weight.iter().product()).map(|i| (i * 37 % 255) as i8 as i16);
    let codes: Vec<i8> = codes.map(|c| c.max(-127) as i8).collect();
    let shape = |dims: &[usize]| Shape::new(dims).unwrap();
    let list = |data| Constant::Tensor(data);
    let zeros = Tensor::i8(&[scales.len()], vec![0; scales.len()]).unwrap();
    let constants = vec![
        ("sx", list(Tensor::scalar_f32(0.05))),
        ("zx", tensor(Data::U8(vec![120]))),
        (
            "w",
            list(Tensor::new(shape(weight), Data::I8(codes)).unwrap()),
        ),
        ("sw", list(Tensor::f32(&[scales.len()], scales).unwrap())),
        ("zw", list(zeros)),
        ("sy", list(Tensor::scalar_f32(0.5))),
        ("zy", tensor(Data::U8(vec![90]))),
        ("b", list(Tensor::i32(&[2], vec![700, -12_345]).unwrap())),
    ];
    let mut inputs = vec!["p", "sx", "zx", "w", "sw", "zw", "sy", "zy"];
    if matches!(op, Op::QLinearConv { .. }) {
        inputs.push("b");
    }
    let nodes = vec![
        Node::new("in", quantize(), &["x", "sx", "zx"], &["p"]),
        Node::new("layer", op, &inputs, &["q"]),
        Node::new("out", dequantize(), &["q", "sy", "zy"], &["y"]),
    ];
    graph(&[3, 2, 4, 4], nodes, constants)
}

#[test]
fn integer_operators_are_integer_layers_of_the_same_bits() {
    let conv = Op::QLinearConv {
        window: Window::new(&[3, 3]).pad(&[1, 1, 1, 1]),
        groups: 1,
    };
    for net in [
        integer_operator(conv, &[2, 2, 3, 3], vec![0.01, 0.03]),
        integer_operator(Op::QLinearMatMul, &[4, 5], vec![0.02]),
        integer_operator(Op::QLinearMatMul, &[4, 3], vec![0.02, 0.01, 0.07]),
    ] {
        let values = (0..96).map(|i| ((i * 29) % 64) as f32 / 8.0 - 4.0);
        let x = Tensor::f32(&[3, 2, 4, 4], values.collect()).unwrap();
        let expected = secateur_model::eval(&net, &[("x", x.clone())]).unwrap();
        let (draft, notes) = lower(&net).unwrap();
        let fused = draft.fused.get("layer").map(|f| f.arithmetic);
        assert!(
            matches!(fused, Some(Arithmetic::Integer { y: Some(_), .. })),
            "{notes:?}"
        );
        assert_eq!(draft.evaluate(&[("x", &x)]).unwrap(), expected);
    }
}

#[test]
fn integer_operators_that_no_kernel_computes_stay() {
    let mut net = integer_operator(Op::QLinearMatMul, &[4, 5], vec![0.1; 5]);
    net.constants.insert("zx".into(), tensor(Data::I8(vec![0])));
    let (draft, notes) = lower(&net).unwrap();
    assert!(ops(&draft).contains(&"QLinearMatMul"));
    let why = notes.iter().find(|n| n.node == "layer").unwrap();
    assert!(why.skipped.as_ref().unwrap().contains("signed"), "{why:?}");
}

/// The draft of a network of `[2, 4]`, checked against what the network computes.
fn composed(nodes: Vec<Node>, constants: Vec<(&str, Constant)>) -> Draft {
    let net = graph(&[2, 4], nodes, constants);
    let (draft, _) = lower(&net).unwrap();
    let x = Tensor::f32(&[2, 4], vec![-3.0, -0.5, 0.0, 0.25, 1.0, 2.0, 4.0, 9.0]).unwrap();
    let expected = secateur_model::eval(&net, &[("x", x.clone())]).unwrap();
    let found = draft.evaluate(&[("x", &x)]).unwrap();
    let pairs = found[0]
        .as_f32()
        .unwrap()
        .iter()
        .zip(expected[0].as_f32().unwrap());
    assert!(pairs.clone().count() == 8 && pairs.clone().all(|(f, e)| (f - e).abs() < 1e-5));
    draft
}

fn scalar(value: f32) -> Constant {
    Constant::Tensor(Tensor::scalar_f32(value))
}

#[test]
fn gelu_is_one_node_however_it_is_written() {
    let erf = Op::Math(secateur_model::Math::Erf);
    let head = |scale: Op| {
        vec![
            Node::new("a", scale, &["x", "root"], &["p"]),
            Node::new("b", erf.clone(), &["p"], &["q"]),
            Node::new("c", Op::Add, &["one", "q"], &["r"]),
        ]
    };
    let tails = [
        [
            Node::new("d", Op::Mul, &["x", "r"], &["s"]),
            Node::new("e", Op::Mul, &["s", "half"], &["y"]),
        ],
        [
            Node::new("d", Op::Mul, &["half", "x"], &["s"]),
            Node::new("e", Op::Mul, &["s", "r"], &["y"]),
        ],
        [
            Node::new("d", Op::Mul, &["r", "half"], &["s"]),
            Node::new("e", Op::Mul, &["s", "x"], &["y"]),
        ],
    ];
    for (scale, root) in [(Op::Div, 2f32.sqrt()), (Op::Mul, 0.5f32.sqrt())] {
        for tail in &tails {
            let nodes = [head(scale.clone()), tail.to_vec()].concat();
            let constants = vec![
                ("root", scalar(root)),
                ("one", scalar(1.0)),
                ("half", scalar(0.5)),
            ];
            assert_eq!(ops(&composed(nodes, constants)), ["Gelu"]);
        }
    }
    let other = vec![
        Node::new("d", Op::Mul, &["x", "r"], &["s"]),
        Node::new("e", Op::Mul, &["s", "r"], &["y"]),
    ];
    let nodes = [head(Op::Div), other].concat();
    let constants = vec![("root", scalar(2f32.sqrt())), ("one", scalar(1.0))];
    assert_eq!(composed(nodes, constants).graph.nodes.len(), 5);
}

#[test]
fn swish_is_one_node() {
    let nodes = vec![
        Node::new("a", Op::Sigmoid, &["x"], &["p"]),
        Node::new("b", Op::Mul, &["p", "x"], &["y"]),
    ];
    assert_eq!(ops(&composed(nodes, vec![])), ["Swish"]);
    let hard = Op::Activation {
        kind: secateur_model::Activation::HardSigmoid,
        parameters: [1.0 / 6.0, 0.5],
    };
    let nodes = vec![
        Node::new("a", hard, &["x"], &["p"]),
        Node::new("b", Op::Mul, &["x", "p"], &["y"]),
    ];
    assert_eq!(ops(&composed(nodes, vec![])), ["HardSwish"]);
}

#[test]
fn layer_normalization_is_one_node_however_it_is_written() {
    let mean = || Op::Reduce {
        kind: secateur_model::Reduction::Mean,
        keep_dims: true,
        noop_with_empty_axes: false,
    };
    let pow = Op::Binary(secateur_model::Binary::Pow);
    let head = vec![
        Node::new("mean", mean(), &["x", "last"], &["m"]),
        Node::new("sub", Op::Sub, &["x", "m"], &["d"]),
        Node::new("again", Op::Sub, &["x", "m"], &["d2"]),
        Node::new("pow", pow, &["d2", "two"], &["square"]),
        Node::new("mul", Op::Mul, &["d2", "d2"], &["square2"]),
    ];
    let sqrt = Op::Math(secateur_model::Math::Sqrt);
    let inverse = Op::Math(secateur_model::Math::Reciprocal);
    for (square, divides) in [("square", true), ("square2", false)] {
        let mut nodes = head.clone();
        nodes.push(Node::new("var", mean(), &[square, "last"], &["v"]));
        nodes.push(Node::new("eps", Op::Add, &["v", "epsilon"], &["w"]));
        nodes.push(Node::new("sqrt", sqrt.clone(), &["w"], &["root"]));
        nodes.extend(match divides {
            true => vec![Node::new("div", Op::Div, &["d", "root"], &["n"])],
            false => vec![
                Node::new("inverse", inverse.clone(), &["root"], &["i"]),
                Node::new("times", Op::Mul, &["d", "i"], &["n"]),
            ],
        });
        nodes.push(Node::new("scale", Op::Mul, &["n", "gamma"], &["s"]));
        nodes.push(Node::new("shift", Op::Add, &["s", "beta"], &["y"]));
        let constants = vec![
            (
                "last",
                Constant::Tensor(Tensor::i64(&[1], vec![-1]).unwrap()),
            ),
            ("two", scalar(2.0)),
            ("epsilon", scalar(1e-5)),
            ("gamma", weight(&[4], &[1.0, 2.0, -1.0, 0.5])),
            ("beta", weight(&[4], &[0.0, 1.0, 2.0, 3.0])),
        ];
        let draft = composed(nodes, constants);
        assert_eq!(ops(&draft), ["LayerNormalization"]);
        assert_eq!(draft.graph.nodes[0].inputs, ["x", "gamma", "beta"]);
    }
}
