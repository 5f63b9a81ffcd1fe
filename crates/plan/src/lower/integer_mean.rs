//! `DQ → mean → [Q]` sums codes: exactly, and without a float for each.

use super::Skip;
use crate::draft::{Arithmetic, Draft, Edit, Fused, OnCodes};
use secateur_model::{Data, Node, Op, Reduction};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    match &node.op {
        Op::GlobalAveragePool => {}
        Op::AveragePool { window, .. } => {
            let plain = window.kernel.len() == 2 && window.dilations.iter().all(|&d| d == 1);
            if !plain {
                return Skip::because(
                    "only pools of images without dilation have kernels on codes",
                );
            }
        }
        Op::Reduce {
            kind: Reduction::Mean,
            ..
        } => {
            if !neighbours(draft, node) {
                return Skip::because("its axes are not constant neighbours");
            }
        }
        _ => return Err(Skip::NotMine),
    }
    let before = draft.fused(node);
    if before != Fused::default() {
        return Err(Skip::NotMine);
    }
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    let Some(source) = draft
        .producer(input)
        .filter(|n| matches!(n.op, Op::DequantizeLinear { .. }))
    else {
        return Skip::because("its input is not quantized");
    };
    let (Some(x), Some(bytes)) = (draft.quantization(source), source.input(0)) else {
        return Skip::because("its input is not quantized per tensor to bytes");
    };
    let mut mean = node.clone();
    mean.inputs[0] = bytes.into();
    let mut edit = Edit::default();
    let quantizer = draft
        .only_reader(output)
        .filter(|n| matches!(n.op, Op::QuantizeLinear { .. }));
    let y = quantizer.and_then(|n| draft.quantization(n));
    if let (Some(quantizer), Some(y)) = (quantizer, y) {
        if !(x.scale / y.scale).is_finite() {
            return Skip::because("its scales give a factor that is not finite");
        }
        mean.outputs[0].clone_from(&quantizer.outputs[0]);
        edit.removed.push(quantizer.name.clone());
    }
    let fused = Fused {
        arithmetic: Arithmetic::Codes(OnCodes::Mean { x, y }),
        ..before
    };
    edit.fused.push((mean.name.clone(), fused));
    edit.nodes.push(mean);
    Ok(edit)
}

/// Whether a reduction is over constant axes that lie side by side.
fn neighbours(draft: &Draft, node: &Node) -> bool {
    let Some(axes) = draft.constant(node, 1) else {
        return false;
    };
    let Data::I64(axes) = axes.data() else {
        return false;
    };
    let mut axes = axes.clone();
    axes.sort_unstable();
    let one_side = axes.iter().all(|&a| a < 0) || axes.iter().all(|&a| a >= 0);
    one_side && !axes.is_empty() && axes.windows(2).all(|pair| pair[1] - pair[0] == 1)
}
