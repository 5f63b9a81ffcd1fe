//! `quantize(dequantize(q)) = q` under the same parameters: the quotient of
//! the product is within half a step of the code.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !matches!(node.op, Op::QuantizeLinear { .. }) {
        return Err(Skip::NotMine);
    }
    let Some(source) = node
        .input(0)
        .and_then(|i| draft.producer(i))
        .filter(|n| matches!(n.op, Op::DequantizeLinear { .. }))
    else {
        return Err(Skip::NotMine);
    };
    let (here, there) = (draft.quantization(node), draft.quantization(source));
    if here.is_none() || here != there {
        return Skip::because("it quantizes otherwise than its input was quantized");
    }
    let (Some(bytes), Some(output)) = (source.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    if draft.is_output(output) {
        return Skip::because("it gives a graph output");
    }
    Ok(Edit {
        removed: vec![node.name.clone()],
        redirected: vec![(output.into(), bytes.into())],
        ..Edit::default()
    })
}
