//! Recipes: an ordered list of steps, as TOML.

use crate::CompressError;
use secateur_train::Optimiser;
use serde::Deserialize;
use std::collections::BTreeMap;

/// An ordered list of compression steps.
///
/// ```
/// use secateur_compress::Recipe;
/// let recipe = Recipe::builtin("deep-compression")?;
/// let kinds: Vec<&str> = recipe.steps.iter().map(|s| s.kind()).collect();
/// assert_eq!(kinds, ["prune", "share", "quantize", "encode"]);
/// # Ok::<(), secateur_compress::CompressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The recipe's name.
    pub name: String,
    /// What is done, in this order.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}

/// One step of a recipe.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Step {
    /// Train as the network stands.
    Train(TrainStep),
    /// Remove connections, and retrain.
    Prune(PruneStep),
    /// Give each layer few values, and retrain them.
    Share(ShareStep),
    /// Integers for weights and activations.
    Quantize(QuantizeStep),
    /// How the file is coded.
    Encode(EncodeStep),
}

impl Step {
    /// The step's name in a recipe.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Train(_) => "train",
            Self::Prune(_) => "prune",
            Self::Share(_) => "share",
            Self::Quantize(_) => "quantize",
            Self::Encode(_) => "encode",
        }
    }
}

/// How long and how fast to train.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retrain {
    /// Passes over the training data.
    pub epochs: f32,
    /// Steps at the least, however small the data set is.
    #[serde(default)]
    pub min_steps: usize,
    /// First learning rate; it falls to zero along a cosine.
    pub learning_rate: f32,
    /// Images a step.
    #[serde(default = "default_batch")]
    pub batch: usize,
    /// Pull towards zero.
    #[serde(default)]
    pub weight_decay: f32,
    /// How a gradient moves a weight.
    #[serde(default)]
    pub optimiser: OptimiserSetting,
    /// Random shift of each image, in pixels.
    #[serde(default)]
    pub shift: usize,
    /// Learn from the network as it was before the recipe.
    #[serde(default)]
    pub distill: Option<DistillSettings>,
}

fn default_batch() -> usize {
    128
}

/// How a gradient moves a weight, with the usual constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
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

/// `alpha · CE + (1 − alpha) · T² · KL` (Hinton et al. 2015).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillSettings {
    /// Weight of the labels.
    pub alpha: f32,
    /// Softness of the teacher's answers.
    pub temperature: f32,
}

/// Train as the network stands.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainStep {
    /// How.
    pub retrain: Retrain,
}

/// In how many cuts the density is reached.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Deserialize)]
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

/// Remove connections, and retrain.
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
    #[serde(default)]
    pub network: BTreeMap<String, PruneOverride>,
}

/// Settings of a prune step for networks whose name matches.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneOverride {
    /// How far.
    pub allocation: Option<AllocationSettings>,
    /// Training.
    pub retrain: Option<Retrain>,
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
}

/// What is set for networks of this name.
fn for_network<'a, T>(settings: &'a BTreeMap<String, T>, network: &str) -> Option<&'a T> {
    let mut found = settings.iter().filter(|(p, _)| matches(p, network));
    found.next().map(|(_, setting)| setting)
}

/// Give each layer few values, and retrain them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
    #[serde(default)]
    pub network: BTreeMap<String, ShareOverride>,
}

/// Settings of a share step for networks whose name matches.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareOverride {
    /// Training.
    pub retrain: Retrain,
}

impl ShareStep {
    /// The training for a network of this name.
    pub fn resolve(&self, network: &str) -> Option<&Retrain> {
        let found = for_network(&self.network, network).map(|o| &o.retrain);
        found.or(self.retrain.as_ref())
    }
}

