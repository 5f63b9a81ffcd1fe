//! `x · sigmoid(x)` is one Swish, and the same of the hard sigmoid one HardSwish.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Activation, Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    let (Op::Mul, Some(a), Some(b), Some(output)) =
        (&node.op, node.input(0), node.input(1), node.output(0))
    else {
        return Err(Skip::NotMine);
    };
    let found = [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        let gate = draft.producer(gate).filter(|n| n.input(0) == Some(x))?;
        Some((x, gated(gate)?))
    });
    let Some((x, op)) = found else {
        return Err(Skip::NotMine);
    };
    Ok(Edit {
        nodes: vec![Node::new(node.name.clone(), op, &[x], &[output])],
        ..Edit::default()
    })
}

/// What a value is when it is multiplied by this function of it.
fn gated(gate: &Node) -> Option<Op> {
    let (kind, alpha) = match gate.op {
        Op::Sigmoid => (Activation::Swish, 1.0),
        Op::Activation {
            kind: Activation::HardSigmoid,
            parameters: [alpha, beta],
        } if (alpha - 1.0 / 6.0).abs() < 1e-6 && beta == 0.5 => (Activation::HardSwish, 0.0),
        _ => return None,
    };
    Some(Op::Activation {
        kind,
        parameters: [alpha, 0.0],
    })
}
