//! Damaged files: an error that names file and place, or another good file;
//! never a panic, and never more memory than the file is worth.

#![allow(clippy::unwrap_used)] // helpers of tests

use secateur_io::{IoError, codec::Store, onnx, sct};
use secateur_model::{
    Bitmask, Codebook, Constant, Data, Graph, Node, Op, Scale, Shape, Support, Tensor, Values,
    Weight, zoo,
};

/// A few hundred bytes with every kind of weight, and quantized activations.
fn small() -> Graph {
    let mut graph = zoo::build("lenet-300-100", [1, 1, 2], 2, 1).unwrap();
    let pair = [
        (
            "q",
            Op::QuantizeLinear {
                axis: 1,
                block_size: 0,
                to: None,
            },
            "input",
        ),
        (
            "d",
            Op::DequantizeLinear {
                axis: 1,
                block_size: 0,
            },
            "q",
        ),
    ];
    let nodes = pair.map(|(name, op, from)| Node::new(name, op, &[from, "scale", "zero"], &[name]));
    let weight = |dims: &[usize], support, values| {
        Constant::Weight(Weight::new(Shape::new(dims).unwrap(), support, values).unwrap())
    };
    let mask = |keep: &[bool]| Support::Unstructured(Bitmask::from_bools(keep));
    let int8 = Values::Int {
        bits: 8,
        codes: vec![3, -7, 100],
        scale: Scale::PerChannel(vec![0.5, 0.25]),
    };
    let shared = Values::Shared {
        codebook: Codebook::Int {
            codes: vec![-9, 4],
            scale: 0.5,
        },
        codes: vec![0, 1, 1, 0],
    };
    graph.constants = [
        ("scale", Constant::Tensor(Tensor::scalar_f32(0.1))),
        (
            "zero",
            Constant::Tensor(Tensor::new(Shape::scalar(), Data::U8(vec![3])).unwrap()),
        ),
        ("a", weight(&[2, 2], mask(&[true, true, false, true]), int8)),
        (
            "a_bias",
            weight(&[2], Support::All, Values::F32(vec![0.5, -0.5])),
        ),
        ("b", weight(&[2, 2], Support::All, shared)),
        (
            "c",
            weight(
                &[2, 2],
                mask(&[false, false, true, false]),
                Values::F32(vec![1.5]),
            ),
        ),
    ]
    .into_iter()
    .map(|(name, constant)| (name.to_owned(), constant))
    .collect();
    graph.nodes = nodes.into();
    graph.nodes.extend([
        Node::new("flat", Op::Flatten { axis: 1 }, &["d"], &["f"]),
        Node::new("fc1", Op::linear(), &["f", "a", "a_bias"], &["y1"]),
        Node::new("fc2", Op::linear(), &["y1", "b"], &["y2"]),
        Node::new("fc3", Op::linear(), &["y2", "c"], &["logits"]),
    ]);
    graph
}

/// Every cut and every byte changed in several ways, given to `visit`.
fn damaged(whole: &[u8], mut visit: impl FnMut(&[u8])) {
    for at in 0..whole.len() {
        visit(&whole[..at]);
        for change in [0x01, 0x7F, 0x80, 0xFF] {
            let mut bytes = whole.to_vec();
            bytes[at] ^= change;
            visit(&bytes);
        }
        let mut longer = whole.to_vec();
        longer.insert(at, 0xFF);
        visit(&longer);
    }
}

fn check(result: Result<Graph, IoError>) {
    match result {
        // What is read can be written again, or is refused with a reason.
        Ok(graph) => {
            let _ = onnx::write(&graph);
            let _ = sct::write(&graph, Store::Fast);
        }
        Err(error) => {
            let text = error.to_string();
            let place = text.strip_prefix("some file: ").map(str::len);
            assert!(place.is_some_and(|n| n > 10), "{text}");
        }
    }
}

#[test]
fn damaged_files_are_errors_in_bounded_memory() {
    let graph = small();
    let network = onnx::write(&graph).unwrap();
    let container = sct::write(&graph, Store::Small).unwrap();
    assert!(network.len() < 4096 && container.len() < 1024);
    check(onnx::read(&network, None, "some file"));
    check(sct::read(&container, "some file"));
    let before = peak_memory();
    damaged(&network, |bytes| {
        check(onnx::read(bytes, None, "some file"))
    });
    damaged(&container, |bytes| check(sct::read(bytes, "some file")));
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        let grown = after.saturating_sub(before);
        assert!(grown < 64 << 20, "{grown} bytes for files of 4 KiB");
    }
}

/// The largest amount of memory that this process has held, in bytes, where
/// the system tells.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes << 10)
}
