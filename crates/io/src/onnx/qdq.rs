//! Quantized networks in the form that integer runtimes recognise: every layer
//! that computes on codes stands between `DequantizeLinear`s of its input,
//! weight and bias, and so does every operator that only moves codes.
//!
//! What the network computes stays the same: `quantize(dequantize(q)) = q`, and
//! the integer biases are those of the engine,
//! `round_half_even(b / (scale_x · scale_w))`.

use super::names::Names;
use secateur_model::{
    Codebook, Constant, Data, Graph, ModelError, Node, Op, Scale, Shape, Tensor, Values, Weight,
    quant,
};
use std::collections::{HashMap, HashSet};

/// The graph, sorted, with integer weights and biases as int8 and int32
/// tensors behind `DequantizeLinear`, and codes quantized again behind
/// operators that move them; without `integers`, only sorted.
pub(super) fn spell_out(graph: &Graph, integers: bool) -> Result<Graph, ModelError> {
    let mut graph = graph.clone();
    graph.sort()?;
    if !integers {
        return Ok(graph);
    }
    let mut names = Names::of(&graph);
    pair_movers(&mut graph, &mut names);
    let biases = integer_biases(&mut graph, &mut names)?;
    let weights = integer_weights(&mut graph, &mut names)?;
    graph.nodes.splice(0..0, weights.into_iter().chain(biases));
    Ok(graph)
}

/// What stands beside the codes of an activation: names of the scale and of the
/// zero point, one each for the whole tensor, and the scale's value.
#[derive(Debug, Clone)]
struct Quantized {
    scale: f32,
    parameters: [String; 2],
}

/// How a `DequantizeLinear` of an activation was quantized, where that is one
/// constant scale and one constant zero point of bytes.
fn quantized(graph: &Graph, node: &Node) -> Option<Quantized> {
    let Op::DequantizeLinear { block_size: 0, .. } = node.op else {
        return None;
    };
    let (scale, zero_point) = (node.input(1)?, node.input(2)?);
    let tensor = |name| match graph.constants.get(name)? {
        Constant::Tensor(tensor) if tensor.shape().elements() == 1 => Some(tensor),
        _ => None,
    };
    let is_bytes = matches!(tensor(zero_point)?.data(), Data::U8(_) | Data::I8(_));
    let value = *tensor(scale)?.as_f32().ok()?.first()?;
    is_bytes.then(|| Quantized {
        scale: value,
        parameters: [scale.to_owned(), zero_point.to_owned()],
    })
}

/// Puts a pair behind each operator that moves codes on their way to an
/// integer layer.
fn pair_movers(graph: &mut Graph, names: &mut Names) {
    let mut wanted: HashSet<String> = HashSet::new();
    for node in graph.nodes.iter().rev() {
        let layer = output_scales(graph, node).is_some();
        let mover = node.moves_values() && node.output(0).is_some_and(|o| wanted.contains(o));
        if let Some(input) = node.input(0).filter(|_| layer || mover) {
            wanted.insert(input.to_owned());
        }
    }
    let mut known: HashMap<String, Quantized> = HashMap::new();
    let mut renamed: HashMap<String, String> = HashMap::new();
    for mut node in std::mem::take(&mut graph.nodes) {
        for input in &mut node.inputs {
            if let Some(name) = renamed.get(input) {
                input.clone_from(name);
            }
        }
        if let (Some(q), Some(output)) = (quantized(graph, &node), node.output(0)) {
            known.insert(output.to_owned(), q);
        }
        let source = node.input(0).and_then(|input| known.get(input)).cloned();
        let output = node.output(0).filter(|&o| wanted.contains(o));
        let (Some(q), Some(output), true) = (source, output, node.moves_values()) else {
            graph.nodes.push(node);
            continue;
        };
        let bytes = names.fresh(format!("{output}.codes"));
        let values = names.fresh(format!("{output}.dequantized"));
        let [scale, zero_point] = &q.parameters;
        let step = |op, from: &str, to: &str| Node::new(to, op, &[from, scale, zero_point], &[to]);
        let quantize = Op::QuantizeLinear {
            axis: 1,
            block_size: 0,
            to: None,
        };
        let pair = [
            step(quantize, output, &bytes),
            step(dequantize(1), &bytes, &values),
        ];
        renamed.insert(output.to_owned(), values.clone());
        known.insert(values, q.clone());
        graph.nodes.push(node);
        graph.nodes.extend(pair);
    }
}

