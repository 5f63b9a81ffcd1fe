//! Softmax.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors, resolve_axis};
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
    fn a_missing_axis_is_refused() {
        let op = Op::Softmax {
            axis: 2,
            flattened: false,
        };
        let x = Tensor::f32(&[2, 2], vec![0.0; 4]).unwrap();
        assert!(evaluate(&Node::new("s", op, &["x"], &["y"]), &[Some(&x)]).is_err());
    }
}
