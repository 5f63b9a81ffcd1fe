//! Parts are quantized before they are joined: each quantizer then stands next
//! to the layer that gives the part, and bytes are joined.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !matches!(node.op, Op::QuantizeLinear { .. }) {
        return Err(Skip::NotMine);
    }
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    let Some(join) = draft
        .producer(input)
        .filter(|n| matches!(n.op, Op::Concat { .. }))
    else {
        return Err(Skip::NotMine);
    };
    if draft.only_reader(input).is_none() {
        return Skip::because("what it quantizes is read elsewhere too");
    }
    if draft.quantization(node).is_none() {
        return Skip::because("it does not quantize per tensor to bytes");
    }
    let mut join = join.clone();
    let mut nodes = Vec::with_capacity(1 + join.inputs.len());
    for (index, part) in join.inputs.iter_mut().enumerate() {
        let mut quantize = node.clone();
        let bytes = draft.graph.fresh_name(&format!("{output}.part_{index}"));
        quantize.name.clone_from(&bytes);
        quantize.inputs[0] = std::mem::replace(part, bytes.clone());
        quantize.outputs[0] = bytes;
        nodes.push(quantize);
    }
    join.outputs[0] = output.into();
    nodes.push(join);
    Ok(Edit {
        removed: vec![node.name.clone()],
        nodes,
        ..Edit::default()
    })
}
