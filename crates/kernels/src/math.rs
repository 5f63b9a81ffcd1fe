//! Functions of one f32, by polynomials that the compiler vectorises: the same bits on every instruction
//! set.  Largest errors over all finite inputs, in units of the last place of the exact result, are
//! those of [`Function::max_ulp`], tested against f64.

use crate::{Clamp, Isa, KernelError, error::check_len, multiversion};

/// A function of one number.
///
/// ```
/// use secateur_kernels::{Function, Isa};
/// let mut y = [0.0; 2];
/// Function::Sigmoid.map(Isa::best(), &[0.0, 100.0], &mut y)?;
/// assert_eq!(y, [0.5, 1.0]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// `|x|`
    Abs,
    /// `x` rounded up.
    Ceil,
    /// `x` within bounds: Relu and Clip.
    Clamp(Clamp),
    /// `x` where positive, else `alpha·(eˣ − 1)`.
    Elu {
        /// Factor of the negative branch.
        alpha: f32,
    },
    /// The error function.
    Erf,
    /// `eˣ`
    Exp,
    /// `x` rounded down.
    Floor,
    /// `x/2 · (1 + erf(x/√2))`
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`
    GeluTanh,
    /// `max(0, min(1, alpha·x + beta))`
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
    /// `x · max(0, min(1, x/6 + 1/2))`
    HardSwish,
    /// `x` where positive, else `alpha·x`.
    LeakyRelu {
        /// Slope of the negative branch.
        alpha: f32,
    },
    /// `-x`
    Neg,
    /// `1/x`
    Reciprocal,
    /// `x` rounded to the nearest, even at ties.
    Round,
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `√x`
    Sqrt,
    /// `x / (1 + e^(−alpha·x))`
    Swish {
        /// Factor in the exponent; 1 for SiLU.
        alpha: f32,
    },
    /// The hyperbolic tangent.
    Tanh,
}

impl Function {
    /// Largest error over inputs whose exact result is a normal number, in units of its last place.
    pub fn max_ulp(self) -> f64 {
        match self {
            Self::Exp | Self::Tanh | Self::Elu { .. } => 2.0,
            Self::Sigmoid | Self::Erf | Self::HardSwish => 3.0,
            Self::Swish { .. } => 4.0,
            // The square in the exponent is rounded, and the tail is small: 5e-6 relative beyond −5.
            Self::Gelu | Self::GeluTanh => 32.0,
            Self::HardSigmoid { .. } => 2.0,
            _ => 0.5,
        }
    }

    /// `y[i] = f(x[i])`.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn map(self, isa: Isa, x: &[f32], y: &mut [f32]) -> Result<(), KernelError> {
        check_len("function values", x.len(), y.len())?;
        match self {
            Self::Abs => each(isa, x, y, f32::abs),
            Self::Ceil => each(isa, x, y, f32::ceil),
            Self::Clamp(clamp) => each(
                isa,
                x,
                y,
                #[inline(always)]
                |x| clamp.apply(x),
            ),
            Self::Elu { alpha } => each(
                isa,
                x,
                y,
                #[inline(always)]
                |x| elu(x, alpha),
            ),
            Self::Erf => each(isa, x, y, erf),
            Self::Exp => each(isa, x, y, exp),
            Self::Floor => each(isa, x, y, f32::floor),
            Self::Gelu => each(isa, x, y, gelu),
            Self::GeluTanh => each(isa, x, y, gelu_tanh),
            Self::HardSigmoid { alpha, beta } => each(
                isa,
                x,
                y,
                #[inline(always)]
                |x| unit(alpha * x + beta),
            ),
            Self::HardSwish => each(
                isa,
                x,
                y,
                #[inline(always)]
                |x| x * unit(x / 6.0 + 0.5),
            ),
            Self::LeakyRelu { alpha } => each(
                isa,
                x,
                y,
                #[inline(always)]
                |x| if x < 0.0 { alpha * x } else { x },
            ),
            Self::Neg => each(
                isa,
                x,
                y,
                #[inline(always)]
                |x: f32| -x,
            ),
            Self::Reciprocal => each(
                isa,
                x,
                y,
                #[inline(always)]
                |x: f32| 1.0 / x,
            ),
            Self::Round => each(isa, x, y, f32::round_ties_even),
            Self::Sigmoid => each(isa, x, y, sigmoid),
            Self::Sqrt => each(isa, x, y, f32::sqrt),
            Self::Swish { alpha } => each(
                isa,
                x,
                y,
                #[inline(always)]
                |x| x * sigmoid(alpha * x),
            ),
            Self::Tanh => each(isa, x, y, tanh),
        }
        Ok(())
    }
}

fn each(isa: Isa, x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32) {
    multiversion::run(
        isa,
        #[inline(always)]
        || {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = f(x);
            }
        },
    );
}

/// `x` within 0 and 1; NaN stays.
#[inline(always)]
fn unit(x: f32) -> f32 {
    let x = if x < 0.0 { 0.0 } else { x };
    if x > 1.0 { 1.0 } else { x }
}

/// `Σ coefficients[i]·xⁱ`
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = sum.mul_add(x, coefficients[i]);
    }
    sum
}

/// `(e^r − 1 − r) / r²` for `|r| ≤ ln 2 / 2`, to 2⁻²⁹: a minimax fit.
const EXPONENTIAL: [f32; 6] = [
    0.5,
    0.166_666_67,
    0.041_666_464,
    0.008_333_286,
    0.001_393_373_3,
    0.000_199_076_9,
];

/// Adding it to a small number rounds that to an integer, which stands in the low bits.
const TO_INTEGER: f32 = 12_582_912.0;

/// `n` and `r` of `x = n·ln 2 + r`, `|r| ≤ ln 2 / 2`; `|x| < 2²²`.
#[inline(always)]
fn reduce(x: f32) -> (i32, f32) {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, TO_INTEGER);
    let n = shifted - TO_INTEGER;
    // ln 2 in two parts, the first with trailing zeros, so that n times it is exact.
    let r = n.mul_add(-0.693_145_75, x);
    let r = n.mul_add(-1.428_606_8e-6, r);
    let bits = shifted.to_bits() as i32;
    (bits.wrapping_sub(TO_INTEGER.to_bits() as i32), r)
}

/// `2ⁿ` for `-126 ≤ n ≤ 127`.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `eˣ`
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Beyond these the result is 0 or infinite anyway.
    let x = if x < -104.5 { -104.5 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let (n, r) = reduce(x);
    let y = polynomial(r, EXPONENTIAL).mul_add(r * r, r) + 1.0;
    // In two factors: the power alone may be no normal number.
    let half = n >> 1;
    y * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `eˣ` for `x ≤ 0`; 0 where it is no normal number.
#[inline(always)]
pub(crate) fn exp_nonpositive(x: f32) -> f32 {
    let tiny = x < -87.0;
    let (n, r) = reduce(if tiny { -87.0 } else { x });
    let y = polynomial(r, EXPONENTIAL).mul_add(r * r, r) + 1.0;
    let y = y * power_of_two(n);
    if tiny { 0.0 } else { y }
}

#[inline(always)]
fn elu(x: f32, alpha: f32) -> f32 {
    let low = if x < -0.3 {
        exp(x) - 1.0
    } else {
        expm1_small(x)
    };
    if x > 0.0 { x } else { alpha * low }
}

/// `eˣ − 1` for `-0.35 < x < 0.35`.
#[inline(always)]
fn expm1_small(x: f32) -> f32 {
    polynomial(x, EXPONENTIAL).mul_add(x * x, x)
}

#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    // Numbers that are not normal take a hundred times as long: none come up this way.
    let small = exp_nonpositive(-x.abs());
    let whole = if x < 0.0 { small } else { 1.0 };
    whole / (1.0 + small)
}

/// `(tanh(x)/x − 1) / x²` over `x²` for `|x| ≤ 0.625`, to 2⁻²⁹: a minimax fit.
const TANH: [f32; 6] = [
    -0.333_333_33,
    0.133_333_05,
    -0.053_959_55,
    0.021_770_99,
    -0.008_35,
    0.002_298_94,
];

#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let far = 1.0 - 2.0 / (exp(2.0 * a) + 1.0);
    let square = x * x;
    let near = polynomial(square, TANH).mul_add(square * a, a);
    let y = if a < 0.625 { near } else { far };
    y.copysign(x)
}

/// `erf(x)/x` over `x²` for `|x| ≤ 1`, to 2⁻²⁹: a minimax fit.
const ERF: [f32; 7] = [
    std::f32::consts::FRAC_2_SQRT_PI,
    -0.376_126_27,
    0.112_836,
    -0.026_854_444,
    0.005_189_535,
    -0.000_802_083_8,
    0.000_078_891_09,
];

/// `erfc(a)·e^{a²} / t` over `t = 1 / (1 + 0.4·a)` for `0 ≤ a ≤ 10`, to 2⁻²⁴: a minimax fit.
const ERFC: [f32; 9] = [
    0.225_634_24,
    0.226_443,
    0.201_888_4,
    0.193_389_92,
    0.079_764_47,
    0.087_952_45,
    0.083_997_94,
    -0.140_324_5,
    0.041_254_14,
];

/// `1 − erf(a)` for `a ≥ 0`.
#[inline(always)]
fn erfc(a: f32) -> f32 {
    // Beyond this it is no normal number.
    let a = if a > 10.0 { 10.0 } else { a };
    let t = 1.0 / 0.4f32.mul_add(a, 1.0);
    polynomial(t, ERFC) * t * exp_nonpositive(-a * a)
}

#[inline(always)]
fn erf(x: f32) -> f32 {
    let a = x.abs();
    let near = a * polynomial(a * a, ERF);
    let y = if a < 1.0 { near } else { 1.0 - erfc(a) };
    y.copysign(x)
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    // Beyond this the tail is nothing, not infinity times nothing.
    let bounded = if x > 40.0 { 40.0 } else { x };
    let tail = 0.5 * bounded * erfc(bounded.abs() * std::f32::consts::FRAC_1_SQRT_2);
    // By the small tail on either side: nothing cancels.
    if x < 0.0 { tail } else { x - tail }
}

/// `1 + tanh(u)` is `2·sigmoid(2·u)`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    let u = 0.797_884_6 * (0.044_715 * x * x).mul_add(x, x);
    x * sigmoid(2.0 * u)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(f: Function, x: f32) -> f32 {
        let mut y = [0.0];
        f.map(Isa::Generic, &[x], &mut y).unwrap();
        y[0]
    }

    /// Difference in units of the last place of the exact value, of normal numbers.
    fn ulps(found: f32, exact: f64) -> f64 {
        let exponent = exact.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
        (f64::from(found) - exact).abs() / (exponent - 23.0).exp2()
    }

    /// erf in f64 by Maclaurin's series, for `a < 2.5`.
    fn series64(a: f64) -> f64 {
        let (mut term, mut sum) = (a, a);
        for k in 1..120 {
            term *= -a * a / f64::from(k);
            sum += term / f64::from(2 * k + 1);
        }
        std::f64::consts::FRAC_2_SQRT_PI * sum
    }

    /// 1 − erf in f64: by the continued fraction (Lentz) where the series would cancel.
    fn erfc64(a: f64) -> f64 {
        if a < 2.5 {
            return 1.0 - series64(a);
        }
        let mut tail = 0.0;
        for k in (1..200).rev() {
            tail = f64::from(k) / 2.0 / (a + tail);
        }
        (-a * a).exp() / (a + tail) / std::f64::consts::PI.sqrt()
    }

    fn erf64(x: f64) -> f64 {
        let a = x.abs();
        let y = if a < 2.5 {
            series64(a)
        } else {
            1.0 - erfc64(a)
        };
        y.copysign(x)
    }

    fn gelu64(x: f64) -> f64 {
        let tail = 0.5 * x * erfc64(x.abs() / 2f64.sqrt());
        if x < 0.0 { tail } else { x - tail }
    }

    fn sigmoid64(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// Numbers of both signs, denser near 0, up to `limit`.
    fn numbers(limit: f32) -> impl Iterator<Item = f32> {
        let steps = (1..40_000).map(move |i| limit * (i as f32 / 40_000.0).powi(3));
        steps.flat_map(|x| [x, -x])
    }

    #[test]
    fn errors_are_within_those_stated() {
        type Case = (Function, fn(f64) -> f64, f32);
        let cases: [Case; 9] = [
            (Function::Exp, f64::exp, 87.0),
            (Function::Tanh, f64::tanh, 20.0),
            (Function::Sigmoid, sigmoid64, 80.0),
            (Function::Erf, erf64, 6.0),
            (Function::Gelu, gelu64, 5.0),
            (
                Function::GeluTanh,
                |x| x * sigmoid64(2.0 * 0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)),
                4.0,
            ),
            (Function::Swish { alpha: 1.0 }, |x| x * sigmoid64(x), 80.0),
            (
                Function::Elu { alpha: 1.0 },
                |x| if x < 0.0 { x.exp_m1() } else { x },
                80.0,
            ),
            (
                Function::HardSwish,
                |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
                2.0,
            ),
        ];
        for (function, exact, limit) in cases {
            let worst = numbers(limit)
                .map(|x| (ulps(call(function, x), exact(f64::from(x))), x))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .unwrap();
            println!("{function:?}: {worst:?}");
            assert!(worst.0 <= function.max_ulp(), "{function:?}: {worst:?}");
        }
    }

    #[test]
    fn limits_are_those_of_mathematics() {
        let inf = f32::INFINITY;
        for (f, at, expected) in [
            (Function::Exp, -inf, 0.0),
            (Function::Exp, inf, inf),
            (Function::Exp, 0.0, 1.0),
            (Function::Tanh, -inf, -1.0),
            (Function::Sigmoid, -inf, 0.0),
            (Function::Sigmoid, inf, 1.0),
            (Function::Erf, inf, 1.0),
            (Function::Erf, -inf, -1.0),
            (Function::Gelu, 40.0, 40.0),
            (Function::Gelu, inf, inf),
            (Function::Gelu, -40.0, 0.0),
            (Function::Elu { alpha: 2.0 }, -inf, -2.0),
            (
                Function::HardSigmoid {
                    alpha: 0.2,
                    beta: 0.5,
                },
                inf,
                1.0,
            ),
            (Function::LeakyRelu { alpha: 0.5 }, -2.0, -1.0),
            (Function::Clamp(Clamp::RELU), -2.0, 0.0),
            (Function::Round, 2.5, 2.0),
        ] {
            assert_eq!(call(f, at), expected, "{f:?} {at}");
        }
        for f in [
            Function::Exp,
            Function::Tanh,
            Function::Erf,
            Function::Gelu,
            Function::Clamp(Clamp::RELU),
        ] {
            assert!(call(f, f32::NAN).is_nan(), "{f:?}");
        }
        assert!(Function::Exp.map(Isa::Generic, &[0.0], &mut []).is_err());
    }

    #[test]
    fn every_set_gives_the_same_bits() {
        let x: Vec<f32> = numbers(30.0).collect();
        let of = |isa, f: Function| {
            let mut y = vec![0.0; x.len()];
            f.map(isa, &x, &mut y).unwrap();
            y
        };
        for f in [
            Function::Exp,
            Function::Gelu,
            Function::Tanh,
            Function::Sigmoid,
        ] {
            for isa in Isa::available() {
                assert_eq!(of(isa, f), of(Isa::Generic, f));
            }
        }
    }
}
