//! The step that makes integers of weights and activations.

use super::Retrain;
use serde::{Deserialize, Serialize};

/// Integers for weights and activations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizeStep {
    /// Width of a weight: 2 to 8, or 16.
    pub weight_bits: u8,
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
    /// Training with fake quantization.
    #[serde(default)]
    pub retrain: Option<Retrain>,
}

/// How biases are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Biases {
    /// Half precision.
    #[default]
    F16,
    /// As they are.
    F32,
}

impl QuantizeStep {
    pub(super) fn check(&self) -> Result<(), String> {
        if !matches!(self.weight_bits, 2..=8 | 16) {
            return Err(format!(
                "weight_bits must be 2 to 8, or 16, found {}",
                self.weight_bits
            ));
        }
        self.retrain.iter().try_for_each(Retrain::check)
    }
}
