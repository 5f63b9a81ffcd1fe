//! Losses of classes. Computed in f64, terms added in order, rounded once.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors};
use super::lanes::Lanes;
use crate::{DType, Data, LossReduction, ModelError, Shape, Tensor};

/// Scores are `[n, c, d…]`, targets `[n, d…]`, weights of the classes `[c]`.
pub(super) fn infer_negative_log_likelihood(
    args: &Shapes<'_>,
    reduction: LossReduction,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    let target = &args.typed(1, &[DType::I32, DType::I64])?.shape;
    let dims = x.shape.dims();
    let Some(&classes) = dims.get(1) else {
        return Err(args.wrong(format!("classes are axis 1, found shape {}", x.shape)));
    };
    if *target.dims() != [&dims[..1], &dims[2..]].concat() {
        return Err(args.wrong(format!("targets {target} do not fit scores {}", x.shape)));
    }
    if let Some(weight) = args.get(2) {
        args.same_type(2)?;
        if weight.shape.dims() != [classes] {
            return Err(args.wrong(format!(
                "{classes} classes need a weight each, found shape {}",
                weight.shape
            )));
        }
    }
    let loss = match reduction {
        LossReduction::None => target.clone(),
        LossReduction::Mean | LossReduction::Sum => Shape::scalar(),
    };
    Ok(vec![(x.dtype, loss)])
}

/// The same, and the logarithms of the probabilities.
pub(super) fn infer_softmax_cross_entropy(
    args: &Shapes<'_>,
    reduction: LossReduction,
) -> Result<Vec<TypedShape>, ModelError> {
    let mut outputs = infer_negative_log_likelihood(args, reduction)?;
    let x = args.need(0)?;
    outputs.push((x.dtype, x.shape.clone()));
    Ok(outputs)
}

/// `−weight[target] · x[target]`, 0 for the target `ignore_index`; the mean is
/// by the sum of the weights.
pub(super) fn negative_log_likelihood(
    args: &Tensors<'_>,
    reduction: LossReduction,
    ignore_index: Option<i64>,
) -> Result<Vec<Tensor>, ModelError> {
    let loss = reduced(args, &args.doubles(0)?, reduction, ignore_index)?;
    args.single(args.round_doubles(args.output()?.0, loss)?)
}

/// The same of `ln softmax(x)`, which is the second output.
pub(super) fn softmax_cross_entropy(
    args: &Tensors<'_>,
    reduction: LossReduction,
    ignore_index: Option<i64>,
) -> Result<Vec<Tensor>, ModelError> {
    let mut x = args.doubles(0)?;
    super::softmax::log_softmax(&mut x, &Lanes::new(args.need(0)?.shape(), &[1]));
    let loss = reduced(args, &x, reduction, ignore_index)?;
    let mut outputs = args.single(args.round_doubles(args.output()?.0, loss)?)?;
    if let Some((dtype, shape)) = args.outputs.get(1) {
        outputs.push(Tensor::new(shape.clone(), args.round_doubles(*dtype, x)?)?);
    }
    Ok(outputs)
}

fn reduced(
    args: &Tensors<'_>,
    x: &[f64],
    reduction: LossReduction,
    ignore_index: Option<i64>,
) -> Result<Vec<f64>, ModelError> {
    let targets: Vec<i64> = match args.need(1)?.data() {
        Data::I64(v) => v.clone(),
        Data::I32(v) => v.iter().map(|&t| t.into()).collect(),
        other => return Err(args.no_type(1, other.dtype())),
    };
    let weights = args.get(2).map(|_| args.doubles(2)).transpose()?;
    let lanes = Lanes::new(args.need(0)?.shape(), &[1]);
    let (mut losses, mut total) = (Vec::new(), 0.0);
    for (at, target) in targets.into_iter().enumerate() {
        if Some(target) == ignore_index {
            losses.push(0.0);
            continue;
        }
        let class = usize::try_from(target).ok();
        let found = class.and_then(|class| Some((class, lanes.group(at).nth(class)?)));
        let Some((class, place)) = found else {
            return Err(args.wrong(format!("no class has number {target}")));
        };
        let weight = weights.as_ref().map_or(1.0, |w| w[class]);
        losses.push(-weight * x[place]);
        total += weight;
    }
    let sum = || losses.iter().sum::<f64>() + 0.0;
    Ok(match reduction {
        LossReduction::Mean => vec![sum() / total],
        LossReduction::Sum => vec![sum()],
        LossReduction::None => losses,
    })
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{LossReduction, Node, Op, Tensor};

    fn loss(reduction: LossReduction, ignore_index: Option<i64>, targets: [i64; 2]) -> Vec<f32> {
        let x = Tensor::f32(&[2, 2], vec![-1., -2., -3., -4.]).unwrap();
        let targets = Tensor::i64(&[2], targets.to_vec()).unwrap();
        let weight = Tensor::f32(&[2], vec![1., 3.]).unwrap();
        let op = Op::NegativeLogLikelihoodLoss {
            reduction,
            ignore_index,
        };
        let node = Node::new("n", op, &[], &["y"]);
        let y = evaluate(&node, &[Some(&x), Some(&targets), Some(&weight)]).unwrap();
        y[0].as_f32().unwrap().to_vec()
    }

    #[test]
    fn classes_are_weighed_and_ignored() {
        assert_eq!(loss(LossReduction::None, None, [0, 1]), [1., 12.]);
        assert_eq!(loss(LossReduction::Sum, None, [0, 1]), [13.]);
        assert_eq!(loss(LossReduction::Mean, None, [0, 1]), [13. / 4.]);
        assert_eq!(loss(LossReduction::Mean, Some(-7), [-7, 1]), [4.]);
    }

    #[test]
    fn cross_entropy_gives_its_logarithms_too() {
        let x = Tensor::f32(&[1, 2], vec![0., 3f32.ln()]).unwrap();
        let op = Op::SoftmaxCrossEntropyLoss {
            reduction: LossReduction::Mean,
            ignore_index: None,
        };
        let node = Node::new("n", op, &[], &["y", "log"]);
        let target = |t| Tensor::i64(&[1], vec![t]).unwrap();
        let y = evaluate(&node, &[Some(&x), Some(&target(0))]).unwrap();
        assert_eq!(y[0].as_f32().unwrap(), [4f32.ln()]);
        assert!((y[1].as_f32().unwrap()[1] - 0.75f32.ln()).abs() < 1e-6);
        assert!(evaluate(&node, &[Some(&x), Some(&target(2))]).is_err());
        assert!(evaluate(&node, &[Some(&x), Some(&target(-1))]).is_err());
    }
}
