//! ScatterElements, ScatterND and TensorScatter: a tensor with elements and
//! blocks replaced by index. Updates take effect in their order.

use super::TypedShape;
use super::args::{NUMBERS, Shapes, Tensors, resolve_axis};
use super::element::{Element, Number, match_numbers};
use super::gather;
use crate::{DType, Data, ModelError, Tensor, match_data};

/// What becomes of the element that an update meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScatterReduction {
    /// It is replaced.
    #[default]
    None,
    /// The sum.
    Add,
    /// The product.
    Mul,
    /// The larger.
    Max,
    /// The smaller.
    Min,
}

pub(super) fn infer_elements(
    args: &Shapes<'_>,
    axis: i64,
    reduction: ScatterReduction,
) -> Result<Vec<TypedShape>, ModelError> {
    let (x, indices) = (args.need(0)?, args.typed(1, gather::INDICES)?);
    let axis = args.axis(axis, x.shape.rank())?;
    gather::check_within(args, &x.shape, &indices.shape, axis)?;
    check_updates(args, &indices.shape, reduction)?;
    Ok(vec![(x.dtype, x.shape.clone())])
}

pub(super) fn infer_nd(
    args: &Shapes<'_>,
    reduction: ScatterReduction,
) -> Result<Vec<TypedShape>, ModelError> {
    let (x, indices) = (args.need(0)?, args.typed(1, &[DType::I64])?);
    let (needed, _) = gather::block(args, &x.shape, &indices.shape, 0)?;
    check_updates(args, &needed, reduction)?;
    Ok(vec![(x.dtype, x.shape.clone())])
}

fn check_updates(
    args: &Shapes<'_>,
    needed: &crate::Shape,
    reduction: ScatterReduction,
) -> Result<(), ModelError> {
    args.same_type(2)?;
    if reduction != ScatterReduction::None {
        args.typed(0, NUMBERS)?;
    }
    let updates = &args.need(2)?.shape;
    if updates != needed {
        return Err(args.wrong(format!(
            "updates (input 2) must be {needed}, found {updates}"
        )));
    }
    Ok(())
}

/// `y = x`, then `y[i, indices[i, j, k], k] = updates[i, j, k]` where `axis` is
/// 1.
pub(super) fn elements(
    args: &Tensors<'_>,
    axis: i64,
    reduction: ScatterReduction,
) -> Result<Vec<Tensor>, ModelError> {
    let places = gather::element_places(args, axis)?;
    update(args, 2, &places, 1, reduction)
}

/// `y = x`, then `y[indices[i…], :] = updates[i…, :]`.
pub(super) fn nd(
    args: &Tensors<'_>,
    reduction: ScatterReduction,
) -> Result<Vec<Tensor>, ModelError> {
    let places = gather::block_starts(args, 0)?;
    let depth = args.need(1)?.shape().last().copied().unwrap_or(0);
    let run = args.need(0)?.shape().iter().skip(depth).product();
    update(args, 2, &places, run, reduction)
}

/// Input 0 with the runs of input `index` at the given places.
fn update(
    args: &Tensors<'_>,
    index: usize,
    places: &[usize],
    run: usize,
    reduction: ScatterReduction,
) -> Result<Vec<Tensor>, ModelError> {
    fn combine<T: Element>(
        args: &Tensors<'_>,
        x: &[T],
        (index, places, run): (usize, &[usize], usize),
        with: fn(T, T) -> T,
    ) -> Result<Data, ModelError> {
        let updates = args.need(index)?;
        let new = T::unwrap(updates.data()).ok_or_else(|| args.no_type(index, updates.dtype()))?;
        let mut y = x.to_vec();
        for (i, &place) in places.iter().enumerate() {
            for j in 0..run {
                let old = &mut y[place + j];
                *old = with(*old, new[i * run + j]);
            }
        }
        Ok(T::wrap(y))
    }
    fn arithmetic<T: Number>(reduction: ScatterReduction) -> fn(T, T) -> T {
        match reduction {
            ScatterReduction::None => |_, new| new,
            ScatterReduction::Add => T::add,
            ScatterReduction::Mul => T::mul,
            // NaN stays.
            ScatterReduction::Max => |old, new| if new <= old || is_nan(old) { old } else { new },
            ScatterReduction::Min => |old, new| if new >= old || is_nan(old) { old } else { new },
        }
    }
    let (x, at) = (args.need(0)?, (index, places, run));
    let unknown = |dtype| args.no_type(0, dtype);
    let data = match reduction {
        ScatterReduction::None => {
            match_data!(x.data(), v => combine(args, v, at, |_, new| new)?, other => {
                return Err(unknown(other.dtype()));
            })
        }
        _ => {
            match_numbers!(x.data(), v => combine(args, v, at, arithmetic(reduction))?, other => {
                return Err(unknown(other.dtype()));
            })
        }
    };
    args.single(data)
}

fn is_nan<T: PartialOrd>(x: T) -> bool {
    x.partial_cmp(&x).is_none()
}

