//! Transpose.

use super::TypedShape;
use super::args::{Shapes, Tensors};
use super::element::Element;
use crate::{Data, ModelError, Tensor, match_data};

pub(super) fn infer(
    args: &Shapes<'_>,
    perm: Option<&[usize]>,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let rank = x.shape.rank();
    let order = order(perm, rank);
    let mut seen = vec![false; rank];
    let is_permutation = order.len() == rank
        && order
            .iter()
            .all(|&axis| axis < rank && !std::mem::replace(&mut seen[axis], true));
    if !is_permutation {
        return Err(args.wrong(format!("`perm` {order:?} does not permute {rank} axes")));
    }
    let dims: Vec<usize> = order.iter().map(|&axis| x.shape[axis]).collect();
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

/// Axis `i` of y is axis `perm[i]` of x; without `perm` the axes are reversed.
pub(super) fn evaluate(
    args: &Tensors<'_>,
    perm: Option<&[usize]>,
) -> Result<Vec<Tensor>, ModelError> {
    fn permute<T: Element>(x: &[T], axes: &[(usize, usize)], elements: usize) -> Data {
        let source = |mut at: usize| {
            axes.iter().fold(0, |index, &(extent, stride)| {
                let step = at % extent * stride;
                at /= extent;
                index + step
            })
        };
        T::wrap((0..elements).map(|at| x[source(at)]).collect())
    }
    let x = args.need(0)?;
    let strides = x.shape().strides();
    // Extent and source stride of each axis of y, innermost first.
    let axes: Vec<(usize, usize)> = order(perm, x.shape().rank())
        .iter()
        .rev()
        .map(|&axis| (x.shape()[axis], strides[axis]))
        .collect();
    let elements = x.shape().elements();
    let data = match_data!(x.data(), v => permute(v, &axes, elements), other => {
        return Err(args.no_type(0, other.dtype()));
    });
    args.single(data)
}

fn order(perm: Option<&[usize]>, rank: usize) -> Vec<usize> {
    perm.map_or_else(|| (0..rank).rev().collect(), <[usize]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Node, Op, Tensor};

    #[test]
    fn axes_move() {
        let x = Tensor::u8(&[2, 1, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
        let run = |perm: Option<&[usize]>| {
            let op = Op::Transpose {
                perm: perm.map(<[usize]>::to_vec),
            };
            evaluate(&Node::new("t", op, &["x"], &["y"]), &[Some(&x)])
        };
        let reversed = Tensor::u8(&[3, 1, 2], vec![1, 4, 2, 5, 3, 6]).unwrap();
        assert_eq!(run(None).unwrap(), [reversed]);
        let swapped = Tensor::u8(&[1, 2, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(run(Some(&[1, 0, 2])).unwrap(), [swapped]);
        assert!(run(Some(&[0, 0, 2])).is_err());
        assert!(run(Some(&[0, 1])).is_err());
        assert!(run(Some(&[0, 1, 3])).is_err());
    }
}
