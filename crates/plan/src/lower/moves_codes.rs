//! Operators that may as well be applied to codes: they give some of the
//! values they are given, by place or order alone.

use secateur_model::ops::Interpolation;
use secateur_model::{Node, Op, PadMode};

/// Whether a node gives values of its first input alone; all of its outputs do.
pub fn moves_codes(node: &Node) -> bool {
    if node.moves_values() {
        return true;
    }
    match &node.op {
        Op::DepthToSpace { .. }
        | Op::Expand
        | Op::Gather { .. }
        | Op::Slice
        | Op::SpaceToDepth { .. }
        | Op::Split { .. }
        | Op::Tile => true,
        Op::Pad { mode } => *mode != PadMode::Constant,
        Op::Resize(resize) => matches!(resize.interpolation, Interpolation::Nearest(_)),
        _ => false,
    }
}

/// Whether, beside that, no value is lost: quantizing before it costs no more
/// than behind it.
pub fn keeps_or_repeats(node: &Node) -> bool {
    node.moves_values()
        || matches!(
            node.op,
            Op::DepthToSpace { .. } | Op::SpaceToDepth { .. } | Op::Resize(_)
        ) && moves_codes(node)
}