/// Integers for weights and activations.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizeStep {
    /// Width of a weight: 2 to 8, or 16.
    pub weight_bits: u8,
    /// How many weights share a scale.
    #[serde(default)]
    pub granularity: crate::Granularity,
    /// How a weight's scale is found.
    #[serde(default)]
    pub weight_range: crate::Range,
    /// How an activation's scale is found; none leaves activations in f32.
    #[serde(default)]
    pub activation_range: Option<crate::Range>,
    /// How biases are kept.
    #[serde(default)]
    pub biases: Biases,
    /// Training with fake quantization.
    #[serde(default)]
    pub retrain: Option<Retrain>,
}

/// How biases are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Biases {
    /// Half precision.
    #[default]
    F16,
    /// As they are.
    F32,
}

/// Which trade the file's coders make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreSetting {
    /// Fewest bytes, however slowly they are read.
    Smallest,
    /// Few bytes; large weights within 3 % of the fewest where that is fast to read.
    #[default]
    Small,
    /// Fast to read.
    Fast,
}

/// How the file is coded.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodeStep {
    /// Which trade.
    #[serde(default)]
    pub store: StoreSetting,
}

/// The recipes that come with the library: name and text.
pub const BUILTIN: [(&str, &str); 3] = [
    (
        "deep-compression",
        include_str!("../../../recipes/deep-compression.toml"),
    ),
    ("int8", include_str!("../../../recipes/int8.toml")),
    (
        "prune-only",
        include_str!("../../../recipes/prune-only.toml"),
    ),
];

impl Recipe {
    /// A recipe that comes with the library.
    ///
    /// # Errors
    /// A name that is none of [`BUILTIN`].
    pub fn builtin(name: &str) -> Result<Self, CompressError> {
        let Some((_, text)) = BUILTIN.iter().find(|(n, _)| *n == name) else {
            let known: Vec<&str> = BUILTIN.iter().map(|(n, _)| *n).collect();
            return Err(CompressError::Recipe {
                place: name.to_owned(),
                reason: format!("no such recipe; there are {}", known.join(", ")),
            });
        };
        Self::from_toml(text, name)
    }

    /// Reads a recipe; `place` names it in errors.
    ///
    /// # Errors
    /// Text that is not TOML, an unknown step or key, an order that makes no
    /// sense, a setting out of range.
    pub fn from_toml(text: &str, place: &str) -> Result<Self, CompressError> {
        let wrong = |reason: String| CompressError::Recipe {
            place: place.to_owned(),
            reason,
        };
        let recipe: Self = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
        recipe.check().map_err(wrong)?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), String> {
        let mut done: Vec<&str> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let kind = step.kind();
            let before = |other: &str| done.contains(&other);
            let because = match kind {
                _ if before("encode") => Some("the file is encoded last"),
                "prune" if before("share") || before("quantize") => {
                    Some("shared or quantized weights cannot be pruned; prune first")
                }
                "share" if before("share") => Some("the weights are shared already"),
                "share" if before("quantize") => {
                    Some("quantized weights have few values already; share first")
                }
                "quantize" if before("quantize") => Some("the network is quantized already"),
                _ => None,
            };
            if let Some(reason) = because {
                return Err(format!("step {} ({kind}): {reason}", index + 1));
            }
            step.check()
                .map_err(|e| format!("step {} ({kind}): {e}", index + 1))?;
            done.push(kind);
        }
        match done.is_empty() {
            true => Err("a recipe needs at least one [[step]]".into()),
            false => Ok(()),
        }
    }
}

