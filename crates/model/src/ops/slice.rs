//! Parts of a tensor along its axes: Slice, Split, CenterCropPad.

use super::TypedShape;
use super::args::{Shapes, Tensors};
use crate::{DType, ModelError, Shape, Tensor};

/// The positions that are taken along one axis: `start + i · step`.
struct Run {
    start: i64,
    step: i64,
    count: usize,
}

pub(super) fn infer_slice(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let dims: Vec<usize> = runs(args, &x.shape)?.iter().map(|run| run.count).collect();
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

/// `y[i…] = x[start + i · step…]`; bounds count from the end when negative and
/// are limited to the extent.
pub(super) fn slice(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let (known, x) = (args.known(), args.need(0)?.shape());
    let shapes = Shapes {
        node: args.node,
        inputs: &known,
    };
    let runs = runs(&shapes, x)?;
    let strides = x.strides();
    let data = args.take(0, &args.output()?.1, |at| {
        let axes = runs.iter().zip(&strides).zip(at);
        let place = axes.map(|((run, &stride), &i)| {
            let position = run.start + run.step * i as i64;
            position as usize * stride
        });
        Some(place.sum())
    })?;
    args.single(data)
}

fn runs(args: &Shapes<'_>, x: &Shape) -> Result<Vec<Run>, ModelError> {
    let need = |index: usize| {
        args.integers(index)?
            .ok_or_else(|| args.wrong(format!("input {index} is missing")))
    };
    let (starts, ends) = (need(1)?, need(2)?);
    let axes = match args.integers(3)? {
        Some(axes) => axes,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = match args.integers(4)? {
        Some(steps) => steps,
        None => vec![1; starts.len()],
    };
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(args.wrong(format!(
            "{} starts, {} ends, {} axes and {} steps",
            starts.len(),
            ends.len(),
            axes.len(),
            steps.len()
        )));
    }
    let whole = |&extent: &usize| Run {
        start: 0,
        step: 1,
        count: extent,
    };
    let mut runs: Vec<Run> = x.iter().map(whole).collect();
    let mut named = vec![false; x.rank()];
    for (i, &axis) in axes.iter().enumerate() {
        let axis = args.axis(axis, x.rank())?;
        if std::mem::replace(&mut named[axis], true) {
            return Err(args.wrong(format!("axis {axis} is named twice")));
        }
        if steps[i] == 0 {
            return Err(args.wrong(format!("the step along axis {axis} is 0")));
        }
        runs[axis] = run(x[axis], starts[i], ends[i], steps[i]);
    }
    Ok(runs)
}

fn run(extent: usize, start: i64, end: i64, step: i64) -> Run {
    let extent = extent as i64;
    let from_start = |at: i64| match at {
        at if at < 0 => at.saturating_add(extent),
        at => at,
    };
    let (start, end) = (from_start(start), from_start(end));
    let (start, end) = if step > 0 {
        (start.clamp(0, extent), end.clamp(0, extent))
    } else {
        // Before the first element is −1 when steps go backwards.
        (start.clamp(-1, extent - 1), end.clamp(-1, extent - 1))
    };
    let distance = if step > 0 { end - start } else { start - end };
    let count = u64::try_from(distance)
        .unwrap_or(0)
        .div_ceil(step.unsigned_abs());
    Run {
        start,
        step,
        count: count as usize,
    }
}

pub(super) fn infer_split(
    args: &Shapes<'_>,
    axis: i64,
    num_outputs: Option<usize>,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let axis = args.axis(axis, x.shape.rank())?;
    let extents = match args.integers(1)? {
        Some(given) => given
            .iter()
            .map(|&part| usize::try_from(part).ok())
            .collect::<Option<Vec<usize>>>(),
        None => even_parts(x.shape[axis], args.node.outputs.len(), num_outputs),
    };
    let sum = |parts: &Vec<usize>| {
        parts
            .iter()
            .try_fold(0usize, |n, &part| n.checked_add(part))
    };
    let extents = extents
        .filter(|parts| sum(parts) == Some(x.shape[axis]) && parts.len() == args.node.outputs.len())
        .ok_or_else(|| {
            args.wrong(format!(
                "the parts do not divide axis {axis} of {} among {} outputs",
                x.shape,
                args.node.outputs.len()
            ))
        })?;
    let mut dims = x.shape.dims().to_vec();
    extents
        .into_iter()
        .map(|extent| {
            dims[axis] = extent;
            Ok((x.dtype, args.shape(&dims)?))
        })
        .collect()
}

/// Parts of one extent, but for the last, which may be smaller where their
/// number is an attribute.
fn even_parts(extent: usize, count: usize, uneven: Option<usize>) -> Option<Vec<usize>> {
    if count == 0 || uneven.is_some_and(|number| number != count) {
        return None;
    }
    let part = extent.div_ceil(count);
    let last = extent.checked_sub(part * (count - 1))?;
    if uneven.is_none() && last != part {
        return None;
    }
    let mut parts = vec![part; count];
    parts[count - 1] = last;
    Some(parts)
}

/// The parts of x along an axis, one an output.
pub(super) fn split(args: &Tensors<'_>, axis: i64) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?.shape();
    let shapes = Shapes {
        node: args.node,
        inputs: &[],
    };
    let axis = shapes.axis(axis, x.rank())?;
    let strides = x.strides();
    let mut begin = 0;
    let mut parts = Vec::new();
    for (_, shape) in args.outputs {
        let offset = begin * strides[axis];
        let data = args.take(0, shape, |at| Some(offset + index(at, &strides)))?;
        parts.push(Tensor::new(shape.clone(), data)?);
        begin += shape[axis];
    }
    Ok(parts)
}

fn index(at: &[usize], strides: &[usize]) -> usize {
    at.iter().zip(strides).map(|(i, stride)| i * stride).sum()
}

pub(super) fn infer_center(args: &Shapes<'_>, axes: &[i64]) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    args.check_type(1, args.need(1)?.dtype, &[DType::I32, DType::I64])?;
    let asked = args
        .integers(1)?
        .ok_or_else(|| args.wrong("the new extents (input 1) are missing"))?;
    let axes: Vec<usize> = match axes {
        [] => (0..x.shape.rank()).collect(),
        axes => axes
            .iter()
            .map(|&axis| args.axis(axis, x.shape.rank()))
            .collect::<Result<_, _>>()?,
    };
    if axes.len() != asked.len() {
        return Err(args.wrong(format!("{} extents for {} axes", asked.len(), axes.len())));
    }
    let mut dims = x.shape.dims().to_vec();
    for (axis, extent) in axes.into_iter().zip(asked) {
        dims[axis] = usize::try_from(extent)
            .map_err(|_| args.wrong(format!("an extent of {extent} is asked")))?;
    }
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

/// x with the middle of every axis kept: cut, or continued by zeros, on both
/// sides alike; the odd cell is at the end.
pub(super) fn center(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?.shape();
    let output = &args.output()?.1;
    let strides = x.strides();
    let data = args.take(0, output, |at| {
        (0..at.len()).try_fold(0, |index, axis| {
            let (from, to) = (x[axis], output[axis]);
            let cut = from.saturating_sub(to) / 2;
            let added = to.saturating_sub(from) / 2;
            let place = (at[axis] + cut).checked_sub(added)?;
            (place < from).then_some(index + place * strides[axis])
        })
    })?;
    args.single(data)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{ModelError, Node, Op, Tensor};

    fn list(values: &[i64]) -> Tensor {
        Tensor::i64(&[values.len()], values.to_vec()).unwrap()
    }

    fn grid() -> Tensor {
        Tensor::i64(&[2, 4], vec![1, 2, 3, 4, 5, 6, 7, 8]).unwrap()
    }

    fn sliced(from: i64, to: i64, axis: i64, step: i64) -> Result<Tensor, ModelError> {
        let names = ["x", "s", "e", "a", "t"];
        let parts = [
            grid(),
            list(&[from]),
            list(&[to]),
            list(&[axis]),
            list(&[step]),
        ];
        let parts: Vec<Option<&Tensor>> = parts.iter().map(Some).collect();
        let node = Node::new("s", Op::Slice, &names, &["y"]);
        evaluate(&node, &parts).map(|mut y| y.remove(0))
    }

    #[test]
    fn bounds_are_limited_and_steps_go_both_ways() {
        let y = |from, to, step| sliced(from, to, 1, step).unwrap();
        assert_eq!(y(1, 3, 1), Tensor::i64(&[2, 2], vec![2, 3, 6, 7]).unwrap());
        assert_eq!(
            y(-1, i64::MAX, 1),
            Tensor::i64(&[2, 1], vec![4, 8]).unwrap()
        );
        assert_eq!(
            y(i64::MAX, i64::MIN, -3),
            Tensor::i64(&[2, 2], vec![4, 1, 8, 5]).unwrap()
        );
        assert_eq!(y(3, 1, 1), Tensor::i64(&[2, 0], vec![]).unwrap());
        assert_eq!(y(0, 4, i64::MAX), Tensor::i64(&[2, 1], vec![1, 5]).unwrap());
        assert!(sliced(0, 1, 1, 0).is_err());
        assert!(sliced(0, 1, 2, 1).is_err());
    }

    #[test]
    fn parts_are_even_or_as_given() {
        let run = |num_outputs, parts: Option<&[i64]>, axis| {
            let op = Op::Split { axis, num_outputs };
            let node = Node::new("s", op, &["x", "p"], &["a", "b"]);
            evaluate(&node, &[Some(&grid()), parts.map(list).as_ref()])
        };
        let y = run(None, Some(&[3, 1]), -1).unwrap();
        assert_eq!(y[0], Tensor::i64(&[2, 3], vec![1, 2, 3, 5, 6, 7]).unwrap());
        assert_eq!(y[1], Tensor::i64(&[2, 1], vec![4, 8]).unwrap());
        let y = run(None, None, 0).unwrap();
        assert_eq!(y[1], Tensor::i64(&[1, 4], vec![5, 6, 7, 8]).unwrap());
        assert!(run(None, Some(&[3, 2]), 1).is_err());
        assert!(run(Some(3), None, 1).is_err());
        assert!(run(Some(usize::MAX), None, 1).is_err());
        let three = Tensor::i64(&[3], vec![1, 2, 3]).unwrap();
        let op = |num_outputs| Op::Split {
            axis: 0,
            num_outputs,
        };
        let uneven = |n| {
            let node = Node::new("s", op(n), &["x"], &["a", "b"]);
            evaluate(&node, &[Some(&three)])
        };
        assert_eq!(uneven(Some(2)).unwrap(), [list(&[1, 2]), list(&[3])]);
        assert!(uneven(None).is_err());
    }

    #[test]
    fn the_middle_is_kept() {
        let run = |extents: &[i64]| {
            let node = Node::new("c", Op::CenterCropPad { axes: vec![] }, &["x", "s"], &["y"]);
            evaluate(&node, &[Some(&grid()), Some(&list(extents))]).map(|mut y| y.remove(0))
        };
        assert_eq!(
            run(&[3, 3]).unwrap(),
            Tensor::i64(&[3, 3], vec![1, 2, 3, 5, 6, 7, 0, 0, 0]).unwrap()
        );
        assert_eq!(
            run(&[2, 6]).unwrap(),
            Tensor::i64(&[2, 6], vec![0, 1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0]).unwrap()
        );
        assert!(run(&[3]).is_err());
        assert!(run(&[3, -1]).is_err());
    }
}
