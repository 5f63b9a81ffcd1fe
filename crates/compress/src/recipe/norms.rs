//! The step that measures normalisations anew.

use serde::{Deserialize, Serialize};

/// Measure the statistics of batch normalisations anew: pruning and rounding move what
/// their layers give. A prune step that does not retrain does so by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormsStep {
    /// Training images to measure on.
    #[serde(default = "default_images")]
    pub images: usize,
}

fn default_images() -> usize {
    2000
}

impl Default for NormsStep {
    fn default() -> Self {
        Self {
            images: default_images(),
        }
    }
}

impl NormsStep {
    pub(super) fn check(&self) -> Result<(), String> {
        match self.images {
            0 => Err("images must be at least 1".into()),
            _ => Ok(()),
        }
    }
}
