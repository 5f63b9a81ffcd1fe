//! Layers: inputs are summed away, the weight's other axis makes new channels.

use super::super::atoms::Atom;
use super::super::trace::{Axis, Edit, Fixed, Trace, followed};
use super::{elementwise, still_from};
use secateur_model::Node;
use secateur_model::ops::Recurrent;
use std::sync::Arc;

/// `[n, c, spatial…]` by `[out, c / groups, k…]`.
pub(super) fn conv(
    trace: &mut Trace<'_>,
    index: usize,
    node: &Node,
    groups: usize,
) -> Result<Vec<Axis>, Fixed> {
    let (mut x, w) = (image(trace, node, 0)?, image(trace, node, 1)?);
    trace.produces(node, 1, 0);
    if groups == 1 {
        trace.same(&x[1], &w[1], "it reads what is no channel")?;
        bias(trace, node, &w[0])?;
        x[1] = w[0].clone();
        return Ok(x);
    }
    trace.still_axes(&w[1..2], "it is a channel of every group");
    let (inputs, outputs) = (trace.atoms_of(&x[1])?, trace.atoms_of(&w[0])?);
    join_groups(trace, groups, &[&inputs, &outputs])?;
    trace.edits.push((index, Edit::Groups));
    bias(trace, node, &w[0])?;
    x[1] = Axis::Of(outputs);
    Ok(x)
}

/// `[n, c, spatial…]` by `[c, out / groups, k…]`.
pub(super) fn conv_transpose(
    trace: &mut Trace<'_>,
    index: usize,
    node: &Node,
    groups: usize,
) -> Result<Vec<Axis>, Fixed> {
    let (mut x, w) = (image(trace, node, 0)?, image(trace, node, 1)?);
    // Where the kernel's extents or strides make the spatial ones, they are plain.
    let spatial = node.output(0).and_then(|name| trace.shapes.shape(name));
    let spatial = spatial.map(Axis::plain).unwrap_or_default();
    x.truncate(2);
    x.extend(spatial.into_iter().skip(2));
    trace.same(&x[1], &w[0], "it reads what is no channel")?;
    if groups == 1 {
        trace.produces(node, 1, 1);
        bias(trace, node, &w[1])?;
        x[1] = w[1].clone();
        return Ok(x);
    }
    trace.produces(node, 1, 0);
    trace.still_axes(&w[1..2], "it is a channel of every group");
    let inputs = trace.atoms_of(&x[1])?;
    join_groups(trace, groups, &[&inputs])?;
    let (per_group, depth) = (inputs.len() / groups, w[1].extent());
    followed(groups.saturating_mul(depth))?;
    let outputs: Arc<[Atom]> = inputs
        .chunks(per_group.max(1))
        .flat_map(|group| std::iter::repeat_n(group[0], depth))
        .collect();
    trace.edits.push((index, Edit::Groups));
    x[1] = Axis::Of(outputs);
    let channels = x[1].clone();
    bias(trace, node, &channels)?;
    Ok(x)
}

/// `[m, k]` by `[k, n]`, either of them transposed, plus what broadcasts to `[m, n]`.
pub(super) fn gemm(
    trace: &mut Trace<'_>,
    node: &Node,
    trans_a: bool,
    trans_b: bool,
) -> Result<Vec<Axis>, Fixed> {
    let (a, b) = (trace.axes(node, 0)?, trace.axes(node, 1)?);
    let ([a0, a1], [b0, b1]) = (&a[..], &b[..]) else {
        return Fixed::because("it multiplies what is no matrix");
    };
    let (m, depth) = if trans_a { (a1, a0) } else { (a0, a1) };
    let (rows, n) = if trans_b { (b1, b0) } else { (b0, b1) };
    trace.same(depth, rows, "it reads what is no channel")?;
    trace.produces(node, 1, usize::from(!trans_b));
    let mut output = vec![m.clone(), n.clone()];
    if node.input(2).is_some() {
        let added = trace.axes(node, 2)?;
        output = elementwise::join(trace, &[output, added])?;
    }
    Ok(output)
}

