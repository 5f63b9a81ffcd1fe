//! Exported networks in ONNX Runtime beside our sessions, on the same inputs:
//! the same codes, or one unit apart; and ONNX's own checker on every file.
//!
//! Without pip or a network the test says so and passes.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

#[path = "support/python.rs"]
mod python;
mod support;

use secateur_engine::{Session, SessionOptions};
use secateur_io::onnx;
use secateur_model::{
    Constant, DType, Data, Dim, Graph, Node, Op, Shape, Tensor, ValueInfo, Weight, Window, zoo,
};
use std::collections::BTreeMap;
use std::path::Path;
use support::{FORMS, Form, formed, images};

const SCRIPT: &str = include_str!("support/onnx_runtime.py");
/// `default` runs integer kernels, `plain` what the file says, in f32.
const MODES: [&str; 2] = ["default", "plain"];
const BATCH: usize = 4;

/// A network, exported.
struct Case {
    name: String,
    graph: Graph,
    form: Form,
    x: Tensor,
}

#[test]
fn onnx_runtime_agrees() {
    let Some(python) = python::interpreter() else {
        return;
    };
    let cases = cases();
    let folder = python::scratch("onnx-runtime");
    for case in &cases {
        let file = |suffix: &str| folder.join(format!("{}.{suffix}", case.name));
        onnx::save(&case.graph, file("onnx")).unwrap();
        let dims: Vec<String> = case.x.shape().iter().map(usize::to_string).collect();
        std::fs::write(file("shape"), dims.join(" ")).unwrap();
        std::fs::write(file("input.bin"), bytes_of(&case.x)).unwrap();
    }
    let ran = python::run(&python, SCRIPT, &[&folder]);
    assert!(ran, "ONNX Runtime refused a network");

    let mut wrong = Vec::new();
    let mut totals = MODES.map(|_| Report::default());
    for case in &cases {
        wrong.extend(compare(case, &folder, &mut totals));
    }
    for (mode, total) in MODES.iter().zip(totals) {
        println!("all of {mode}: {total}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Prints how far the outputs of a case are apart; what is too far.
fn compare(case: &Case, folder: &Path, totals: &mut [Report; 2]) -> Vec<String> {
    let inputs = [("input", &case.x)];
    let options = SessionOptions {
        threads: Some(1),
        ..SessionOptions::default()
    };
    let ours = Session::new(&case.graph, &options)
        .unwrap()
        .run(&inputs)
        .unwrap();
    let read_back = onnx::load(folder.join(format!("{}.onnx", case.name))).unwrap();
    let again = Session::new(&read_back, &options)
        .unwrap()
        .run(&inputs)
        .unwrap();
    let mut wrong = Vec::new();
    if again != ours {
        wrong.push(format!("{}: read back it computes otherwise", case.name));
    }
    let logits = ours[0].as_f32().unwrap();
    let varied = logits.iter().any(|v| (v - logits[0]).abs() > 1e-2);
    assert!(varied, "{}: nothing to compare", case.name);
    for (mode, total) in MODES.into_iter().zip(totals) {
        let stem = format!("{mode}.{}", case.name);
        let mut report = Report::default();
        for (index, ours) in ours.iter().enumerate() {
            let bytes = std::fs::read(folder.join(format!("{stem}.{index}.bin"))).unwrap();
            report.add(ours, &bytes);
        }
        let ops = std::fs::read_to_string(folder.join(format!("{stem}.ops"))).unwrap();
        println!("{stem}: {report}");
        total.merge(&report);
        if mode == "default" {
            println!("    {}", ops.trim().replace('\n', ", "));
        }
        // Exact sums either way; without them a code that falls on the other side of
        // a half is some thousandths of the output.
        let exact = mode == "default" || !is_integer(case.form);
        let allowed = if exact { 1e-5 } else { 0.05 };
        wrong.extend(report.wrong(allowed).map(|why| format!("{stem}: {why}")));
        // All layers but those before a sum or an average, whose outputs are f32.
        let float_layer = ["Conv ", "Gemm ", "MatMul ", "FusedConv ", "FusedGemm "];
        let all_integer = case.name.starts_with("lenet") && is_integer(case.form);
        if mode == "default" && all_integer {
            for line in ops
                .lines()
                .filter(|l| float_layer.iter().any(|f| l.starts_with(f)))
            {
                wrong.push(format!("{stem}: a layer runs in f32: {line}"));
            }
        }
    }
    wrong
}

/// How far outputs are apart.
#[derive(Default)]
struct Report {
    codes: usize,
    /// Codes by how many units they differ.
    apart: BTreeMap<u8, usize>,
    reals: usize,
    /// The largest difference of real numbers, by their range.
    difference: f32,
}

impl Report {
    fn add(&mut self, ours: &Tensor, theirs: &[u8]) {
        match ours.data() {
            Data::U8(codes) => {
                assert_eq!(codes.len(), theirs.len());
                self.codes += codes.len();
                for (a, b) in codes.iter().zip(theirs) {
                    *self.apart.entry(a.abs_diff(*b)).or_default() += 1;
                }
            }
            Data::F32(values) => {
                let (chunks, _) = theirs.as_chunks();
                assert_eq!(values.len(), chunks.len());
                self.reals += values.len();
                let range = values.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
                for (ours, theirs) in values.iter().zip(chunks) {
                    let apart = (ours - f32::from_le_bytes(*theirs)).abs() / range;
                    self.difference = self.difference.max(apart);
                }
            }
            other => panic!("outputs of {}", other.dtype()),
        }
    }

    fn merge(&mut self, other: &Self) {
        self.codes += other.codes;
        for (units, count) in &other.apart {
            *self.apart.entry(*units).or_default() += count;
        }
        self.reals += other.reals;
        self.difference = self.difference.max(other.difference);
    }

    fn wrong(&self, allowed: f32) -> Option<String> {
        let largest = self.apart.keys().max().copied().unwrap_or(0);
        (largest > 1 || self.difference > allowed || self.difference.is_nan())
            .then(|| self.to_string())
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { codes, apart, .. } = self;
        if *codes > 0 {
            let counts = apart.iter().filter(|(units, _)| **units > 0);
            let counts: Vec<String> = counts.map(|(u, n)| format!("{n} {u} apart")).collect();
            let same = apart.get(&0).copied().unwrap_or(0);
            write!(
                f,
                "{same} of {codes} codes the same ({}); ",
                counts.join(", ")
            )?;
        }
        write!(
            f,
            "{} real outputs, {:e} of their range apart",
            self.reals, self.difference
        )
    }
}

fn is_integer(form: Form) -> bool {
    matches!(form, Form::Int8 | Form::PrunedInt8 | Form::Shared)
}

/// Networks of the zoo and one with everything else, in every form.
fn cases() -> Vec<Case> {
    let networks = [
        (zoo::build("lenet-300-100", [1, 28, 28], 10, 3), [1, 28, 28]),
        (zoo::build("lenet-5", [1, 28, 28], 10, 3), [1, 28, 28]),
        (zoo::build("resnet-20", [3, 16, 16], 10, 3), [3, 16, 16]),
        (
            zoo::build("mobilenet-small", [3, 16, 16], 10, 3),
            [3, 16, 16],
        ),
        (zoo::build("vgg-small", [3, 16, 16], 10, 3), [3, 16, 16]),
        (Ok(mixed()), [3, 13, 15]),
    ];
    let mut cases = Vec::new();
    for (built, input) in networks {
        let built = built.unwrap();
        for form in FORMS {
            let graph = formed(built.clone(), form, &images(4, input, 99));
            let mut add = |suffix: &str, graph: Graph| {
                cases.push(Case {
                    name: format!("{}-{form:?}{suffix}", built.name),
                    graph,
                    form,
                    x: images(BATCH, input, 7),
                });
            };
            if form == Form::Int8 {
                add("-signed", with_signed_codes(&graph));
            }
            if is_integer(form) {
                add("-codes", with_codes_as_outputs(&graph, input));
            }
            add("", graph);
        }
    }
    cases
}

/// Everything that is quantized becomes an output too.
fn with_codes_as_outputs(graph: &Graph, input: [usize; 3]) -> Graph {
    let values = support::values_of(graph, &images(1, input, 1));
    let quantized = |n: &&Node| matches!(n.op, Op::QuantizeLinear { .. });
    let info = |n: &Node| {
        let extents = values[&n.outputs[0]].shape().iter();
        let mut dims: Vec<Dim> = extents.map(|&d| Dim::Known(d)).collect();
        dims[0] = Dim::Named("batch".into());
        ValueInfo {
            name: n.outputs[0].clone(),
            dtype: DType::U8,
            dims: Some(dims),
        }
    };
    let mut graph = graph.clone();
    let outputs: Vec<ValueInfo> = graph.nodes.iter().filter(quantized).map(info).collect();
    graph.outputs.extend(outputs);
    graph
}

/// The same codes, 128 lower.
fn with_signed_codes(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    for constant in graph.constants.values_mut() {
        if let Constant::Tensor(tensor) = constant
            && let Data::U8(zero) = tensor.data()
        {
            let zero = zero.iter().map(|&z| (i16::from(z) - 128) as i8).collect();
            *tensor = Tensor::new(tensor.shape().clone(), Data::I8(zero)).unwrap();
        }
    }
    graph
}

/// Grouped, dilated and strided convolutions with uneven pads, a residual sum,
/// both kinds of pooling, and MatMul.
fn mixed() -> Graph {
    let mut graph = zoo::build("lenet-300-100", [3, 13, 15], 10, 3).unwrap();
    graph.name = "mixed".into();
    graph.nodes.clear();
    graph.constants.clear();
    let mut seed = 0;
    let mut layer =
        |graph: &mut Graph, name: &str, op: Op, x: &str, dims: &[usize], bias: usize| {
            let mut inputs = vec![x.to_owned()];
            let shapes = [dims.to_vec(), vec![bias]];
            for (part, dims) in ["weight", "bias"]
                .into_iter()
                .zip(shapes)
                .take(1 + bias.min(1))
            {
                seed += 1;
                let shape = Shape::new(&dims).unwrap();
                let fan_in: usize = dims.iter().skip(1).product();
                let spread = (3.0 / fan_in as f32).sqrt();
                let values = support::noise(shape.elements(), seed);
                let values = values.iter().map(|v| v * spread).collect();
                let weight = Weight::dense(shape, values).unwrap();
                let name = format!("{name}.{part}");
                graph
                    .constants
                    .insert(name.clone(), Constant::Weight(weight));
                inputs.push(name);
            }
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            graph.nodes.push(Node::new(name, op, &inputs, &[name]));
        };
    let conv = |window: Window, groups| Op::Conv { window, groups };
    let plain = |graph: &mut Graph, name: &str, op, inputs: &[&str]| {
        graph.nodes.push(Node::new(name, op, inputs, &[name]));
    };
    let g = &mut graph;
    let uneven = Window::new(&[3, 5]).stride(&[2, 1]).pad(&[1, 2, 0, 1]);
    layer(g, "conv1", conv(uneven, 1), "input", &[8, 3, 3, 5], 8);
    plain(g, "relu1", Op::Relu, &["conv1"]);
    let dilated = Window {
        dilations: vec![2, 2],
        ..Window::new(&[3, 3]).pad(&[2, 2, 2, 2])
    };
    layer(g, "conv2", conv(dilated, 2), "relu1", &[8, 4, 3, 3], 8);
    plain(g, "sum", Op::Add, &["conv2", "relu1"]);
    plain(g, "relu2", Op::Relu, &["sum"]);
    let pool = Window::new(&[2, 2]).stride(&[2, 2]);
    let max_pool = Op::MaxPool {
        window: pool.clone(),
        column_major: false,
    };
    plain(g, "max", max_pool, &["relu2"]);
    // Without bias and activation: codes around a zero point.
    layer(
        g,
        "conv3",
        conv(Window::new(&[1, 1]), 1),
        "max",
        &[16, 8, 1, 1],
        0,
    );
    layer(
        g,
        "conv4",
        conv(Window::new(&[2, 2]), 4),
        "conv3",
        &[16, 4, 2, 2],
        16,
    );
    let average = Op::AveragePool {
        window: Window::new(&[2, 2]).stride(&[1, 2]),
        count_include_pad: false,
    };
    plain(g, "average", average, &["conv4"]);
    plain(g, "flat", Op::Flatten { axis: 1 }, &["average"]);
    layer(g, "fc1", Op::linear(), "flat", &[12, 48], 12);
    plain(g, "relu3", Op::Relu, &["fc1"]);
    layer(g, "logits", Op::MatMul, "relu3", &[12, 10], 0);
    graph
}

fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let values = tensor.as_f32().unwrap();
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}
