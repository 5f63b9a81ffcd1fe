//! Small files that ask for far more than they hold: each is refused, or runs in bounded memory.
#![allow(clippy::unwrap_used)] // helpers of tests

use anyhow::Result;
use peak_alloc::PeakAlloc;
use secateur_engine::{Session, SessionOptions};
use secateur_io::{onnx, sct};
use secateur_model::{Constant, DType, Dim, Graph, Node, Op, PadMode, Tensor, ValueInfo, Window};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes that a network of some hundred bytes may take: constants are folded up to a quarter
/// of it.
const ALLOWED: usize = 1 << 30;

/// The network `nodes` from `x`, `[1, 1, 4, 4]`, to `y`.
fn network(constants: Vec<(&str, Tensor)>, nodes: Vec<Node>) -> Graph {
    let value = |name: &str, dims| ValueInfo {
        name: name.into(),
        dtype: DType::F32,
        dims,
    };
    let dims = [1, 1, 4, 4].map(Dim::Known).to_vec();
    Graph {
        name: "bomb".into(),
        opset: 21,
        inputs: vec![value("x", Some(dims))],
        outputs: vec![value("y", None)],
        constants: constants
            .into_iter()
            .map(|(name, tensor)| (name.to_owned(), Constant::Tensor(tensor)))
            .collect(),
        nodes,
        ..Graph::default()
    }
}

fn i64s(values: &[i64]) -> Tensor {
    Tensor::i64(&[values.len()], values.to_vec()).unwrap()
}

fn f32s(dims: &[usize]) -> Tensor {
    Tensor::f32(dims, vec![1.0; dims.iter().product()]).unwrap()
}

fn padded(from: &str, pads: &[i64]) -> Graph {
    let mode = PadMode::Constant;
    let nodes = vec![
        Node::new("pad", Op::Pad { mode }, &[from, "pads"], &["p"]),
        Node::new("add", Op::Add, &["x", "p"], &["y"]),
    ];
    let constants = vec![("pads", i64s(pads)), ("c", f32s(&[1, 1, 4, 4]))];
    network(constants, nodes)
}

/// A padded input and itself: each fits the address space, what a step touches does not.
fn summed(pads: &[i64]) -> Graph {
    let mode = PadMode::Constant;
    let nodes = vec![
        Node::new("pad", Op::Pad { mode }, &["x", "pads"], &["p"]),
        Node::new("double", Op::Concat { axis: 0 }, &["p"], &["q"]),
        Node::new("add", Op::Add, &["p", "q"], &["y"]),
    ];
    network(vec![("pads", i64s(pads))], nodes)
}

fn pooled(window: Window) -> Graph {
    let op = Op::MaxPool {
        window,
        column_major: false,
    };
    network(vec![], vec![Node::new("pool", op, &["x"], &["y"])])
}

/// A value and itself, `times` over: every node doubles it.
fn doubled(from: &str, times: usize) -> Graph {
    let name = |i: usize| match i {
        0 => from.to_owned(),
        i if i == times => "y".to_owned(),
        i => format!("d{i}"),
    };
    let node = |i: usize| {
        let (old, new) = (name(i), name(i + 1));
        let op = Op::Concat { axis: 2 };
        Node::new(format!("n{i}"), op, &[&old, &old], &[&new])
    };
    let constants = vec![("c", f32s(&[1, 1, 4, 4]))];
    network(constants, (0..times).map(node).collect())
}

/// Large constants, each made of a few bytes; computed one by one they need little memory.
fn beside_each_other(count: usize) -> Graph {
    let mode = PadMode::Constant;
    let pads = i64s(&[0, 0, 0, 0, (1 << 19) - 1, 0, 0, 0]);
    let name = |stem: char, i: usize| match (stem, i) {
        ('s', 0) => "x".to_owned(),
        ('s', i) if i == count => "y".to_owned(),
        _ => format!("{stem}{i}"),
    };
    let node = |i: usize| {
        let [made, old, new] = [name('p', i), name('s', i), name('s', i + 1)];
        [
            Node::new(&made, Op::Pad { mode }, &["c", "pads"], &[&made]),
            Node::new(&new, Op::Add, &[&old, &made], &[&new]),
        ]
    };
    let nodes = (0..count).flat_map(node).collect();
    network(vec![("pads", pads), ("c", f32s(&[1, 1, 4, 4]))], nodes)
}

fn reshaped(shape: &[i64]) -> Graph {
    let op = Op::Reshape { allow_zero: true };
    let nodes = vec![Node::new("reshape", op, &["x", "s"], &["y"])];
    network(vec![("s", i64s(shape))], nodes)
}

fn run(graph: &Graph) -> Result<()> {
    let options = SessionOptions {
        threads: Some(1),
        ..SessionOptions::default()
    };
    let session = Session::new(graph, &options)?;
    session.run(&[("x", &f32s(&[1, 1, 4, 4]))])?;
    Ok(())
}

/// What the network's run says, after a trip through both formats.
fn outcome(name: &str, graph: &Graph) -> Result<(), String> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let bytes = sct::write(graph, sct::Store::Small).unwrap();
    assert_eq!(sct::read(&bytes, name).unwrap(), *graph);
    let bytes = onnx::write(graph).unwrap();
    let result = onnx::read(&bytes, None, name)
        .map_err(anyhow::Error::from)
        .and_then(|graph| run(&graph));
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(taken <= ALLOWED, "{name}: {taken} bytes of memory");
    result.map_err(|error| error.to_string())
}

#[test]
fn all_are_refused_or_bounded() {
    let huge = 1 << 60;
    let refused = [
        (
            "constant pads",
            padded("c", &[0, 0, 0, 0, 0, 0, 0, 1 << 40]),
            "node `add`",
        ),
        (
            "constant pads beyond i64",
            padded("c", &[huge; 8]),
            "node `pad`",
        ),
        (
            "pads",
            padded("x", &[0, 0, 0, 0, 0, 0, 0, 1 << 50]),
            "node `add`",
        ),
        ("pads beyond i64", padded("x", &[i64::MAX; 8]), "node `pad`"),
        ("pads below", padded("x", &[i64::MIN; 8]), "node `pad`"),
        (
            "doubled constant",
            doubled("c", 50),
            "bytes for activations",
        ),
        ("doubled input", doubled("x", 50), "bytes for activations"),
        (
            "huge sum",
            summed(&[0, 0, 0, 0, 0, 0, 0, (1 << 59) - 5]),
            "address space",
        ),
        (
            "window",
            pooled(Window::new(&[huge as usize; 2])),
            "node `pool`",
        ),
        (
            "padded window",
            pooled(Window::new(&[2, 2]).pad(&[huge as usize; 4])),
            "node `pool`",
        ),
        (
            "shape",
            reshaped(&[i64::MAX, i64::MAX, 16]),
            "node `reshape`",
        ),
        ("shape below", reshaped(&[-7, 16]), "node `reshape`"),
    ];
    for (name, graph, says) in refused {
        let message = outcome(name, &graph).unwrap_err();
        assert!(message.contains(says), "{name}: {message}");
    }
    let bounded = [
        ("pads", padded("x", &[0, 0, 0, 0, 0, 0, 0, 0])),
        ("doubled", doubled("x", 8)),
        (
            "wide window",
            pooled(
                Window::new(&[9, 9])
                    .pad(&[4; 4])
                    .stride(&[huge as usize; 2]),
            ),
        ),
        ("shape", reshaped(&[2, -1])),
        ("constants beside each other", beside_each_other(60)),
    ];
    for (name, graph) in bounded {
        assert_eq!(outcome(name, &graph), Ok(()), "{name}");
    }
}
