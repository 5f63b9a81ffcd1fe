//! Pad: a tensor grown, or with negative pads cut, on every side.

use super::TypedShape;
use super::args::{Shapes, Tensors};
use super::element::Element;
use super::window::advance;
use crate::{Data, ModelError, PadMode, Shape, Tensor, match_data};

pub(super) fn infer(args: &Shapes<'_>, mode: PadMode) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let pads = pads(args, &x.shape)?;
    if let Some(fill) = args.get(2) {
        args.same_type(2)?;
        if fill.shape.elements() != 1 {
            return Err(args.wrong(format!(
                "the fill (input 2) must be one value, found shape {}",
                fill.shape
            )));
        }
    }
    let mut dims = Vec::with_capacity(pads.len());
    for (axis, &(begin, end)) in pads.iter().enumerate() {
        let extent = x.shape[axis];
        let grown =
            i128::try_from(extent).unwrap_or(i128::MAX / 2) + i128::from(begin) + i128::from(end);
        let grown = usize::try_from(grown).map_err(|_| {
            args.wrong(format!(
                "pads {begin} and {end} of axis {axis} do not fit an extent of {extent}"
            ))
        })?;
        if extent == 0 && grown > 0 && mode != PadMode::Constant {
            return Err(args.wrong(format!("axis {axis} is empty and cannot be continued")));
        }
        dims.push(grown);
    }
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

/// Pads of every axis: at its beginning and its end.
fn pads(args: &Shapes<'_>, x: &Shape) -> Result<Vec<(i64, i64)>, ModelError> {
    let given = args
        .integers(1)?
        .ok_or_else(|| args.wrong("pads (input 1) are missing"))?;
    let axes = match args.integers(3)? {
        None => (0..x.rank()).collect(),
        Some(axes) => axes
            .into_iter()
            .map(|axis| args.axis(axis, x.rank()))
            .collect::<Result<Vec<usize>, _>>()?,
    };
    if given.len() != 2 * axes.len() {
        return Err(args.wrong(format!(
            "{} pads are needed for {} axes, found {}",
            2 * axes.len(),
            axes.len(),
            given.len()
        )));
    }
    let mut pads = vec![(0, 0); x.rank()];
    for (i, &axis) in axes.iter().enumerate() {
        pads[axis] = (given[i], given[i + axes.len()]);
    }
    Ok(pads)
}

pub(super) fn evaluate(args: &Tensors<'_>, mode: PadMode) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?;
    let known: Vec<_> = args
        .inputs
        .iter()
        .map(|input| input.map(super::ShapeInput::of))
        .collect();
    let shapes = Shapes {
        node: args.node,
        inputs: &known,
    };
    let output = &args.output()?.1;
    // An empty output may still have one extent that is huge.
    let walked = |axis: usize| match output.elements() {
        0 => 0,
        _ => output[axis],
    };
    // For every axis: where each position of the output comes from.
    let sources: Vec<Vec<Option<usize>>> = pads(&shapes, x.shape())?
        .iter()
        .enumerate()
        .map(|(axis, &(begin, _))| {
            (0..walked(axis))
                .map(|at| {
                    source(
                        mode,
                        (at as i64).saturating_sub(begin),
                        x.shape()[axis] as i64,
                    )
                })
                .collect()
        })
        .collect();
    let data = match_data!(x.data(), v => grow(args, v, x.shape(), &sources)?, other => {
        return Err(args.no_type(0, other.dtype()));
    });
    args.single(data)
}

fn grow<T: Element>(
    args: &Tensors<'_>,
    x: &[T],
    shape: &Shape,
    sources: &[Vec<Option<usize>>],
) -> Result<Data, ModelError> {
    let fill = match args.get(2) {
        None => T::ZERO,
        Some(fill) => T::unwrap(fill.data())
            .and_then(|v| v.first().copied())
            .ok_or_else(|| args.no_type(2, fill.dtype()))?,
    };
    let output = &args.output()?.1;
    let strides = shape.strides();
    let mut at = vec![0; output.rank()];
    let mut y = Vec::with_capacity(output.elements());
    for _ in 0..output.elements() {
        let index = (0..at.len()).try_fold(0, |index, axis| {
            sources[axis][at[axis]].map(|place| index + place * strides[axis])
        });
        y.push(index.map_or(fill, |i| x[i]));
        advance(&mut at, output);
    }
    Ok(T::wrap(y))
}

/// The position in an extent that a position beyond it stands for; `None` is
/// the fill.
fn source(mode: PadMode, at: i64, extent: i64) -> Option<usize> {
    let place = match mode {
        _ if (0..extent).contains(&at) => at,
        PadMode::Constant => return None,
        PadMode::Edge => at.clamp(0, extent - 1),
        PadMode::Wrap => at.rem_euclid(extent),
        PadMode::Reflect if extent == 1 => 0,
        PadMode::Reflect => {
            let period = 2 * (extent - 1);
            let folded = at.rem_euclid(period);
            folded.min(period - folded)
        }
    };
    usize::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{ModelError, Node, Op, PadMode, Tensor};

    fn pad(mode: PadMode, pads: &[i64]) -> Result<Vec<i64>, ModelError> {
        let x = Tensor::i64(&[3], vec![1, 2, 3]).unwrap();
        let pads = Tensor::i64(&[pads.len()], pads.to_vec()).unwrap();
        let fill = Tensor::i64(&[], vec![9]).unwrap();
        let node = Node::new("p", Op::Pad { mode }, &["x", "p", "v"], &["y"]);
        let y = evaluate(&node, &[Some(&x), Some(&pads), Some(&fill)])?;
        Ok(y[0].as_i64()?.to_vec())
    }

    #[test]
    fn every_mode() {
        assert_eq!(pad(PadMode::Constant, &[1, 2]).unwrap(), [9, 1, 2, 3, 9, 9]);
        assert_eq!(pad(PadMode::Edge, &[1, 2]).unwrap(), [1, 1, 2, 3, 3, 3]);
        assert_eq!(
            pad(PadMode::Reflect, &[3, 1]).unwrap(),
            [2, 3, 2, 1, 2, 3, 2]
        );
        assert_eq!(pad(PadMode::Wrap, &[1, 2]).unwrap(), [3, 1, 2, 3, 1, 2]);
        assert_eq!(pad(PadMode::Constant, &[-1, 1]).unwrap(), [2, 3, 9]);
    }

    #[test]
    fn wrong_pads_are_refused() {
        assert!(pad(PadMode::Constant, &[1]).is_err());
        assert!(pad(PadMode::Constant, &[-2, -2]).is_err());
        assert!(pad(PadMode::Constant, &[i64::MAX, i64::MAX]).is_err());
        let huge = pad(PadMode::Edge, &[1 << 40, 0]).unwrap_err();
        assert!(huge.to_string().contains("larger"), "{huge}");
    }

    #[test]
    fn only_the_named_axes_grow() {
        let x = Tensor::f32(&[1, 2], vec![1., 2.]).unwrap();
        let pads = Tensor::i64(&[2], vec![0, 1]).unwrap();
        let axes = Tensor::i64(&[1], vec![-1]).unwrap();
        let op = Op::Pad {
            mode: PadMode::Constant,
        };
        let node = Node::new("p", op, &["x", "p", "", "a"], &["y"]);
        let y = evaluate(&node, &[Some(&x), Some(&pads), None, Some(&axes)]).unwrap();
        assert_eq!(y, [Tensor::f32(&[1, 3], vec![1., 2., 0.]).unwrap()]);
    }
}
