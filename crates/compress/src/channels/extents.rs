//! Extents that a graph computes with: Shape, and what picks and joins its elements.

use super::trace::{Axis, Edit, Trace};
use secateur_model::{DType, Node, Op};

/// Where one element of a list of integers comes from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// It is the extent of this axis, whatever is cut.
    Extent(Axis),
    /// Anything else.
    Other,
}

/// Follows the elements of what a node computes. Extents that the node takes for
/// anything but a list of extents must not change.
pub(super) fn follow(trace: &mut Trace<'_>, node: &Node) {
    if let Some(origins) = moved(trace, node)
        && let Some(output) = node.output(0)
    {
        trace.origins.insert(output.to_owned(), origins);
        return;
    }
    for (index, name) in node.inputs.iter().enumerate() {
        if target(&node.op) == Some(index) {
            continue;
        }
        for origin in trace.origins.get(name).cloned().unwrap_or_default() {
            if let Origin::Extent(axis) = origin {
                trace.fix(
                    &axis,
                    &format!("`{}` computes with their number", node.name),
                );
            }
        }
    }
}

/// The input of an operator that lists the extents of its output.
fn target(op: &Op) -> Option<usize> {
    match op {
        Op::Reshape { .. } | Op::Expand => Some(1),
        Op::Resize(_) => Some(3),
        _ => None,
    }
}

/// The elements of the output, where the node only picks, joins or renames.
fn moved(trace: &Trace<'_>, node: &Node) -> Option<Vec<Origin>> {
    let of = |input: usize| -> Option<Vec<Origin>> {
        let name = node.input(input)?;
        let known = trace.origins.get(name).cloned();
        known.or_else(|| {
            let shape = trace.shapes.shape(name)?;
            (shape.rank() <= 1 && shape.elements() <= 64)
                .then(|| vec![Origin::Other; shape.elements()])
        })
    };
    let followed = || node.inputs.iter().any(|i| trace.origins.contains_key(i));
    match &node.op {
        Op::Shape { start, end } => {
            let axes = trace.values.get(node.input(0)?)?;
            let rank = axes.len() as i64;
            let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
            let (start, end) = (place(*start), place(end.unwrap_or(rank)));
            let axes = axes.get(start..end.max(start))?;
            Some(axes.iter().cloned().map(Origin::Extent).collect())
        }
        _ if !followed() => None,
        Op::Identity | Op::Unsqueeze | Op::Squeeze => of(0),
        Op::Cast {
            to: DType::I64 | DType::I32,
        } => of(0),
        Op::Gather { axis: 0 } => {
            let (from, at) = (of(0)?, trace.integers(node, 1)?);
            let pick = |&at: &i64| {
                let at = if at < 0 { at + from.len() as i64 } else { at };
                from.get(usize::try_from(at).ok()?).cloned()
            };
            at.iter().map(pick).collect()
        }
        Op::Slice => {
            let (from, count) = (of(0)?, trace.shapes.shape(node.output(0)?)?.elements());
            let starts = trace.integers(node, 1)?;
            let one_by_one = match node.input(4) {
                None => true,
                Some(_) => trace.integers(node, 4)? == [1],
            };
            let [start] = *starts else { return None };
            let length = from.len() as i64;
            let start = (if start < 0 { start + length } else { start }).clamp(0, length) as usize;
            one_by_one.then(|| from.get(start..start + count).map(<[_]>::to_vec))?
        }
        Op::Concat { .. } => {
            let parts: Option<Vec<_>> = (0..node.inputs.len()).map(of).collect();
            Some(parts?.concat())
        }
        _ => None,
    }
}

/// Holds the extents that an input lists against the axes of the output: what a
/// constant names is edited, what is computed must follow by itself.
pub(super) fn meet(
    trace: &mut Trace<'_>,
    index: usize,
    node: &Node,
    input: usize,
    from: &[Axis],
    to: &[Axis],
) {
    let Some(name) = node.input(input) else {
        return;
    };
    let constant = trace.constant(node, input).is_some();
    let values = trace.integers(node, input).map(<[i64]>::to_vec);
    let origins = trace.origins.get(name).cloned();
    let why = format!("the extents that `{}` asks for are computed", node.name);
    for (at, axis) in to.iter().enumerate() {
        let value = values.as_ref().and_then(|v| v.get(at)).copied();
        if let Some(Origin::Extent(counted)) = origins.as_ref().and_then(|o| o.get(at)) {
            if !trace.alike(counted, axis) {
                trace.fix(counted, &why);
                trace.fix(axis, &why);
            }
            continue;
        }
        let follows = match value {
            Some(-1) => true,
            Some(0) => from.get(at).is_some_and(|from| trace.alike(from, axis)),
            Some(_) => constant,
            None => false,
        };
        if !follows {
            trace.fix(axis, &why);
        }
    }
    if constant {
        let axes = to.to_vec();
        trace.edits.push((index, Edit::Target { input, axes }));
    }
}
