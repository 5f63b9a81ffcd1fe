//! The step that makes integers of weights and activations.

use super::Retrain;
use serde::Deserialize;

/// Integers for weights and activations.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizeStep {
    /// Width of a weight: 2 to 8, or 16.
    pub weight_bits: u8,
    /// Width of the first and the last layer's weights, which lose most; by default that
    /// of all.
    #[serde(default)]
    pub first_last_bits: Option<u8>,
    /// How many weights share a scale.
    #[serde(default)]
    pub granularity: crate::Granularity,
    /// How a weight's scale is found.
    #[serde(default)]
    pub weight_range: crate::Range,
    /// How an activation's scale is found; none leaves activations in f32.
    #[serde(default)]
    pub activation_range: Option<crate::Range>,
    /// How biases are kept.
    #[serde(default)]
    pub biases: Biases,
    /// Training with fake quantization, from the weights as they were before.
    #[serde(default)]
    pub retrain: Option<Retrain>,
}

/// How biases are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Biases {
    /// Half precision.
    #[default]
    F16,
    /// As they are.
    F32,
}

impl QuantizeStep {
    /// Width of the weights of layer `index` of `layers`.
    pub fn bits_of(&self, index: usize, layers: usize) -> u8 {
        let at_an_end = index == 0 || index + 1 == layers;
        let ends = self.first_last_bits.filter(|_| at_an_end);
        ends.unwrap_or(self.weight_bits)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let ends = self.first_last_bits.map(|bits| ("first_last_bits", bits));
        for (name, bits) in [("weight_bits", self.weight_bits)].into_iter().chain(ends) {
            if !matches!(bits, 2..=8 | 16) {
                return Err(format!("{name} must be 2 to 8, or 16, found {bits}"));
            }
        }
        self.retrain.iter().try_for_each(Retrain::check)
    }
}
