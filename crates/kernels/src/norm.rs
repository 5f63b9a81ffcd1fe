//! Normalization of rows.

use crate::{Isa, KernelError, error::check_len, lanes, multiversion};

/// What a row is made free of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moments {
    /// Mean and variance (layer normalization).
    Both,
    /// The mean of squares (root mean square normalization).
    Square,
}

/// `y = (x − mean) / √(variance + epsilon) · scale + bias` for every row of `width` elements; scale and
/// bias are one for each column, the bias may be missing (empty).
///
/// # Errors
/// When the lengths differ or are no whole number of rows.
pub fn normalize_rows(
    isa: Isa,
    moments: Moments,
    epsilon: f32,
    [scale, bias]: [&[f32]; 2],
    x: &[f32],
    y: &mut [f32],
) -> Result<(), KernelError> {
    check_len("normalized rows", x.len(), y.len())?;
    let width = scale.len();
    if !bias.is_empty() {
        check_len("bias", width, bias.len())?;
    }
    if width == 0 {
        return check_len("rows", 0, x.len());
    }
    check_len("rows", x.len() / width * width, x.len())?;
    multiversion::run(
        isa,
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                let mean = match moments {
                    Moments::Both => {
                        lanes::sum(
                            x,
                            #[inline(always)]
                            |x| x,
                        ) / width as f32
                    }
                    Moments::Square => 0.0,
                };
                let squares = lanes::sum(
                    x,
                    #[inline(always)]
                    |x| (x - mean) * (x - mean),
                );
                let inverse = 1.0 / (squares / width as f32 + epsilon).sqrt();
                if bias.is_empty() {
                    for ((y, &x), &scale) in y.iter_mut().zip(x).zip(scale) {
                        *y = (x - mean) * inverse * scale;
                    }
                } else {
                    for (((y, &x), &scale), &bias) in y.iter_mut().zip(x).zip(scale).zip(bias) {
                        *y = ((x - mean) * inverse).mul_add(scale, bias);
                    }
                }
            }
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_those_of_f64(width in 1usize..100, offset in -3.0f32..3.0) {
            let wave = |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect::<Vec<f32>>();
            let x: Vec<f32> = wave(3 * width, 1.3).iter().map(|x| x + offset).collect();
            let (scale, bias) = (wave(width, 0.7), wave(width, 0.4));
            for (moments, bias) in [(Moments::Both, &bias[..]), (Moments::Square, &[])] {
                let mut first = vec![0.0; x.len()];
                normalize_rows(Isa::Generic, moments, 1e-5, [&scale, bias], &x, &mut first).unwrap();
                for (x, y) in x.chunks(width).zip(first.chunks(width)) {
                    let x: Vec<f64> = x.iter().map(|&x| x.into()).collect();
                    let mean = match moments {
                        Moments::Both => x.iter().sum::<f64>() / width as f64,
                        Moments::Square => 0.0,
                    };
                    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                    for i in 0..width {
                        let shift = bias.get(i).copied().unwrap_or(0.0);
                        let exact = (x[i] - mean) / (variance + 1e-5).sqrt() * f64::from(scale[i]) + f64::from(shift);
                        let far = (f64::from(y[i]) - exact).abs();
                        prop_assert!(far <= 2e-5 * exact.abs().max(1.0), "{} {exact}", y[i]);
                    }
                }
                for isa in Isa::available() {
                    let mut y = vec![0.0; x.len()];
                    normalize_rows(isa, moments, 1e-5, [&scale, bias], &x, &mut y).unwrap();
                    prop_assert_eq!(&y, &first);
                }
            }
        }
    }

    #[test]
    fn lengths_are_checked() {
        let run = |scale: &[f32], bias: &[f32], x: &[f32], y: &mut [f32]| {
            normalize_rows(Isa::Generic, Moments::Both, 0.0, [scale, bias], x, y)
        };
        assert!(run(&[1.0; 2], &[], &[0.0; 3], &mut [0.0; 3]).is_err());
        assert!(run(&[1.0; 2], &[1.0], &[0.0; 4], &mut [0.0; 4]).is_err());
        assert!(run(&[], &[], &[0.0; 4], &mut [0.0; 4]).is_err());
    }
}
