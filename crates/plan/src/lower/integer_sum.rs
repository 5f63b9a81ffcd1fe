//! `DQ + DQ → [bounds] → Q` is one sum of codes.

use super::Skip;
use crate::draft::{Arithmetic, Draft, Edit, Fused, OnCodes};
use secateur_model::{Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    let before = draft.fused(node);
    if !matches!(node.op, Op::Add) || before.arithmetic != Arithmetic::Float {
        return Err(Skip::NotMine);
    }
    let Some(output) = node.output(0) else {
        return Err(Skip::NotMine);
    };
    let mut sum = node.clone();
    let mut quantizations = Vec::with_capacity(2);
    for input in &mut sum.inputs {
        let Some(source) = draft
            .producer(input)
            .filter(|n| matches!(n.op, Op::DequantizeLinear { .. }))
        else {
            return Skip::because("an addend is not quantized");
        };
        let (Some(q), Some(bytes)) = (draft.quantization(source), source.input(0)) else {
            return Skip::because("an addend is not quantized per tensor to bytes");
        };
        quantizations.push(q);
        *input = bytes.into();
    }
    let quantizer = draft
        .only_reader(output)
        .filter(|n| matches!(n.op, Op::QuantizeLinear { .. }));
    let Some((quantizer, y)) = quantizer.and_then(|n| Some((n, draft.quantization(n)?))) else {
        return Skip::because("its sum is not quantized per tensor to bytes, or read elsewhere");
    };
    let [a, b] = quantizations[..] else {
        return Err(Skip::NotMine);
    };
    if !(a.scale / y.scale).is_finite() || !(b.scale / y.scale).is_finite() {
        return Skip::because("its scales give a factor that is not finite");
    }
    sum.outputs[0].clone_from(&quantizer.outputs[0]);
    let fused = Fused {
        clamp: before.clamp,
        arithmetic: Arithmetic::Codes(OnCodes::Sum { a, b, y }),
    };
    Ok(Edit {
        removed: vec![quantizer.name.clone()],
        fused: vec![(sum.name.clone(), fused)],
        nodes: vec![sum],
        ..Edit::default()
    })
}
