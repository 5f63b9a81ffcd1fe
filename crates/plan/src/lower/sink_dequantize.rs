//! `op(dequantize(q)) = dequantize(op(q))` for operators that only move values
//! or take the largest: dequantization is monotone. Pads and joins have
//! conditions of their own.

use super::moves_codes::moves_codes;
use super::{Skip, join_codes, sink_through_pad};
use crate::draft::{Draft, Edit};
use secateur_model::{Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    match node.op {
        Op::Concat { .. } => return join_codes::apply(draft, node),
        Op::Pad { .. } if !moves_codes(node) => return sink_through_pad::apply(draft, node),
        _ if !moves_codes(node) => return Err(Skip::NotMine),
        _ => {}
    }
    let Some(source) = node.input(0).and_then(|i| draft.producer(i)) else {
        return Err(Skip::NotMine);
    };
    if !matches!(source.op, Op::DequantizeLinear { .. }) {
        return Err(Skip::NotMine);
    }
    if draft.quantization(source).is_none() {
        return Skip::because("its input is not quantized per tensor to bytes");
    }
    let Some(bytes) = source.input(0) else {
        return Skip::because("it has no input");
    };
    let mut mover = node.clone();
    mover.inputs[0] = bytes.into();
    let mut nodes = Vec::with_capacity(1 + node.outputs.len());
    for (index, output) in node.outputs.iter().enumerate() {
        if output.is_empty() {
            continue;
        }
        let moved = draft.graph.fresh_name(&format!("{output}.bytes"));
        let mut dequantize = source.clone();
        let stem = match index {
            0 => format!("{}.dequantize", node.name),
            _ => format!("{}.dequantize_{index}", node.name),
        };
        dequantize.name = draft.graph.fresh_name(&stem);
        dequantize.inputs[0].clone_from(&moved);
        dequantize.outputs = vec![output.clone()];
        mover.outputs[index] = moved;
        nodes.push(dequantize);
    }
    nodes.push(mover);
    Ok(Edit {
        nodes,
        ..Edit::default()
    })
}
