//! How a step trains.

use secateur_data::augment::Warp;
use secateur_train::{Augment, Curve, Features, Optimiser, Schedule};
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
    /// The highest learning rate.
    pub learning_rate: f32,
    /// Its course from there.
    #[serde(default)]
    pub schedule: ScheduleSetting,
    /// Share of the training over which it rises from nothing.
    #[serde(default)]
    pub warmup: f32,
    /// Share of the course that is taken as gone by (Renda et al. 2020).
    #[serde(default)]
    pub rewind: f32,
    /// Images a step.
    #[serde(default = "default_batch")]
    pub batch: usize,
    /// Pull towards zero.
    #[serde(default)]
    pub weight_decay: f32,
    /// Share of the target spread over all classes.
    #[serde(default)]
    pub label_smoothing: f32,
    /// How a gradient moves a weight.
    #[serde(default)]
    pub optimiser: OptimiserSetting,
    /// Random shift of each image, in pixels.
    #[serde(default)]
    pub shift: usize,
    /// Whether half of the images are mirrored.
    #[serde(default)]
    pub mirror: bool,
    /// Side of the square that is blanked in each image, in pixels.
    #[serde(default)]
    pub cutout: usize,
    /// Random turn, stretch and shift of each image.
    #[serde(default)]
    pub warp: Option<WarpSettings>,
    /// Learn from the network as it was before the recipe.
    #[serde(default)]
    pub distill: Option<DistillSettings>,
    /// Learn the scales of integer weights and quantized activations, too (LSQ:
    /// Esser et al. 2020).
    #[serde(default)]
    pub learn_steps: bool,
    /// Decay of the moving average of the weights that is kept in the end.
    #[serde(default)]
    pub average: Option<f32>,
}

fn default_batch() -> usize {
    128
}

/// The course of a learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleSetting {
    /// To nothing along half a cosine.
    #[default]
    Cosine,
    /// It stays.
    Constant,
    /// Up for a quarter, then down to nothing.
    OneCycle,
    /// Times `factor` at each of `parts` equal parts.
    Step {
        /// Number of equal parts.
        parts: usize,
        /// Factor from part to part.
        factor: f32,
    },
}

impl From<ScheduleSetting> for Curve {
    fn from(setting: ScheduleSetting) -> Self {
        match setting {
            ScheduleSetting::Cosine => Self::Cosine,
            ScheduleSetting::Constant => Self::Constant,
            ScheduleSetting::OneCycle => Self::OneCycle,
            ScheduleSetting::Step { parts, factor } => Self::Step { parts, factor },
        }
    }
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

/// How far images are warped: [`Warp`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarpSettings {
    /// Largest move, in pixels.
    #[serde(default)]
    pub shift: f32,
    /// Largest turn, in degrees.
    #[serde(default)]
    pub turn: f32,
    /// Largest stretch or squeeze, as a share.
    #[serde(default)]
    pub stretch: f32,
}

/// `alpha · CE + (1 − alpha) · T² · KL` (Hinton et al. 2015), and feature maps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillSettings {
    /// Weight of the labels.
    pub alpha: f32,
    /// Softness of the teacher's answers.
    pub temperature: f32,
    /// Values that are learned beside the answers: names, or "auto".
    #[serde(default)]
    pub features: FeatureSetting,
    /// Weight of the features.
    #[serde(default = "default_feature_weight")]
    pub feature_weight: f32,
}

fn default_feature_weight() -> f32 {
    1.0
}

/// Which values of the teacher are learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FeatureSetting {
    /// Values of these names; by default none.
    Named(Vec<String>),
    /// Where the picture shrinks, and before the last layer.
    Auto(Automatic),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Automatic {
    /// The network says which.
    Auto,
}

impl Default for FeatureSetting {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl From<&FeatureSetting> for Features {
    fn from(setting: &FeatureSetting) -> Self {
        match setting {
            FeatureSetting::Named(names) if names.is_empty() => Self::None,
            FeatureSetting::Named(names) => Self::Named(names.clone()),
            FeatureSetting::Auto(Automatic::Auto) => Self::Auto,
        }
    }
}

impl Retrain {
    /// So long and so fast, all else by default.
    pub fn new(epochs: f32, learning_rate: f32) -> Self {
        Self {
            epochs,
            min_steps: 0,
            learning_rate,
            schedule: ScheduleSetting::default(),
            warmup: 0.0,
            rewind: 0.0,
            batch: default_batch(),
            weight_decay: 0.0,
            label_smoothing: 0.0,
            optimiser: OptimiserSetting::default(),
            shift: 0,
            mirror: false,
            cutout: 0,
            warp: None,
            distill: None,
            learn_steps: false,
            average: None,
        }
    }

