//! `quantize(op(x)) = op(quantize(x))` for operators that only move values or
//! take the largest: quantization is monotone.

use super::moves_codes::keeps_or_repeats;
use super::{Skip, lift_through_concat};
use crate::draft::{Draft, Edit};
use secateur_model::{Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !matches!(node.op, Op::QuantizeLinear { .. }) {
        return Err(Skip::NotMine);
    }
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    let Some(mover) = draft.producer(input).filter(|n| keeps_or_repeats(n)) else {
        return lift_through_concat::apply(draft, node);
    };
    if draft.only_reader(input).is_none() {
        return Skip::because("what it quantizes is read elsewhere too");
    }
    if draft.quantization(node).is_none() {
        return Skip::because("it does not quantize per tensor to bytes");
    }
    let Some(source) = mover.input(0) else {
        return Err(Skip::NotMine);
    };
    let bytes = draft.graph.fresh_name(&format!("{source}.bytes"));
    let mut quantize = node.clone();
    quantize.inputs[0] = source.into();
    quantize.outputs[0].clone_from(&bytes);
    let mut mover = mover.clone();
    mover.inputs[0] = bytes;
    mover.outputs[0] = output.into();
    Ok(Edit {
        nodes: vec![quantize, mover],
        ..Edit::default()
    })
}
