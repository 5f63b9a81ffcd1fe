//! GatherElements and GatherND: elements and blocks taken by index. Negative
//! indices count from the end of their axis.

use super::TypedShape;
use super::args::{Shapes, Tensors, resolve_axis};
use crate::{DType, Data, ModelError, Shape, Tensor};

/// The types of an index.
pub(super) const INDICES: &[DType] = &[DType::I32, DType::I64];

pub(super) fn infer_elements(args: &Shapes<'_>, axis: i64) -> Result<Vec<TypedShape>, ModelError> {
    let (x, indices) = (args.need(0)?, args.typed(1, INDICES)?);
    let axis = args.axis(axis, x.shape.rank())?;
    check_within(args, &x.shape, &indices.shape, axis)?;
    Ok(vec![(x.dtype, indices.shape.clone())])
}

/// The indices' extents must not go beyond x's, save along `axis`.
pub(super) fn check_within(
    args: &Shapes<'_>,
    x: &Shape,
    indices: &Shape,
    axis: usize,
) -> Result<(), ModelError> {
    let fits = indices.rank() == x.rank() && (0..x.rank()).all(|i| i == axis || indices[i] <= x[i]);
    if fits {
        return Ok(());
    }
    Err(args.wrong(format!(
        "indices of shape {indices} do not fit {x} along axis {axis}"
    )))
}

/// `y[i, j, k] = x[i, indices[i, j, k], k]` where `axis` is 1.
pub(super) fn elements(args: &Tensors<'_>, axis: i64) -> Result<Vec<Tensor>, ModelError> {
    let places = element_places(args, axis)?;
    let strides = args.output()?.1.strides();
    let data = args.take(0, &args.output()?.1, |at| {
        let i: usize = at.iter().zip(&strides).map(|(i, s)| i * s).sum();
        Some(places[i])
    })?;
    args.single(data)
}

/// For every element of the indices (input 1), the place in input 0 that it
/// stands for.
pub(super) fn element_places(args: &Tensors<'_>, axis: i64) -> Result<Vec<usize>, ModelError> {
    let (x, shape) = (args.need(0)?.shape(), args.need(1)?.shape());
    let axis = resolve_axis(axis, x.rank())
        .ok_or_else(|| args.wrong(format!("axis {axis} is outside the rank")))?;
    let strides = x.strides();
    let mut at = vec![0; shape.rank()];
    let mut places = Vec::new();
    for index in indices(args, 1)? {
        let place = within(args, index, x[axis])?;
        let axes = at.iter().zip(&strides).enumerate();
        let index = axes.map(|(i, (&at, stride))| if i == axis { place } else { at } * stride);
        places.push(index.sum());
        super::window::advance(&mut at, shape);
    }
    Ok(places)
}

pub(super) fn infer_nd(
    args: &Shapes<'_>,
    batch_dims: usize,
) -> Result<Vec<TypedShape>, ModelError> {
    let (x, indices) = (args.need(0)?, args.typed(1, &[DType::I64])?);
    let (dims, _) = block(args, &x.shape, &indices.shape, batch_dims)?;
    Ok(vec![(x.dtype, dims)])
}

/// What indices `[…, k]` into x, of which the first `batch_dims` axes are
/// shared, select: the extents of all, and the elements of one block.
pub(super) fn block(
    args: &Shapes<'_>,
    x: &Shape,
    indices: &Shape,
    batch_dims: usize,
) -> Result<(Shape, usize), ModelError> {
    let misfit = || {
        args.wrong(format!(
            "indices of shape {indices} do not fit {x} with {batch_dims} shared axes"
        ))
    };
    let [outer @ .., depth @ 1..=usize::MAX] = indices.dims() else {
        return Err(misfit());
    };
    let shared = outer.get(..batch_dims).ok_or_else(misfit)?;
    let selected = batch_dims.checked_add(*depth).ok_or_else(misfit)?;
    if x.rank() == 0 || x.get(..batch_dims) != Some(shared) {
        return Err(misfit());
    }
    let inner = x.get(selected..).ok_or_else(misfit)?;
    let dims = [outer, inner].concat();
    Ok((args.shape(&dims)?, inner.iter().product()))
}

