//! Relu and Clip become bounds on the output of the layer before them.

use super::Skip;
use crate::draft::{Arithmetic, Clamp, Draft, Edit, Fused};
use secateur_model::{Constant, DType, Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    let Some(clamp) = clamp_of(draft, node)? else {
        return Err(Skip::NotMine);
    };
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    let Some(layer) = draft.producer(input) else {
        return Skip::because("it acts on an input");
    };
    if !takes_clamp(draft, layer) {
        return Skip::because(format!("{} has no kernel with bounds", layer.op.name()));
    }
    if draft.only_reader(input).is_none() {
        return Skip::because("what it bounds is read elsewhere too");
    }
    let mut layer = layer.clone();
    layer.outputs[0] = output.into();
    let before = draft.fused(&layer);
    let fused = Fused {
        clamp: before.clamp.then(clamp),
        arithmetic: Arithmetic::Float,
    };
    Ok(Edit {
        removed: vec![node.name.clone()],
        fused: vec![(layer.name.clone(), fused)],
        nodes: vec![layer],
        ..Edit::default()
    })
}

/// The bounds that a node puts on its input, if that is all it does.
pub fn clamp_of(draft: &Draft, node: &Node) -> Result<Option<Clamp>, Skip> {
    match node.op {
        Op::Relu => Ok(Some(Clamp::RELU)),
        Op::Clip => {
            let bound = |index: usize, open: f32| match node.input(index) {
                None => Some(open),
                Some(_) => draft.scalar(node, index),
            };
            match (bound(1, Clamp::NONE.lo), bound(2, Clamp::NONE.hi)) {
                (Some(lo), Some(hi)) if lo <= hi => Ok(Some(Clamp { lo, hi })),
                _ => Skip::because("its bounds are not constant f32 in order"),
            }
        }
        _ => Ok(None),
    }
}

fn takes_clamp(draft: &Draft, layer: &Node) -> bool {
    let sum = matches!(layer.op, Op::Add) && layer.inputs.iter().all(|i| is_f32(draft, i));
    let spread = matches!(layer.op, Op::ConvTranspose(_)) && is_f32(draft, &layer.inputs[1]);
    sum || spread || crate::layer::Linear::of(draft, layer).is_ok()
}

/// Whether a value is known to be f32, from what computes it.
fn is_f32(draft: &Draft, value: &str) -> bool {
    let mut value = value;
    // Each turn goes back by one node of a graph without cycles.
    for _ in 0..=draft.graph.nodes.len() {
        let declared = draft.graph.inputs.iter().find(|i| i.name == value);
        if let Some(input) = declared {
            return input.dtype == DType::F32;
        }
        match draft.graph.constants.get(value) {
            Some(Constant::Weight(_)) => return true,
            Some(Constant::Tensor(tensor)) => return tensor.dtype() == DType::F32,
            None => {}
        }
        let Some(node) = draft.producer(value) else {
            return false;
        };
        let source = match node.op {
            // Of the type of their weight, scale or first input.
            Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul | Op::DequantizeLinear { .. } => {
                node.input(1)
            }
            Op::Add
            | Op::Relu
            | Op::Clip
            | Op::BatchNormalization { .. }
            | Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::GlobalAveragePool => node.input(0),
            _ => None,
        };
        let Some(source) = source else {
            return false;
        };
        value = source;
    }
    false
}
