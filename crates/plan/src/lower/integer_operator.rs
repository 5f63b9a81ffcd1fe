//! `QLinearConv` and `QLinearMatMul` are integer layers under one name.
//!
//! Spelt as `DQ → layer → Q`, in a graph of their own, they go through the
//! rules for that form, and the integer layer that comes out takes their
//! place. Where none does they stay: in f32 they would round otherwise.

use super::{Skip, integer_layer, integer_weight};
use crate::draft::{Draft, Edit};
use crate::layer::Linear;
use secateur_model::{Constant, DType, Data, Graph, Node, Op, Tensor, ValueInfo};

const WEIGHT: &str = "weight";
const LAYER: &str = "layer";

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    let mut own = spelt_out(draft, node)?;
    if let Some(bias) = bias(&own, draft, node)? {
        let name = own.graph.fresh_name("bias");
        let layer = own.graph.nodes.iter_mut().find(|n| n.name == LAYER);
        layer.into_iter().for_each(|l| l.inputs.push(name.clone()));
        own.graph.constants.insert(name, Constant::Tensor(bias));
    }
    lower(&mut own, LAYER, integer_layer::apply)?;

    let layer = own.graph.nodes.iter().find(|n| n.name == LAYER);
    let mut layer = layer.cloned().ok_or(Skip::NotMine)?;
    let fused = own.fused(&layer);
    let mut edit = Edit::default();
    for input in layer.inputs.iter_mut().skip(1) {
        if let Some(constant) = own.graph.constants.shift_remove(input.as_str()) {
            *input = draft.graph.fresh_name(&format!("{}.{input}", node.name));
            edit.constants.push((input.clone(), constant));
        }
    }
    layer.name.clone_from(&node.name);
    edit.nodes.push(layer);
    edit.fused.push((node.name.clone(), fused));
    Ok(edit)
}

/// The operator in a graph of its own, without its bias, and with its weight
/// as one of integers.
fn spelt_out(draft: &Draft, node: &Node) -> Result<Draft, Skip> {
    // And the axis of the weight along which its outputs lie.
    let (op, along) = match &node.op {
        Op::QLinearConv { window, groups } => {
            let window = window.clone();
            let groups = *groups;
            (Op::Conv { window, groups }, 0)
        }
        Op::QLinearMatMul => (Op::MatMul, 1),
        _ => return Err(Skip::NotMine),
    };
    let operand = |index: usize| node.input(index).unwrap_or_default();
    let value = |name: &str, dtype| ValueInfo {
        name: name.to_owned(),
        dtype,
        dims: None,
    };
    let (x, y) = (operand(0), node.output(0).unwrap_or_default());
    let mut own = Draft {
        graph: Graph {
            inputs: vec![value(x, DType::U8)],
            outputs: vec![value(y, DType::U8)],
            ..Graph::default()
        },
        ..Draft::default()
    };
    for index in 1..8 {
        let Some(constant) = draft.graph.constants.get(operand(index)) else {
            return Skip::because(format!("its input {index} is not constant"));
        };
        let name = operand(index).to_owned();
        own.graph.constants.insert(name, constant.clone());
    }
    let names = ["input", "weight", "sum"].map(|stem| draft.graph.fresh_name(stem));
    let [float_x, float_w, float_y] = names.each_ref().map(String::as_str);
    let dequantize = |axis| Op::DequantizeLinear {
        axis,
        block_size: 0,
    };
    let quantize = Op::QuantizeLinear {
        axis: 1,
        block_size: 0,
        to: None,
    };
    own.graph.nodes = vec![
        Node::new(
            "dequantize",
            dequantize(1),
            &[x, operand(1), operand(2)],
            &[float_x],
        ),
        Node::new(
            WEIGHT,
            dequantize(along),
            &[operand(3), operand(4), operand(5)],
            &[float_w],
        ),
        Node::new(LAYER, op, &[float_x, float_w], &[float_y]),
        Node::new(
            "quantize",
            quantize,
            &[float_y, operand(6), operand(7)],
            &[y],
        ),
    ];
    lower(&mut own, WEIGHT, integer_weight::apply)?;
    Ok(own)
}

/// Applies a rule to one node.
fn lower(
    draft: &mut Draft,
    name: &str,
    rule: fn(&Draft, &Node) -> Result<Edit, Skip>,
) -> Result<(), Skip> {
    let node = draft.graph.nodes.iter().find(|n| n.name == name);
    let edit = rule(draft, node.ok_or(Skip::NotMine)?)?;
    draft.apply(edit);
    Ok(())
}

/// The bias as the f32 that the integer layer rounds to the same integers.
fn bias(own: &Draft, draft: &Draft, node: &Node) -> Result<Option<Tensor>, Skip> {
    if node.input(8).is_none() {
        return Ok(None);
    }
    let constant = draft.constant(node, 8);
    let Some(Data::I32(codes)) = constant.as_ref().map(Tensor::data) else {
        return Skip::because("its bias is not constant");
    };
    let layer = own.graph.nodes.iter().find(|n| n.name == LAYER);
    let linear = Linear::of(own, layer.ok_or(Skip::NotMine)?).map_err(Skip::Because)?;
    let (Some(scales), Some(x)) = (&linear.integer, draft.scalar(node, 1)) else {
        return Skip::because("its scales are not one for the input and one an output channel");
    };
    let mut bias = Vec::with_capacity(codes.len());
    for (&code, w) in codes.iter().zip(scales) {
        let scale = x * w;
        let value = code as f32 * scale;
        if (value / scale).round_ties_even() as i64 != i64::from(code) {
            return Skip::because(format!("no f32 stands for its bias of {code}"));
        }
        bias.push(value);
    }
    Tensor::f32(&[bias.len()], bias)
        .map(Some)
        .map_err(|e| Skip::Because(e.to_string()))
}
