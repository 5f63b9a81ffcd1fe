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
    /// What a weight's multiplications cost beside its code, in bits, for a weight that takes part in
    /// as many as the network's mean; others cost in proportion.
    #[serde(default)]
    pub product_bits: f32,
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
    /// What multiplications cost.
    pub product_bits: Option<f32>,
    /// First step of the integers.
    pub coarseness: Option<f32>,
    /// Training.
    pub retrain: Option<Retrain>,
}

/// What a rate step does to one network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResolvedRate<'a> {
    /// Price of a bit.
    pub nats_per_bit: f32,
    /// What multiplications cost.
    pub product_bits: f32,
    /// First step of the integers.
    pub coarseness: f32,
    /// Training.
    pub retrain: &'a Retrain,
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
            product_bits: 0.0,
            coarseness: default_coarseness(),
            warm_up: default_warm_up(),
            retrain,
            network: BTreeMap::new(),
        }
    }

    /// The settings for a network of this name.
    pub fn resolve(&self, network: &str) -> ResolvedRate<'_> {
        let found = lookup(&self.network, network);
        let number = |of: fn(&RateOverride) -> Option<f32>| found.and_then(of);
        ResolvedRate {
            nats_per_bit: number(|o| o.nats_per_bit).unwrap_or(self.nats_per_bit),
            product_bits: number(|o| o.product_bits).unwrap_or(self.product_bits),
            coarseness: number(|o| o.coarseness).unwrap_or(self.coarseness),
            retrain: found
                .and_then(|o| o.retrain.as_ref())
                .unwrap_or(&self.retrain),
        }
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
        let products = self.network.values().filter_map(|o| o.product_bits);
        let mut products = products.chain([self.product_bits]);
        if let Some(bits) = products.find(|bits| !bits.is_finite() || *bits < 0.0) {
            return Err(format!("product_bits must be 0 or more, found {bits}"));
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
