#![allow(dead_code)] // each test file uses a part
#![allow(clippy::unwrap_used)] // helpers of tests
//! Networks for the tests: pruned, quantized and shared forms of the zoo's.

use secateur_model::{
    Bitmask, Codebook, Constant, Data, Graph, Node, Op, Scale, Support, Tensor, Values, Weight, zoo,
};
use std::collections::BTreeMap;

/// Small inputs for each of the zoo's networks.
pub const NETWORKS: [(&str, [usize; 3]); 6] = [
    ("lenet-300-100", [1, 12, 12]),
    ("lenet-5", [1, 28, 28]),
    ("resnet-20", [3, 10, 10]),
    ("mobilenet-small", [3, 12, 12]),
    ("vgg-small", [3, 8, 8]),
    ("ssd-small", [3, 24, 40]),
];

/// The form of a network's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// f32, every weight kept.
    Dense,
    /// f32, 8 % kept.
    Pruned,
    /// 8 bits per channel, every weight kept.
    Int8,
    /// 8 bits per channel, 8 % kept.
    PrunedInt8,
    /// 15 shared integers, 8 % kept.
    Shared,
}

pub const FORMS: [Form; 5] = [
    Form::Dense,
    Form::Pruned,
    Form::Int8,
    Form::PrunedInt8,
    Form::Shared,
];

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

/// A network of the zoo in a form.
pub fn network(name: &str, input: [usize; 3], form: Form, images: &Tensor) -> Graph {
    formed(zoo::build(name, input, 10, 3).unwrap(), form, images)
}

/// A network with weights of a form; integer forms get their activations
/// quantized after calibration on `images`.
pub fn formed(mut graph: Graph, form: Form, images: &Tensor) -> Graph {
    // Biases and normalization that do something.
    for (index, (name, constant)) in graph.constants.iter_mut().enumerate() {
        let Constant::Weight(weight) = constant else {
            continue;
        };
        if weight.shape().rank() == 1 {
            let centre = if name.ends_with("scale") || name.ends_with("variance") {
                1.0
            } else {
                0.0
            };
            let values = noise(weight.shape().elements(), index as u64 + 1)
                .iter()
                .map(|v| centre + 0.2 * v)
                .collect();
            *weight = Weight::dense(weight.shape().clone(), values).unwrap();
        }
    }
    if matches!(form, Form::Int8 | Form::PrunedInt8 | Form::Shared) {
        graph = fold_norms(&graph);
    }
    if form != Form::Dense {
        for (_, constant) in &mut graph.constants {
            if let Constant::Weight(weight) = constant
                && weight.shape().rank() > 1
            {
                *weight = shrink(weight, form);
            }
        }
    }
    if matches!(form, Form::Int8 | Form::PrunedInt8 | Form::Shared) {
        quantize_activations(&mut graph, images);
    }
    graph
}

/// Normalization folded, as a quantizer needs it.
fn fold_norms(graph: &Graph) -> Graph {
    let (mut draft, _) = secateur_plan::lower::lower(graph).unwrap();
    // Lowering fused the activations too; a Relu goes back behind each layer.
    for (name, fused) in &std::mem::take(&mut draft.fused) {
        if fused.clamp == secateur_plan::draft::Clamp::NONE {
            continue;
        }
        let at = draft
            .graph
            .nodes
            .iter()
            .position(|n| n.name == *name)
            .unwrap();
        let output = draft.graph.nodes[at].outputs[0].clone();
        let before = format!("{output}.before");
        draft.graph.nodes[at].outputs[0].clone_from(&before);
        let relu = Node::new(
            format!("{name}.relu_again"),
            Op::Relu,
            &[&before],
            &[&output],
        );
        draft.graph.nodes.insert(at + 1, relu);
    }
    draft.graph
}

