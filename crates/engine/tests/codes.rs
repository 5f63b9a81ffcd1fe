//! Networks in the quantized forms of other tools run on codes: no layer and
//! nothing between layers is left in f32, the bits are the reference's on every
//! instruction set, and the results are at most one unit from what the file
//! says.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "support/quantized.rs"]
mod quantized;
mod support;

use quantized::Net;
use secateur_engine::{Session, SessionOptions};
use secateur_kernels::Isa;
use secateur_model::ops::{Aspect, Coordinates, Interpolation, Resize, Rounding};
use secateur_model::{Activation, Graph, Op, PadMode, Reduction, Tensor, Window};

const CONV: &str = "u8i8i32";
const SUM: &str = "add_codes";
const TABLE: &str = "lookup";
const MOVE: &str = "rearrange";
const MEAN: &str = "mean_codes";

/// Runs a network on every instruction set and on one thread and two; the
/// kernels between the first quantizer and the last dequantizer, which must be
/// those given.
fn check(graph: &Graph, dims: &[usize], unit: f32, kernels: &[&str]) {
    let len = dims.iter().product();
    let x = Tensor::f32(dims, support::noise(len, 7)).unwrap();
    let session = |isa, threads, reference| {
        let options = SessionOptions {
            threads: Some(threads),
            isa: Some(isa),
            reference,
            ..SessionOptions::default()
        };
        Session::new(graph, &options).unwrap()
    };
    let meant = secateur_model::eval(graph, &[("input", x.clone())]).unwrap();
    let expected = session(Isa::Generic, 1, true)
        .run(&[("input", &x)])
        .unwrap();
    let pairs = meant.iter().zip(&expected);
    for (meant, found) in pairs {
        let pairs = meant.as_f32().unwrap().iter().zip(found.as_f32().unwrap());
        for (meant, found) in pairs {
            assert!((meant - found).abs() <= unit * 1.001, "{meant} {found}");
        }
    }
    for isa in Isa::available() {
        for threads in [1, 2] {
            let session = session(isa, threads, false);
            let found = session.run(&[("input", &x)]).unwrap();
            assert_eq!(found, expected, "{isa} {threads}");
        }
    }
    let session = session(Isa::best(), 1, false);
    let bound = session.bind(&[x.shape().clone()]).unwrap();
    let steps = bound.plan().steps.iter();
    let found: Vec<&str> = steps
        .map(|s| match s.choice.kernel.split_once('_') {
            Some((CONV, _)) => CONV,
            _ => s.choice.kernel.as_str(),
        })
        .filter(|k| !k.starts_with("n") && !matches!(*k, "quantize" | "dequantize"))
        .collect();
    assert_eq!(found, kernels, "{:#?}", session.planner().notes());
    let ends = |kernel: &str| {
        bound
            .plan()
            .steps
            .iter()
            .filter(|s| s.choice.kernel == kernel)
            .count()
    };
    assert_eq!((ends("quantize"), ends("dequantize")), (1, meant.len()));
}

#[test]
fn a_residual_block_is_integer() {
    for signed in [false, true] {
        let mut net = Net::new(signed);
        let x = net.input(4.0);
        let a = net.conv(&x, 4, 8, 3, 2.0);
        let b = net.conv(&a, 8, 8, 1, 3.0);
        let sum = net.op(Op::Add, &[&a, &b]);
        let sum = net.op(Op::Relu, &[&sum]);
        let sum = net.pair(&sum, 4.0);
        let pooled = net.op(Op::GlobalAveragePool, &[&sum]);
        let pooled = net.pair(&pooled, 2.0);
        net.output(&pooled);
        check(
            &net.graph,
            &[2, 4, 9, 7],
            net.unit(2.0),
            &[CONV, CONV, SUM, MEAN],
        );
    }
}

