//! Of quantizers that do the same to the same value, one is enough.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !matches!(node.op, Op::QuantizeLinear { .. }) {
        return Err(Skip::NotMine);
    }
    let (Some(q), Some(input), Some(output)) =
        (draft.quantization(node), node.input(0), node.output(0))
    else {
        return Err(Skip::NotMine);
    };
    let alike = |other: &&Node| {
        other.name != node.name
            && matches!(other.op, Op::QuantizeLinear { .. })
            && draft.quantization(other) == Some(q)
    };
    let Some(other) = draft.readers(input).into_iter().find(alike) else {
        return Err(Skip::NotMine);
    };
    let Some(kept) = other.output(0).filter(|_| !draft.is_output(output)) else {
        return Skip::because("it gives a graph output");
    };
    Ok(Edit {
        removed: vec![node.name.clone()],
        redirected: vec![(output.into(), kept.into())],
        ..Edit::default()
    })
}