fn dequantize(axis: i64) -> Op {
    Op::DequantizeLinear {
        axis,
        block_size: 0,
    }
}

/// Gives every integer layer its bias in int32; the nodes that dequantize them.
fn integer_biases(graph: &mut Graph, names: &mut Names) -> Result<Vec<Node>, ModelError> {
    let known: HashMap<&str, f32> = graph
        .nodes
        .iter()
        .filter_map(|n| Some((n.output(0)?, quantized(graph, n)?.scale)))
        .collect();
    let mut biases = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if let (Some(name), Some(&scale_x)) =
            (node.input(2), node.input(0).and_then(|x| known.get(x)))
            && let Some(scales) = output_scales(graph, node)
            && let Some(bias) = bias_of(graph, name, scales.len())
        {
            let scales: Vec<f32> = scales.iter().map(|scale_w| scale_x * scale_w).collect();
            if let Some(codes) = bias_codes(&bias, &scales) {
                biases.push((index, name.to_owned(), codes, scales));
            }
        }
    }
    let mut readers: HashMap<String, usize> = HashMap::new();
    let reads = graph.nodes.iter().flat_map(Node::reads);
    for name in reads.chain(graph.outputs.iter().map(|o| o.name.as_str())) {
        *readers.entry(name.to_owned()).or_default() += 1;
    }
    let mut nodes = Vec::new();
    for (index, name, codes, scales) in biases {
        let shape = [codes.len()];
        let codes = Tensor::i32(&shape, codes)?;
        let scales = Tensor::f32(&shape, scales)?;
        let [codes_name, scale_name] =
            ["int32", "scale"].map(|part| names.fresh(format!("{name}.{part}")));
        // Behind the bias, so that the file's order stays.
        let at = graph.constants.get_index_of(&name).map_or(0, |at| at + 1);
        graph
            .constants
            .shift_insert(at, codes_name.clone(), Constant::Tensor(codes));
        graph
            .constants
            .shift_insert(at + 1, scale_name.clone(), Constant::Tensor(scales));
        // The last reader of the f32 bias takes over its name.
        let left = readers.entry(name.clone()).or_default();
        *left = left.saturating_sub(1);
        let output = match left {
            0 => {
                graph.constants.shift_remove(&name);
                name
            }
            _ => names.fresh(format!("{name}.dequantized")),
        };
        graph.nodes[index].inputs[2].clone_from(&output);
        let inputs = [codes_name.as_str(), &scale_name];
        nodes.push(Node::new(&output, dequantize(0), &inputs, &[&output]));
    }
    Ok(nodes)
}

/// A constant bias, one f32 for each output.
fn bias_of(graph: &Graph, name: &str, outputs: usize) -> Option<Vec<f32>> {
    let bias = graph.constants.get(name)?.to_tensor();
    let values = bias.as_f32().ok()?;
    match bias.shape().dims() {
        [] | [1] | [1, 1] => Some(vec![*values.first()?; outputs]),
        [n] | [1, n] if *n == outputs => Some(values.to_vec()),
        _ => None,
    }
}

fn bias_codes(bias: &[f32], scales: &[f32]) -> Option<Vec<i32>> {
    let codes = bias.iter().zip(scales).map(|(b, s)| {
        let code = (b / s).round_ties_even();
        (code.abs() <= quant::MAX_BIAS).then_some(code as i32)
    });
    codes.collect()
}

/// The weight's scale for each output of a layer that integer kernels compute,
/// once its input is quantized.
fn output_scales(graph: &Graph, node: &Node) -> Option<Vec<f32>> {
    let (_, weight) = graph.kernel_of(node)?;
    let scales = int8_scales(weight)?;
    let dims = weight.shape().dims();
    // Along which axis of the weight its outputs lie.
    let along = match node.op {
        Op::Conv { .. } => 0,
        Op::Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b,
        } => usize::from(!trans_b),
        Op::MatMul => dims.len().checked_sub(1)?,
        _ => return None,
    };
    match scales {
        Scales::One(scale) => Some(vec![scale; *dims.get(along)?]),
        Scales::Along(axis, scales) => (axis == along).then(|| scales.to_vec()),
    }
}

