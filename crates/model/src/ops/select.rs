//! Compress, NonZero and Unique: how much they keep hangs on the values, so
//! that their shape is only known with them.

use super::TypedShape;
use super::args::{Shapes, Tensors};
use super::element::Element;
use crate::{DType, Data, ModelError, Shape, Tensor, match_data};
use std::cmp::Ordering;

pub(super) fn infer_compress(
    args: &Shapes<'_>,
    axis: Option<i64>,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    args.typed(1, &[DType::Bool])?;
    let (kept, axis) = kept(args, &x.shape, args.value(1)?, axis)?;
    let mut dims = x.shape.dims().to_vec();
    match axis {
        Some(axis) => dims[axis] = kept.len(),
        None => dims = vec![kept.len()],
    }
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

/// The positions that are kept of an axis, or of all elements.
fn kept(
    args: &Shapes<'_>,
    x: &Shape,
    condition: &Tensor,
    axis: Option<i64>,
) -> Result<(Vec<usize>, Option<usize>), ModelError> {
    let axis = axis.map(|axis| args.axis(axis, x.rank())).transpose()?;
    let extent = axis.map_or(x.elements(), |axis| x[axis]);
    let (Data::Bool(flags), 1) = (condition.data(), condition.shape().rank()) else {
        return Err(args.wrong("the condition (input 1) must be a list of booleans"));
    };
    let kept: Vec<usize> = (0..flags.len()).filter(|&i| flags[i]).collect();
    if kept.last().is_some_and(|&last| last >= extent) {
        return Err(args.wrong(format!("a position beyond an extent of {extent} is kept")));
    }
    Ok((kept, axis))
}

/// What a condition keeps along `axis`, or of all elements.
pub(super) fn compress(args: &Tensors<'_>, axis: Option<i64>) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?.shape();
    let shapes = Shapes {
        node: args.node,
        inputs: &[],
    };
    let (kept, axis) = kept(&shapes, x, args.need(1)?, axis)?;
    let strides = x.strides();
    let data = args.take(0, &args.output()?.1, |at| {
        let Some(axis) = axis else {
            return Some(kept[at[0]]);
        };
        let axes = at.iter().zip(&strides).enumerate();
        Some(
            axes.map(|(i, (&at, stride))| if i == axis { kept[at] } else { at } * stride)
                .sum(),
        )
    })?;
    args.single(data)
}

pub(super) fn infer_nonzero(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let count = nonzero_places(args.value(0)?.data())
        .ok_or_else(|| args.unsupported(format!("input of type {}", x.dtype)))?
        .len();
    Ok(vec![(DType::I64, args.shape(&[x.shape.rank(), count])?)])
}

fn nonzero_places(data: &Data) -> Option<Vec<usize>> {
    fn places<T: Element>(x: &[T]) -> Vec<usize> {
        (0..x.len()).filter(|&i| x[i] != T::ZERO).collect()
    }
    Some(match_data!(data, v => places(v), Data::Opaque { .. } => return None))
}

/// The indices of elements other than zero, one axis a row, one element a
/// column.
pub(super) fn nonzero(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?;
    let places = nonzero_places(x.data()).ok_or_else(|| args.no_type(0, x.dtype()))?;
    let strides = x.shape().strides();
    let mut indices = Vec::new();
    for (&stride, &extent) in strides.iter().zip(x.shape().iter()) {
        let along = places.iter().map(|place| (place / stride % extent) as i64);
        indices.extend(along);
    }
    args.single(Data::I64(indices))
}

/// Which slices of a tensor differ, in the order in which they are given out.
struct Groups {
    /// The first slice of each.
    first: Vec<usize>,
    /// The group of each slice.
    group: Vec<usize>,
    counts: Vec<usize>,
}

pub(super) fn infer_unique(
    args: &Shapes<'_>,
    axis: Option<i64>,
    sorted: bool,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let axis = axis
        .map(|axis| args.axis(axis, x.shape.rank()))
        .transpose()?;
    let groups = groups(args.value(0)?, axis, sorted)
        .ok_or_else(|| args.unsupported(format!("input {}{}", x.dtype, x.shape)))?;
    let mut dims = x.shape.dims().to_vec();
    match axis {
        Some(axis) => dims[axis] = groups.first.len(),
        None => dims = vec![groups.first.len()],
    }
    let list = |n: usize| Ok((DType::I64, args.shape(&[n])?));
    Ok(vec![
        (x.dtype, args.shape(&dims)?),
        list(groups.first.len())?,
        list(groups.group.len())?,
        list(groups.first.len())?,
    ])
}

/// The slices along an axis (or the elements) that differ, the smallest first or
/// in the order of their first appearance; where each first stands, which one
/// each slice is, how often each stands. NaNs are equal and the largest.
pub(super) fn unique(
    args: &Tensors<'_>,
    axis: Option<i64>,
    sorted: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?;
    let shapes = Shapes {
        node: args.node,
        inputs: &[],
    };
    let axis = axis
        .map(|axis| shapes.axis(axis, x.shape().rank()))
        .transpose()?;
    let groups = groups(x, axis, sorted).ok_or_else(|| args.no_type(0, x.dtype()))?;
    let strides = x.shape().strides();
    let data = args.take(0, &args.output()?.1, |at| {
        let Some(axis) = axis else {
            return Some(groups.first[at[0]]);
        };
        let axes = at.iter().zip(&strides).enumerate();
        let index = axes.map(|(i, (&at, stride))| {
            let at = if i == axis { groups.first[at] } else { at };
            at * stride
        });
        Some(index.sum())
    })?;
    let mut outputs = args.single(data)?;
    for (list, (_, shape)) in [&groups.first, &groups.group, &groups.counts]
        .into_iter()
        .zip(args.outputs.iter().skip(1))
    {
        let list = list.iter().map(|&i| i as i64).collect();
        outputs.push(Tensor::new(shape.clone(), Data::I64(list))?);
    }
    Ok(outputs)
}

fn groups(x: &Tensor, axis: Option<usize>, sorted: bool) -> Option<Groups> {
    fn compare<T: Element>(a: T, b: T) -> Ordering {
        let is_nan = |x: T| x.partial_cmp(&x).is_none();
        a.partial_cmp(&b)
            .unwrap_or_else(|| is_nan(a).cmp(&is_nan(b)))
    }
    fn of<T: Element>(x: &[T], shape: &Shape, axis: Option<usize>) -> Groups {
        let (outer, extent, inner) = match axis {
            None => (1, x.len(), 1),
            Some(axis) => (
                shape.iter().take(axis).product(),
                shape[axis],
                shape.iter().skip(axis + 1).product::<usize>(),
            ),
        };
        let slices = |a: usize, b: usize| {
            let blocks = (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i)));
            let pairs = blocks.map(|(o, i)| {
                let at = |slice: usize| x[(o * extent + slice) * inner + i];
                compare(at(a), at(b))
            });
            pairs.fold(Ordering::Equal, Ordering::then)
        };
        Groups::of_sorted(extent, &slices)
    }
    // Slices without elements may be more than can be listed.
    if axis.is_some() && x.shape().elements() == 0 {
        return None;
    }
    let groups = match_data!(x.data(), v => of(v, x.shape(), axis), Data::Opaque { .. } => {
        return None;
    });
    Some(if sorted {
        groups
    } else {
        groups.by_appearance()
    })
}