    /// How the learning rate changes.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            curve: self.schedule.into(),
            warmup: self.warmup,
            rewind: self.rewind,
        }
    }

    /// How images are varied.
    pub fn augment(&self) -> Augment {
        Augment {
            shift: self.shift,
            mirror: self.mirror,
            cutout: self.cutout,
            warp: self.warp.map(|w| Warp {
                shift: w.shift,
                turn: w.turn,
                stretch: w.stretch,
            }),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let positive = |x: f32| x.is_finite() && x > 0.0;
        if !positive(self.epochs) || !positive(self.learning_rate) || self.batch == 0 {
            return Err("epochs, learning_rate and batch must be positive".into());
        }
        if !self.weight_decay.is_finite() || self.weight_decay < 0.0 {
            return Err(format!(
                "weight_decay must be 0 or more, found {}",
                self.weight_decay
            ));
        }
        for (name, share) in [
            ("warmup", self.warmup),
            ("rewind", self.rewind),
            ("label_smoothing", self.label_smoothing),
            ("average", self.average.unwrap_or(0.0)),
        ] {
            if !(0.0..1.0).contains(&share) {
                return Err(format!(
                    "{name} must be at least 0 and below 1, found {share}"
                ));
            }
        }
        if let ScheduleSetting::Step { parts, factor } = self.schedule
            && (parts == 0 || !positive(factor))
        {
            return Err("a schedule of steps needs positive parts and a positive factor".into());
        }
        if let Some(w) = self.warp {
            let within = |x: f32, most: f32| (0.0..=most).contains(&x);
            if !within(w.shift, 100.0) || !within(w.turn, 180.0) || !within(w.stretch, 0.9) {
                return Err(
                    "warp: shift, turn and stretch go to 100 pixels, 180 degrees and 0.9".into(),
                );
            }
        }
        let Some(distill) = &self.distill else {
            return Ok(());
        };
        let DistillSettings {
            alpha,
            temperature,
            feature_weight,
            ..
        } = *distill;
        if !(0.0..=1.0).contains(&alpha) || !positive(temperature) {
            return Err("distill needs alpha from 0 to 1 and a positive temperature".into());
        }
        match feature_weight.is_finite() && feature_weight >= 0.0 {
            true => Ok(()),
            false => Err(format!(
                "feature_weight must be at least 0, found {feature_weight}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Result<Retrain, String> {
        let text = format!("epochs = 1\nlearning_rate = 0.1\n{more}");
        let retrain: Retrain = toml::from_str(&text).map_err(|e| e.to_string())?;
        retrain.check().map(|()| retrain)
    }

    #[test]
    fn settings_say_how_the_rate_changes() {
        let plain = read("").unwrap().schedule();
        assert_eq!(plain, Schedule::default());
        let rewound = read("rewind = 0.7").unwrap().schedule();
        assert_eq!(rewound.factor(0.0), plain.factor(0.7));
        let cycle = read("schedule = \"one-cycle\"").unwrap().schedule();
        assert_eq!(cycle.curve, Curve::OneCycle);
        let steps = read("schedule = { step = { parts = 2, factor = 0.1 } }").unwrap();
        assert_eq!(steps.schedule().factor(0.6), 0.1);
        for wrong in [
            "rewind = 1.0",
            "warmup = -0.1",
            "warp = { turn = 200 }",
            "average = 1.5",
            "label_smoothing = nan",
            "schedule = { step = { parts = 0, factor = 0.1 } }",
            "schedule = \"up\"",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn features_are_names_or_auto() {
        let features = |setting: &str| {
            let distill = format!("distill = {{ alpha = 0.5, temperature = 2, {setting} }}");
            let retrain = read(&distill)?;
            Ok::<Features, String>((&retrain.distill.unwrap().features).into())
        };
        assert_eq!(features("feature_weight = 1"), Ok(Features::None));
        assert_eq!(features("features = \"auto\""), Ok(Features::Auto));
        let named = Features::Named(vec!["a".into()]);
        assert_eq!(features("features = [\"a\"]"), Ok(named));
        assert!(features("features = \"all\"").is_err());
        assert!(features("feature_weight = -1").is_err());
    }
}
