//! Expand and Tile: a tensor repeated along its axes.

use super::TypedShape;
use super::args::{Shapes, Tensors};
use crate::{ModelError, Op, Tensor};

pub(super) fn infer(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let list = args
        .integers(1)?
        .ok_or_else(|| args.wrong("input 1 is missing"))?
        .into_iter()
        .map(usize::try_from)
        .collect::<Result<Vec<usize>, _>>()
        .map_err(|_| args.wrong("input 1 must not be negative"))?;
    let shape = match args.node.op {
        Op::Expand => {
            let asked = args.shape(&list)?;
            let broadcast = x.shape.broadcast(&asked);
            broadcast.ok_or_else(|| {
                args.wrong(format!("shapes {} and {asked} do not broadcast", x.shape))
            })?
        }
        _ if list.len() != x.shape.rank() => {
            return Err(args.wrong(format!(
                "{} repeats for {} axes",
                list.len(),
                x.shape.rank()
            )));
        }
        _ => {
            let axes = x.shape.iter().zip(&list);
            let dims: Option<Vec<usize>> = axes.map(|(d, n)| d.checked_mul(*n)).collect();
            let dims = dims.ok_or_else(|| args.wrong("an extent overflows"))?;
            args.shape(&dims)?
        }
    };
    Ok(vec![(x.dtype, shape)])
}

/// Expand: x broadcast with a shape. Tile: x over and over along each axis.
pub(super) fn evaluate(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?.shape();
    let strides = x.strides();
    let data = args.take(0, &args.output()?.1, |at| {
        let first = at.len() - x.rank();
        let axes = x.iter().zip(&strides).zip(&at[first..]);
        Some(axes.map(|((extent, stride), i)| i % extent * stride).sum())
    })?;
    args.single(data)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{ModelError, Node, Op, Tensor};

    fn run(op: Op, list: &[i64]) -> Result<Tensor, ModelError> {
        let x = Tensor::u8(&[2, 1], vec![1, 2]).unwrap();
        let list = Tensor::i64(&[list.len()], list.to_vec()).unwrap();
        let node = Node::new("n", op, &["x", "l"], &["y"]);
        evaluate(&node, &[Some(&x), Some(&list)]).map(|mut y| y.remove(0))
    }

    #[test]
    fn broadcast_both_ways() {
        let y = run(Op::Expand, &[2, 1, 2]).unwrap();
        assert_eq!(
            y,
            Tensor::u8(&[2, 2, 2], vec![1, 1, 2, 2, 1, 1, 2, 2]).unwrap()
        );
        let y = run(Op::Expand, &[3]).unwrap();
        assert_eq!(y, Tensor::u8(&[2, 3], vec![1, 1, 1, 2, 2, 2]).unwrap());
        assert!(run(Op::Expand, &[3, 1]).is_err());
        assert!(run(Op::Expand, &[-1]).is_err());
        assert!(run(Op::Expand, &[1 << 40, 1, 1]).is_err());
    }

    #[test]
    fn tiles() {
        let y = run(Op::Tile, &[2, 2]).unwrap();
        assert_eq!(
            y,
            Tensor::u8(&[4, 2], vec![1, 1, 2, 2, 1, 1, 2, 2]).unwrap()
        );
        assert_eq!(run(Op::Tile, &[0, 2]).unwrap().shape().dims(), [0, 2]);
        assert!(run(Op::Tile, &[2]).is_err());
        assert!(run(Op::Tile, &[i64::MAX, i64::MAX]).is_err());
    }
}