#[test]
fn a_layer_takes_the_sum_behind_it_along() {
    for (signed, layer_first) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut net = Net::new(signed);
        let x = net.input(4.0);
        let a = net.conv(&x, 4, 70, 1, 2.0);
        let b = net.conv(&a, 70, 8, 3, 3.0);
        let b = net.conv(&b, 8, 70, 1, 3.0);
        let addends: [&str; 2] = if layer_first { [&b, &a] } else { [&a, &b] };
        let sum = net.op(Op::Add, &addends);
        let sum = net.op(Op::Relu, &[&sum]);
        let sum = net.pair(&sum, 4.0);
        net.output(&sum);
        // Units that fall on the other side of a half add up over three layers.
        let units = 2.0 * net.unit(4.0);
        check(&net.graph, &[2, 4, 9, 7], units, &[CONV, CONV, CONV]);
    }
}

#[test]
fn a_sum_does_not_replace_what_is_read_later() {
    let mut net = Net::new(false);
    let x = net.input(4.0);
    let a = net.conv(&x, 4, 8, 1, 2.0);
    let b = net.conv(&a, 8, 8, 3, 3.0);
    let b = net.conv(&b, 8, 8, 1, 3.0);
    let sum = net.op(Op::Add, &[&b, &a]);
    let sum = net.pair(&sum, 4.0);
    let joined = net.op(Op::Concat { axis: 1 }, &[&sum, &a]);
    let joined = net.pair(&joined, 4.0);
    let y = net.conv(&joined, 16, 8, 1, 3.0);
    net.output(&y);
    let kernels = [CONV, CONV, CONV, SUM, TABLE, MOVE, CONV];
    check(&net.graph, &[2, 4, 9, 7], 2.0 * net.unit(3.0), &kernels);
}

#[test]
fn addends_of_other_shapes_are_repeated() {
    let mut net = Net::new(false);
    let x = net.input(4.0);
    let a = net.conv(&x, 4, 8, 3, 2.0);
    let pooled = net.op(Op::GlobalAveragePool, &[&a]);
    let pooled = net.pair(&pooled, 1.0);
    let sum = net.op(Op::Add, &[&pooled, &a]);
    let sum = net.pair(&sum, 3.0);
    net.output(&sum);
    check(
        &net.graph,
        &[2, 4, 5, 6],
        net.unit(3.0),
        &[CONV, MEAN, MOVE, SUM],
    );
}

#[test]
fn functions_of_one_code_are_tables() {
    let mut net = Net::new(false);
    let x = net.input(4.0);
    let mut y = net.conv(&x, 4, 8, 1, 3.0);
    let hard_swish = Op::Activation {
        kind: Activation::HardSwish,
        parameters: [0.0; 2],
    };
    for op in [Op::Tanh, Op::LeakyRelu { alpha: 0.1 }, hard_swish, Op::Relu] {
        y = net.op(op, &[&y]);
        y = net.pair(&y, 2.0);
    }
    net.output(&y);
    check(&net.graph, &[1, 4, 8, 8], net.unit(2.0), &[CONV]);
}

#[test]
fn silu_is_one_table_with_its_sigmoid_quantized_or_not() {
    for quantized in [false, true] {
        let mut net = Net::new(quantized);
        let x = net.input(4.0);
        let y = net.conv(&x, 4, 8, 1, 3.0);
        let mut gate = net.op(Op::Sigmoid, &[&y]);
        if quantized {
            gate = net.pair(&gate, 1.0);
        }
        let y = net.op(Op::Mul, &[&y, &gate]);
        let y = net.pair(&y, 2.0);
        net.output(&y);
        check(&net.graph, &[1, 4, 8, 8], net.unit(2.0), &[CONV]);
    }
}

#[test]
fn joins_resizes_and_pads_are_of_codes() {
    let mut net = Net::new(false);
    let x = net.input(4.0);
    let a = net.conv(&x, 4, 8, 1, 3.0);
    let sizes = net.floats(&[1.0, 1.0, 2.0, 2.0]);
    let resize = Op::Resize(Box::new(Resize {
        interpolation: Interpolation::Nearest(Rounding::Floor),
        coordinates: Coordinates::Asymmetric,
        axes: vec![],
        aspect: Aspect::Stretch,
        antialias: false,
        exclude_outside: false,
        extrapolation: 0.0,
    }));
    let large = net.op(resize, &[&a, "", &sizes]);
    let large = net.pair(&large, 3.0);
    let pads = net.integers(&[0, 0, 4, 0, 0, 0, 3, 8]);
    let mode = PadMode::Constant;
    let padded = net.op(Op::Pad { mode }, &[&a, &pads]);
    let joined = net.op(Op::Concat { axis: 1 }, &[&large, &padded]);
    let joined = net.pair(&joined, 2.5);
    let y = net.conv(&joined, 16, 8, 3, 3.0);
    net.output(&y);
    let kernels = [CONV, MOVE, MOVE, MOVE, TABLE, CONV];
    check(&net.graph, &[2, 4, 7, 8], net.unit(3.0), &kernels);
}