pub(super) fn infer_cache(args: &Shapes<'_>, axis: i64) -> Result<Vec<TypedShape>, ModelError> {
    let (x, new) = (args.need(0)?, args.need(1)?);
    args.same_type(1)?;
    let axis = args.axis(axis, x.shape.rank())?;
    let agrees = axis > 0
        && new.shape.rank() == x.shape.rank()
        && (0..x.shape.rank()).all(|i| match i == axis {
            true => new.shape[i] <= x.shape[i],
            false => new.shape[i] == x.shape[i],
        });
    if !agrees {
        return Err(args.wrong(format!(
            "an update of shape {} does not fit {} along axis {axis}",
            new.shape, x.shape
        )));
    }
    if args.get(2).is_some() {
        let starts = args.typed(2, &[DType::I64])?;
        if starts.shape.dims() != [x.shape[0]] {
            return Err(args.wrong(format!(
                "write indices (input 2) must be [{}], found {}",
                x.shape[0], starts.shape
            )));
        }
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// A cache `[n, …, t, …]` with `update` written along `axis` from each row's
/// write index on; `circular` goes on at the beginning of the axis.
pub(super) fn cache(
    args: &Tensors<'_>,
    axis: i64,
    circular: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let (x, new) = (args.need(0)?.shape(), args.need(1)?.shape());
    let axis = resolve_axis(axis, x.rank())
        .ok_or_else(|| args.wrong(format!("axis {axis} is outside the rank")))?;
    // Rows without elements may be more than can be listed.
    if x.elements() == 0 {
        return Ok(vec![args.need(0)?.clone()]);
    }
    let starts = match args.get(2) {
        Some(_) => gather::indices(args, 2)?,
        None => vec![0; x[0]],
    };
    let outer: usize = x.iter().take(axis).product();
    let run: usize = x.iter().skip(axis + 1).product();
    let (extent, count) = (x[axis], new[axis]);
    let mut places = Vec::new();
    for row in 0..outer {
        let start = starts[row / (outer / x[0])];
        for i in 0..count {
            let at = start.checked_add(i as i64);
            let at = match circular {
                true => at.map(|at| at.rem_euclid(extent as i64)),
                false => at.filter(|at| (0..extent as i64).contains(at)),
            };
            let at = at.ok_or_else(|| {
                args.wrong(format!(
                    "{count} entries from {start} on leave an axis of {extent}"
                ))
            })?;
            places.push((row * extent + at as usize) * run);
        }
    }
    update(args, 1, &places, run, ScatterReduction::None)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::ScatterReduction;
    use crate::{Data, Node, Op, Shape, Tensor};

    fn list(values: &[f32]) -> Tensor {
        Tensor::f32(&[values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn every_reduction() {
        let run = |reduction| {
            let op = Op::ScatterElements { axis: 0, reduction };
            let node = Node::new("s", op, &["x", "i", "u"], &["y"]);
            let indices = Tensor::i64(&[3], vec![1, -1, 1]).unwrap();
            let parts = [list(&[1., 2., 3.]), indices, list(&[5., f32::NAN, 4.])];
            let y = evaluate(&node, &parts.each_ref().map(Some)).unwrap();
            y[0].as_f32().unwrap()[..2].to_vec()
        };
        assert_eq!(run(ScatterReduction::None), [1., 4.]);
        assert_eq!(run(ScatterReduction::Add), [1., 11.]);
        assert_eq!(run(ScatterReduction::Mul), [1., 40.]);
        assert_eq!(run(ScatterReduction::Max), [1., 5.]);
        assert_eq!(run(ScatterReduction::Min), [1., 2.]);
    }

    #[test]
    fn blocks_are_replaced() {
        let op = Op::ScatterND {
            reduction: ScatterReduction::None,
        };
        let node = Node::new("s", op, &["x", "i", "u"], &["y"]);
        let x = Tensor::u8(&[3, 2], vec![0; 6]).unwrap();
        let i = Tensor::i64(&[2, 1], vec![2, 0]).unwrap();
        let u = Tensor::u8(&[2, 2], vec![1, 2, 3, 4]).unwrap();
        let y = evaluate(&node, &[Some(&x), Some(&i), Some(&u)]).unwrap();
        assert_eq!(y, [Tensor::u8(&[3, 2], vec![3, 4, 0, 0, 1, 2]).unwrap()]);
        let short = Tensor::u8(&[2, 1], vec![1, 2]).unwrap();
        assert!(evaluate(&node, &[Some(&x), Some(&i), Some(&short)]).is_err());
    }

    #[test]
    fn booleans_have_no_sum() {
        let op = Op::ScatterElements {
            axis: 0,
            reduction: ScatterReduction::Add,
        };
        let node = Node::new("s", op, &["x", "i", "u"], &["y"]);
        let flag = Tensor::new(Shape::new(&[1]).unwrap(), Data::Bool(vec![true])).unwrap();
        let i = Tensor::i64(&[1], vec![0]).unwrap();
        assert!(evaluate(&node, &[Some(&flag), Some(&i), Some(&flag)]).is_err());
    }

    #[test]
    fn caches_are_written_row_by_row() {
        let run = |circular, starts: &[i64]| {
            let op = Op::TensorScatter { axis: 1, circular };
            let node = Node::new("t", op, &["x", "u", "s"], &["y"]);
            let x = Tensor::u8(&[2, 3], vec![0; 6]).unwrap();
            let u = Tensor::u8(&[2, 2], vec![1, 2, 3, 4]).unwrap();
            let s = Tensor::i64(&[2], starts.to_vec()).unwrap();
            evaluate(&node, &[Some(&x), Some(&u), Some(&s)]).map(|mut y| y.remove(0))
        };
        let y = Tensor::u8(&[2, 3], vec![0, 1, 2, 3, 4, 0]).unwrap();
        assert_eq!(run(false, &[1, 0]).unwrap(), y);
        assert!(run(false, &[2, 0]).is_err());
        let y = Tensor::u8(&[2, 3], vec![2, 0, 1, 3, 4, 0]).unwrap();
        assert_eq!(run(true, &[2, 0]).unwrap(), y);
        assert!(run(true, &[i64::MAX, 0]).is_err());
    }
}
