//! `[Q →] DQ → layer with integer weight → [bounds] → [Q]` is one integer layer;
//! of a MatMul, the constant that is added to it is its bias.

use super::Skip;
use crate::draft::{Arithmetic, Clamp, Draft, Edit, Fused};
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
    let mut clamp = before.clamp;
    let mut linear = linear;
    if let Some(sum) = sum_with_bias(draft, node, &linear, before.clamp) {
        layer.inputs.push(sum.bias.into());
        linear.bias = Some(sum.values);
        layer.outputs[0] = sum.output.into();
        clamp = sum.clamp;
        edit.removed.push(sum.node.into());
    }
    let output = layer.output(0).unwrap_or(output).to_owned();
    let quantizer = draft
        .only_reader(&output)
        .filter(|n| matches!(n.op, Op::QuantizeLinear { .. }));
    let y = quantizer.and_then(|q| draft.quantization(q));
    if let (Some(quantizer), Some(_)) = (quantizer, y) {
        layer.outputs[0] = quantizer.outputs[0].clone();
        edit.removed.push(quantizer.name.clone());
    }
    Integers::derive(&linear, x, y, clamp).map_err(Skip::Because)?;
    let fused = Fused {
        clamp,
        arithmetic: Arithmetic::Integer { x, y },
    };
    edit.fused.push((layer.name.clone(), fused));
    edit.nodes.push(layer);
    Ok(edit)
}

/// An Add behind a MatMul, which has no bias of its own.
struct Sum<'d> {
    node: &'d str,
    bias: &'d str,
    output: &'d str,
    values: Vec<f32>,
    clamp: Clamp,
}

/// The constant vector that is all that reads a MatMul's output and adds to it.
fn sum_with_bias<'d>(
    draft: &'d Draft,
    node: &'d Node,
    linear: &Linear<'_>,
    bounds: Clamp,
) -> Option<Sum<'d>> {
    if !matches!(node.op, Op::MatMul) || node.inputs.len() != 2 || bounds != Clamp::NONE {
        return None;
    }
    let product = node.output(0)?;
    let add = draft.only_reader(product)?;
    let fused = draft.fused(add);
    if !matches!(add.op, Op::Add) || fused.arithmetic != Arithmetic::Float {
        return None;
    }
    let other = usize::from(add.input(0) == Some(product));
    let bias = draft.constant(add, other)?;
    if bias.shape().dims() != [linear.outputs()] {
        return None;
    }
    Some(Sum {
        node: &add.name,
        bias: add.input(other)?,
        output: add.output(0)?,
        values: bias.as_f32().ok()?.to_vec(),
        clamp: fused.clamp,
    })
}
