//! Functions and activations of one number.
//!
//! Floats are computed in f64 and rounded once; integers are exact and wrap.

use super::TypedShape;
use super::args::{FLOATS, NUMBERS, Shapes, Tensors};
use super::wide::Wide;
use crate::{Activation, DType, Math, ModelError, Tensor};
use std::f64::consts::{FRAC_2_PI, FRAC_2_SQRT_PI, SQRT_2};

pub(super) fn infer_math(args: &Shapes<'_>, kind: Math) -> Result<Vec<TypedShape>, ModelError> {
    let taken = |dtype: DType| match kind {
        Math::Abs | Math::Sign => NUMBERS.contains(&dtype),
        Math::Neg => NUMBERS.contains(&dtype) && !UNSIGNED.contains(&dtype),
        Math::BitwiseNot => NUMBERS.contains(&dtype) && !dtype.is_float(),
        Math::Not => dtype == DType::Bool,
        _ => FLOATS.contains(&dtype),
    };
    let x = args.need(0)?;
    if !taken(x.dtype) {
        return Err(args.unsupported(format!("input 0 of type {}", x.dtype)));
    }
    let dtype = match kind {
        Math::IsNaN => DType::Bool,
        _ => x.dtype,
    };
    Ok(vec![(dtype, x.shape.clone())])
}

const UNSIGNED: &[DType] = &[DType::U8, DType::U16, DType::U32, DType::U64];

pub(super) fn math(args: &Tensors<'_>, kind: Math) -> Result<Vec<Tensor>, ModelError> {
    let wide = match Wide::of(args, 0)? {
        Wide::Integers(v) => Wide::Integers(v.into_iter().map(|x| integer(kind, x)).collect()),
        Wide::Floats(v) if kind == Math::IsNaN => {
            Wide::Integers(v.into_iter().map(|x| x.is_nan().into()).collect())
        }
        Wide::Floats(v) => Wide::Floats(v.into_iter().map(|x| real(kind, x)).collect()),
    };
    args.single(wide.narrow(args, args.output()?.0)?)
}

fn integer(kind: Math, x: i128) -> i128 {
    match kind {
        Math::Abs => x.abs(),
        Math::Neg => -x,
        Math::Sign => x.signum(),
        Math::BitwiseNot => !x,
        Math::Not => i128::from(x == 0),
        _ => x,
    }
}

fn real(kind: Math, x: f64) -> f64 {
    match kind {
        Math::Abs => x.abs(),
        Math::Acos => x.acos(),
        Math::Acosh => x.acosh(),
        Math::Asin => x.asin(),
        Math::Asinh => x.asinh(),
        Math::Atan => x.atan(),
        Math::Atanh => x.atanh(),
        Math::Ceil => x.ceil(),
        Math::Cos => x.cos(),
        Math::Cosh => x.cosh(),
        Math::Erf => erf(x),
        Math::Exp => x.exp(),
        Math::Floor => x.floor(),
        Math::Log => x.ln(),
        Math::Neg => -x,
        Math::Reciprocal => x.recip(),
        Math::Round => x.round_ties_even(),
        // Rust's signum of a zero is not zero.
        Math::Sign if x == 0.0 => x,
        Math::Sign => x.signum(),
        Math::Sin => x.sin(),
        Math::Sinh => x.sinh(),
        Math::Sqrt => x.sqrt(),
        Math::Tan => x.tan(),
        Math::BitwiseNot | Math::IsNaN | Math::Not => x,
    }
}

