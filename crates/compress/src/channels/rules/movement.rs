//! Operators that move, join, part and gather positions.

use super::super::atoms::Atom;
use super::super::extents;
use super::super::trace::{Axis, Edit, Fixed, Trace};
use super::place;
use secateur_model::Node;
use secateur_model::ops::Resize;
use std::sync::Arc;

/// Windows over the axes behind the channels.
pub(super) fn pool(trace: &mut Trace<'_>, node: &Node) -> Result<Vec<Axis>, Fixed> {
    if node.output(1).is_some() {
        return Fixed::because("its indices are read");
    }
    let axes = trace.axes(node, 0)?;
    resized(trace, node, axes, |at, _| at >= 2)
}

/// Pads named by a constant; a padded axis is fixed.
pub(super) fn pad(trace: &mut Trace<'_>, node: &Node) -> Result<Vec<Axis>, Fixed> {
    let axes = trace.axes(node, 0)?;
    resized(trace, node, axes, |_, changed| changed)
}

/// The axes of an output: fixed where `still` says so of the place and of
/// whether the extent changed.
fn resized(
    trace: &mut Trace<'_>,
    node: &Node,
    mut axes: Vec<Axis>,
    still: impl Fn(usize, bool) -> bool,
) -> Result<Vec<Axis>, Fixed> {
    let shape = node.output(0).and_then(|name| trace.shapes.shape(name));
    let extents = shape.map(|s| s.dims().to_vec()).unwrap_or_default();
    if extents.len() != axes.len() {
        return Fixed::because("its output has another rank");
    }
    for (at, (axis, extent)) in axes.iter_mut().zip(extents).enumerate() {
        if still(at, axis.extent() != extent) {
            trace.fix(axis, "a window moves over them");
            *axis = Axis::Plain(extent);
        } else if axis.extent() != extent {
            return Fixed::because("it changes the number of channels");
        }
    }
    Ok(axes)
}

/// Extents of the output are named, or scales, which are 1 for channels.
pub(super) fn resize(
    trace: &mut Trace<'_>,
    index: usize,
    node: &Node,
    resize: &Resize,
) -> Result<Vec<Axis>, Fixed> {
    let from = trace.axes(node, 0)?;
    let to = resized(trace, node, from.clone(), |_, changed| changed)?;
    if node.input(3).is_some() {
        let named: Vec<Axis> = match resize.axes.is_empty() {
            true => to.clone(),
            false => resize
                .axes
                .iter()
                .map(|&axis| Ok(to[place(axis, to.len())?].clone()))
                .collect::<Result<_, Fixed>>()?,
        };
        extents::meet(trace, index, node, 3, &[], &named);
    }
    Ok(to)
}

/// One behind the other along an axis; the others are the same.
pub(super) fn concat(trace: &mut Trace<'_>, node: &Node, axis: i64) -> Result<Vec<Axis>, Fixed> {
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for input in 0..node.inputs.len() {
        inputs.push(trace.axes(node, input)?);
    }
    let first = inputs.first().cloned().unwrap_or_default();
    let axis = place(axis, first.len())?;
    let mut output = first.clone();
    let mut parts = Vec::with_capacity(inputs.len());
    for axes in &inputs {
        for (at, other) in axes.iter().enumerate() {
            if at != axis {
                trace.same(&output[at], other, "it is joined to what is no channel")?;
                if matches!(other, Axis::Plain(_)) {
                    output[at] = other.clone();
                }
            }
        }
        let part = axes.get(axis);
        parts.push(part.ok_or_else(|| Fixed("its inputs are of several ranks".into()))?);
    }
    if parts.iter().all(|part| matches!(part, Axis::Plain(_))) {
        output[axis] = Axis::Plain(parts.iter().map(|part| part.extent()).sum());
        return Ok(output);
    }
    let mut joined: Vec<Atom> = Vec::new();
    for part in parts {
        joined.extend(trace.atoms_of(part)?.iter());
    }
    output[axis] = Axis::Of(joined.into());
    Ok(output)
}

