//! `op(max pool(x)) = max pool(op(x))` where `op` turns no channel around: the layer before the
//! pool then takes a normalization or bounds in, which cost nothing there.

use super::{Skip, clamp_of};
use crate::draft::{Draft, Edit};
use secateur_model::{Node, Op, Values};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    let norm = matches!(node.op, Op::BatchNormalization { .. });
    if !norm && clamp_of(draft, node)?.is_none() {
        return Err(Skip::NotMine);
    }
    let (Some(pooled), Some(output)) = (node.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    let pool = draft.producer(pooled);
    let is_pool = |n: &&Node| matches!(n.op, Op::MaxPool { .. }) && n.moves_values();
    let Some(pool) = pool.filter(is_pool) else {
        return Err(Skip::NotMine);
    };
    let Some(source) = pool.input(0) else {
        return Err(Skip::NotMine);
    };
    if draft.only_reader(pooled).is_none() || draft.only_reader(source).is_none() {
        return Skip::because("the pool, or what it pools, is read elsewhere too");
    }
    let before = draft.producer(source);
    let takes_it = before.is_some_and(|before| match &before.op {
        Op::Conv { .. } if norm => is_real(draft, before),
        Op::Conv { .. } => true,
        Op::BatchNormalization { .. } => !norm,
        _ => false,
    });
    if !takes_it {
        return Skip::because("no layer before the pool would take it in");
    }
    if norm && node.outputs.iter().skip(1).any(|o| !o.is_empty()) {
        return Skip::because("it is in training mode");
    }
    if norm && !keeps_order(draft, node) {
        return Skip::because("it turns a channel around: its smallest value becomes its largest");
    }
    let mut lifted = node.clone();
    lifted.inputs[0] = source.into();
    lifted.outputs[0] = draft.graph.fresh_name(&format!("{source}.lifted"));
    let mut pool = pool.clone();
    pool.inputs[0].clone_from(&lifted.outputs[0]);
    pool.outputs[0] = output.into();
    Ok(Edit {
        nodes: vec![lifted, pool],
        ..Edit::default()
    })
}

fn is_real(draft: &Draft, layer: &Node) -> bool {
    let weight = draft.graph.kernel_of(layer);
    weight.is_some_and(|(_, weight)| matches!(weight.values(), Values::F32(_)))
}

/// Whether no factor of a normalization is negative.
fn keeps_order(draft: &Draft, norm: &Node) -> bool {
    let gamma = draft.constant(norm, 1);
    let gamma = gamma.as_ref().and_then(|gamma| gamma.as_f32().ok());
    gamma.is_some_and(|gamma| gamma.iter().all(|&g| g >= 0.0))
}
