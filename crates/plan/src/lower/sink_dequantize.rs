//! `op(dequantize(q)) = dequantize(op(q))` for operators that only move values
//! or take the largest: dequantization is monotone.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !node.moves_values() {
        return Err(Skip::NotMine);
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
    let (Some(bytes), Some(output)) = (source.input(0), node.output(0)) else {
        return Skip::because("it has no output");
    };
    let moved_bytes = draft.graph.fresh_name(&format!("{output}.bytes"));
    let mut mover = node.clone();
    mover.inputs[0] = bytes.into();
    mover.outputs[0].clone_from(&moved_bytes);
    let mut dequantize = source.clone();
    dequantize.name = draft.graph.fresh_name(&format!("{}.dequantize", node.name));
    dequantize.inputs[0] = moved_bytes;
    dequantize.outputs = vec![output.into()];
    Ok(Edit {
        nodes: vec![mover, dequantize],
        ..Edit::default()
    })
}
