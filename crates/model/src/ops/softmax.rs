//! Softmax, LogSoftmax and Hardmax.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors, resolve_axis};
use super::lanes::Lanes;
use crate::{ModelError, Tensor};

pub(super) fn infer(args: &Shapes<'_>, axis: i64) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    // A scalar is a list of one.
    args.axis(axis, x.shape.rank().max(1))?;
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// `y = exp(x − max) / Σ exp(x − max)` along `axis`, or, flattened, over all
/// axes from `axis` on. In f32, terms added in order; f64 in f64.
pub(super) fn evaluate(
    args: &Tensors<'_>,
    axis: i64,
    flattened: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?;
    let dims = x.shape().dims();
    let axis = resolve_axis(axis, dims.len().max(1))
        .ok_or_else(|| args.wrong(format!("axis {axis} is outside the rank")))?;
    let rest: usize = dims.iter().skip(axis + 1).product();
    let extent = dims.get(axis).copied().unwrap_or(1);
    let (extent, run) = match flattened {
        true => (extent * rest, 1),
        false => (extent, rest),
    };
    macro_rules! soften {
        ($values:expr, $float:ty) => {{
            let mut y: Vec<$float> = $values;
            for block in y.chunks_mut((extent * run).max(1)) {
                for i in 0..run {
                    let at = (0..extent).map(|k| k * run + i);
                    let max = at
                        .clone()
                        .map(|p| block[p])
                        .fold(<$float>::MIN, <$float>::max);
                    let mut sum = 0.0;
                    for p in at.clone() {
                        block[p] = (block[p] - max).exp();
                        sum += block[p];
                    }
                    at.for_each(|p| block[p] /= sum);
                }
            }
            y
        }};
    }
    let data = match x.data() {
        crate::Data::F64(v) => crate::Data::F64(soften!(v.clone(), f64)),
        _ => args.round_floats(x.dtype(), soften!(args.floats(0)?, f32))?,
    };
    args.single(data)
}

/// The groups that are normalised: along `axis`, or, flattened, from it on.
fn lanes(args: &Tensors<'_>, axis: i64, flattened: bool) -> Result<Lanes, ModelError> {
    let shape = args.need(0)?.shape();
    let axis = resolve_axis(axis, shape.rank().max(1))
        .ok_or_else(|| args.wrong(format!("axis {axis} is outside the rank")))?;
    let end = if flattened { shape.rank() } else { axis + 1 };
    // A scalar is a list of one.
    let axes: Vec<usize> = (axis..end.min(shape.rank())).collect();
    Ok(Lanes::new(shape, &axes))
}

/// `ln softmax(x)`, in f64, rounded once.
pub(super) fn evaluate_log(
    args: &Tensors<'_>,
    axis: i64,
    flattened: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let mut x = args.doubles(0)?;
    log_softmax(&mut x, &lanes(args, axis, flattened)?);
    args.single(args.round_doubles(args.output()?.0, x)?)
}

/// `x − max − ln Σ exp(x − max)` for each group.
pub(super) fn log_softmax(x: &mut [f64], lanes: &Lanes) {
    for at in lanes.filled() {
        let most = lanes.group(at).map(|i| x[i]).fold(f64::MIN, f64::max);
        let sum: f64 = lanes.group(at).map(|i| (x[i] - most).exp()).sum();
        let shift = sum.ln();
        lanes.group(at).for_each(|i| x[i] = x[i] - most - shift);
    }
}

/// `exp(x − max) / Σ exp(x − max)`.
pub(super) fn softmax_row(x: &mut [f64]) {
    let most = x.iter().copied().fold(f64::MIN, f64::max);
    x.iter_mut().for_each(|x| *x = (*x - most).exp());
    let sum: f64 = x.iter().sum();
    x.iter_mut().for_each(|x| *x /= sum);
}

/// 1 at the first of the greatest elements, 0 elsewhere.
pub(super) fn evaluate_hard(
    args: &Tensors<'_>,
    axis: i64,
    flattened: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let x = args.doubles(0)?;
    let lanes = lanes(args, axis, flattened)?;
    let mut y = vec![0.0; x.len()];
    for at in lanes.filled() {
        let better = |best: usize, i: usize| if x[i] > x[best] { i } else { best };
        if let Some(best) = lanes.group(at).reduce(better) {
            y[best] = 1.0;
        }
    }
    args.single(args.round_doubles(args.output()?.0, y)?)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Node, Op, Tensor};

    fn run(axis: i64, flattened: bool) -> Vec<f32> {
        let x = Tensor::f32(&[2, 2], vec![1000.0, 1000.0, 0.0, 3f32.ln()]).unwrap();
        let node = Node::new("s", Op::Softmax { axis, flattened }, &["x"], &["y"]);
        let y = evaluate(&node, &[Some(&x)]).unwrap();
        y[0].as_f32().unwrap().to_vec()
    }

    #[test]
    fn rows_sum_to_one_and_large_values_do_not_overflow() {
        let y = run(-1, false);
        assert_eq!(y[..2], [0.5, 0.5]);
        assert!((y[2] - 0.25).abs() < 1e-6 && (y[3] - 0.75).abs() < 1e-6);
        assert_eq!(run(0, false), [1.0, 1.0, 0.0, 0.0]);
        assert_eq!(run(0, true), [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn logarithms_and_the_greatest() {
        let x = Tensor::f32(&[2, 2], vec![1000.0, 1000.0, 0.0, 3f32.ln()]).unwrap();
        let y = |op| {
            let node = Node::new("s", op, &["x"], &["y"]);
            let y = evaluate(&node, &[Some(&x)]).unwrap();
            y[0].as_f32().unwrap().to_vec()
        };
        let log = |axis, flattened| y(Op::LogSoftmax { axis, flattened });
        assert_eq!(log(1, false)[0], 0.5f32.ln());
        assert!((log(1, false)[2] - 0.25f32.ln()).abs() < 1e-6);
        assert_eq!(log(0, true)[2], -1000.0 + 0.5f32.ln());
        let hard = |axis, flattened| y(Op::Hardmax { axis, flattened });
        assert_eq!(hard(-1, false), [1.0, 0.0, 0.0, 1.0]);
        assert_eq!(hard(0, false), [1.0, 1.0, 0.0, 0.0]);
        assert_eq!(hard(0, true), [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_missing_axis_is_refused() {
        let op = Op::Softmax {
            axis: 2,
            flattened: false,
        };
        let x = Tensor::f32(&[2, 2], vec![0.0; 4]).unwrap();
        assert!(evaluate(&Node::new("s", op, &["x"], &["y"]), &[Some(&x)]).is_err());
    }
}
