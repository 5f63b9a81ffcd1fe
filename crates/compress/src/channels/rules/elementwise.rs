//! Operators that compute every element by itself, or by its channel.

use super::super::trace::{Axis, Fixed, Trace};
use super::place;
use secateur_model::Node;

/// NumPy's broadcasting of all inputs.
pub(super) fn broadcast(trace: &mut Trace<'_>, node: &Node) -> Result<Vec<Axis>, Fixed> {
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for input in 0..node.inputs.len() {
        inputs.push(trace.axes(node, input)?);
    }
    join(trace, &inputs)
}

/// The axes of what broadcasting gives; those that meet are the same.
pub(super) fn join(trace: &mut Trace<'_>, inputs: &[Vec<Axis>]) -> Result<Vec<Axis>, Fixed> {
    let rank = inputs.iter().map(Vec::len).max().unwrap_or(0);
    let mut output = vec![Axis::Plain(1); rank];
    for axes in inputs {
        for (out, axis) in output[rank - axes.len()..].iter_mut().zip(axes) {
            match (out.extent(), axis.extent()) {
                (_, 1) => {}
                (1, _) => *out = axis.clone(),
                _ => {
                    trace.same(out, axis, "it stands beside what is no channel")?;
                    if matches!(axis, Axis::Plain(_)) {
                        *out = axis.clone();
                    }
                }
            }
        }
    }
    Ok(output)
}

/// Vectors of channels in inputs 1 to `vectors`, channels in axis 1.
pub(super) fn by_channel(
    trace: &mut Trace<'_>,
    node: &Node,
    vectors: usize,
) -> Result<Vec<Axis>, Fixed> {
    if node.outputs.iter().skip(1).any(|o| !o.is_empty()) {
        return Fixed::because("it is in training mode");
    }
    let axes = trace.axes(node, 0)?;
    let channels = axes
        .get(1)
        .ok_or_else(|| Fixed("its input has no channels".into()))?
        .clone();
    for input in 1..=vectors {
        match &trace.axes(node, input)?[..] {
            [vector] => trace.same(&channels, vector, "its parameters are no channels")?,
            _ => return Fixed::because("its parameters are no vectors"),
        }
    }
    Ok(axes)
}

/// Scale and zero point of the whole tensor, or of the positions of one axis.
pub(super) fn quantize(
    trace: &mut Trace<'_>,
    node: &Node,
    axis: i64,
    block: i64,
) -> Result<Vec<Axis>, Fixed> {
    let axes = trace.axes(node, 0)?;
    for input in 1..node.inputs.len() {
        if node.input(input).is_none() {
            continue;
        }
        let scale = trace.axes(node, input)?;
        match &scale[..] {
            _ if scale.iter().all(|a| a.extent() == 1) => {}
            [scale] if block == 0 => {
                let axis = &axes[place(axis, axes.len())?];
                trace.same(axis, scale, "its scales are no channels")?;
            }
            _ => return Fixed::because("it has scales of blocks"),
        }
    }
    Ok(axes)
}

/// The positions of an axis are computed together.
pub(super) fn fixed_at(trace: &mut Trace<'_>, node: &Node, axis: i64) -> Result<Vec<Axis>, Fixed> {
    let mut axes = trace.axes(node, 0)?;
    let axis = place(axis, axes.len())?;
    let why = format!("`{}` takes all of them together", node.name);
    trace.fix(&axes[axis], &why);
    axes[axis] = Axis::Plain(axes[axis].extent());
    Ok(axes)
}

/// The positions of an axis and those behind it are computed together.
pub(super) fn fixed_from(
    trace: &mut Trace<'_>,
    node: &Node,
    axis: i64,
) -> Result<Vec<Axis>, Fixed> {
    let mut axes = trace.axes(node, 0)?;
    let axis = place(axis, axes.len())?;
    let why = format!("`{}` takes all of them together", node.name);
    let rest = axes.split_off(axis);
    axes.extend(trace.still_axes(&rest, &why));
    for input in 1..node.inputs.len() {
        if node.input(input).is_some() {
            let parameters = trace.axes(node, input)?;
            trace.still_axes(&parameters, &why);
        }
    }
    Ok(axes)
}
