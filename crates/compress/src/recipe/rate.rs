//! The step that trains weights to be cheap to code.

use super::Retrain;
use crate::wildcard::lookup;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Train weights and biases as integers at a price a bit: those that are not worth theirs become
/// zero, and so do inputs and neurons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateStep {
    /// Price of a bit, in nats of the loss.
    pub nats_per_bit: f32,
    /// First step of the integers, in root mean squares of a weight's values; it is learned.
    #[serde(default = "default_coarseness")]
    pub coarseness: f32,
    /// Share of the training in which the price rises, and what has died may come back.
    #[serde(default = "default_warm_up")]
    pub warm_up: f32,
    /// Training.
    pub retrain: Retrain,
    /// Other settings for networks of a name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub network: BTreeMap<String, RateOverride>,
}

/// Settings of a rate step for networks whose name matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateOverride {
    /// Price of a bit.
    pub nats_per_bit: Option<f32>,
    /// First step of the integers.
    pub coarseness: Option<f32>,
    /// Training.
    pub retrain: Option<Retrain>,
}

fn default_coarseness() -> f32 {
    2.0
}

fn default_warm_up() -> f32 {
    0.3
}

impl RateStep {
    /// At this price, with this training, all else by default.
    pub fn new(nats_per_bit: f32, retrain: Retrain) -> Self {
        Self {
            nats_per_bit,
            coarseness: default_coarseness(),
            warm_up: default_warm_up(),
            retrain,
            network: BTreeMap::new(),
        }
    }

    /// Price, coarseness and training for a network of this name.
    pub fn resolve(&self, network: &str) -> (f32, f32, &Retrain) {
        let found = lookup(&self.network, network);
        let price = found.and_then(|o| o.nats_per_bit);
        let coarseness = found.and_then(|o| o.coarseness);
        let retrain = found.and_then(|o| o.retrain.as_ref());
        (
            price.unwrap_or(self.nats_per_bit),
            coarseness.unwrap_or(self.coarseness),
            retrain.unwrap_or(&self.retrain),
        )
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let positive = |x: f32| x.is_finite() && x > 0.0;
        let others = self.network.values();
        let numbers = others
            .flat_map(|o| [o.nats_per_bit, o.coarseness])
            .flatten();
        let numbers = numbers.chain([self.nats_per_bit, self.coarseness]);
        if !numbers.into_iter().all(positive) {
            return Err("nats_per_bit and coarseness must be positive".into());
        }
        if !(0.0..1.0).contains(&self.warm_up) {
            return Err(format!(
                "warm_up must be 0 or more, below 1, found {}",
                self.warm_up
            ));
        }
        let retrains = self.network.values().filter_map(|o| o.retrain.as_ref());
        retrains.chain([&self.retrain]).try_for_each(|retrain| {
            if retrain.average.is_some() {
                return Err("an average would bring back what has died".into());
            }
            retrain.check()
        })
    }
}