/// Consecutive parts of an axis.
pub(super) fn split(
    trace: &mut Trace<'_>,
    index: usize,
    node: &Node,
    axis: i64,
) -> Result<Vec<Vec<Axis>>, Fixed> {
    let axes = trace.axes(node, 0)?;
    let axis = place(axis, axes.len())?;
    if node.input(1).is_some() && trace.constant(node, 1).is_none() {
        return Fixed::because("its parts are computed");
    }
    let extents: Option<Vec<usize>> = node
        .outputs
        .iter()
        .map(|name| trace.shapes.shape(name)?.get(axis).copied())
        .collect();
    let extents = extents.ok_or_else(|| Fixed("its parts are not known".into()))?;
    let mut start = 0;
    let mut outputs = Vec::with_capacity(extents.len());
    for extent in extents {
        let mut part = axes.clone();
        part[axis] = match &axes[axis] {
            Axis::Plain(_) => Axis::Plain(extent),
            Axis::Of(atoms) => Axis::Of(Arc::from(
                atoms
                    .get(start..start + extent)
                    .ok_or_else(|| Fixed("its parts do not fit".into()))?,
            )),
        };
        start += extent;
        outputs.push(part);
    }
    if matches!(axes[axis], Axis::Of(_)) {
        trace.edits.push((index, Edit::Parts { axis }));
    }
    Ok(outputs)
}

/// A sliced axis is fixed, the others pass.
pub(super) fn slice(trace: &mut Trace<'_>, node: &Node) -> Result<Vec<Axis>, Fixed> {
    let mut axes = trace.axes(node, 0)?;
    let named = match node.input(3) {
        None => None,
        Some(_) => Some(
            trace
                .integers(node, 3)
                .map(<[i64]>::to_vec)
                .ok_or_else(|| Fixed("its axes are not known".into()))?,
        ),
    };
    let count = node.input(1).and_then(|name| trace.shapes.shape(name));
    let count = count.map_or(0, |shape| shape.elements()) as i64;
    let shape = node.output(0).and_then(|name| trace.shapes.shape(name));
    let extents = shape.map(|s| s.dims().to_vec()).unwrap_or_default();
    for axis in named.unwrap_or_else(|| (0..count).collect()) {
        let at = place(axis, axes.len())?;
        let extent = extents.get(at).copied().unwrap_or_default();
        trace.fix(&axes[at], "a part of them is taken by number");
        axes[at] = Axis::Plain(extent);
    }
    Ok(axes)
}

/// What is gathered from is fixed along the axis.
pub(super) fn gather(trace: &mut Trace<'_>, node: &Node, axis: i64) -> Result<Vec<Axis>, Fixed> {
    let (mut data, at) = (trace.axes(node, 0)?, trace.axes(node, 1)?);
    let axis = place(axis, data.len())?;
    let why = "they are taken by number";
    trace.fix(&data[axis], why);
    let at = trace.still_axes(&at, why);
    data.splice(axis..=axis, at);
    Ok(data)
}

pub(super) fn transpose(
    trace: &mut Trace<'_>,
    node: &Node,
    perm: Option<&[usize]>,
) -> Result<Vec<Axis>, Fixed> {
    let axes = trace.axes(node, 0)?;
    let Some(perm) = perm else {
        return Ok(axes.into_iter().rev().collect());
    };
    let moved: Option<Vec<Axis>> = perm.iter().map(|&at| axes.get(at).cloned()).collect();
    moved.ok_or_else(|| Fixed("it names an axis that is not there".into()))
}

/// What is reduced is fixed.
pub(super) fn reduce(
    trace: &mut Trace<'_>,
    node: &Node,
    keep: bool,
    noop: bool,
) -> Result<Vec<Axis>, Fixed> {
    let axes = trace.axes(node, 0)?;
    let named: Vec<i64> = match node.input(1) {
        None => Vec::new(),
        Some(_) => trace
            .integers(node, 1)
            .map(<[i64]>::to_vec)
            .ok_or_else(|| Fixed("its axes are not known".into()))?,
    };
    let named = match (named.is_empty(), noop) {
        (true, true) => return Ok(axes),
        (true, false) => (0..axes.len() as i64).collect(),
        (false, _) => named,
    };
    reduced(trace, node, axes, &named, keep)
}

pub(super) fn arg_reduce(
    trace: &mut Trace<'_>,
    node: &Node,
    axis: i64,
    keep: bool,
) -> Result<Vec<Axis>, Fixed> {
    let axes = trace.axes(node, 0)?;
    reduced(trace, node, axes, &[axis], keep)
}

fn reduced(
    trace: &mut Trace<'_>,
    node: &Node,
    axes: Vec<Axis>,
    named: &[i64],
    keep: bool,
) -> Result<Vec<Axis>, Fixed> {
    let named: Vec<usize> = named
        .iter()
        .map(|&axis| place(axis, axes.len()))
        .collect::<Result<_, _>>()?;
    let why = format!("`{}` takes all of them together", node.name);
    let mut output = Vec::with_capacity(axes.len());
    for (at, axis) in axes.into_iter().enumerate() {
        if !named.contains(&at) {
            output.push(axis);
            continue;
        }
        trace.fix(&axis, &why);
        if keep {
            output.push(Axis::Plain(1));
        }
    }
    Ok(output)
}
