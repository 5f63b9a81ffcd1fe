//! Concat and Gather: values put together along one axis.

use super::TypedShape;
use super::args::{Shapes, Tensors, resolve_axis};
use super::element::Element;
use crate::{DType, Data, ModelError, Tensor, match_data};

pub(super) fn infer_concat(args: &Shapes<'_>, axis: i64) -> Result<Vec<TypedShape>, ModelError> {
    let first = args.need(0)?;
    let axis = args.axis(axis, first.shape.rank())?;
    let mut dims = first.shape.dims().to_vec();
    for index in 1..args.inputs.len() {
        let other = args.need(index)?;
        args.same_type(index)?;
        let agrees = other.shape.rank() == dims.len()
            && (0..dims.len()).all(|i| i == axis || other.shape[i] == dims[i]);
        if !agrees {
            return Err(args.wrong(format!(
                "input {index} of shape {} does not continue {} along axis {axis}",
                other.shape, first.shape
            )));
        }
        dims[axis] = dims[axis]
            .checked_add(other.shape[axis])
            .ok_or_else(|| args.wrong("the sum of extents overflows"))?;
    }
    Ok(vec![(first.dtype, args.shape(&dims)?)])
}

pub(super) fn concat(args: &Tensors<'_>, axis: i64) -> Result<Vec<Tensor>, ModelError> {
    fn join<T: Element>(args: &Tensors<'_>, _: &[T], axis: usize) -> Result<Data, ModelError> {
        let outer: usize = args.output()?.1.iter().take(axis).product();
        let mut parts = Vec::new();
        for index in 0..args.inputs.len() {
            let tensor = args.need(index)?;
            let values =
                T::unwrap(tensor.data()).ok_or_else(|| args.no_type(index, tensor.dtype()))?;
            let run: usize = tensor.shape().iter().skip(axis).product();
            parts.push((values, run));
        }
        let mut joined = Vec::new();
        for i in 0..outer {
            for (values, run) in &parts {
                joined.extend_from_slice(&values[i * run..(i + 1) * run]);
            }
        }
        Ok(T::wrap(joined))
    }
    let first = args.need(0)?;
    let axis = resolve_axis(axis, first.shape().rank())
        .ok_or_else(|| args.wrong(format!("axis {axis} is outside the rank")))?;
    let data = match_data!(first.data(), v => join(args, v, axis)?, other => {
        return Err(args.no_type(0, other.dtype()));
    });
    args.single(data)
}

pub(super) fn infer_gather(args: &Shapes<'_>, axis: i64) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let indices = args.typed(1, &[DType::I32, DType::I64])?;
    let axis = args.axis(axis, x.shape.rank())?;
    let dims = [&x.shape[..axis], indices.shape.dims(), &x.shape[axis + 1..]].concat();
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

/// `y[i…, j…, k…] = x[i…, indices[j…], k…]` with the indices along `axis`;
/// negative ones count from the end.
pub(super) fn gather(args: &Tensors<'_>, axis: i64) -> Result<Vec<Tensor>, ModelError> {
    fn pick<T: Element>(x: &[T], outer: usize, extent: usize, run: usize, at: &[usize]) -> Data {
        let mut picked = Vec::new();
        for i in 0..outer {
            for place in at {
                let start = (i * extent + place) * run;
                picked.extend_from_slice(&x[start..start + run]);
            }
        }
        T::wrap(picked)
    }
    let (x, indices) = (args.need(0)?, args.need(1)?);
    let axis = resolve_axis(axis, x.shape().rank())
        .ok_or_else(|| args.wrong(format!("axis {axis} is outside the rank")))?;
    let extent = x.shape()[axis];
    let indices: Vec<i64> = match indices.data() {
        Data::I64(v) => v.clone(),
        Data::I32(v) => v.iter().map(|&i| i.into()).collect(),
        other => return Err(args.no_type(1, other.dtype())),
    };
    let places = indices
        .iter()
        .map(|&i| {
            resolve_axis(i, extent)
                .ok_or_else(|| args.wrong(format!("index {i} is outside an extent of {extent}")))
        })
        .collect::<Result<Vec<usize>, _>>()?;
    let outer = x.shape().iter().take(axis).product();
    let run = x.shape().iter().skip(axis + 1).product();
    let data = match_data!(x.data(), v => pick(v, outer, extent, run, &places), other => {
        return Err(args.no_type(0, other.dtype()));
    });
    args.single(data)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Node, Op, Tensor};

    #[test]
    fn joined_along_an_inner_axis() {
        let node = Node::new("c", Op::Concat { axis: -1 }, &["a", "b"], &["y"]);
        let a = Tensor::u8(&[2, 1], vec![1, 2]).unwrap();
        let b = Tensor::u8(&[2, 2], vec![3, 4, 5, 6]).unwrap();
        let y = evaluate(&node, &[Some(&a), Some(&b)]).unwrap();
        assert_eq!(y, [Tensor::u8(&[2, 3], vec![1, 3, 4, 2, 5, 6]).unwrap()]);
        let c = Tensor::u8(&[3, 1], vec![0; 3]).unwrap();
        assert!(evaluate(&node, &[Some(&a), Some(&c)]).is_err());
        let d = Tensor::i8(&[2, 1], vec![0; 2]).unwrap();
        assert!(evaluate(&node, &[Some(&a), Some(&d)]).is_err());
        assert!(evaluate(&node, &[]).is_err());
    }

    #[test]
    fn indices_count_from_either_end() {
        let node = Node::new("g", Op::Gather { axis: 1 }, &["x", "i"], &["y"]);
        let x = Tensor::f32(&[2, 3], vec![1., 2., 3., 4., 5., 6.]).unwrap();
        let i = Tensor::i64(&[1, 2], vec![-1, 0]).unwrap();
        let y = evaluate(&node, &[Some(&x), Some(&i)]).unwrap();
        assert_eq!(y, [Tensor::f32(&[2, 1, 2], vec![3., 1., 6., 4.]).unwrap()]);
        let scalar = Tensor::i64(&[], vec![1]).unwrap();
        let y = evaluate(&node, &[Some(&x), Some(&scalar)]).unwrap();
        assert_eq!(y, [Tensor::f32(&[2], vec![2., 5.]).unwrap()]);
        let beyond = Tensor::i64(&[1], vec![3]).unwrap();
        assert!(evaluate(&node, &[Some(&x), Some(&beyond)]).is_err());
    }
}