impl Groups {
    /// Slices that compare as equal, in their order. One sort serves all types: each of its own would be compiled anew.
    fn of_sorted(extent: usize, order: &dyn Fn(usize, usize) -> Ordering) -> Self {
        let mut ordered: Vec<usize> = (0..extent).collect();
        ordered.sort_by(|&a, &b| order(a, b));
        let mut groups = Self {
            first: Vec::new(),
            group: vec![0; extent],
            counts: Vec::new(),
        };
        for (i, &slice) in ordered.iter().enumerate() {
            if i == 0 || order(ordered[i - 1], slice).is_ne() {
                groups.first.push(slice);
                groups.counts.push(0);
            }
            let last = groups.first.len() - 1;
            groups.group[slice] = last;
            groups.counts[last] += 1;
        }
        groups
    }

    fn by_appearance(self) -> Self {
        let mut order: Vec<usize> = (0..self.first.len()).collect();
        order.sort_by_key(|&group| self.first[group]);
        let mut rank = vec![0; order.len()];
        for (i, &group) in order.iter().enumerate() {
            rank[group] = i;
        }
        Self {
            first: order.iter().map(|&g| self.first[g]).collect(),
            counts: order.iter().map(|&g| self.counts[g]).collect(),
            group: self.group.iter().map(|&g| rank[g]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ShapeInput, evaluate, infer};
    use crate::{DType, Data, ModelError, Node, Op, Shape, Tensor};

    fn grid() -> Tensor {
        Tensor::u8(&[2, 3], vec![0, 2, 0, 4, 0, 6]).unwrap()
    }

    #[test]
    fn a_condition_keeps() {
        let run = |axis, flags: &[bool]| {
            let shape = Shape::new(&[flags.len()]).unwrap();
            let flags = Tensor::new(shape, Data::Bool(flags.to_vec())).unwrap();
            let node = Node::new("c", Op::Compress { axis }, &["x", "c"], &["y"]);
            evaluate(&node, &[Some(&grid()), Some(&flags)]).map(|mut y| y.remove(0))
        };
        let y = run(Some(-1), &[true, false, true]).unwrap();
        assert_eq!(y, Tensor::u8(&[2, 2], vec![0, 0, 4, 6]).unwrap());
        let y = run(None, &[false, true, false, true]).unwrap();
        assert_eq!(y, Tensor::u8(&[2], vec![2, 4]).unwrap());
        assert!(run(Some(0), &[false, false, true]).is_err());
    }

    #[test]
    fn nonzero_needs_the_value() {
        let node = Node::new("n", Op::NonZero, &["x"], &["y"]);
        let y = evaluate(&node, &[Some(&grid())]).unwrap();
        assert_eq!(y, [Tensor::i64(&[2, 3], vec![0, 1, 1, 1, 0, 2]).unwrap()]);
        let x = ShapeInput::new(DType::U8, Shape::new(&[2]).unwrap());
        let error = infer(&node, &[Some(x)]).unwrap_err();
        assert!(matches!(error, ModelError::ValueNeeded { .. }), "{error}");
    }

    #[test]
    fn unique_values_and_rows() {
        let run = |x: &Tensor, axis, sorted| {
            let op = Op::Unique { axis, sorted };
            let node = Node::new("u", op, &["x"], &["y", "first", "group", "count"]);
            evaluate(&node, &[Some(x)]).unwrap()
        };
        let list = |v: &[i64]| Tensor::i64(&[v.len()], v.to_vec()).unwrap();
        let x = list(&[2, 1, 1, 3]);
        assert_eq!(
            run(&x, None, true),
            [
                list(&[1, 2, 3]),
                list(&[1, 0, 3]),
                list(&[1, 0, 0, 2]),
                list(&[2, 1, 1])
            ]
        );
        assert_eq!(
            run(&x, None, false),
            [
                list(&[2, 1, 3]),
                list(&[0, 1, 3]),
                list(&[0, 1, 1, 2]),
                list(&[1, 2, 1])
            ]
        );
        let rows = Tensor::u8(&[3, 2], vec![1, 0, 0, 9, 1, 0]).unwrap();
        assert_eq!(
            run(&rows, Some(0), true)[0],
            Tensor::u8(&[2, 2], vec![0, 9, 1, 0]).unwrap()
        );
        let nan = Tensor::f32(&[3], vec![f32::NAN, 1.0, f32::NAN]).unwrap();
        assert_eq!(run(&nan, None, true)[3], list(&[1, 2]));
    }
}
