//! How a step trains.

use secateur_train::Optimiser;
use serde::{Deserialize, Serialize};

/// How long and how fast to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retrain {
    /// Passes over the training data.
    pub epochs: f32,
    /// Steps at the least, however small the data set is.
    #[serde(default)]
    pub min_steps: usize,
    /// First learning rate; it falls to zero along a cosine.
    pub learning_rate: f32,
    /// Images a step.
    #[serde(default = "default_batch")]
    pub batch: usize,
    /// Pull towards zero.
    #[serde(default)]
    pub weight_decay: f32,
    /// How a gradient moves a weight.
    #[serde(default)]
    pub optimiser: OptimiserSetting,
    /// Random shift of each image, in pixels.
    #[serde(default)]
    pub shift: usize,
    /// Learn from the network as it was before the recipe.
    #[serde(default)]
    pub distill: Option<DistillSettings>,
}

fn default_batch() -> usize {
    128
}

/// How a gradient moves a weight, with the usual constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimiserSetting {
    /// Stochastic gradient descent with Nesterov momentum 0.9.
    #[default]
    Sgd,
    /// Adam with decoupled decay; wants a learning rate near 0.001.
    Adamw,
}

impl From<OptimiserSetting> for Optimiser {
    fn from(setting: OptimiserSetting) -> Self {
        match setting {
            OptimiserSetting::Sgd => Self::default(),
            OptimiserSetting::Adamw => Self::adam(),
        }
    }
}

/// `alpha · CE + (1 − alpha) · T² · KL` (Hinton et al. 2015).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillSettings {
    /// Weight of the labels.
    pub alpha: f32,
    /// Softness of the teacher's answers.
    pub temperature: f32,
}

impl Retrain {
    pub(super) fn check(&self) -> Result<(), String> {
        let positive = |x: f32| x.is_finite() && x > 0.0;
        if !positive(self.epochs) || !positive(self.learning_rate) || self.batch == 0 {
            return Err("epochs, learning_rate and batch must be positive".into());
        }
        match &self.distill {
            Some(d) if !(0.0..=1.0).contains(&d.alpha) || !positive(d.temperature) => {
                Err("distill needs alpha from 0 to 1 and a positive temperature".into())
            }
            _ => Ok(()),
        }
    }
}
