//! The step that cuts whole channels from the network's shapes.

use super::Retrain;
use super::prune::default_images;
use crate::Criterion;
use crate::wildcard::lookup;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Cut whole channels, the least important first, and retrain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelsStep {
    /// Share of the channels of each group that stays.
    pub keep: f64,
    /// Other shares for groups with a weight of such a name.
    #[serde(default)]
    pub groups: BTreeMap<String, f64>,
    /// What a channel's weights are worth: magnitude, taylor or activation.
    #[serde(default)]
    pub criterion: Criterion,
    /// Training images that the criterion looks at, where it looks at any.
    #[serde(default = "default_images")]
    pub images: usize,
    /// Channels stay in multiples of this.
    #[serde(default = "one")]
    pub round_to: usize,
    /// In how many cuts.
    #[serde(default)]
    pub schedule: ChannelsSchedule,
    /// Training after each cut; none leaves the network as it was cut.
    #[serde(default)]
    pub retrain: Option<Retrain>,
    /// Other settings for networks of a name.
    #[serde(default)]
    pub network: BTreeMap<String, ChannelsOverride>,
}

/// Settings of a channels step for networks whose name matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelsOverride {
    /// Share of the channels of each group that stays.
    pub keep: Option<f64>,
    /// Other shares for groups with a weight of such a name.
    pub groups: Option<BTreeMap<String, f64>>,
    /// Training.
    pub retrain: Option<Retrain>,
}

/// In how many cuts the shares are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelsSchedule {
    /// One cut, then retraining.
    #[default]
    OneShot,
    /// Cut and retrain, so many times; each keeps the same share of what is left.
    Rounds(usize),
}

impl ChannelsSchedule {
    /// Number of cuts.
    pub fn rounds(self) -> usize {
        match self {
            Self::OneShot => 1,
            Self::Rounds(rounds) => rounds,
        }
    }
}

fn one() -> usize {
    1
}

impl ChannelsStep {
    /// The settings for a network of this name.
    pub fn resolve(&self, network: &str) -> (crate::ChannelCut, Option<&Retrain>) {
        let found = lookup(&self.network, network);
        let groups = found.and_then(|o| o.groups.as_ref());
        let cut = crate::ChannelCut {
            keep: found.and_then(|o| o.keep).unwrap_or(self.keep),
            groups: groups.unwrap_or(&self.groups).clone(),
            round_to: self.round_to,
        };
        let retrain = found.and_then(|o| o.retrain.as_ref());
        (cut, retrain.or(self.retrain.as_ref()))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let overrides = || self.network.values();
        let named = overrides().filter_map(|o| o.groups.as_ref());
        let shares = named
            .chain([&self.groups])
            .flat_map(|groups| groups.values().copied())
            .chain(overrides().filter_map(|o| o.keep))
            .chain([self.keep]);
        for share in shares {
            if !(share > 0.0 && share <= 1.0) {
                return Err(format!("keep must be above 0 and at most 1, found {share}"));
            }
        }
        if matches!(self.criterion, Criterion::Movement | Criterion::Obs) {
            return Err("the criterion of channels is magnitude, taylor or activation".into());
        }
        if self.images == 0 {
            return Err("images must be at least 1".into());
        }
        if self.round_to == 0 || self.schedule.rounds() == 0 {
            return Err("round_to and rounds must be at least 1".into());
        }
        let retrains = overrides().filter_map(|o| o.retrain.as_ref());
        retrains.chain(&self.retrain).try_for_each(Retrain::check)
    }
}
