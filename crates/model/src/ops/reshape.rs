//! Operators that keep the elements and change the extents (Flatten, Reshape,
//! Squeeze, Unsqueeze), pass them through (Identity, Dropout at inference), or
//! give the extents themselves (Shape) or their product (Size).

use super::TypedShape;
use super::args::{Shapes, Tensors};
use crate::{DType, Data, ModelError, Op, Shape, Tensor};

pub(super) fn infer(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let dims = match &args.node.op {
        Op::Flatten { axis } => flatten(args, *axis, &x.shape)?,
        Op::Reshape { allow_zero } => reshape(args, *allow_zero, &x.shape)?,
        Op::Squeeze => squeeze(args, &x.shape)?,
        Op::Unsqueeze => unsqueeze(args, &x.shape)?,
        Op::Shape { start, end } => {
            let (start, end) = range(*start, *end, x.shape.rank());
            return Ok(vec![(DType::I64, args.shape(&[end - start])?)]);
        }
        Op::Size => return Ok(vec![(DType::I64, Shape::scalar())]),
        Op::Dropout => {
            let training = args.get(2).and_then(|t| t.value).map(Tensor::data);
            if matches!(training, Some(Data::Bool(v)) if v.contains(&true)) {
                return Err(args.unsupported("training mode"));
            }
            let mask = (DType::Bool, x.shape.clone());
            return Ok(vec![(x.dtype, x.shape.clone()), mask]);
        }
        _ => x.shape.dims().to_vec(),
    };
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

pub(super) fn evaluate(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?;
    if let Op::Shape { start, end } = args.node.op {
        return Ok(vec![shape_value(x.shape(), start, end)?]);
    }
    if matches!(args.node.op, Op::Size) {
        return Ok(vec![size_value(x.shape())?]);
    }
    let mut outputs = vec![x.clone().reshaped(args.output()?.1.clone())?];
    if let (Op::Dropout, Some((_, shape))) = (&args.node.op, args.outputs.get(1)) {
        let kept = Data::Bool(vec![true; shape.elements()]);
        outputs.push(Tensor::new(shape.clone(), kept)?);
    }
    Ok(outputs)
}

/// What Shape gives: the extents from `start` to before `end`, negative ones
/// counted from the end, both limited to the rank.
pub(crate) fn shape_value(
    shape: &Shape,
    start: i64,
    end: Option<i64>,
) -> Result<Tensor, ModelError> {
    let (start, end) = range(start, end, shape.rank());
    let extents: Vec<i64> = shape[start..end].iter().map(|&d| d as i64).collect();
    Tensor::i64(&[extents.len()], extents)
}

/// What Size gives: the number of elements.
pub(crate) fn size_value(shape: &Shape) -> Result<Tensor, ModelError> {
    Tensor::i64(&[], vec![shape.elements() as i64])
}

fn range(start: i64, end: Option<i64>, rank: usize) -> (usize, usize) {
    let limit = |at: i64| {
        let at = if at < 0 {
            at.saturating_add(rank as i64)
        } else {
            at
        };
        at.clamp(0, rank as i64) as usize
    };
    let (start, end) = (limit(start), end.map_or(rank, limit));
    (start.min(end), end)
}

/// Axes before `axis` by the rest; `axis` may be the rank itself.
fn flatten(args: &Shapes<'_>, axis: i64, x: &Shape) -> Result<Vec<usize>, ModelError> {
    let axis = match usize::try_from(axis) {
        Ok(axis) if axis == x.rank() => axis,
        _ => args.axis(axis, x.rank())?,
    };
    let (outer, inner) = x.split_at(axis);
    Ok(vec![outer.iter().product(), inner.iter().product()])
}

/// 0 keeps an extent (unless `allow_zero`), one −1 is what is left over.
fn reshape(args: &Shapes<'_>, allow_zero: bool, x: &Shape) -> Result<Vec<usize>, ModelError> {
    let asked = args
        .integers(1)?
        .ok_or_else(|| args.wrong("the new shape (input 1) is missing"))?;
    let misfit = || args.wrong(format!("shape {x} cannot become {asked:?}"));
    let open = asked.iter().filter(|&&d| d == -1).count();
    if open > 1 || (open == 1 && allow_zero && asked.contains(&0)) {
        return Err(misfit());
    }
    let mut dims = Vec::with_capacity(asked.len());
    for (axis, &d) in asked.iter().enumerate() {
        dims.push(match d {
            -1 => 1,
            0 if !allow_zero => x.get(axis).copied().ok_or_else(misfit)?,
            d => usize::try_from(d).map_err(|_| misfit())?,
        });
    }
    let known = args.shape(&dims)?.elements();
    if let Some(axis) = asked.iter().position(|&d| d == -1) {
        dims[axis] = match known {
            0 if x.elements() == 0 => 0,
            0 => return Err(misfit()),
            _ => x.elements() / known,
        };
    }
    if args.shape(&dims)?.elements() != x.elements() {
        return Err(misfit());
    }
    Ok(dims)
}

/// Drops the named axes, all of extent 1; without axes, every such axis.
fn squeeze(args: &Shapes<'_>, x: &Shape) -> Result<Vec<usize>, ModelError> {
    let Some(axes) = args.integers(1)? else {
        return Ok(x.iter().copied().filter(|&d| d != 1).collect());
    };
    let mut dropped = vec![false; x.rank()];
    for axis in axes {
        let axis = args.axis(axis, x.rank())?;
        if x[axis] != 1 {
            return Err(args.wrong(format!("axis {axis} of {x} is not 1")));
        }
        dropped[axis] = true;
    }
    let kept = x.iter().zip(dropped).filter(|(_, dropped)| !dropped);
    Ok(kept.map(|(&d, _)| d).collect())
}

/// Puts axes of extent 1 where the result has the named axes.
fn unsqueeze(args: &Shapes<'_>, x: &Shape) -> Result<Vec<usize>, ModelError> {
    let axes = args
        .integers(1)?
        .ok_or_else(|| args.wrong("axes (input 1) are missing"))?;
    let rank = x.rank() + axes.len();
    let mut added = vec![false; rank];
    for axis in axes {
        let place = args.axis(axis, rank)?;
        if std::mem::replace(&mut added[place], true) {
            return Err(args.wrong(format!("axis {axis} is named twice")));
        }
    }
    let mut rest = x.iter().copied();
    Ok(added
        .into_iter()
        .map(|added| match added {
            true => 1,
            false => rest.next().unwrap_or(1),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{DType, Data, ModelError, Node, Op, Shape, Tensor};

    fn shaped(op: Op, dims: &[usize], list: Option<&[i64]>) -> Result<Vec<usize>, ModelError> {
        let shape = Shape::new(dims)?;
        let x = Tensor::f32(dims, vec![0.0; shape.elements()])?;
        let list = list.map(|l| Tensor::i64(&[l.len()], l.to_vec()).unwrap());
        let y = evaluate(
            &Node::new("n", op, &["x", "l"], &["y"]),
            &[Some(&x), list.as_ref()],
        )?;
        Ok(y[0].shape().dims().to_vec())
    }

    #[test]
    fn reshape_keeps_fills_and_refuses() {
        let reshape = |dims: &[usize], to: &[i64], allow_zero| {
            shaped(Op::Reshape { allow_zero }, dims, Some(to))
        };
        assert_eq!(reshape(&[2, 3, 4], &[0, -1], false).unwrap(), [2, 12]);
        assert_eq!(reshape(&[0, 3], &[3, 0], true).unwrap(), [3, 0]);
        assert_eq!(reshape(&[0, 3], &[0, -1], false).unwrap(), [0, 0]);
        assert_eq!(reshape(&[1], &[], false).unwrap(), []);
        for to in [&[-1, -1][..], &[5, -1], &[-2, 3], &[i64::MAX, 2], &[2, 2]] {
            assert!(reshape(&[2, 3], to, false).is_err(), "{to:?}");
        }
        assert!(reshape(&[2, 3], &[1, 1, 0], false).is_err());
        assert!(reshape(&[0, 3], &[0, -1], true).is_err());
    }

    #[test]
    fn flatten_splits_at_either_end() {
        let flatten = |axis| shaped(Op::Flatten { axis }, &[2, 3, 4], None);
        assert_eq!(flatten(0).unwrap(), [1, 24]);
        assert_eq!(flatten(3).unwrap(), [24, 1]);
        assert_eq!(flatten(-1).unwrap(), [6, 4]);
        assert!(flatten(4).is_err());
    }

    #[test]
    fn axes_of_one_come_and_go() {
        assert_eq!(
            shaped(Op::Squeeze, &[1, 2, 1], Some(&[-1])).unwrap(),
            [1, 2]
        );
        assert_eq!(shaped(Op::Squeeze, &[1, 2, 1], None).unwrap(), [2]);
        assert!(shaped(Op::Squeeze, &[1, 2], Some(&[1])).is_err());
        assert_eq!(
            shaped(Op::Unsqueeze, &[2], Some(&[0, -1])).unwrap(),
            [1, 2, 1]
        );
        assert!(shaped(Op::Unsqueeze, &[2], Some(&[0, 0])).is_err());
        assert!(shaped(Op::Unsqueeze, &[2], None).is_err());
    }

    #[test]
    fn extents_as_values() {
        let x = Tensor::f32(&[2, 3, 4], vec![0.0; 24]).unwrap();
        let run = |start, end| {
            let node = Node::new("s", Op::Shape { start, end }, &["x"], &["y"]);
            let y = evaluate(&node, &[Some(&x)]).unwrap();
            y[0].as_i64().unwrap().to_vec()
        };
        assert_eq!(run(0, None), [2, 3, 4]);
        assert_eq!(run(-2, Some(-1)), [3]);
        assert_eq!(run(2, Some(1)), []);
        assert_eq!(run(-9, Some(99)), [2, 3, 4]);
        let size = evaluate(&Node::new("s", Op::Size, &["x"], &["y"]), &[Some(&x)]).unwrap();
        assert_eq!(size, [Tensor::i64(&[], vec![24]).unwrap()]);
    }

    #[test]
    fn dropout_passes_through() {
        let x = Tensor::f32(&[2], vec![1., 2.]).unwrap();
        let node = Node::new("d", Op::Dropout, &["x", "", "t"], &["y", "mask"]);
        let y = evaluate(&node, &[Some(&x)]).unwrap();
        assert_eq!(y[0], x);
        assert_eq!(y[1].dtype(), DType::Bool);
        let training = Tensor::new(Shape::scalar(), Data::Bool(vec![true])).unwrap();
        assert!(evaluate(&node, &[Some(&x), None, Some(&training)]).is_err());
    }
}
