//! The step that makes integers of weights and activations.

use super::Retrain;
use crate::Width;
use crate::ptq::Sparsity;
use crate::wildcard::lookup;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Integers for weights and activations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizeStep {
    /// Width of a weight: 2 to 8, or 16. Two bits are ternary: −1, 0 and 1.
    pub weight_bits: u8,
    /// Other widths for weights of these names, in which `*` stands for any run;
    /// of several that fit, the longest counts.
    #[serde(default)]
    pub bits: BTreeMap<String, u8>,
    /// Width of the first and the last layer's weight, where it is more.
    #[serde(default)]
    pub first_last_bits: Option<u8>,
    /// Width of depthwise layers' weights, where it is more: they are few, and each
    /// of them counts.
    #[serde(default)]
    pub depthwise_bits: Option<u8>,
    /// How many weights share a scale.
    #[serde(default)]
    pub granularity: crate::Granularity,
    /// How a weight's scale is found.
    #[serde(default)]
    pub weight_range: crate::Range,
    /// How an activation's scale is found; none leaves activations in f32.
    #[serde(default)]
    pub activation_range: Option<crate::Range>,
    /// Width of an activation: 8 or 16.
    #[serde(default = "eight")]
    pub activation_bits: u8,
    /// What codes of activations may change of the network's outputs, as a part of their variance:
    /// where it is more, layers whose inputs cost most compute with reals. None quantizes all.
    #[serde(default)]
    pub activation_error: Option<f64>,
    /// How weights are rounded.
    #[serde(default)]
    pub rounding: Rounding,
    /// Channels of neighbouring layers are brought to like ranges first.
    #[serde(default)]
    pub equalize: bool,
    /// Samples for what is fitted to them.
    #[serde(default = "calibration_samples")]
    pub samples: usize,
    /// How biases are kept.
    #[serde(default)]
    pub biases: Biases,
    /// Training with fake quantization, from the weights as they were before.
    #[serde(default)]
    pub retrain: Option<Retrain>,
}

/// How weights are rounded.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// Each to the nearest code.
    #[default]
    Nearest,
    /// Layer by layer, so that the layer's output changes least on the samples.
    SecondOrder(SecondOrder),
}

/// Rounding by second moments of the layers' inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecondOrder {
    /// Biases make good what changes on average.
    pub correct_bias: bool,
    /// Weights are tuned first, and scales after, so that each layer gives what
    /// it gave in the dense network. The number is how strongly weights are held
    /// where they were, in parts of their inputs' mean square; 0 does not tune.
    pub match_outputs: f64,
    /// Share of the weights that the same sweep keeps, but of depthwise layers and
    /// the first one, which keep all; layers to whose errors the network's outputs are insensitive
    /// lose more. 1 removes none.
    pub density: f64,
    /// Or a pattern, as `2:4`.
    pub pattern: Option<String>,
    /// Part of the mean second moment that is added to the diagonal.
    pub damping: f64,
    /// What rounding may change of the network's outputs, as a part of their variance, as if layers'
    /// errors added up. Each layer has part in it by its number of weights, and by what its errors
    /// do to the outputs; all its outputs have one step, which an entropy coder makes the fewest bytes of; none takes the finest steps that
    /// the width has.
    pub error: Option<f64>,
    /// What a bit of a code is worth against error, in parts of what a finer step would make of it: 1 spends both
    /// alike; 0 rounds to the nearest code.
    pub trade: f64,
}

impl Default for SecondOrder {
    fn default() -> Self {
        Self {
            correct_bias: true,
            match_outputs: 1.0,
            density: 1.0,
            pattern: None,
            damping: 0.01,
            error: None,
            trade: 0.0,
        }
    }
}

impl SecondOrder {
    /// What a sweep removes of a layer that can be pruned.
    pub fn sparsity(&self) -> Option<Sparsity> {
        match &self.pattern {
            None if self.density == 1.0 => Some(Sparsity::Keep),
            None => (self.density > 0.0 && self.density < 1.0)
                .then_some(Sparsity::Density(self.density)),
            Some(pattern) => {
                let (n, m) = pattern.split_once(':')?;
                let (n, m): (usize, usize) = (n.trim().parse().ok()?, m.trim().parse().ok()?);
                (self.density == 1.0 && 0 < n && n <= m).then_some(Sparsity::NofM { n, m })
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.sparsity().is_none() {
            return Err(
                "density must be above 0 and at most 1, or pattern n:m with n at most m".into(),
            );
        }
        let parts = [self.match_outputs, self.damping, self.trade];
        let positive = self.error.is_none_or(|e| e.is_finite() && e > 0.0);
        match positive && parts.iter().all(|p| p.is_finite() && *p >= 0.0) {
            true => Ok(()),
            false => Err(
                "match_outputs, damping and trade must be finite and not negative, error positive"
                    .into(),
            ),
        }
    }
}

fn eight() -> u8 {
    8
}

fn calibration_samples() -> usize {
    1000
}

/// How biases are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Biases {
    /// Half precision.
    #[default]
    F16,
    /// As they are.
    F32,
}

impl QuantizeStep {
    /// Weights of so many bits, all else by default.
    pub fn new(weight_bits: u8) -> Self {
        Self {
            weight_bits,
            bits: BTreeMap::new(),
            first_last_bits: None,
            depthwise_bits: None,
            granularity: crate::Granularity::default(),
            weight_range: crate::Range::default(),
            activation_range: None,
            activation_bits: eight(),
            activation_error: None,
            rounding: Rounding::default(),
            equalize: false,
            samples: calibration_samples(),
            biases: Biases::default(),
            retrain: None,
        }
    }

