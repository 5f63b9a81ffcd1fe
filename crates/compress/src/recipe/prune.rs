//! The step that removes connections.

use super::{Retrain, for_network};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Remove connections, and retrain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneStep {
    /// In how many cuts.
    #[serde(default)]
    pub schedule: PruneSchedule,
    /// How far.
    pub allocation: AllocationSettings,
    /// Training during and after; none leaves the network as it was cut.
    #[serde(default)]
    pub retrain: Option<Retrain>,
    /// Other settings for networks of a name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub network: BTreeMap<String, PruneOverride>,
}

/// Settings of a prune step for networks whose name matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneOverride {
    /// How far.
    pub allocation: Option<AllocationSettings>,
    /// Training.
    pub retrain: Option<Retrain>,
}

/// In how many cuts the density is reached.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PruneSchedule {
    /// One cut, then retraining.
    #[default]
    OneShot,
    /// Cut and retrain, so many times; the density falls geometrically (Han et
    /// al. 2015). Each round trains for the step's epochs.
    Rounds(usize),
    /// Cut while training, along a cubic (Zhu & Gupta 2017), until three fifths
    /// of the training are over.
    Cubic {
        /// Number of cuts.
        updates: usize,
    },
}

/// Densities to reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllocationSettings {
    /// The same in every layer.
    Uniform(f64),
    /// By name.
    PerLayer(BTreeMap<String, f64>),
    /// One threshold over all layers.
    Global(f64),
    /// Erdős–Rényi-kernel.
    Erk(f64),
}

impl PruneStep {
    /// The settings for a network of this name.
    pub fn resolve(&self, network: &str) -> (&AllocationSettings, Option<&Retrain>) {
        let found = for_network(&self.network, network);
        (
            found
                .and_then(|o| o.allocation.as_ref())
                .unwrap_or(&self.allocation),
            found
                .and_then(|o| o.retrain.as_ref())
                .or(self.retrain.as_ref()),
        )
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let overrides = self.network.values();
        let allocations = overrides.clone().filter_map(|o| o.allocation.as_ref());
        for allocation in allocations.chain([&self.allocation]) {
            allocation.check()?;
        }
        match self.schedule {
            PruneSchedule::Rounds(0) | PruneSchedule::Cubic { updates: 0 } => {
                return Err("a schedule needs at least one cut".into());
            }
            PruneSchedule::Cubic { .. } if self.retrain.is_none() => {
                return Err("the cubic schedule cuts while training: add `retrain`".into());
            }
            _ => {}
        }
        let retrains = overrides.filter_map(|o| o.retrain.as_ref());
        retrains.chain(&self.retrain).try_for_each(Retrain::check)
    }
}

impl AllocationSettings {
    fn check(&self) -> Result<(), String> {
        let all: Vec<f64> = match self {
            Self::Uniform(d) | Self::Global(d) | Self::Erk(d) => vec![*d],
            Self::PerLayer(densities) => densities.values().copied().collect(),
        };
        match all.iter().find(|d| !(**d > 0.0 && **d <= 1.0)) {
            Some(d) => Err(format!(
                "a density must be above 0 and at most 1, found {d}"
            )),
            None => Ok(()),
        }
    }

    /// The allocation on the way from dense to the target: each density `d`
    /// becomes `d + (1 − d) · left`, with `left` from 1 (dense) to 0 (target).
    pub fn part_way(&self, left: f64) -> crate::Allocation {
        self.map(|d| d + (1.0 - d) * left.clamp(0.0, 1.0))
    }

    /// The allocation after `part` (0 to 1) of the rounds: each density `d`
    /// becomes `d ^ part`, so that every round keeps the same share.
    pub fn geometric(&self, part: f64) -> crate::Allocation {
        self.map(|d| d.powf(part.clamp(0.0, 1.0)))
    }

    fn map(&self, at: impl Fn(f64) -> f64) -> crate::Allocation {
        match self {
            Self::Uniform(d) => crate::Allocation::Uniform(at(*d)),
            Self::Global(d) => crate::Allocation::Global(at(*d)),
            Self::Erk(d) => crate::Allocation::Erk(at(*d)),
            Self::PerLayer(densities) => crate::Allocation::PerLayer(
                densities.iter().map(|(n, d)| (n.clone(), at(*d))).collect(),
            ),
        }
    }
}