impl Step {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Train(step) => step.retrain.check(),
            Self::Prune(step) => {
                let overrides = step.network.values();
                let allocations = overrides.clone().filter_map(|o| o.allocation.as_ref());
                for allocation in allocations.chain([&step.allocation]) {
                    allocation.check()?;
                }
                match step.schedule {
                    PruneSchedule::Rounds(0) | PruneSchedule::Cubic { updates: 0 } => {
                        return Err("a schedule needs at least one cut".into());
                    }
                    PruneSchedule::Cubic { .. } if step.retrain.is_none() => {
                        return Err("the cubic schedule cuts while training: add `retrain`".into());
                    }
                    _ => {}
                }
                let retrains = overrides.filter_map(|o| o.retrain.as_ref());
                retrains.chain(&step.retrain).try_for_each(Retrain::check)
            }
            Self::Share(step) if !(2..=1 << 16).contains(&step.levels) => {
                Err(format!("levels must be 2 to 65536, found {}", step.levels))
            }
            Self::Share(step) => {
                let retrains = step.network.values().map(|o| &o.retrain);
                retrains.chain(&step.retrain).try_for_each(Retrain::check)
            }
            Self::Quantize(step) if !matches!(step.weight_bits, 2..=8 | 16) => Err(format!(
                "weight_bits must be 2 to 8, or 16, found {}",
                step.weight_bits
            )),
            Self::Quantize(step) => step.retrain.iter().try_for_each(Retrain::check),
            Self::Encode(_) => Ok(()),
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

impl Retrain {
    fn check(&self) -> Result<(), String> {
        let positive = |x: f32| x.is_finite() && x > 0.0;
        if !positive(self.epochs) || !positive(self.learning_rate) || self.batch == 0 {
            return Err("epochs, learning_rate and batch must be positive".into());
        }
        match &self.distill {
            Some(d) if !(0.0..=1.0).contains(&d.alpha) || !positive(d.temperature) => {
                Err("distill needs alpha from 0 to 1 and a positive temperature".into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a name matches a pattern in which `*` stands for any run.
///
/// Each part between stars is looked for where the last one ended: the earliest
/// place leaves the most for what follows, so none needs to be tried again.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut rest) = name.strip_prefix(head) else {
        return false;
    };
    let (middle, end) = tail.rsplit_once('*').unwrap_or(("", tail));
    for part in middle.split('*') {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Recipe::from_toml(text, "r.toml").unwrap_err().to_string()
    }

    #[test]
    fn built_in_recipes_read() {
        for (name, _) in BUILTIN {
            assert_eq!(Recipe::builtin(name).unwrap().name, name);
        }
        assert!(Recipe::builtin("nope").is_err());
    }

    #[test]
    fn networks_have_their_own_settings() {
        let recipe = Recipe::builtin("deep-compression").unwrap();
        let Step::Prune(step) = &recipe.steps[0] else {
            panic!("the first step prunes");
        };
        let per_layer = |name| matches!(step.resolve(name).0, AllocationSettings::PerLayer(_));
        assert!(per_layer("lenet-300-100"));
        assert!(!per_layer("resnet-20"));
        assert!(matches("a*c*", "abcd") && !matches("a*c", "abcd"));
        assert!(matches("*b*b*", "abcb") && !matches("*b*b*b", "abcb"));
        assert!(!matches("ab*ba", "aba") && matches("ab*ba", "abba"));
        assert!(!matches(&"*a".repeat(60), &"a".repeat(59)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        let step = |s: &str| format!("name = \"x\"\n{s}");
        let unknown = error(&step("[[step]]\nkind = \"melt\""));
        assert!(
            unknown.contains("melt") && unknown.contains("r.toml"),
            "{unknown}"
        );
        let quantize = "[[step]]\nkind = \"quantize\"\nweight_bits = 8\n";
        let prune = "[[step]]\nkind = \"prune\"\nallocation = { uniform = 0.5 }\n";
        let order = error(&step(&format!("{quantize}{prune}")));
        assert!(order.contains("prune first"), "{order}");
        let bits = error(&step("[[step]]\nkind = \"quantize\"\nweight_bits = 1\n"));
        assert!(bits.contains("found 1"), "{bits}");
        let density = error(&step(
            "[[step]]\nkind = \"prune\"\nallocation = { global = 2.0 }\n",
        ));
        assert!(density.contains("density"), "{density}");
        let key = error(&step(&format!("{prune}densty = 3\n")));
        assert!(key.contains("densty"), "{key}");
        assert!(error("name = \"x\"\nstep = []").contains("at least one"));
    }
}