/// The error function, `2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1 · 3 · … · (2n + 1))`:
/// all terms have one sign, so nothing cancels. It is 1 to f64's last bit from 6 on.
fn erf(x: f64) -> f64 {
    if x.abs() >= 6.0 {
        return 1f64.copysign(x);
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..300 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

pub(super) fn infer_activation(
    args: &Shapes<'_>,
    kind: Activation,
) -> Result<Vec<TypedShape>, ModelError> {
    let types = match kind {
        Activation::Shrink => NUMBERS,
        _ => FLOATS,
    };
    let x = args.typed(0, types)?;
    Ok(vec![(x.dtype, x.shape.clone())])
}

pub(super) fn activation(
    args: &Tensors<'_>,
    kind: Activation,
    parameters: [f32; 2],
) -> Result<Vec<Tensor>, ModelError> {
    let parameters = parameters.map(f64::from);
    let y = Wide::of(args, 0)?
        .into_floats()
        .into_iter()
        .map(|x| activate(kind, parameters, x))
        .collect();
    args.single(Wide::Floats(y).narrow(args, args.output()?.0)?)
}

fn activate(kind: Activation, [a, b]: [f64; 2], x: f64) -> f64 {
    match kind {
        Activation::Celu if x < 0.0 => a * (x / a).exp_m1(),
        Activation::Elu if x < 0.0 => a * x.exp_m1(),
        Activation::Celu | Activation::Elu => x,
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / SQRT_2)),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + (FRAC_2_PI.sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::HardSigmoid => (a * x + b).clamp(0.0, 1.0),
        Activation::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Activation::Mish => x * softplus(x).tanh(),
        Activation::Selu if x <= 0.0 => b * a * x.exp_m1(),
        Activation::Selu => b * x,
        Activation::Shrink if x < -b => x + a,
        Activation::Shrink if x > b => x - a,
        Activation::Shrink => 0.0,
        Activation::Softplus => softplus(x),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Swish => x / (1.0 + (-a * x).exp()),
        Activation::ThresholdedRelu if x <= a => 0.0,
        Activation::ThresholdedRelu => x,
    }
}

/// `ln(1 + exp(x))` without overflow.
fn softplus(x: f64) -> f64 {
    x.clamp(0.0, f64::INFINITY) + (-x.abs()).exp().ln_1p()
}

pub(super) fn infer_is_inf(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    Ok(vec![(DType::Bool, x.shape.clone())])
}

pub(super) fn is_inf(
    args: &Tensors<'_>,
    negative: bool,
    positive: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let found = |x: f64| (negative && x == f64::NEG_INFINITY) || (positive && x == f64::INFINITY);
    let y = args.doubles(0)?.into_iter().map(found).collect();
    args.single(crate::Data::Bool(y))
}

pub(super) fn infer_prelu(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let (x, slope) = (args.typed(0, NUMBERS)?, args.need(1)?);
    args.same_type(1)?;
    if x.shape.broadcast(&slope.shape).as_ref() != Some(&x.shape) {
        return Err(args.wrong(format!(
            "the slope of shape {} does not broadcast to {}",
            slope.shape, x.shape
        )));
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// `x`, times its slope where negative.
pub(super) fn prelu(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let (_, shape) = args.output()?;
    let at = super::elementwise::Broadcast::new(args.need(1)?.shape(), shape);
    let wide = match (Wide::of(args, 0)?, Wide::of(args, 1)?) {
        (Wide::Integers(x), Wide::Integers(slope)) => {
            let leak = |(i, x): (usize, i128)| if x < 0 { x * slope[at.index(i)] } else { x };
            Wide::Integers(x.into_iter().enumerate().map(leak).collect())
        }
        (x, slope) => {
            let slope = slope.into_floats();
            let leak = |(i, x): (usize, f64)| if x < 0.0 { x * slope[at.index(i)] } else { x };
            Wide::Floats(x.into_floats().into_iter().enumerate().map(leak).collect())
        }
    };
    args.single(wide.narrow(args, args.output()?.0)?)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Activation, Data, Math, Node, Op, Tensor};

    fn run(op: Op, inputs: &[&Tensor]) -> Tensor {
        let inputs: Vec<Option<&Tensor>> = inputs.iter().map(|t| Some(*t)).collect();
        evaluate(&Node::new("n", op, &["x"], &["y"]), &inputs)
            .unwrap()
            .remove(0)
    }

    fn floats(op: Op, x: &[f32]) -> Vec<f32> {
        let x = Tensor::f32(&[x.len()], x.to_vec()).unwrap();
        run(op, &[&x]).as_f32().unwrap().to_vec()
    }

    #[test]
    fn functions_at_points_that_are_known() {
        let y = |kind, x: f32| floats(Op::Math(kind), &[x])[0];
        assert_eq!(y(Math::Round, 2.5), 2.0);
        assert_eq!(y(Math::Round, -1.5), -2.0);
        assert_eq!(y(Math::Sign, -0.5), -1.0);
        assert_eq!(y(Math::Sign, 0.0), 0.0);
        assert_eq!(y(Math::Sqrt, 9.0), 3.0);
        assert_eq!(y(Math::Reciprocal, 4.0), 0.25);
        assert_eq!(y(Math::Acosh, 1.0), 0.0);
        assert_eq!(y(Math::Log, 0.0), f32::NEG_INFINITY);
        // Abramowitz and Stegun, table 7.1.
        assert_eq!(y(Math::Erf, 0.5), 0.520_499_9);
        assert_eq!(y(Math::Erf, -2.0), -0.995_322_3);
        assert_eq!(y(Math::Erf, 7.0), 1.0);
        assert!(y(Math::Erf, f32::NAN).is_nan());
    }

    #[test]
    fn integers_and_booleans_stay_what_they_are() {
        let x = Tensor::i8(&[3], vec![-3, 0, i8::MIN]).unwrap();
        let y = |kind| run(Op::Math(kind), &[&x]).data().clone();
        assert_eq!(y(Math::Abs), Data::I8(vec![3, 0, i8::MIN]));
        assert_eq!(y(Math::Neg), Data::I8(vec![3, 0, i8::MIN]));
        assert_eq!(y(Math::BitwiseNot), Data::I8(vec![2, -1, 127]));
        assert_eq!(y(Math::Sign), Data::I8(vec![-1, 0, -1]));
        let byte = Tensor::u8(&[1], vec![1]).unwrap();
        assert_eq!(
            *run(Op::Math(Math::BitwiseNot), &[&byte]).data(),
            Data::U8(vec![254])
        );
        let neg = Node::new("n", Op::Math(Math::Neg), &["x"], &["y"]);
        assert!(evaluate(&neg, &[Some(&byte)]).is_err());
        let x = Tensor::f32(&[3], vec![f32::NAN, f32::NEG_INFINITY, f32::INFINITY]).unwrap();
        let nan = run(Op::Math(Math::IsNaN), &[&x]);
        assert_eq!(*nan.data(), Data::Bool(vec![true, false, false]));
        assert_eq!(
            *run(Op::Math(Math::Not), &[&nan]).data(),
            Data::Bool(vec![false, true, true])
        );
        let positive = Op::IsInf {
            negative: false,
            positive: true,
        };
        assert_eq!(
            *run(positive, &[&x]).data(),
            Data::Bool(vec![false, false, true])
        );
    }

    #[test]
    fn activations_at_points_that_are_known() {
        let y = |kind, parameters, x: f32| floats(Op::Activation { kind, parameters }, &[x])[0];
        assert_eq!(y(Activation::HardSigmoid, [0.5, 0.5], 0.5), 0.75);
        assert_eq!(y(Activation::HardSwish, [0.0; 2], 0.0), 0.0);
        assert_eq!(y(Activation::HardSwish, [0.0; 2], 3.0), 3.0);
        assert_eq!(y(Activation::Softsign, [0.0; 2], -1.0), -0.5);
        assert_eq!(y(Activation::Softplus, [0.0; 2], 1000.0), 1000.0);
        assert_eq!(y(Activation::Softplus, [0.0; 2], 0.0), 2f32.ln());
        assert_eq!(y(Activation::Shrink, [0.5, 1.0], -2.0), -1.5);
        assert_eq!(y(Activation::Shrink, [0.5, 1.0], 1.0), 0.0);
        assert_eq!(y(Activation::ThresholdedRelu, [1.0, 0.0], 1.0), 0.0);
        assert_eq!(y(Activation::Elu, [2.0, 0.0], f32::NEG_INFINITY), -2.0);
        assert_eq!(y(Activation::Celu, [2.0, 0.0], f32::NEG_INFINITY), -2.0);
        assert_eq!(y(Activation::Selu, [2.0, 3.0], f32::NEG_INFINITY), -6.0);
        assert_eq!(y(Activation::Swish, [1.0, 0.0], 0.0), 0.0);
        // Φ(1) = 0.841344746
        assert!((y(Activation::Gelu, [0.0; 2], 1.0) - 0.841_344_7).abs() < 1e-6);
        assert!((y(Activation::GeluTanh, [0.0; 2], 1.0) - 0.841_192).abs() < 1e-6);
        assert_eq!(y(Activation::Mish, [0.0; 2], 0.0), 0.0);
    }

    #[test]
    fn each_channel_has_its_slope() {
        let x = Tensor::f32(&[2, 2], vec![-1., -2., 3., -4.]).unwrap();
        let slope = Tensor::f32(&[2, 1], vec![0.5, 0.25]).unwrap();
        let y = run(Op::PRelu, &[&x, &slope]);
        assert_eq!(y.as_f32().unwrap(), [-0.5, -1., 3., -1.]);
        let wide = Tensor::f32(&[2, 2, 2], vec![0.0; 8]).unwrap();
        let node = Node::new("p", Op::PRelu, &["x", "s"], &["y"]);
        assert!(evaluate(&node, &[Some(&x), Some(&wide)]).is_err());
    }
}