/// `y[b, i…, :] = x[b, indices[b, i…], :]`.
pub(super) fn nd(args: &Tensors<'_>, batch_dims: usize) -> Result<Vec<Tensor>, ModelError> {
    let starts = block_starts(args, batch_dims)?;
    let output = &args.output()?.1;
    let strides = output.strides();
    let outer = args.need(1)?.shape().rank() - 1;
    let inner: usize = output.iter().skip(outer).product();
    let data = args.take(0, output, |at| {
        let i: usize = at.iter().zip(&strides).map(|(i, s)| i * s).sum();
        Some(starts[i / inner] + i % inner)
    })?;
    args.single(data)
}

/// Where in input 0 the block of each index of input 1 starts.
pub(super) fn block_starts(
    args: &Tensors<'_>,
    batch_dims: usize,
) -> Result<Vec<usize>, ModelError> {
    let (x, shape) = (args.need(0)?.shape(), args.need(1)?.shape());
    let (Some((&depth, outer)), strides) = (shape.split_last(), x.strides()) else {
        return Err(args.wrong("indices (input 1) are a scalar"));
    };
    let places: usize = outer.iter().product();
    let shared: usize = outer.iter().take(batch_dims).product();
    let batch_size: usize = x.iter().skip(batch_dims).product();
    let indices = indices(args, 1)?;
    (0..places)
        .map(|i| {
            let batch = i / (places / shared);
            let index = &indices[i * depth..][..depth];
            let axes = index.iter().enumerate();
            axes.map(|(axis, &index)| (axis + batch_dims, index))
                .try_fold(batch * batch_size, |start, (axis, index)| {
                    Ok(start + within(args, index, x[axis])? * strides[axis])
                })
        })
        .collect()
}

/// The indices of an input.
pub(super) fn indices(args: &Tensors<'_>, input: usize) -> Result<Vec<i64>, ModelError> {
    match args.need(input)?.data() {
        Data::I64(v) => Ok(v.clone()),
        Data::I32(v) => Ok(v.iter().map(|&i| i.into()).collect()),
        other => Err(args.no_type(input, other.dtype())),
    }
}

/// An index counted from the end when negative; below the extent.
fn within(args: &Tensors<'_>, index: i64, extent: usize) -> Result<usize, ModelError> {
    resolve_axis(index, extent)
        .ok_or_else(|| args.wrong(format!("index {index} is outside an extent of {extent}")))
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Node, Op, Tensor};

    #[test]
    fn elements_by_index() {
        let node = Node::new("g", Op::GatherElements { axis: 1 }, &["x", "i"], &["y"]);
        let x = Tensor::u8(&[2, 2], vec![1, 2, 3, 4]).unwrap();
        let i = Tensor::i64(&[2, 3], vec![0, 0, -1, 1, 0, 0]).unwrap();
        let y = evaluate(&node, &[Some(&x), Some(&i)]).unwrap();
        assert_eq!(y, [Tensor::u8(&[2, 3], vec![1, 1, 2, 4, 3, 3]).unwrap()]);
        let beyond = Tensor::i64(&[1, 1], vec![2]).unwrap();
        assert!(evaluate(&node, &[Some(&x), Some(&beyond)]).is_err());
        let tall = Tensor::i64(&[3, 1], vec![0; 3]).unwrap();
        assert!(evaluate(&node, &[Some(&x), Some(&tall)]).is_err());
    }

    #[test]
    fn blocks_by_index() {
        let x = Tensor::u8(&[2, 2, 2], (0..8).collect()).unwrap();
        let run = |batch_dims, dims: &[usize], indices: &[i64]| {
            let op = Op::GatherND { batch_dims };
            let i = Tensor::i64(dims, indices.to_vec()).unwrap();
            let node = Node::new("g", op, &["x", "i"], &["y"]);
            evaluate(&node, &[Some(&x), Some(&i)]).map(|mut y| y.remove(0))
        };
        let y = run(0, &[2, 2], &[0, 1, -1, 0]).unwrap();
        assert_eq!(y, Tensor::u8(&[2, 2], vec![2, 3, 4, 5]).unwrap());
        let y = run(1, &[2, 1], &[1, 0]).unwrap();
        assert_eq!(y, Tensor::u8(&[2, 2], vec![2, 3, 4, 5]).unwrap());
        let y = run(0, &[1, 3], &[1, 1, 0]).unwrap();
        assert_eq!(y, Tensor::u8(&[1], vec![6]).unwrap());
        assert!(run(0, &[1, 4], &[0; 4]).is_err());
        assert!(run(0, &[1, 1], &[2]).is_err());
        assert!(run(usize::MAX, &[1, 1], &[0]).is_err());
    }
}
