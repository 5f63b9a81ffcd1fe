//! Tensors that are made of a few numbers: Range, OneHot, EyeLike and the
//! windows of signal processing.

use super::TypedShape;
use super::args::{NUMBERS, Shapes, Tensors};
use super::cast;
use super::element::Number;
use super::window::advance;
use crate::{DType, Data, ModelError, Tensor};
use std::f64::consts::PI;

/// A window made of cosines, with which a signal is weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CosineWindow {
    /// `0.42 − 0.5 cos φ + 0.08 cos 2φ`.
    Blackman,
    /// `25/46 − 21/46 cos φ`.
    Hamming,
    /// `0.5 − 0.5 cos φ`.
    Hann,
}

impl CosineWindow {
    /// The factors of `cos 0`, `−cos φ` and `cos 2φ`.
    fn factors(self) -> [f64; 3] {
        match self {
            Self::Blackman => [0.42, 0.5, 0.08],
            Self::Hamming => [25.0 / 46.0, 21.0 / 46.0, 0.0],
            Self::Hann => [0.5, 0.5, 0.0],
        }
    }
}

pub(super) fn infer_range(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    const TYPES: &[DType] = &[
        DType::F32,
        DType::F64,
        DType::F16,
        DType::BF16,
        DType::I16,
        DType::I32,
        DType::I64,
    ];
    let dtype = args.typed(0, TYPES)?.dtype;
    for index in 0..3 {
        args.same_type(index)?;
        if args.need(index)?.shape.elements() != 1 {
            return Err(args.wrong(format!("input {index} must be one value")));
        }
    }
    let values = [args.value(0)?, args.value(1)?, args.value(2)?];
    let count = if dtype.is_float() {
        let [start, limit, delta] = values.map(|t| cast::doubles(t.data()).map(|v| v[0]));
        let (Some(start), Some(limit), Some(delta)) = (start, limit, delta) else {
            return Err(args.unsupported(format!("input of type {dtype}")));
        };
        let count = ((limit - start) / delta).ceil();
        if count.is_nan() || count >= isize::MAX as f64 {
            return Err(args.wrong(format!("no range of {start}, {limit}, {delta}")));
        }
        count.max(0.0) as usize
    } else {
        let [start, limit, delta] = values.map(|t| cast::widen(t.data()).map(|v| v[0]));
        let (Some(start), Some(limit), Some(delta)) = (start, limit, delta) else {
            return Err(args.unsupported(format!("input of type {dtype}")));
        };
        if delta == 0 {
            return Err(args.wrong("the step is 0"));
        }
        let (distance, step) = ((limit - start) * delta.signum(), delta.abs());
        usize::try_from((distance + step - 1).max(0) / step)
            .map_err(|_| args.wrong("the range is too long"))?
    };
    Ok(vec![(dtype, args.shape(&[count])?)])
}

/// `y[i] = start + i · delta`, up to but without the limit.
pub(super) fn range(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    fn fill<T: Number>(args: &Tensors<'_>, at: impl Fn(usize) -> T) -> Result<Data, ModelError> {
        let one = |index: usize| {
            let tensor = args.need(index)?;
            let values = T::unwrap(tensor.data()).unwrap_or_default();
            let first = values.first().copied();
            first.ok_or_else(|| args.no_type(index, tensor.dtype()))
        };
        let (start, delta) = (one(0)?, one(2)?);
        let count = args.output()?.1.elements();
        Ok(T::wrap(
            (0..count).map(|i| start.add(at(i).mul(delta))).collect(),
        ))
    }
    let data = match args.output()?.0 {
        DType::F32 => fill(args, |i| i as f32)?,
        DType::F64 => fill(args, |i| i as f64)?,
        DType::I16 => fill(args, |i| i as i16)?,
        DType::I32 => fill(args, |i| i as i32)?,
        DType::I64 => fill(args, |i| i as i64)?,
        dtype => {
            let (start, delta) = (args.floats(0)?[0], args.floats(2)?[0]);
            let count = args.output()?.1.elements();
            let values = (0..count).map(|i| start + i as f32 * delta).collect();
            args.round_floats(dtype, values)?
        }
    };
    args.single(data)
}

