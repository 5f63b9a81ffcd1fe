//! `DQ · DQ → [Q]` of two tensors that are both only known when they are
//! multiplied is one product of codes: attention.

use super::Skip;
use crate::draft::{Arithmetic, Draft, Edit, Fused, OnCodes};
use secateur_model::{DType, Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    let before = draft.fused(node);
    if !matches!(node.op, Op::MatMul) || before != Fused::default() {
        return Err(Skip::NotMine);
    }
    let Some(output) = node.output(0) else {
        return Err(Skip::NotMine);
    };
    let mut product = node.clone();
    let mut factors = Vec::with_capacity(2);
    for input in &mut product.inputs {
        if draft.graph.constants.contains_key(input) {
            return Err(Skip::NotMine);
        }
        let Some(source) = draft
            .producer(input)
            .filter(|n| matches!(n.op, Op::DequantizeLinear { .. }))
        else {
            return Skip::because("a factor is not quantized");
        };
        let (Some(q), Some(bytes)) = (draft.quantization(source), source.input(0)) else {
            return Skip::because("a factor is not quantized per tensor to bytes");
        };
        factors.push(q);
        *input = bytes.into();
    }
    let [a, b] = factors[..] else {
        return Err(Skip::NotMine);
    };
    if a.dtype != DType::U8 {
        return Skip::because("its first factor has signed codes");
    }
    let mut edit = Edit::default();
    let quantizer = draft
        .only_reader(output)
        .filter(|n| matches!(n.op, Op::QuantizeLinear { .. }));
    let y = quantizer.and_then(|n| draft.quantization(n));
    if let (Some(quantizer), Some(_)) = (quantizer, y) {
        product.outputs[0].clone_from(&quantizer.outputs[0]);
        edit.removed.push(quantizer.name.clone());
    }
    if !OnCodes::product_factor(a, b, y).is_finite() {
        return Skip::because("its scales give a factor that is not finite");
    }
    let fused = Fused {
        arithmetic: Arithmetic::Codes(OnCodes::Product { a, b, y }),
        ..before
    };
    edit.fused.push((product.name.clone(), fused));
    edit.nodes.push(product);
    Ok(edit)
}
