//! The numbers of an integer layer, as ONNX Runtime derives them from a QDQ
//! graph.

use crate::draft::{Clamp, Quantization};
use crate::layer::Linear;
use secateur_model::quant;

/// `acc[o] = bias[o] + Σ w[o,k] · (x[k] − zero_point)`, then
/// `saturate(round(acc · factor[o]) + zero_point)` within `bounds`, or
/// `acc · factor[o]` in f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Integers {
    /// `round_half_even(b / (sx · sw))`, one for each output.
    pub bias: Vec<i32>,
    /// `(sx · sw) / sy`, or `sx · sw` where the output is f32.
    pub factor: Vec<f32>,
    /// The smallest and the largest output code; Relu and Clip are in them.
    pub bounds: (i32, i32),
}

impl Integers {
    /// Derives them, or says why 32-bit sums cannot hold them.
    pub fn derive(
        linear: &Linear<'_>,
        x: Quantization,
        y: Option<Quantization>,
        clamp: Clamp,
    ) -> Result<Self, String> {
        let scales = linear
            .integer
            .as_deref()
            .ok_or("its weight is not of integers with a scale per output channel")?;
        let products: Vec<f32> = scales.iter().map(|sw| x.scale * sw).collect();
        let bias = match &linear.bias {
            None => vec![0; products.len()],
            Some(bias) => bias
                .iter()
                .zip(&products)
                .map(|(b, s)| (b / s).round_ties_even())
                .map(|b| (b.abs() <= quant::MAX_BIAS).then_some(b as i32))
                .collect::<Option<_>>()
                .ok_or("a bias is too large for 32-bit sums at its scale")?,
        };
        let factor: Vec<f32> = match y {
            None => products,
            Some(y) => products.iter().map(|p| p / y.scale).collect(),
        };
        if let Some(f) = factor.iter().find(|f| !f.is_finite()) {
            return Err(format!("its scales give a factor of {f}"));
        }
        let bounds = y.map_or((i32::MIN, i32::MAX), |y| {
            (y.code(clamp.lo), y.code(clamp.hi))
        });
        Ok(Self {
            bias,
            factor,
            bounds,
        })
    }

    /// The biases with the input's zero point folded in: `bias − zp · Σ w`.
    /// `sums` are those of the codes, one for each output.
    pub fn shifted_bias(&self, sums: &[i32], zero_point: i32) -> Vec<i32> {
        let outputs = self.bias.iter().zip(sums);
        outputs.map(|(b, sum)| b - zero_point * sum).collect()
    }
}