    /// Width of each of these weights, which are in the network's order, by name and
    /// whether it is of a depthwise layer.
    pub fn bits_of<'a>(&self, weights: &'a [(String, bool)]) -> Vec<(&'a str, u8)> {
        let last = weights.len().saturating_sub(1);
        let bits = |(index, (name, depthwise)): (usize, &'a (String, bool))| {
            let named = lookup(&self.bits, name).copied();
            let bits = named.unwrap_or(self.weight_bits);
            let ends = self.first_last_bits.filter(|_| index == 0 || index == last);
            let wider = ends.max(self.depthwise_bits.filter(|_| *depthwise));
            let wider = wider.filter(|_| named.is_none());
            (name.as_str(), wider.map_or(bits, |wider| wider.max(bits)))
        };
        weights.iter().enumerate().map(bits).collect()
    }

    /// Width of an activation.
    pub fn activation_width(&self) -> Width {
        match self.activation_bits {
            16 => Width::Sixteen,
            _ => Width::Eight,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let widths = self
            .bits
            .values()
            .chain(&self.first_last_bits)
            .chain(&self.depthwise_bits);
        for bits in std::iter::once(&self.weight_bits).chain(widths) {
            if !matches!(bits, 2..=8 | 16) {
                return Err(format!("weight_bits must be 2 to 8, or 16, found {bits}"));
            }
        }
        if !matches!(self.activation_bits, 8 | 16) {
            return Err(format!(
                "activation_bits must be 8 or 16, found {}",
                self.activation_bits
            ));
        }
        if let Some(error) = self.activation_error.filter(|e| !e.is_finite() || *e < 0.0) {
            return Err(format!("activation_error must be 0 or more, found {error}"));
        }
        let ranges = [Some(self.weight_range), self.activation_range];
        for range in ranges.into_iter().flatten() {
            if let crate::Range::Percentile(share) = range
                && !(share > 0.0 && share <= 1.0)
            {
                return Err(format!(
                    "a percentile is a share above 0 and at most 1, as 0.999, found {share}"
                ));
            }
        }
        if self.samples == 0 {
            return Err("samples must be at least 1".into());
        }
        if let Rounding::SecondOrder(settings) = &self.rounding {
            settings.check()?;
        }
        self.retrain.iter().try_for_each(Retrain::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str) -> Result<QuantizeStep, String> {
        let step: QuantizeStep = toml::from_str(text).map_err(|e| e.to_string())?;
        step.check()?;
        Ok(step)
    }

    #[test]
    fn each_layer_has_its_width() {
        let text = "weight_bits = 4\nfirst_last_bits = 8\ndepthwise_bits = 6\nbits = { \"fc*\" = 3, \"fc1.*\" = 2 }";
        let step = step(text).unwrap();
        let names = ["conv", "body", "deep", "fc1.w", "fc2.w", "end"];
        let weights = names.map(|name| (name.to_owned(), name == "deep"));
        let bits: Vec<u8> = step.bits_of(&weights).iter().map(|b| b.1).collect();
        assert_eq!(bits, [8, 4, 6, 2, 3, 8]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let wrong = |more: &str| step(&format!("weight_bits = 8\n{more}")).unwrap_err();
        assert!(wrong("bits = { a = 1 }").contains("found 1"));
        assert!(wrong("activation_bits = 12").contains("12"));
        assert!(wrong("activation_error = -0.1").contains("-0.1"));
        assert!(wrong("activation_range = { percentile = 99.9 }").contains("99.9"));
        assert!(wrong("samples = 0").contains("samples"));
        assert!(wrong("rounding = { second-order = { density = 0.0 } }").contains("density"));
        assert!(wrong("rounding = { second-order = { pattern = \"4:2\" } }").contains("n:m"));
        assert!(wrong("rounding = { second-order = { damping = -1.0 } }").contains("damping"));
        let fine =
            step("weight_bits = 8\nrounding = { second-order = { pattern = \"2:4\" } }").unwrap();
        let Rounding::SecondOrder(settings) = fine.rounding else {
            panic!("second order");
        };
        assert_eq!(settings.sparsity(), Some(Sparsity::NofM { n: 2, m: 4 }));
    }
}
