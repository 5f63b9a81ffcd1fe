//! The step that gives each layer few values.

use super::Retrain;
use crate::wildcard::lookup;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Give each layer few values, and retrain them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareStep {
    /// Values a layer, 2 to 65536.
    pub levels: usize,
    /// Where the centroids start.
    #[serde(default)]
    pub init: crate::Init,
    /// Training of the shared values.
    #[serde(default)]
    pub retrain: Option<Retrain>,
    /// Other settings for networks of a name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub network: BTreeMap<String, ShareOverride>,
}

/// Settings of a share step for networks whose name matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareOverride {
    /// Training.
    pub retrain: Retrain,
}

impl ShareStep {
    /// The training for a network of this name.
    pub fn resolve(&self, network: &str) -> Option<&Retrain> {
        let found = lookup(&self.network, network).map(|o| &o.retrain);
        found.or(self.retrain.as_ref())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if !(2..=1 << 16).contains(&self.levels) {
            return Err(format!("levels must be 2 to 65536, found {}", self.levels));
        }
        let retrains = self.network.values().map(|o| &o.retrain);
        retrains.chain(&self.retrain).try_for_each(Retrain::check)
    }
}
