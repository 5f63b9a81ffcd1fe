//! Quantized forms of other tools, as small networks: their layers are integer
//! layers, and what they give is what the file says, within one unit.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "support/quantized.rs"]
mod quantized;
mod support;

use quantized::{Net, dequantize};
use secateur_engine::{Session, SessionOptions};
use secateur_kernels::Isa;
use secateur_model::{DType, Data, Graph, Op, Shape, Tensor, Window};
use secateur_plan::Action;

/// Runs a network; every multiplying layer must be one of so many integer
/// layers, and no step may be left to the reference.
fn check(graph: &Graph, dims: &[usize], unit: f32, layers: usize) {
    let len = dims.iter().product();
    let x = Tensor::f32(dims, support::noise(len, 7)).unwrap();
    let meant = secateur_model::eval(graph, &[("input", x.clone())]).unwrap();
    for reference in [true, false] {
        for isa in Isa::available() {
            let options = SessionOptions {
                threads: Some(1),
                isa: Some(isa),
                reference,
                ..SessionOptions::default()
            };
            let session = Session::new(graph, &options).unwrap();
            let found = session.run(&[("input", &x)]).unwrap();
            let meant = meant[0].as_f32().unwrap();
            for (meant, found) in meant.iter().zip(found[0].as_f32().unwrap()) {
                assert!((meant - found).abs() <= unit * 1.001, "{meant} {found}");
            }
            let bound = session.bind(&[x.shape().clone()]).unwrap();
            let steps = &bound.plan().steps;
            let multiplies = |s: &&secateur_plan::Step| s.macs > 0;
            let integer = steps
                .iter()
                .filter(multiplies)
                .filter(|s| s.choice.kernel.starts_with("u8i8i32"));
            let notes = session.planner().notes();
            assert_eq!(integer.count(), layers, "{notes:#?}");
            assert_eq!(steps.iter().filter(multiplies).count(), layers);
            let left = |s: &&secateur_plan::Step| matches!(s.action, Action::Reference(_));
            assert_eq!(steps.iter().find(left).map(|s| &s.name), None);
        }
    }
}

fn byte(net: &mut Net, value: u8) -> String {
    net.constant(Tensor::new(Shape::scalar(), Data::U8(vec![value])).unwrap())
}

#[test]
fn signed_activations_with_a_bias_of_32_bits() {
    // ONNX Runtime's S8S8: scales per channel, the bias dequantized from i32.
    let mut net = Net::new(true);
    let x = net.input(4.0);
    let [_, scales, weight] = net.weight(&[8, 4, 3, 3]);
    let bias = net.constant(Tensor::i32(&[8], (0..8).map(|i| i * 300 - 900).collect()).unwrap());
    let step = net.constant(Tensor::scalar_f32(4.0 / 128.0));
    let scale = net.op(Op::Mul, &[&scales, &step]);
    let bias = net.op(dequantize(0), &[&bias, &scale]);
    let window = Window::new(&[3, 3]).pad(&[1; 4]);
    let y = net.op(Op::Conv { window, groups: 1 }, &[&x, &weight, &bias]);
    let y = net.op(Op::Relu, &[&y]);
    let y = net.pair(&y, 4.0);
    let y = net.conv(&y, 8, 8, 1, 4.0);
    net.output(&y);
    check(&net.graph, &[2, 4, 6, 5], net.unit(4.0), 2);
}

#[test]
fn identities_stand_between_the_pairs_of_an_export() {
    // PyTorch: Identity nodes, Relu behind the dequantizer of its input.
    let mut net = Net::new(false);
    let x = net.input(4.0);
    let y = net.bare_conv(&x, 4, 8, 3);
    let y = net.op(Op::Identity, &[&y]);
    let y = net.pair(&y, 4.0);
    let y = net.op(Op::Identity, &[&y]);
    let y = net.op(Op::Relu, &[&y]);
    let y = net.pair(&y, 3.0);
    let y = net.conv(&y, 8, 8, 1, 4.0);
    net.output(&y);
    check(&net.graph, &[1, 4, 6, 5], net.unit(4.0), 2);
}

