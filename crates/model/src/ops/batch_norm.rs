//! BatchNormalization as inference sees it.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors};
use crate::{ModelError, Tensor};

const PARTS: [&str; 4] = ["scale", "bias", "mean", "variance"];

pub(super) fn infer(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    // A list without batch has one channel, as in ONNX.
    let channels = x.shape.get(1).copied().unwrap_or(1);
    if x.shape.rank() == 0 {
        return Err(args.wrong("input 0 is a scalar"));
    }
    for (index, name) in (1..).zip(PARTS) {
        let part = args.typed(index, FLOATS)?;
        if part.shape.dims() != [channels] {
            return Err(args.wrong(format!("{name} must be [{channels}], found {}", part.shape)));
        }
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// `y = (x − mean[c]) / √(variance[c] + epsilon) · scale[c] + bias[c]`, in f64,
/// rounded once.  x: `[n, c, …]`.
pub(super) fn evaluate(args: &Tensors<'_>, epsilon: f32) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?;
    let [scale, bias, mean, variance] = [
        args.doubles(1)?,
        args.doubles(2)?,
        args.doubles(3)?,
        args.doubles(4)?,
    ];
    let plane: usize = x.shape().iter().skip(2).product();
    let y = args
        .doubles(0)?
        .into_iter()
        .enumerate()
        .map(|(i, x)| {
            let c = i / plane.max(1) % scale.len().max(1);
            (x - mean[c]) / (variance[c] + f64::from(epsilon)).sqrt() * scale[c] + bias[c]
        })
        .collect();
    args.single(args.round_doubles(x.dtype(), y)?)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Node, Op, Tensor};

    #[test]
    fn each_channel_has_its_own() {
        let op = Op::BatchNormalization { epsilon: 0.0 };
        let node = Node::new("n", op, &["x", "s", "b", "m", "v"], &["y"]);
        let x = Tensor::f32(&[1, 2, 2], vec![1., 2., 3., 4.]).unwrap();
        let part = |v: [f32; 2]| Tensor::f32(&[2], v.to_vec()).unwrap();
        let [s, b, m, v] = [
            part([1., 2.]),
            part([0., 1.]),
            part([1., 3.]),
            part([1., 4.]),
        ];
        let inputs = [Some(&x), Some(&s), Some(&b), Some(&m), Some(&v)];
        let y = evaluate(&node, &inputs).unwrap();
        assert_eq!(y, [Tensor::f32(&[1, 2, 2], vec![0., 1., 1., 2.]).unwrap()]);

        let short = Tensor::f32(&[1], vec![1.]).unwrap();
        let inputs = [Some(&x), Some(&s), Some(&b), Some(&m), Some(&short)];
        let error = evaluate(&node, &inputs).unwrap_err().to_string();
        assert!(error.contains("variance"), "{error}");
    }
}
