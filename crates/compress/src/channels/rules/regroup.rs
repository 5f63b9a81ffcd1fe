//! Reshape and its kin: axes are merged and parted, in runs of equal extent.

use super::super::atoms::Atom;
use super::super::extents;
use super::super::trace::{Axis, Fixed, Trace, followed};
use secateur_model::{Node, Op};
use std::sync::Arc;

/// The output's axes. A channel that is merged with axes behind or before it is
/// all the positions it comes to; where an axis is parted, the outer part has the
/// channels: whole runs of them, as heads are.
pub(super) fn apply(trace: &mut Trace<'_>, index: usize, node: &Node) -> Result<Vec<Axis>, Fixed> {
    let from = trace.axes(node, 0)?;
    let shape = node.output(0).and_then(|name| trace.shapes.shape(name));
    let extents = shape
        .map(|s| s.dims().to_vec())
        .ok_or_else(|| Fixed("its output is not read".into()))?;
    if extents.contains(&0) {
        return Fixed::because("it is empty");
    }
    let mut to: Vec<Axis> = extents.iter().map(|&extent| Axis::Plain(extent)).collect();
    let inner: Vec<usize> = (0..from.len())
        .filter(|&at| from[at].extent() > 1)
        .collect();
    let outer: Vec<usize> = (0..to.len()).filter(|&at| extents[at] > 1).collect();
    let (mut i, mut o) = (0, 0);
    while i < inner.len() && o < outer.len() {
        let (mut left, mut right) = (from[inner[i]].extent(), extents[outer[o]]);
        let (first_in, first_out) = (i, o);
        while left != right {
            if left < right {
                i += 1;
                left *= inner.get(i).map_or(0, |&at| from[at].extent());
            } else {
                o += 1;
                right *= outer.get(o).map_or(0, |&at| extents[at]);
            }
            if left == 0 || right == 0 {
                return Fixed::because("its axes do not fit");
            }
        }
        (i, o) = (i + 1, o + 1);
        let run: Vec<Axis> = inner[first_in..i]
            .iter()
            .map(|&at| from[at].clone())
            .collect();
        let parts: Vec<usize> = outer[first_out..o].iter().map(|&at| extents[at]).collect();
        if let Some((at, axis)) = regroup(trace, &run, &parts)? {
            to[outer[first_out + at]] = axis;
        }
    }
    if matches!(node.op, Op::Reshape { .. }) {
        extents::meet(trace, index, node, 1, &from, &to);
    }
    Ok(to)
}

/// Which of the parts that the axes of a run become has channels, and which.
fn regroup(
    trace: &mut Trace<'_>,
    run: &[Axis],
    parts: &[usize],
) -> Result<Option<(usize, Axis)>, Fixed> {
    let merged = match run {
        [axis] => axis.clone(),
        _ => merge(trace, run)?,
    };
    let Axis::Of(atoms) = merged else {
        return Ok(None);
    };
    let Some((_, rest)) = parts.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Ok(Some((0, Axis::Of(atoms))));
    };
    let size: usize = rest.iter().product();
    let root = |a: &Atom| trace.atoms.root(*a);
    let one = |chunk: &[Atom]| chunk.iter().all(|a| root(a) == root(&chunk[0]));
    // Where the last part repeats the same channels, they lie there: what a merge
    // of positions before channels made.
    let last = parts[parts.len() - 1];
    let repeats = atoms
        .iter()
        .enumerate()
        .all(|(i, a)| root(a) == root(&atoms[i % last]));
    if !atoms.chunks(size).all(one) && repeats {
        return Ok(Some((parts.len() - 1, Axis::Of(atoms[..last].into()))));
    }
    for chunk in atoms.chunks(size) {
        chunk.iter().for_each(|&a| trace.atoms.join(a, chunk[0]));
    }
    let outer: Arc<[Atom]> = atoms.iter().step_by(size).copied().collect();
    Ok(Some((0, Axis::Of(outer))))
}

/// One axis of several, of which at most one has channels.
fn merge(trace: &mut Trace<'_>, run: &[Axis]) -> Result<Axis, Fixed> {
    let channels: Vec<usize> = (0..run.len())
        .filter(|&at| matches!(run[at], Axis::Of(_)))
        .collect();
    let total: usize = run.iter().map(Axis::extent).product();
    let [at] = *channels else {
        for axis in run {
            trace.fix(axis, "they are merged with other channels");
        }
        return Ok(Axis::Plain(total));
    };
    followed(total)?;
    let atoms = trace.atoms_of(&run[at])?;
    let behind: usize = run[at + 1..].iter().map(Axis::extent).product();
    let position = |p: usize| atoms[p / behind % atoms.len()];
    Ok(Axis::Of((0..total).map(position).collect()))
}