pub(super) fn infer_one_hot(args: &Shapes<'_>, axis: i64) -> Result<Vec<TypedShape>, ModelError> {
    let indices = args.typed(0, NUMBERS)?;
    args.typed(1, NUMBERS)?;
    let depth = whole(args.value(1)?.data())
        .filter(|v| v.len() == 1)
        .and_then(|v| usize::try_from(v[0]).ok())
        .ok_or_else(|| args.wrong("the depth (input 1) must be one value, not negative"))?;
    let values = args.need(2)?;
    if values.shape.dims() != [2] {
        return Err(args.wrong(format!(
            "values (input 2) must be two, found shape {}",
            values.shape
        )));
    }
    let axis = args.axis(axis, indices.shape.rank() + 1)?;
    let mut dims = indices.shape.dims().to_vec();
    dims.insert(axis, depth);
    Ok(vec![(values.dtype, args.shape(&dims)?)])
}

/// `y[…, d, …]` is the second of two values where the index is `d`, otherwise
/// the first; negative indices count from the depth.
pub(super) fn one_hot(args: &Tensors<'_>, axis: i64) -> Result<Vec<Tensor>, ModelError> {
    let indices = args.need(0)?;
    let output = &args.output()?.1;
    let shapes = Shapes {
        node: args.node,
        inputs: &[],
    };
    let axis = shapes.axis(axis, output.rank())?;
    let depth = output[axis] as i64;
    let hot = whole(indices.data()).ok_or_else(|| args.no_type(0, indices.dtype()))?;
    let strides = indices.shape().strides();
    let data = args.take(2, output, |at| {
        let kept = at.iter().enumerate().filter(|(i, _)| *i != axis);
        let index: usize = kept.zip(&strides).map(|((_, i), stride)| i * stride).sum();
        let hot = hot[index];
        let place = if hot < 0 {
            hot.saturating_add(depth)
        } else {
            hot
        };
        Some(usize::from(place == at[axis] as i64))
    })?;
    args.single(data)
}

/// Numbers as integers; fractions are cut off.
fn whole(data: &Data) -> Option<Vec<i64>> {
    if data.dtype().is_float() {
        let values = cast::doubles(data)?;
        return Some(values.iter().map(|&x| x as i64).collect());
    }
    let limit = |x: i128| i64::try_from(x).unwrap_or(i64::MAX);
    Some(cast::widen(data)?.into_iter().map(limit).collect())
}

pub(super) fn infer_eye(
    args: &Shapes<'_>,
    to: Option<DType>,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let dtype = to.unwrap_or(x.dtype);
    if x.shape.rank() != 2 {
        return Err(args.wrong(format!("needs a matrix, found {}", x.shape)));
    }
    if dtype.size_bytes().is_none() {
        return Err(args.unsupported(format!("output of type {dtype}")));
    }
    Ok(vec![(dtype, x.shape.clone())])
}

/// Ones on the diagonal that is `k` above the main one, zeros elsewhere.
pub(super) fn eye(args: &Tensors<'_>, k: i64) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, shape) = args.output()?;
    let mut at = vec![0; shape.rank()];
    let mut ones = Vec::new();
    for _ in 0..shape.elements() {
        ones.push((at[0] as i64).checked_add(k) == Some(at[1] as i64));
        advance(&mut at, shape);
    }
    args.single(cast::convert(args, *dtype, &Data::Bool(ones))?)
}

pub(super) fn infer_window(args: &Shapes<'_>, to: DType) -> Result<Vec<TypedShape>, ModelError> {
    let size = args
        .integer(0)?
        .ok_or_else(|| args.wrong("the size (input 0) is missing"))?;
    let size = usize::try_from(size).map_err(|_| args.wrong(format!("a size of {size}")))?;
    if to.size_bytes().is_none() || to == DType::Bool {
        return Err(args.unsupported(format!("output of type {to}")));
    }
    Ok(vec![(to, args.shape(&[size])?)])
}

