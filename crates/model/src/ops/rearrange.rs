//! Elements moved or cleared by their position: DepthToSpace, SpaceToDepth,
//! ReverseSequence, Trilu.

use super::TypedShape;
use super::args::{Shapes, Tensors};
use super::gather;
use crate::{DType, ModelError, Op, Tensor};

pub(super) fn infer_blocks(args: &Shapes<'_>, block: usize) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let misfit = || {
        args.wrong(format!(
            "shape {} is no [n, c, h, w] that blocks of {block} divide",
            x.shape
        ))
    };
    let (&[n, c, h, w], true) = (x.shape.dims(), block > 0) else {
        return Err(misfit());
    };
    let area = block.checked_mul(block).ok_or_else(misfit)?;
    let dims = if matches!(args.node.op, Op::SpaceToDepth { .. }) {
        let depth = c.checked_mul(area).ok_or_else(misfit)?;
        (h % block == 0 && w % block == 0).then_some([n, depth, h / block, w / block])
    } else {
        let sides = h.checked_mul(block).zip(w.checked_mul(block));
        sides
            .filter(|_| c % area == 0)
            .map(|(h, w)| [n, c / area, h, w])
    };
    Ok(vec![(x.dtype, args.shape(&dims.ok_or_else(misfit)?)?)])
}

/// Channels become cells of a block of pixels. The channel is made of block
/// row, block column and output channel; the output channel comes first where
/// `channel_first` (ONNX's CRD), last otherwise (DCR).
pub(super) fn depth_to_space(
    args: &Tensors<'_>,
    block: usize,
    channel_first: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let output = &args.output()?.1;
    let (channels, strides) = (output[1], args.need(0)?.shape().strides());
    let data = args.take(0, output, |at| {
        let cell = at[2] % block * block + at[3] % block;
        let channel = if channel_first {
            at[1] * block * block + cell
        } else {
            cell * channels + at[1]
        };
        let plane = at[0] * strides[0] + channel * strides[1];
        Some(plane + at[2] / block * strides[2] + at[3] / block)
    })?;
    args.single(data)
}

/// The cells of a block of pixels become channels: block row, block column,
/// then the channel.
pub(super) fn space_to_depth(args: &Tensors<'_>, block: usize) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?.shape();
    let (channels, strides) = (x[1], x.strides());
    let data = args.take(0, &args.output()?.1, |at| {
        let (cell, channel) = (at[1] / channels, at[1] % channels);
        let (row, column) = (at[2] * block + cell / block, at[3] * block + cell % block);
        Some(at[0] * strides[0] + channel * strides[1] + row * strides[2] + column)
    })?;
    args.single(data)
}

