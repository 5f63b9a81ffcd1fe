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
    /// Other numbers of values for weights of these names, in which `*` stands for any run; of several
    /// that fit, the one that says most counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<String, usize>,
    /// Which weights share the values.
    #[serde(default)]
    pub codebooks: crate::Codebooks,
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

    /// Values of a weight.
    pub fn levels_of(&self, weight: &str) -> usize {
        lookup(&self.layers, weight).copied().unwrap_or(self.levels)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let mut levels = self.layers.values().chain([&self.levels]);
        if let Some(levels) = levels.find(|levels| !(2..=1 << 16).contains(*levels)) {
            return Err(format!("levels must be 2 to 65536, found {levels}"));
        }
        let retrains = self.network.values().map(|o| &o.retrain);
        retrains.chain(&self.retrain).try_for_each(Retrain::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_have_their_levels() {
        let step = |text: &str| -> Result<ShareStep, String> {
            let step: ShareStep = toml::from_str(text).map_err(|e| e.to_string())?;
            step.check()?;
            Ok(step)
        };
        let paper = step("levels = 32\nlayers = { \"conv*\" = 256 }").unwrap();
        assert_eq!(
            ["conv1.weight", "fc1.weight"].map(|name| paper.levels_of(name)),
            [256, 32]
        );
        let wrong = step("levels = 32\nlayers = { fc1 = 1 }").unwrap_err();
        assert!(wrong.contains("found 1"), "{wrong}");
    }
}
