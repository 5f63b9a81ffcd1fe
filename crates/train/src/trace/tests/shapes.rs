//! Whole graphs: shape arithmetic, misfits, and independence of the threads.

use super::{Single, float, list};
use crate::trace::{Mode, Value, run, to_vec};
use secateur_model::{
    Activation, Binary, Constant, DType, Dim, Graph, Node, Op, Tensor, ValueInfo, Window, zoo,
};
use std::collections::HashMap;

fn value(name: &str) -> ValueInfo {
    ValueInfo {
        name: name.into(),
        dtype: secateur_model::DType::F32,
        dims: None,
    }
}

/// What PyTorch exports for `x.view(x.size(0), -1)`.
#[test]
fn extents_computed_in_the_graph_are_followed() {
    let constant =
        |v: &[i64], dims: &[usize]| Constant::Tensor(Tensor::i64(dims, v.to_vec()).unwrap());
    let shape = Op::Shape {
        start: 0,
        end: None,
    };
    let graph = Graph {
        inputs: vec![value("x")],
        outputs: vec![value("y")],
        constants: [
            ("zero".to_owned(), constant(&[0], &[])),
            ("axes".to_owned(), constant(&[0], &[1])),
            ("rest".to_owned(), constant(&[-1], &[1])),
        ]
        .into_iter()
        .collect(),
        nodes: vec![
            Node::new("shape", shape, &["x"], &["s"]),
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
    };
    let x = Value::new((0..24).map(|i| i as f32).collect(), &[4, 2, 3]);
    let none = HashMap::new();
    let wanted = ["y".to_owned()];
    let values = run(&graph, x.clone(), &none, Mode::Evaluate, &wanted).unwrap();
    assert_eq!(values["y"].dims, [4, 6]);
    assert_eq!(values["y"].to_vec(), x.to_vec());
}

#[test]
fn what_does_not_fit_is_an_error_before_it_runs() {
    let conv = |window| Op::Conv { window, groups: 1 };
    let cases = [
        (Op::Add, vec![float(&[2, 3]), float(&[2, 4])]),
        (Op::linear(), vec![float(&[2, 3]), float(&[5, 4])]),
        (Op::MatMul, vec![float(&[2, 3]), float(&[4, 5])]),
        (
            conv(Window::default()),
            vec![float(&[1, 3, 4, 4]), float(&[2, 2, 3, 3])],
        ),
        (
            conv(Window::default()),
            vec![float(&[1, 1, 2, 2]), float(&[1, 1, 3, 3])],
        ),
        (Op::Concat { axis: 3 }, vec![float(&[2, 3]), float(&[2, 3])]),
        (
            Op::Reshape { allow_zero: false },
            vec![float(&[2, 3]), list(&[4, 2])],
        ),
        (
            Op::Transpose {
                perm: Some(vec![0, 0]),
            },
            vec![float(&[2, 3])],
        ),
    ];
    for (op, inputs) in cases {
        let error = Single::new(op, &inputs).forward(true).err();
        let message = error.map(|e| e.to_string()).unwrap_or_default();
        assert!(message.contains("node"), "{message}");
    }
}

/// Operators without a gradient run where none is asked for, and are refused where one is.
#[test]
fn what_has_no_gradient_is_computed_by_the_reference() {
    let thresholded = Op::Activation {
        kind: Activation::ThresholdedRelu,
        parameters: [0.3, 0.0],
    };
    for (op, inputs) in [
        (thresholded, vec![float(&[2, 3])]),
        (Op::Gather { axis: 0 }, vec![float(&[2, 3]), list(&[1])]),
        (Op::Tile, vec![float(&[2, 3]), list(&[1, 2])]),
    ] {
        let single = Single::new(op, &inputs);
        single.agrees(single.graph.nodes[0].op.name());
        let traced = Value::parameter(single.batch.clone(), &single.batch_dims);
        let refused = single.run(&[traced], true).err().unwrap().to_string();
        assert!(refused.contains("no gradient"), "{refused}");
    }
}

#[test]
fn parts_of_an_axis_come_apart_and_gradients_with_them() {
    let split = Op::Split {
        axis: -1,
        num_outputs: Some(3),
    };
    let graph = Graph {
        inputs: vec![value("x")],
        outputs: vec![value("y")],
        nodes: vec![
            Node::new("split", split, &["x"], &["a", "", "c"]),
            Node::new("join", Op::Concat { axis: -1 }, &["c", "a"], &["y"]),
        ],
        ..Graph::default()
    };
    let x = Value::parameter((0..16).map(|i| i as f32).collect(), &[2, 8]);
    let wanted = ["y".to_owned()];
    let mut values = run(&graph, x.clone(), &HashMap::new(), Mode::Evaluate, &wanted).unwrap();
    let y = values.remove("y").unwrap();
    let expected = [6.0, 7.0, 0.0, 1.0, 2.0, 14.0, 15.0, 8.0, 9.0, 10.0];
    assert_eq!(
        (y.dims.as_slice(), y.to_vec()),
        (&[2, 5][..], expected.to_vec())
    );
    let mut gradients = y.flat.sum().backward();
    let of_x = to_vec(x.flat.grad_remove(&mut gradients).unwrap());
    assert_eq!(of_x[..8], [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
}

/// A comparison gives no floats, but what is made of it does; places of maxima have no gradient.
#[test]
fn numbers_that_are_no_floats_pass_through() {
    let greater = Op::Binary(Binary::Greater);
    let to = DType::F32;
    let pool = Op::MaxPool {
        window: Window::new(&[1, 2]),
        column_major: false,
    };
    let zero = Constant::Tensor(Tensor::scalar_f32(0.0));
    let mut graph = Graph {
        inputs: vec![value("x")],
        outputs: vec![value("y")],
        constants: [("zero".to_owned(), zero)].into_iter().collect(),
        nodes: vec![
            Node::new("above", greater, &["x", "zero"], &["b"]),
            Node::new("as one", Op::Cast { to }, &["b"], &["y"]),
        ],
        ..Graph::default()
    };
    let x = Value::new(vec![-1.0, 2.0, 3.0, 0.0], &[1, 1, 1, 4]);
    let wanted = ["y".to_owned()];
    let run = |graph: &Graph, x: Value| run(graph, x, &HashMap::new(), Mode::Evaluate, &wanted);
    assert_eq!(
        run(&graph, x.clone()).unwrap()["y"].to_vec(),
        [0.0, 1.0, 1.0, 0.0]
    );

    graph.nodes = vec![
        Node::new("pool", pool, &["x"], &["m", "places"]),
        Node::new("as one", Op::Cast { to }, &["places"], &["y"]),
    ];
    let places = run(&graph, x.clone()).unwrap()["y"].to_vec();
    assert_eq!(places, [1.0, 2.0, 2.0]);
    let traced = Value::parameter(x.to_vec(), &x.dims);
    let refused = run(&graph, traced).err().unwrap().to_string();
    assert!(refused.contains("further outputs"), "{refused}");
}

#[test]
fn a_fixed_batch_extent_is_no_obstacle() {
    let mut net = zoo::build("lenet-5", [1, 28, 28], 10, 1).unwrap();
    let dims = net.inputs[0].dims.as_mut().unwrap();
    dims[0] = Dim::Known(1);
    let x = Value::new(vec![0.5; 3 * 784], &[3, 1, 28, 28]);
    let wanted = [net.outputs[0].name.clone()];
    let values = run(
        &net,
        x,
        &crate::score::constants(&net),
        Mode::Evaluate,
        &wanted,
    )
    .unwrap();
    assert_eq!(values[&wanted[0]].dims, [3, 10]);
}

/// All gradients of a network on a batch, as bits.
fn gradients(net: &Graph, dims: &[usize], threads: usize) -> Vec<Vec<u32>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(|| {
        let batch = super::spread(dims.iter().product(), 1);
        let parameters: HashMap<String, Value> = net
            .weights()
            .map(|(name, w)| {
                (
                    name.to_owned(),
                    Value::parameter(w.to_f32(), w.shape().dims()),
                )
            })
            .collect();
        let mut statistics = Vec::new();
        let mode = Mode::Train {
            statistics: &mut statistics,
            dropout: None,
        };
        let wanted = [net.outputs[0].name.clone()];
        let values = run(net, Value::new(batch, dims), &parameters, mode, &wanted).unwrap();
        let mut found = values[&wanted[0]].flat.clone().sum().backward();
        let mut names: Vec<&String> = parameters.keys().collect();
        names.sort();
        names
            .iter()
            .filter_map(|name| parameters[*name].flat.grad_remove(&mut found))
            .map(|g| to_vec(g).iter().map(|v| v.to_bits()).collect())
            .collect()
    })
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    for (name, input) in [
        ("lenet-300-100", [1, 28, 28]),
        ("lenet-5", [1, 28, 28]),
        ("mobilenet-small", [3, 16, 16]),
    ] {
        let net = zoo::build(name, input, 10, 1).unwrap();
        let dims = [24, input[0], input[1], input[2]];
        let one = gradients(&net, &dims, 1);
        assert!(!one.is_empty());
        assert!(one == gradients(&net, &dims, 3), "{name}");
    }
}
