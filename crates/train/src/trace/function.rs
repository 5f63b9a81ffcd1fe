//! Functions of one number each.

use burn::tensor::{Tensor, activation};
use secateur_model::{Activation, Math};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

type Flat = Tensor<1>;

/// An activation; none where it has no gradient here.
pub(super) fn activation(kind: Activation, [a, b]: [f32; 2], x: Flat) -> Option<Flat> {
    let below = |x: Flat| x.clamp_max(0.0);
    // Above zero the exponential, which is not needed there, might overflow.
    let less_one = |x: Flat| below(x).exp() - 1.0;
    Some(match kind {
        Activation::Celu => activation::relu(x.clone()) + less_one(x / a) * a,
        Activation::Elu => activation::relu(x.clone()) + less_one(x) * a,
        Activation::Gelu => x.clone() * ((x * FRAC_1_SQRT_2).erf() + 1.0) * 0.5,
        Activation::GeluTanh => {
            let cube = x.clone() * x.clone() * x.clone();
            let inner = (x.clone() + cube * 0.044_715) * FRAC_2_PI.sqrt();
            x * (inner.tanh() + 1.0) * 0.5
        }
        Activation::HardSigmoid => (x * a + b).clamp(0.0, 1.0),
        Activation::HardSwish => x.clone() * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Activation::Mish => x.clone() * softplus(x).tanh(),
        Activation::Selu => (activation::relu(x.clone()) + less_one(x) * a) * b,
        Activation::Softplus => softplus(x),
        Activation::Softsign => x.clone() / (x.abs() + 1.0),
        Activation::Swish => x.clone() * activation::sigmoid(x * a),
        Activation::Shrink | Activation::ThresholdedRelu => return None,
    })
}

/// `ln(1 + eˣ)`
fn softplus(x: Flat) -> Flat {
    // Half of a sum, so that the slope at zero is a half, too.
    let above = (x.clone() + x.clone().abs()) * 0.5;
    above + ((-x.abs()).exp() + 1.0).log()
}

/// A function without attributes; none where it has no gradient here.
pub(super) fn math(kind: Math, x: Flat) -> Option<Flat> {
    Some(match kind {
        Math::Abs => x.abs(),
        Math::Cos => x.cos(),
        Math::Erf => x.erf(),
        Math::Exp => x.exp(),
        Math::Log => x.log(),
        Math::Neg => -x,
        Math::Reciprocal => x.recip(),
        Math::Sin => x.sin(),
        Math::Sqrt => x.sqrt(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Value, to_vec};

    /// Where the numbers of the other tests, which go through zero, would not do.
    #[test]
    fn functions_of_positive_numbers() {
        for (kind, x, y, slope) in [
            (Math::Log, 2.0, 2f32.ln(), 0.5),
            (Math::Sqrt, 4.0, 2.0, 0.25),
            (Math::Reciprocal, 2.0, 0.5, -0.25),
        ] {
            let x = Value::parameter(vec![x], &[1]);
            let found = math(kind, x.flat.clone()).unwrap();
            let mut gradients = found.clone().sum().backward();
            let gradient = to_vec(x.flat.grad_remove(&mut gradients).unwrap());
            assert!((to_vec(found)[0] - y).abs() < 1e-6, "{kind:?}");
            assert!((gradient[0] - slope).abs() < 1e-6, "{kind:?}");
        }
        assert!(math(Math::Floor, Value::new(vec![1.5], &[1]).flat).is_none());
    }
}