/// `[…, m, k]` by `[…, k, n]`.
pub(super) fn matmul(trace: &mut Trace<'_>, node: &Node) -> Result<Vec<Axis>, Fixed> {
    let (mut a, mut b) = (trace.axes(node, 0)?, trace.axes(node, 1)?);
    if a.len() < 2 || b.len() < 2 {
        return Fixed::because("it multiplies a vector");
    }
    let (n, rows) = (b.pop(), b.pop());
    let (depth, m) = (a.pop(), a.pop());
    let (Some(n), Some(rows), Some(depth), Some(m)) = (n, rows, depth, m) else {
        return Fixed::because("it multiplies a vector");
    };
    trace.same(&depth, &rows, "it reads what is no channel")?;
    let (left, right) = (a.len(), b.len());
    trace.produces(node, 0, left);
    trace.produces(node, 1, right + 1);
    let mut output = elementwise::join(trace, &[a, b])?;
    output.extend([m, n]);
    Ok(output)
}

/// LSTM and its kin: what they read may be cut, their states not.
pub(super) fn recurrent(
    trace: &mut Trace<'_>,
    node: &Node,
    layer: &Recurrent,
) -> Result<Vec<Vec<Axis>>, Fixed> {
    let (x, w) = (trace.axes(node, 0)?, trace.axes(node, 1)?);
    let ([first, second, features], [directions, gates, columns]) = (&x[..], &w[..]) else {
        return Fixed::because("its input or weight has another rank");
    };
    trace.same(features, columns, "it reads what is no channel")?;
    let why = format!("they are states of `{}`", node.name);
    trace.still_axes(&[directions.clone(), gates.clone()], &why);
    let batch = if layer.batch_first { first } else { second };
    let steps = if layer.batch_first { second } else { first };
    trace.still_axes(&[batch.clone(), steps.clone()], &why);
    for input in 2..node.inputs.len() {
        if node.input(input).is_some() {
            let other = trace.axes(node, input)?;
            trace.still_axes(&other, &why);
        }
    }
    let shapes = node.outputs.iter().map(|name| trace.shapes.shape(name));
    Ok(shapes
        .map(|shape| shape.map(Axis::plain).unwrap_or_default())
        .collect())
}

/// Axes of an image or a kernel, the spatial ones fixed.
fn image(trace: &mut Trace<'_>, node: &Node, input: usize) -> Result<Vec<Axis>, Fixed> {
    let axes = trace.axes(node, input)?;
    if axes.len() < 3 {
        return Fixed::because(format!("input {input} is no image"));
    }
    let axes = still_from(trace, axes, 2);
    if input > 0 {
        return Ok(axes);
    }
    // The output's spatial extents are others, but as plain.
    let shape = node.output(0).and_then(|name| trace.shapes.shape(name));
    let spatial = shape.map(Axis::plain).unwrap_or_default();
    Ok(axes[..2]
        .iter()
        .cloned()
        .chain(spatial.into_iter().skip(2))
        .collect())
}

fn bias(trace: &mut Trace<'_>, node: &Node, channels: &Axis) -> Result<(), Fixed> {
    if node.input(2).is_none() {
        return Ok(());
    }
    match &trace.axes(node, 2)?[..] {
        [bias] => trace.same(channels, bias, "its bias is no vector of channels"),
        _ => Fixed::because("its bias is no vector"),
    }
}

/// Of each of the lists, the positions of one group go together.
fn join_groups(trace: &mut Trace<'_>, groups: usize, lists: &[&Arc<[Atom]>]) -> Result<(), Fixed> {
    let divides = |list: &&Arc<[Atom]>| list.len().checked_rem(groups) == Some(0);
    if !lists.iter().all(divides) {
        return Fixed::because("groups do not divide its channels");
    }
    for group in 0..groups {
        let members: Vec<Atom> = lists
            .iter()
            .flat_map(|list| {
                let size = list.len() / groups;
                list[group * size..][..size].iter().copied()
            })
            .collect();
        for pair in members.windows(2) {
            trace.atoms.join(pair[0], pair[1]);
        }
    }
    Ok(())
}