/// Turns integer weights into int8 tensors, zeros in place; the nodes that
/// dequantize them. Weights whose scales are not along a layer's outputs, as
/// where each row of a MatMul's has one, stay f32: runtimes take such scales for
/// those of the outputs.
fn integer_weights(graph: &mut Graph, names: &mut Names) -> Result<Vec<Node>, ModelError> {
    let by_depth =
        |node: &&Node| graph.kernel_of(node).is_some() && output_scales(graph, node).is_none();
    let refused: HashSet<String> = graph
        .nodes
        .iter()
        .filter(by_depth)
        .filter_map(|n| n.input(1).map(str::to_owned))
        .collect();
    let mut nodes = Vec::new();
    let mut constants = Vec::with_capacity(graph.constants.len());
    for (name, constant) in std::mem::take(&mut graph.constants) {
        let weight = match constant {
            Constant::Weight(weight)
                if int8_scales(&weight).is_some() && !refused.contains(&name) =>
            {
                weight
            }
            constant => {
                constants.push((name, constant));
                continue;
            }
        };
        let codes = Tensor::new(weight.shape().clone(), Data::I8(int8_codes(&weight)))?;
        let (shape, scales, axis) = match int8_scales(&weight) {
            Some(Scales::Along(axis, list)) => {
                (Shape::new(&[list.len()])?, list.to_vec(), axis as i64)
            }
            Some(Scales::One(scale)) => (Shape::scalar(), vec![scale], 1),
            None => continue,
        };
        let zeros = Tensor::new(shape.clone(), Data::I8(vec![0; scales.len()]))?;
        let scales = Tensor::new(shape, Data::F32(scales))?;
        let inputs =
            [("int8", codes), ("scale", scales), ("zero_point", zeros)].map(|(part, tensor)| {
                let part = names.fresh(format!("{name}.{part}"));
                constants.push((part.clone(), Constant::Tensor(tensor)));
                part
            });
        nodes.push(Node {
            name: names.fresh(format!("{name}.dequantize")),
            op: dequantize(axis),
            inputs: inputs.to_vec(),
            outputs: vec![name],
        });
    }
    graph.constants = constants.into_iter().collect();
    Ok(nodes)
}

enum Scales<'a> {
    One(f32),
    /// One for each place along an axis.
    Along(usize, &'a [f32]),
}

/// The scales of a weight that int8 holds: at most 8 bits, or an integer
/// codebook, with one scale, or one for each row or column.
fn int8_scales(weight: &Weight) -> Option<Scales<'_>> {
    match weight.values() {
        Values::Int { bits, scale, .. } if *bits <= 8 => match scale {
            Scale::PerTensor(scale) => Some(Scales::One(*scale)),
            Scale::PerChannel(scales) | Scale::PerColumn(scales) if scales.len() == 1 => {
                Some(Scales::One(*scales.first()?))
            }
            Scale::PerChannel(scales) => Some(Scales::Along(0, scales)),
            Scale::PerColumn(scales) if weight.shape().rank() == 2 => {
                Some(Scales::Along(1, scales))
            }
            Scale::PerColumn(_) | Scale::PerGroup { .. } => None,
        },
        Values::Shared {
            codebook: Codebook::Int { scale, .. },
            ..
        } => Some(Scales::One(*scale)),
        _ => None,
    }
}

/// The codes of every position, zeros in place.
fn int8_codes(weight: &Weight) -> Vec<i8> {
    let mut all = vec![0; weight.shape().elements()];
    let mut place = |position: usize, code: i8| {
        if let Some(slot) = all.get_mut(position) {
            *slot = code;
        }
    };
    let positions = weight.positions();
    match weight.values() {
        Values::Int { codes, .. } => positions
            .zip(codes)
            .for_each(|(position, &code)| place(position, code as i8)),
        Values::Shared {
            codebook: Codebook::Int { codes: entries, .. },
            codes,
        } => positions.zip(codes).for_each(|(position, &index)| {
            place(
                position,
                entries.get(usize::from(index)).copied().unwrap_or(0),
            );
        }),
        _ => {}
    }
    all
}