fn shrink(weight: &Weight, form: Form) -> Weight {
    let dense = weight.to_f32();
    let (rows, columns) = weight.matrix();
    let support = match form {
        Form::Dense | Form::Int8 => Support::All,
        Form::Pruned | Form::PrunedInt8 | Form::Shared => {
            let chance = noise(dense.len(), dense.len() as u64);
            Support::Unstructured(Bitmask::from_fn(dense.len(), |i| chance[i] > 0.84))
        }
    };
    let kept: Vec<(usize, f32)> = (0..dense.len())
        .filter(|&i| support.mask().is_none_or(|m| m.get(i)))
        .map(|i| (i, dense[i]))
        .collect();
    let values = match form {
        Form::Dense | Form::Pruned => Values::F32(kept.iter().map(|(_, v)| *v).collect()),
        Form::Int8 | Form::PrunedInt8 => {
            let scales: Vec<f32> = (0..rows)
                .map(|r| {
                    let row = &dense[r * columns..][..columns];
                    row.iter().fold(1e-6f32, |m, v| m.max(v.abs())) / 127.0
                })
                .collect();
            Values::Int {
                bits: 8,
                codes: kept
                    .iter()
                    .map(|(i, v)| (v / scales[i / columns]).round() as i16)
                    .collect(),
                scale: Scale::PerChannel(scales),
            }
        }
        Form::Shared => {
            let largest = dense.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
            let level = |v: f32| (v / largest * 7.0).round() as i32 + 7;
            Values::Shared {
                codebook: Codebook::Int {
                    codes: (-7..=7).map(|c| (c * 18) as i8).collect(),
                    scale: largest / 126.0,
                },
                codes: kept.iter().map(|(_, v)| level(*v) as u16).collect(),
            }
        }
    };
    Weight::new(weight.shape().clone(), support, values).unwrap()
}

/// QuantizeLinear and DequantizeLinear behind everything that a layer reads,
/// before operators that only move values; u8 with the zero point that the
/// range needs.
fn quantize_activations(graph: &mut Graph, images: &Tensor) {
    let values = values_of(graph, images);
    let producers: BTreeMap<String, usize> = graph
        .producers()
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect();
    let mut names: Vec<String> = Vec::new();
    for node in &graph.nodes {
        if graph.kernel_of(node).is_none() {
            continue;
        }
        let mut value = node.inputs[0].clone();
        while let Some(&index) = producers.get(&value) {
            match graph.nodes[index].op {
                Op::MaxPool { .. } | Op::Flatten { .. } => {
                    value = graph.nodes[index].inputs[0].clone();
                }
                _ => break,
            }
        }
        if !names.contains(&value) {
            names.push(value);
        }
    }
    for name in names {
        let v = values[&name].as_f32().unwrap();
        let lo = v.iter().fold(0.0f32, |m, x| m.min(*x));
        let hi = v.iter().fold(1e-3f32, |m, x| m.max(*x));
        let scale = (hi - lo) / 255.0;
        let zero = Data::U8(vec![(-lo / scale).round() as u8]);
        let zero = Tensor::new(secateur_model::Shape::scalar(), zero).unwrap();
        insert_pair(graph, &name, scale, zero);
    }
    graph.sort().unwrap();
}

pub fn insert_pair(graph: &mut Graph, name: &str, scale: f32, zero: Tensor) {
    let (s, z) = (format!("{name}.s"), format!("{name}.z"));
    let (q, d) = (format!("{name}.q"), format!("{name}.d"));
    for node in &mut graph.nodes {
        for input in node.inputs.iter_mut().filter(|i| *i == name) {
            input.clone_from(&d);
        }
    }
    let scale = Tensor::scalar_f32(scale);
    graph.constants.insert(s.clone(), Constant::Tensor(scale));
    graph.constants.insert(z.clone(), Constant::Tensor(zero));
    let quantize = Op::QuantizeLinear {
        axis: 1,
        block_size: 0,
        to: None,
    };
    let dequantize = Op::DequantizeLinear {
        axis: 1,
        block_size: 0,
    };
    graph
        .nodes
        .push(Node::new(&q, quantize, &[name, &s, &z], &[&q]));
    graph
        .nodes
        .push(Node::new(&d, dequantize, &[&q, &s, &z], &[&d]));
}

/// Every value of a graph, by the model's operators.
pub fn values_of(graph: &Graph, images: &Tensor) -> BTreeMap<String, Tensor> {
    let mut values = BTreeMap::from([("input".to_owned(), images.clone())]);
    for (name, constant) in &graph.constants {
        values.insert(name.clone(), constant.to_tensor());
    }
    for node in &graph.nodes {
        let inputs: Vec<Option<&Tensor>> = node.inputs.iter().map(|i| values.get(i)).collect();
        let results = secateur_model::ops::evaluate(node, &inputs).unwrap();
        for (output, tensor) in node.outputs.iter().zip(results) {
            values.insert(output.clone(), tensor);
        }
    }
    values
}

pub fn images(batch: usize, [c, h, w]: [usize; 3], seed: u64) -> Tensor {
    Tensor::f32(&[batch, c, h, w], noise(batch * c * h * w, seed)).unwrap()
}
