//! `[Q →] DQ → layer with integer weight → [bounds] → [Q]` is one integer layer.

use super::Skip;
use crate::draft::{Arithmetic, Draft, Edit, Fused};
use crate::integer::Integers;
use crate::layer::Linear;
use secateur_model::{DType, Node, Op};

/// The longest sum that stays below 2³⁰ in magnitude, which leaves as much for
/// the bias.
const MAX_DEPTH: usize = (1 << 30) / (255 * 128);

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !matches!(node.op, Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul) {
        return Err(Skip::NotMine);
    }
    let before = draft.fused(node);
    if before.arithmetic != Arithmetic::Float {
        return Err(Skip::NotMine);
    }
    let linear = Linear::of(draft, node).map_err(Skip::Because)?;
    if linear.depth() > MAX_DEPTH {
        return Skip::because(format!(
            "{} products a sum could overflow 32 bits",
            linear.depth()
        ));
    }
    let source = node.input(0).and_then(|i| draft.producer(i));
    let Some(dequantize) = source.filter(|n| matches!(n.op, Op::DequantizeLinear { .. })) else {
        return Skip::because("its input is not quantized");
    };
    let Some(x) = draft.quantization(dequantize) else {
        return Skip::because("its input is not quantized per tensor to bytes");
    };
    let (Some(bytes), Some(output)) = (dequantize.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };

    if x.dtype != DType::U8 {
        return Skip::because("its input has signed codes");
    }

    let mut layer = node.clone();
    layer.inputs[0] = bytes.into();
    let mut edit = Edit::default();
    let quantizer = draft
        .only_reader(output)
        .filter(|n| matches!(n.op, Op::QuantizeLinear { .. }));
    let y = quantizer.and_then(|q| draft.quantization(q));
    if let (Some(quantizer), Some(_)) = (quantizer, y) {
        layer.outputs[0] = quantizer.outputs[0].clone();
        edit.removed.push(quantizer.name.clone());
    }
    Integers::derive(&linear, x, y, before.clamp).map_err(Skip::Because)?;
    let fused = Fused {
        clamp: before.clamp,
        arithmetic: Arithmetic::Integer { x, y },
    };
    edit.fused.push((layer.name.clone(), fused));
    edit.nodes.push(layer);
    Ok(edit)
}
