//! Identity, and Dropout outside training, compute nothing.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Node, Op};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    match node.op {
        Op::Identity => draft.bypass(node),
        Op::Dropout => {
            let mask_read = node
                .output(1)
                .is_some_and(|m| draft.is_output(m) || !draft.readers(m).is_empty());
            let training = match node.input(2) {
                None => false,
                Some(_) => draft.constant(node, 2).is_none_or(
                    |t| !matches!(t.data(), secateur_model::Data::Bool(v) if v.iter().all(|b| !b)),
                ),
            };
            if mask_read || training {
                return Skip::because("its mask is read, or it may be in training mode");
            }
            draft.bypass(node)
        }
        _ => Err(Skip::NotMine),
    }
}
