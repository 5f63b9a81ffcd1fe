//! Operators that move elements: Transpose, Concat, Slice, Split, Pad.

use super::operator::Operands;
use super::{Value, unsupported};
use crate::TrainError;
use burn::tensor::Tensor;

pub(super) fn transpose(o: &Operands<'_>, perm: Option<&[usize]>) -> Result<Value, TrainError> {
    let x = o.value(0)?;
    let reversed: Vec<usize> = (0..x.dims.len()).rev().collect();
    let perm = perm.unwrap_or(&reversed);
    match x.dims.len() {
        0 | 1 => Ok(x),
        2 => turn::<2>(&x, perm, o),
        3 => turn::<3>(&x, perm, o),
        4 => turn::<4>(&x, perm, o),
        5 => turn::<5>(&x, perm, o),
        6 => turn::<6>(&x, perm, o),
        rank => Err(unsupported(o.node, format!("rank {rank}"))),
    }
}

fn turn<const D: usize>(x: &Value, perm: &[usize], o: &Operands<'_>) -> Result<Value, TrainError> {
    let wrong = || unsupported(o.node, "the permutation has another rank");
    let axes: [usize; D] = perm.try_into().map_err(|_| wrong())?;
    let dims: [usize; D] = x.dims.as_slice().try_into().map_err(|_| wrong())?;
    let turned = x.shaped(dims).permute(axes.map(|axis| axis as isize));
    Ok(Value::of(turned, o.dims))
}

pub(super) fn concat(o: &Operands<'_>, axis: i64) -> Result<Value, TrainError> {
    let axis = o.axis(axis, o.dims.len())?;
    let parts: Vec<Tensor<3>> = (0..o.node.inputs.len())
        .map(|index| {
            let part = o.value(index)?;
            Ok(part.shaped(part.around(axis)))
        })
        .collect::<Result<_, TrainError>>()?;
    Ok(Value::of(Tensor::cat(parts, 1), o.dims))
}

/// Parts of axes, with steps of one.
pub(super) fn slice(o: &Operands<'_>) -> Result<Value, TrainError> {
    let mut x = o.value(0)?;
    let rank = x.dims.len();
    let list = |index: usize, what: &str| {
        let found = o.integers(index);
        found.ok_or_else(|| unsupported(o.node, format!("the {what} must be constant")))
    };
    let (starts, ends) = (list(1, "starts")?, list(2, "ends")?);
    let axes = match o.node.input(3) {
        Some(_) => list(3, "axes")?,
        None => (0..starts.len() as i64).collect(),
    };
    if o.node.input(4).is_some() && list(4, "steps")?.iter().any(|&step| step != 1) {
        return Err(unsupported(o.node, "no gradient for steps other than 1"));
    }
    for ((axis, start), end) in axes.into_iter().zip(starts).zip(ends) {
        let axis = o.axis(axis, rank)?;
        let [before, along, behind] = x.around(axis);
        let place = |at: i64| {
            let from_start = if at < 0 {
                at.saturating_add(along as i64)
            } else {
                at
            };
            from_start.clamp(0, along as i64) as usize
        };
        let part = place(start)..place(end);
        if part.is_empty() {
            return Err(unsupported(o.node, "nothing is left of an axis"));
        }
        let mut dims = x.dims.clone();
        dims[axis] = part.len();
        x = Value::of(
            x.shaped([before, along, behind]).slice([0..before, part]),
            &dims,
        );
    }
    Ok(x)
}

/// The parts of an axis, one behind the other.
pub(super) fn split(o: &Operands<'_>, axis: i64) -> Result<Vec<Value>, TrainError> {
    let x = o.value(0)?;
    let axis = o.axis(axis, x.dims.len())?;
    let [before, along, behind] = x.around(axis);
    let parts = o.node.outputs.len().max(1);
    let extents = match o.integers(1) {
        Some(extents) => extents
            .iter()
            .map(|&e| usize::try_from(e).unwrap_or(0))
            .collect(),
        None => {
            let each = along.div_ceil(parts);
            (0..parts)
                .map(|part| each.min(along.saturating_sub(part * each)))
                .collect::<Vec<_>>()
        }
    };
    if extents.iter().sum::<usize>() != along || extents.contains(&0) {
        return Err(unsupported(o.node, "its parts are not those of the axis"));
    }
    let wide = x.shaped([before, along, behind]);
    let mut start = 0;
    let part = |&extent: &usize| {
        let mut dims = x.dims.clone();
        dims[axis] = extent;
        let range = start..start + extent;
        start += extent;
        Value::of(wide.clone().slice([0..before, range]), &dims)
    };
    Ok(extents.iter().map(part).collect())
}

/// Grown, or with negative pads cut, axis by axis.
pub(super) fn pad(o: &Operands<'_>) -> Result<Value, TrainError> {
    let mut x = o.value(0)?;
    let rank = x.dims.len();
    let pads = o
        .integers(1)
        .ok_or_else(|| unsupported(o.node, "the pads must be constant"))?;
    let fill = o.scalar_or(2, 0.0)?;
    let axes = match o.integers(3) {
        Some(axes) => axes
            .into_iter()
            .map(|axis| o.axis(axis, rank))
            .collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let (begins, ends) = pads.split_at(axes.len().min(pads.len()));
    for (axis, (&begin, &end)) in axes.into_iter().zip(begins.iter().zip(ends)) {
        if (begin, end) == (0, 0) {
            continue;
        }
        let [before, along, behind] = x.around(axis);
        let cut = |pad: i64| usize::try_from(-pad.min(0)).unwrap_or(0);
        let kept = cut(begin)..along.saturating_sub(cut(end));
        if kept.is_empty() {
            return Err(unsupported(o.node, "nothing is left of an axis"));
        }
        let extent = kept.len();
        let middle = x.shaped([before, along, behind]).slice([0..before, kept]);
        let filled = |pad: i64| {
            let width = usize::try_from(pad).unwrap_or(0);
            let dims = [before, width, behind];
            let values = || Value::new(vec![fill; before * width * behind], &dims);
            (width > 0).then(|| values().shaped(dims))
        };
        let (head, tail) = (filled(begin), filled(end));
        let parts = head.into_iter().chain([middle]).chain(tail);
        let mut dims = x.dims.clone();
        dims[axis] = extent
            + [begin, end]
                .map(|p| p.max(0) as usize)
                .iter()
                .sum::<usize>();
        x = Value::of(Tensor::cat(parts.collect(), 1), &dims);
    }
    Ok(x)
}