#[test]
fn parts_and_turns_are_of_codes() {
    let mut net = Net::new(true);
    let x = net.input(4.0);
    let a = net.conv(&x, 4, 8, 1, 3.0);
    let split = Op::Split {
        axis: 1,
        num_outputs: Some(2),
    };
    let [left, right] = net.two(split, &[&a]);
    // Turned about: columns backwards, every second row.
    let [starts, ends, axes, steps] =
        [[3, 7], [-9, -9], [3, 2], [-1, -2]].map(|v| net.integers(&v));
    let right = net.op(Op::Slice, &[&right, &starts, &ends, &axes, &steps]);
    let perm = Some(vec![0, 1, 3, 2]);
    let left = net.op(Op::Transpose { perm }, &[&left]);
    let joined = net.op(Op::Concat { axis: 2 }, &[&right, &right]);
    let joined = net.op(Op::Concat { axis: 3 }, &[&joined, &joined]);
    let left = net.op(Op::Concat { axis: 2 }, &[&left, &left]);
    let y = net.op(Op::Concat { axis: 1 }, &[&joined, &left]);
    let deep = Op::DepthToSpace {
        block: 2,
        channel_first: true,
    };
    let wide = net.op(deep, &[&y]);
    let y = net.op(Op::SpaceToDepth { block: 2 }, &[&wide]);
    let y = net.pair(&y, 3.0);
    let y = net.conv(&y, 8, 8, 3, 3.0);
    net.output(&y);
    let mut kernels = vec![CONV];
    kernels.extend([MOVE; 10]);
    kernels.push(CONV);
    check(&net.graph, &[2, 4, 8, 4], net.unit(3.0), &kernels);
}

#[test]
fn pools_and_means_are_sums_of_codes() {
    let mut net = Net::new(false);
    let x = net.input(4.0);
    let a = net.conv(&x, 4, 8, 1, 3.0);
    let pool = Op::AveragePool {
        window: Window::new(&[3, 3]).stride(&[2, 2]).pad(&[1, 1, 1, 1]),
        count_include_pad: false,
    };
    let pooled = net.op(pool, &[&a]);
    let pooled = net.pair(&pooled, 2.0);
    let axes = net.integers(&[-1, -2]);
    let reduce = Op::Reduce {
        kind: Reduction::Mean,
        keep_dims: false,
        noop_with_empty_axes: false,
    };
    let mean = net.op(reduce, &[&pooled, &axes]);
    let mean = net.pair(&mean, 1.0);
    net.output(&mean);
    check(
        &net.graph,
        &[2, 4, 9, 7],
        net.unit(1.0),
        &[CONV, "average_codes", MEAN],
    );
}

#[test]
fn quantizers_before_layers_only_reach_the_layers_before_joins() {
    // SparseML and PyTorch quantize what a layer reads, not what it gives.
    let mut net = Net::new(false);
    let x = net.input(4.0);
    let a = net.bare_conv(&x, 4, 8, 3);
    let a = net.op(Op::Relu, &[&a]);
    let b = net.bare_conv(&x, 4, 8, 1);
    let joined = net.op(Op::Concat { axis: 1 }, &[&a, &b]);
    let pool = Op::MaxPool {
        window: Window::new(&[2, 2]).stride(&[2, 2]),
        column_major: false,
    };
    let pooled = net.op(pool, &[&joined]);
    let pooled = net.pair(&pooled, 3.0);
    let y = net.conv(&pooled, 16, 8, 1, 3.0);
    net.output(&y);
    check(
        &net.graph,
        &[1, 4, 8, 8],
        net.unit(3.0),
        &[CONV, CONV, MOVE, "max_pool", CONV],
    );
}

