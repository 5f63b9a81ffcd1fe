//! How much training a recipe asks for, before any is done: for the time left.

use super::{PruneSchedule, Recipe, Retrain, Step};

impl Recipe {
    /// Samples that each step trains on, those that are seen again counted again, for a
    /// network of this name and a set of so many images.
    pub fn effort(&self, network: &str, images: usize) -> Vec<f64> {
        let steps = self.steps.iter();
        steps.map(|step| step.effort(network, images)).collect()
    }

    /// Whether a step trains a network of this name.
    pub fn learns(&self, network: &str) -> bool {
        self.steps.iter().any(|step| step.learns(network))
    }
}

impl Step {
    /// Whether the step trains a network of this name.
    pub fn learns(&self, network: &str) -> bool {
        self.training(network).0.is_some()
    }

    /// How the step trains a network of this name, and how many times.
    pub(crate) fn training(&self, network: &str) -> (Option<&Retrain>, usize) {
        match self {
            Self::Train(step) => (Some(&step.retrain), 1),
            Self::Prune(step) => match step.schedule {
                PruneSchedule::Rounds(rounds) => (step.resolve(network).retrain, rounds),
                _ => (step.resolve(network).retrain, 1),
            },
            Self::Share(step) => (step.resolve(network), 1),
            Self::Quantize(step) => (step.retrain.as_ref(), 1),
            Self::Channels(step) => {
                let (_, retrain) = step.resolve(network);
                (retrain, step.schedule.rounds())
            }
            Self::Rate(step) => (Some(step.resolve(network).retrain), 1),
            Self::Norms(_) | Self::Encode(_) => (None, 1),
        }
    }

    fn effort(&self, network: &str, images: usize) -> f64 {
        let (retrain, rounds) = self.training(network);
        rounds as f64 * retrain.map_or(0.0, |retrain| retrain.effort(images))
    }
}

impl Retrain {
    fn effort(&self, images: usize) -> f64 {
        let epochs = secateur_train::epochs_for(self.epochs, self.min_steps, images, self.batch);
        f64::from(epochs) * images as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_and_small_sets_count() {
        let text = r#"
            name = "x"
            [[step]]
            kind = "prune"
            schedule = { rounds = 3 }
            allocation = { global = 0.5 }
            retrain = { epochs = 2, learning_rate = 0.1, batch = 10 }
            [[step]]
            kind = "share"
            levels = 4
            retrain = { epochs = 1, min_steps = 50, learning_rate = 0.1, batch = 10 }
            [[step]]
            kind = "encode"
        "#;
        let recipe = Recipe::from_toml(text, "x").unwrap();
        assert_eq!(recipe.effort("net", 100), [600.0, 500.0, 0.0]);
    }
}
