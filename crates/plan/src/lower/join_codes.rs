//! Tensors of codes with one meaning are joined before they are dequantized.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !matches!(node.op, Op::Concat { .. }) {
        return Err(Skip::NotMine);
    }
    let Some(output) = node.output(0) else {
        return Err(Skip::NotMine);
    };
    let mut join = node.clone();
    let mut common = None;
    for input in &mut join.inputs {
        let Some(source) = draft
            .producer(input)
            .filter(|n| matches!(n.op, Op::DequantizeLinear { .. }))
        else {
            return Err(Skip::NotMine);
        };
        let (Some(q), Some(bytes)) = (draft.quantization(source), source.input(0)) else {
            return Skip::because("an input is not quantized per tensor to bytes");
        };
        let &mut (first, _) = common.get_or_insert((q, source));
        if first != q {
            return Skip::because("its inputs are quantized in several ways");
        }
        *input = bytes.into();
    }
    let Some((_, source)) = common else {
        return Err(Skip::NotMine);
    };
    let joined = draft.graph.fresh_name(&format!("{output}.bytes"));
    let mut dequantize = source.clone();
    dequantize.name = draft.graph.fresh_name(&format!("{}.dequantize", node.name));
    dequantize.inputs[0].clone_from(&joined);
    dequantize.outputs = vec![output.into()];
    join.outputs[0] = joined;
    Ok(Edit {
        nodes: vec![join, dequantize],
        ..Edit::default()
    })
}