#[test]
fn attention_multiplies_codes() {
    let mut net = Net::new(false);
    let x = net.input(2.0);
    // [n, s, 12] to heads of 4.
    let heads = net.integers(&[0, 0, 3, 4]);
    let shape = Op::Reshape { allow_zero: false };
    let x = net.op(shape, &[&x, &heads]);
    let turn = |perm: [usize; 4]| Op::Transpose {
        perm: Some(perm.to_vec()),
    };
    let queries = net.op(turn([0, 2, 1, 3]), &[&x]);
    let keys = net.op(turn([0, 2, 3, 1]), &[&x]);
    let scores = net.op(Op::MatMul, &[&queries, &keys]);
    let scores = net.pair(&scores, 4.0);
    let weights = net.op(Op::Sigmoid, &[&scores]);
    let weights = net.pair(&weights, 1.0);
    let values = net.op(turn([0, 2, 1, 3]), &[&x]);
    let mixed = net.op(Op::MatMul, &[&weights, &values]);
    let mixed = net.pair(&mixed, 8.0);
    net.output(&mixed);
    let kernels = [MOVE, MOVE, MOVE, CONV, TABLE, CONV];
    check(&net.graph, &[2, 9, 12], net.unit(8.0), &kernels);
}

#[test]
fn steps_of_reals_take_sums_factors_and_quantizers_along() {
    for signed in [false, true] {
        let mut net = Net::new(signed);
        let x = net.input(2.0);
        let turned = net.op(
            Op::Transpose {
                perm: Some(vec![0, 2, 1]),
            },
            &[&x],
        );
        let scores = net.op(Op::MatMul, &[&x, &turned]);
        let four = net.constant(Tensor::scalar_f32(4.0));
        let scores = net.op(Op::Div, &[&scores, &four]);
        let softmax = Op::Softmax {
            axis: -1,
            flattened: false,
        };
        let weights = net.op(softmax, &[&scores]);
        let weights = net.pair(&weights, 1.0);
        let mixed = net.op(Op::MatMul, &[&weights, &x]);
        let sum = net.op(Op::Add, &[&mixed, &x]);
        let ones = net.floats(&[1.5; 12]);
        let bias = net.floats(&[0.25; 12]);
        let normalized = Op::LayerNormalization {
            axis: -1,
            epsilon: 1e-5,
        };
        let normalized = net.op(normalized, &[&sum, &ones, &bias]);
        let normalized = net.pair(&normalized, 4.0);
        net.output(&normalized);
        let dims = [2, 9, 12];
        let x = Tensor::f32(&dims, support::noise(dims.iter().product(), 7)).unwrap();
        let meant = secateur_model::eval(&net.graph, &[("input", x.clone())]).unwrap();
        for (isa, threads) in Isa::available().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let options = SessionOptions {
                threads: Some(threads),
                isa: Some(isa),
                calibrate: Some(false),
                ..SessionOptions::default()
            };
            let session = Session::new(&net.graph, &options).unwrap();
            let found = session.run(&[("input", &x)]).unwrap();
            let pairs = meant[0].as_f32().unwrap().iter();
            for (meant, found) in pairs.zip(found[0].as_f32().unwrap()) {
                let apart = (meant - found).abs();
                assert!(apart <= net.unit(4.0) * 1.001, "{isa}: {meant} {found}");
            }
            let bound = session.bind(&[x.shape().clone()]).unwrap();
            let kernels: Vec<&str> = bound
                .plan()
                .steps
                .iter()
                .map(|s| s.choice.kernel.as_str())
                .collect();
            let count = |kernel: &str| kernels.iter().filter(|k| **k == kernel).count();
            assert_eq!(count("quantize"), 1, "{kernels:?}");
            assert_eq!(count("broadcast"), 0, "{kernels:?}");
            assert!(kernels.len() <= 8, "{kernels:?}");
        }
    }
}