pub(super) fn infer_reverse(
    args: &Shapes<'_>,
    batch_axis: usize,
    time_axis: usize,
) -> Result<Vec<TypedShape>, ModelError> {
    let (x, lengths) = (args.need(0)?, args.typed(1, &[DType::I64])?);
    let rank = x.shape.rank();
    if batch_axis == time_axis || batch_axis >= rank || time_axis >= rank {
        return Err(args.wrong(format!(
            "batch axis {batch_axis} and time axis {time_axis} of {}",
            x.shape
        )));
    }
    if lengths.shape.dims() != [x.shape[batch_axis]] {
        return Err(args.wrong(format!(
            "lengths (input 1) must be [{}], found {}",
            x.shape[batch_axis], lengths.shape
        )));
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// The first `lengths[b]` steps of each row in reverse order.
pub(super) fn reverse(
    args: &Tensors<'_>,
    batch_axis: usize,
    time_axis: usize,
) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?.shape();
    let lengths = gather::indices(args, 1)?
        .into_iter()
        .map(|length| {
            let fits = usize::try_from(length).ok().filter(|&l| l <= x[time_axis]);
            fits.ok_or_else(|| {
                args.wrong(format!("a length of {length} for {} steps", x[time_axis]))
            })
        })
        .collect::<Result<Vec<usize>, _>>()?;
    let strides = x.strides();
    let data = args.take(0, x, |at| {
        let (step, length) = (at[time_axis], lengths[at[batch_axis]]);
        let from = if step < length {
            length - 1 - step
        } else {
            step
        };
        let axes = at.iter().zip(&strides).enumerate();
        Some(
            axes.map(|(axis, (&i, stride))| if axis == time_axis { from } else { i } * stride)
                .sum(),
        )
    })?;
    args.single(data)
}

pub(super) fn infer_triangle(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    if x.shape.rank() < 2 {
        return Err(args.wrong(format!("needs matrices, found {}", x.shape)));
    }
    if args.get(1).is_some() {
        let k = args.typed(1, &[DType::I64])?;
        if k.shape.elements() != 1 {
            return Err(args.wrong(format!("k (input 1) must be one value, found {}", k.shape)));
        }
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// The part of each matrix on and above (`upper`) or below the diagonal that is
/// `k` above the main one; zeros elsewhere.
pub(super) fn triangle(args: &Tensors<'_>, upper: bool) -> Result<Vec<Tensor>, ModelError> {
    let k = match args.get(1) {
        Some(_) => gather::indices(args, 1)?[0],
        None => 0,
    };
    let x = args.need(0)?.shape();
    let strides = x.strides();
    let data = args.take(0, x, |at| {
        let [.., row, column] = at else {
            return None;
        };
        let above = (*column as i64 - *row as i64).cmp(&k);
        let kept = if upper { above.is_ge() } else { above.is_le() };
        kept.then(|| at.iter().zip(&strides).map(|(i, s)| i * s).sum())
    })?;
    args.single(data)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{ModelError, Node, Op, Tensor};

    fn run(op: Op, x: &Tensor, list: Option<&Tensor>) -> Result<Tensor, ModelError> {
        let node = Node::new("n", op, &["x", "l"], &["y"]);
        evaluate(&node, &[Some(x), list]).map(|mut y| y.remove(0))
    }

    #[test]
    fn depth_and_space() {
        let x = Tensor::u8(&[1, 8, 1, 1], (0..8).collect()).unwrap();
        let to_space = |channel_first, block| {
            let op = Op::DepthToSpace {
                block,
                channel_first,
            };
            run(op, &x, None)
        };
        let crd = to_space(true, 2).unwrap();
        assert_eq!(crd, x.clone().reshaped(crd.shape().clone()).unwrap());
        let dcr = to_space(false, 2).unwrap();
        assert_eq!(
            dcr,
            Tensor::u8(&[1, 2, 2, 2], vec![0, 2, 4, 6, 1, 3, 5, 7]).unwrap()
        );
        let back = run(Op::SpaceToDepth { block: 2 }, &dcr, None).unwrap();
        assert_eq!(back, x);
        for block in [0, 3, usize::MAX] {
            assert!(to_space(true, block).is_err());
            assert!(run(Op::SpaceToDepth { block }, &dcr, None).is_err());
        }
    }

    #[test]
    fn sequences_turn_up_to_their_length() {
        let x = Tensor::u8(&[2, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
        let turn = |batch_axis, time_axis, lengths: &[i64]| {
            let op = Op::ReverseSequence {
                batch_axis,
                time_axis,
            };
            let lengths = Tensor::i64(&[lengths.len()], lengths.to_vec()).unwrap();
            run(op, &x, Some(&lengths))
        };
        let y = turn(0, 1, &[2, 3]).unwrap();
        assert_eq!(y, Tensor::u8(&[2, 3], vec![2, 1, 3, 6, 5, 4]).unwrap());
        let y = turn(1, 0, &[2, 1, 0]).unwrap();
        assert_eq!(y, Tensor::u8(&[2, 3], vec![4, 2, 3, 1, 5, 6]).unwrap());
        assert!(turn(0, 1, &[4, 0]).is_err());
        assert!(turn(0, 1, &[-1, 0]).is_err());
        assert!(turn(0, 0, &[1, 1]).is_err());
        assert!(turn(0, 2, &[1, 1]).is_err());
    }

    #[test]
    fn triangles() {
        let x = Tensor::u8(&[2, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
        let cut = |upper, k| {
            let k = Tensor::i64(&[], vec![k]).unwrap();
            let y = run(Op::Trilu { upper }, &x, Some(&k)).unwrap();
            match y.into_parts().1 {
                crate::Data::U8(v) => v,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(cut(true, 0), [1, 2, 3, 0, 5, 6]);
        assert_eq!(cut(true, 2), [0, 0, 3, 0, 0, 0]);
        assert_eq!(cut(false, 0), [1, 0, 0, 4, 5, 0]);
        assert_eq!(cut(false, i64::MIN), [0; 6]);
        let vector = Tensor::u8(&[2], vec![1, 2]).unwrap();
        assert!(run(Op::Trilu { upper: true }, &vector, None).is_err());
    }
}
