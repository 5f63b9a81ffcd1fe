//! The step that removes connections.

use super::Retrain;
use crate::wildcard::lookup;
use crate::{Criterion, Pattern};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Remove connections, and retrain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneStep {
    /// In how many cuts.
    #[serde(default)]
    pub schedule: PruneSchedule,
    /// How far; as far as the pattern goes where that says it (`n:m`).
    #[serde(default)]
    pub allocation: Option<AllocationSettings>,
    /// Where kept weights may lie.
    #[serde(default)]
    pub pattern: Pattern,
    /// What decides which weights stay.
    #[serde(default)]
    pub criterion: Criterion,
    /// Training images that the criterion looks at, where it looks at any.
    #[serde(default = "default_images")]
    pub images: usize,
    /// Whether removed weights go on training out of sight until the last cut, so that they may
    /// return.
    #[serde(default)]
    pub shadow: bool,
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
    /// Where kept weights may lie.
    pub pattern: Option<Pattern>,
    /// Training.
    pub retrain: Option<Retrain>,
}

pub(super) fn default_images() -> usize {
    1000
}

impl Default for PruneStep {
    /// Nothing is said of how far; that must be added.
    fn default() -> Self {
        Self {
            schedule: PruneSchedule::default(),
            allocation: None,
            pattern: Pattern::default(),
            criterion: Criterion::default(),
            images: default_images(),
            shadow: false,
            retrain: None,
            network: BTreeMap::new(),
        }
    }
}

/// What a prune step does to one network.
#[derive(Debug, Clone)]
pub struct ResolvedPrune<'a> {
    /// How far.
    pub allocation: AllocationSettings,
    /// Where kept weights may lie.
    pub pattern: Pattern,
    /// Training.
    pub retrain: Option<&'a Retrain>,
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
    /// One cut, then exchanges while training, until three quarters of it are over: the smallest
    /// weights for those whose gradients are largest (RigL, Evci et al. 2020).
    Rigl {
        /// Number of exchanges.
        updates: usize,
        /// Share of the kept weights that the first one exchanges; it falls along a cosine.
        fraction: f64,
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
    pub fn resolve(&self, network: &str) -> ResolvedPrune<'_> {
        let found = lookup(&self.network, network);
        let allocation = found
            .and_then(|o| o.allocation.as_ref())
            .or(self.allocation.as_ref());
        ResolvedPrune {
            allocation: allocation
                .cloned()
                .unwrap_or(AllocationSettings::Uniform(1.0)),
            pattern: found.and_then(|o| o.pattern).unwrap_or(self.pattern),
            retrain: found
                .and_then(|o| o.retrain.as_ref())
                .or(self.retrain.as_ref()),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let overrides = self.network.values();
        let allocations = overrides.clone().filter_map(|o| o.allocation.as_ref());
        for allocation in allocations.chain(&self.allocation) {
            allocation.check()?;
        }
        let bounded = |pattern| matches!(pattern, Pattern::NofM { .. });
        if self.allocation.is_none() && !bounded(self.pattern) {
            return Err("needed an allocation, or a pattern n:m that says how much is kept".into());
        }
        if self.images == 0 {
            return Err("images must be at least 1".into());
        }
        self.check_schedule()?;
        let retrains = overrides.filter_map(|o| o.retrain.as_ref());
        retrains.chain(&self.retrain).try_for_each(Retrain::check)
    }

    fn check_schedule(&self) -> Result<(), String> {
        use PruneSchedule::{Cubic, OneShot, Rigl, Rounds};
        let needs = |reason: &str| Err(reason.to_owned());
        match self.schedule {
            Rounds(0) | Cubic { updates: 0 } | Rigl { updates: 0, .. } => {
                return needs("a schedule needs at least one cut");
            }
            Rigl { fraction, .. } if !(fraction > 0.0 && fraction <= 1.0) => {
                return Err(format!(
                    "fraction must be above 0 and at most 1, found {fraction}"
                ));
            }
            Cubic { .. } | Rigl { .. } if self.retrain.is_none() => {
                return needs("this schedule cuts while training: add `retrain`");
            }
            _ => {}
        }
        match (self.criterion, self.schedule) {
            (Criterion::Movement, OneShot | Rounds(_) | Rigl { .. }) => {
                needs("movement is gathered between cuts: use the schedule cubic")
            }
            (Criterion::Activation | Criterion::Obs, Cubic { .. }) => needs(
                "this criterion looks at the network between trainings: use one-shot or rounds",
            ),
            (_, OneShot | Rounds(_) | Rigl { .. }) if self.shadow => {
                needs("shadow keeps weights alive between cuts: use the schedule cubic")
            }
            _ => Ok(()),
        }
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