/// The window at `φ = 2π i / n`, with one cell less in n where it is symmetric.
pub(super) fn window(
    args: &Tensors<'_>,
    window: CosineWindow,
    periodic: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, shape) = args.output()?;
    let size = shape.elements();
    let cells = if periodic {
        size
    } else {
        size.saturating_sub(1)
    };
    let [level, first, second] = window.factors();
    let values = (0..size)
        .map(|i| {
            // A symmetric window of one cell has no width.
            let phase = 2.0 * PI * i as f64 / cells.max(1) as f64;
            level - first * phase.cos() + second * (2.0 * phase).cos()
        })
        .collect();
    args.single(cast::convert(args, *dtype, &Data::F64(values))?)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::CosineWindow;
    use crate::{DType, Data, ModelError, Node, Op, Shape, Tensor};

    fn range(parts: [Data; 3]) -> Result<Tensor, ModelError> {
        let node = Node::new("r", Op::Range, &["a", "b", "c"], &["y"]);
        let parts = parts.map(|data| Tensor::new(Shape::scalar(), data).unwrap());
        evaluate(&node, &parts.each_ref().map(Some)).map(|mut y| y.remove(0))
    }

    #[test]
    fn ranges_stop_before_the_limit() {
        let integers = |a, b, c| range([a, b, c].map(|v| Data::I64(vec![v])));
        let y = integers(1, 6, 2).unwrap();
        assert_eq!(y, Tensor::i64(&[3], vec![1, 3, 5]).unwrap());
        let y = integers(3, -1, -2).unwrap();
        assert_eq!(y, Tensor::i64(&[2], vec![3, 1]).unwrap());
        assert_eq!(integers(3, 1, 1).unwrap().shape().dims(), [0]);
        assert!(integers(0, 1, 0).is_err());
        assert!(integers(i64::MIN, i64::MAX, 1).is_err());
        let floats = |a, b, c| range([a, b, c].map(|v| Data::F32(vec![v])));
        let y = floats(0.0, 1.0, 0.25).unwrap();
        assert_eq!(y, Tensor::f32(&[4], vec![0., 0.25, 0.5, 0.75]).unwrap());
        assert!(floats(0.0, 1.0, 0.0).is_err());
        assert!(floats(0.0, f32::NAN, 1.0).is_err());
    }

    #[test]
    fn one_of_many_is_hot() {
        let node = Node::new("o", Op::OneHot { axis: 0 }, &["i", "d", "v"], &["y"]);
        let indices = Tensor::i64(&[3], vec![1, -2, 5]).unwrap();
        let depth = Tensor::f32(&[], vec![2.0]).unwrap();
        let values = Tensor::u8(&[2], vec![7, 9]).unwrap();
        let y = evaluate(&node, &[Some(&indices), Some(&depth), Some(&values)]).unwrap();
        assert_eq!(y, [Tensor::u8(&[2, 3], vec![7, 9, 7, 9, 7, 7]).unwrap()]);
        let negative = Tensor::i64(&[], vec![-1]).unwrap();
        assert!(evaluate(&node, &[Some(&indices), Some(&negative), Some(&values)]).is_err());
    }

    #[test]
    fn diagonals() {
        let x = Tensor::u8(&[2, 3], vec![0; 6]).unwrap();
        let run = |k, to| {
            let node = Node::new("e", Op::EyeLike { k, to }, &["x"], &["y"]);
            evaluate(&node, &[Some(&x)]).unwrap().remove(0)
        };
        assert_eq!(
            run(1, None),
            Tensor::u8(&[2, 3], vec![0, 1, 0, 0, 0, 1]).unwrap()
        );
        assert_eq!(
            run(-1, Some(DType::F32)),
            Tensor::f32(&[2, 3], vec![0., 0., 0., 1., 0., 0.]).unwrap()
        );
    }

    #[test]
    fn windows_at_the_quarter_turns() {
        let run = |window, periodic, size| {
            let op = Op::CosineWindow {
                window,
                periodic,
                to: DType::F32,
            };
            let size = Tensor::i64(&[], vec![size]).unwrap();
            let y = evaluate(&Node::new("w", op, &["n"], &["y"]), &[Some(&size)]).unwrap();
            y[0].as_f32().unwrap().to_vec()
        };
        let close = |found: Vec<f32>, needed: &[f32]| {
            assert_eq!(found.len(), needed.len());
            let pairs = found.iter().zip(needed);
            assert!(
                pairs.clone().all(|(a, b)| (a - b).abs() < 1e-6),
                "{found:?}"
            );
        };
        close(run(CosineWindow::Hann, true, 4), &[0., 0.5, 1., 0.5]);
        close(run(CosineWindow::Hann, false, 3), &[0., 1., 0.]);
        close(run(CosineWindow::Hamming, true, 2), &[4. / 46., 1.]);
        close(run(CosineWindow::Blackman, true, 4), &[0., 0.34, 1., 0.34]);
        assert_eq!(run(CosineWindow::Hann, false, 0).len(), 0);
    }
}
