//! Networks of which the end hangs on values: what stands before runs in kernels all the same.

#![allow(clippy::unwrap_used)] // helpers of tests

mod support;

use secateur_engine::{EngineError, Session, SessionOptions};
use secateur_model::{DType, Graph, Node, Op, Shape, Tensor, ValueInfo, zoo};

/// A network that also gives the places at which it gives more than nothing.
fn network() -> Graph {
    let mut graph = zoo::build("lenet-5", [1, 28, 28], 10, 1).unwrap();
    let logits = graph.outputs[0].name.clone();
    let node = |name: &str, op, input: &str, output: &str| Node {
        name: name.into(),
        op,
        inputs: vec![input.into()],
        outputs: vec![output.into()],
    };
    let relu = Op::Relu;
    graph.nodes.push(node("above", relu, &logits, "above"));
    graph
        .nodes
        .push(node("places", Op::NonZero, "above", "places"));
    graph.outputs.push(ValueInfo {
        name: "places".into(),
        dtype: DType::I64,
        dims: None,
    });
    graph
}

#[test]
fn only_what_hangs_on_values_is_left_to_the_reference() {
    let graph = network();
    let x = Tensor::f32(&[2, 1, 28, 28], support::noise(2 * 784, 3)).unwrap();
    let session = |reference| {
        let options = SessionOptions {
            reference,
            ..SessionOptions::default()
        };
        Session::new(&graph, &options).unwrap()
    };
    let (fast, slow) = (session(false), session(true));
    let found = fast.run(&[("input", &x)]).unwrap();
    assert_eq!(found, slow.run(&[("input", &x)]).unwrap());
    assert_eq!(found[1].shape().dims()[0], 2);

    let bound = fast.bind(&[x.shape().clone()]).unwrap();
    let plan = bound.plan();
    assert_eq!(plan.outputs.len(), 1);
    assert!(plan.steps.iter().all(|s| s.choice.kernel != "reference"));
    let tail = plan.tail.as_ref().unwrap();
    assert_eq!(
        tail.nodes
            .iter()
            .map(|n| n.name.as_str())
            .collect::<Vec<_>>(),
        ["places"]
    );
}

#[test]
fn slices_of_unknown_length_are_refused() {
    let graph = network();
    let session = Session::new(&graph, &SessionOptions::default()).unwrap();
    let bound = session
        .bind(&[Shape::new(&[1, 1, 28, 28]).unwrap()])
        .unwrap();
    let (x, mut y, mut places) = ([0.0; 784], [0.0; 10], [0.0; 20]);
    let refused = bound.run_into(&[&x], &mut [&mut y, &mut places]);
    assert_eq!(
        refused,
        Err(EngineError::Extents {
            node: "places".into()
        })
    );
}

#[test]
fn small_inputs_decide_for_a_plan_of_their_own() {
    // Rows of a table by a list of extents that is given.
    let value = |name: &str, dtype| ValueInfo {
        name: name.into(),
        dtype,
        dims: None,
    };
    let graph = Graph {
        inputs: vec![value("x", DType::F32), value("extents", DType::I64)],
        nodes: vec![
            Node::new("turned", Op::Tanh, &["x"], &["t"]),
            Node::new(
                "shaped",
                Op::Reshape { allow_zero: false },
                &["t", "extents"],
                &["r"],
            ),
            Node::new("last", Op::Sigmoid, &["r"], &["y"]),
        ],
        outputs: vec![value("y", DType::F32)],
        ..Graph::default()
    };
    let x = Tensor::f32(&[2, 6], support::noise(12, 3)).unwrap();
    let session = Session::new(&graph, &SessionOptions::default()).unwrap();
    // More values than plans are kept for.
    for turn in 0..20 {
        let rows = [1, 2, 3, 4, 6, 12][turn % 6];
        let extents = Tensor::i64(&[2], vec![rows, 12 / rows]).unwrap();
        let found = session.run(&[("x", &x), ("extents", &extents)]).unwrap();
        assert_eq!(found[0].shape().dims(), [rows as usize, 12 / rows as usize]);
        let exact =
            secateur_model::eval(&graph, &[("x", x.clone()), ("extents", extents)]).unwrap();
        let (found, exact) = (found[0].as_f32().unwrap(), exact[0].as_f32().unwrap());
        assert!(found.iter().zip(exact).all(|(f, e)| (f - e).abs() < 1e-6));
    }
    let extents = Tensor::i64(&[2], vec![5, 5]).unwrap();
    assert!(session.run(&[("x", &x), ("extents", &extents)]).is_err());
}

/// A network that takes its sigmoid where a rate is 8 and its input has two axes.
fn branching() -> Graph {
    use secateur_model::{Binary, Constant, Control, Flow, UnknownOp};
    let value = |name: &str, dtype| ValueInfo {
        name: name.into(),
        dtype,
        dims: None,
    };
    let branch = |op| Graph {
        nodes: vec![Node::new("only", op, &["x"], &["t"])],
        outputs: vec![value("t", DType::F32)],
        ..Graph::default()
    };
    let choice = |then, otherwise| {
        Op::Control(Box::new(Control {
            flow: Flow::If {
                then: branch(then),
                otherwise: branch(otherwise),
            },
            captures: vec!["x".into()],
            carried: UnknownOp {
                domain: String::new(),
                op_type: "If".into(),
                attributes: Vec::new(),
                captures: Vec::new(),
            },
        }))
    };
    let is = |name, number, output| {
        Node::new(name, Op::Binary(Binary::Equal), &[name, number], &[output])
    };
    let shape = Op::Shape {
        start: 0,
        end: None,
    };
    let mut graph = Graph {
        inputs: vec![value("x", DType::F32), value("rate", DType::I64)],
        nodes: vec![
            is("rate", "eight", "fast"),
            Node::new(
                "first",
                choice(Op::Sigmoid, Op::Tanh),
                &["fast", "x"],
                &["a"],
            ),
            Node::new("extents", shape, &["a"], &["s"]),
            Node::new("axes", Op::Size, &["s"], &["rank"]),
            is("rank", "two", "flat"),
            Node::new(
                "second",
                choice(Op::Relu, Op::Identity),
                &["flat", "a"],
                &["y"],
            ),
        ],
        outputs: vec![value("y", DType::F32)],
        ..Graph::default()
    };
    for (name, number) in [("eight", 8), ("two", 2)] {
        let number = Tensor::i64(&[1], vec![number]).unwrap();
        graph
            .constants
            .insert(name.into(), Constant::Tensor(number));
    }
    graph
}

#[test]
fn branches_are_lowered_with_what_is_around_them() {
    let graph = branching();
    let session = Session::new(&graph, &SessionOptions::default()).unwrap();
    for turn in 0..30 {
        let dims: &[usize] = if turn % 2 == 0 { &[2, 6] } else { &[12] };
        let x = Tensor::f32(dims, support::noise(12, turn)).unwrap();
        let rate = Tensor::i64(&[1], vec![turn as i64 % 3 * 4]).unwrap();
        let found = session.run(&[("x", &x), ("rate", &rate)]).unwrap();
        let exact = secateur_model::eval(&graph, &[("x", x), ("rate", rate)]).unwrap();
        let (found, exact) = (found[0].as_f32().unwrap(), exact[0].as_f32().unwrap());
        assert!(found.iter().zip(exact).all(|(f, e)| (f - e).abs() < 1e-6));
    }
}