#[test]
fn a_pair_stands_before_a_real_weight() {
    // SparseML and PyTorch before folding: Q → DQ of a weight in f32.
    let mut net = Net::new(false);
    let x = net.input(4.0);
    let weight = support::noise(8 * 4, 3);
    let weight = net.constant(Tensor::f32(&[8, 4, 1, 1], weight).unwrap());
    let scale = net.constant(Tensor::scalar_f32(1.0 / 127.0));
    let zero = net.constant(Tensor::i8(&[], vec![0]).unwrap());
    let quantize = Op::QuantizeLinear {
        axis: 0,
        block_size: 0,
        to: None,
    };
    let codes = net.op(quantize, &[&weight, &scale, &zero]);
    let weight = net.op(dequantize(0), &[&codes, &scale, &zero]);
    let window = Window::new(&[1, 1]);
    let y = net.op(Op::Conv { window, groups: 1 }, &[&x, &weight]);
    let y = net.pair(&y, 4.0);
    net.output(&y);
    check(&net.graph, &[1, 4, 6, 5], net.unit(4.0), 1);
}

#[test]
fn integer_products_with_constant_factors() {
    // SparseML, converted: ConvInteger → Cast → Mul → Add, MatMulInteger alike.
    let mut net = Net::new(false);
    let [scale, _] = net.scale(4.0);
    let zero = byte(&mut net, 120);
    let quantize = Op::QuantizeLinear {
        axis: 1,
        block_size: 0,
        to: None,
    };
    let codes = net.op(quantize.clone(), &["input", &scale, &zero]);
    let [weight, _, unread] = net.weight(&[8, 4, 3, 3]);
    net.graph.nodes.retain(|n| n.name != unread);
    let window = Window::new(&[3, 3]).pad(&[1; 4]);
    let sums = net.op(
        Op::ConvInteger { window, groups: 1 },
        &[&codes, &weight, &zero],
    );
    let sums = net.op(Op::Cast { to: DType::F32 }, &[&sums]);
    let factors: Vec<f32> = (0..8).map(|i| 1e-4 + i as f32 * 1e-5).collect();
    let factors = net.constant(Tensor::f32(&[1, 8, 1, 1], factors).unwrap());
    let y = net.op(Op::Mul, &[&sums, &factors]);
    let bias = support::noise(8, 9);
    let bias = net.constant(Tensor::f32(&[1, 8, 1, 1], bias).unwrap());
    let y = net.op(Op::Add, &[&y, &bias]);
    let y = net.op(Op::Relu, &[&y]);
    let mean = net.op(Op::GlobalAveragePool, &[&y]);
    let rows = net.op(Op::Flatten { axis: 1 }, &[&mean]);
    let codes = net.op(quantize, &[&rows, &scale, &zero]);
    let weight: Vec<u8> = (0..8 * 6).map(|i| (i * 37 % 250) as u8 + 1).collect();
    let weight = Tensor::new(Shape::new(&[8, 6]).unwrap(), Data::U8(weight)).unwrap();
    let (weight, middle) = (net.constant(weight), byte(&mut net, 128));
    let sums = net.op(Op::MatMulInteger, &[&codes, &weight, &zero, &middle]);
    let sums = net.op(Op::Cast { to: DType::F32 }, &[&sums]);
    let factor = net.constant(Tensor::scalar_f32(1e-3));
    let y = net.op(Op::Mul, &[&factor, &sums]);
    let bias = net.floats(&support::noise(6, 11));
    let y = net.op(Op::Add, &[&bias, &y]);
    let y = net.pair(&y, 2.0);
    net.output(&y);
    // One unit, and one of the layer before times a weight.
    let unit = net.unit(2.0) + 127.0 * 1e-3;
    check(&net.graph, &[2, 4, 6, 5], unit, 2);
}

#[test]
fn a_product_takes_the_constant_behind_it_as_its_bias() {
    let mut net = Net::new(false);
    let x = net.input(4.0);
    let [codes, ..] = net.weight(&[8, 6]);
    let scale = net.floats(&[0.01, 0.02, 0.03, 0.01, 0.02, 0.03]);
    let zeros = net.constant(Tensor::i8(&[6], vec![0; 6]).unwrap());
    let weight = net.op(dequantize(1), &[&codes, &scale, &zeros]);
    let y = net.op(Op::MatMul, &[&x, &weight]);
    let bias = net.floats(&support::noise(6, 11));
    let y = net.op(Op::Add, &[&y, &bias]);
    let y = net.op(Op::Relu, &[&y]);
    let y = net.pair(&y, 4.0);
    net.output(&y);
    check(&net.graph, &[2, 3, 8], net.unit(4.0), 1);
}
