//! Recipes: an ordered list of steps, as TOML.

mod channels;
mod effort;
mod norms;
mod prune;
mod quantize;
mod rate;
mod retrain;
mod share;

pub use channels::{ChannelsOverride, ChannelsSchedule, ChannelsStep};
pub use norms::NormsStep;
pub use prune::{AllocationSettings, PruneOverride, PruneSchedule, PruneStep, ResolvedPrune};
pub use quantize::{Biases, QuantizeStep, Rounding, SecondOrder};
pub use rate::{RateOverride, RateStep, ResolvedRate};
pub use retrain::{
    Automatic, DistillSettings, FeatureSetting, OptimiserSetting, Retrain, ScheduleSetting,
};
pub use share::{ShareOverride, ShareStep};

use crate::wildcard::check_names;
use crate::{CompressError, Criterion};
use serde::{Deserialize, Serialize};
use toml::Spanned;

/// The newest form of a recipe that this build reads.
pub const VERSION: u32 = 1;

/// An ordered list of steps.
///
/// ```
/// use secateur_compress::Recipe;
/// let recipe = Recipe::builtin("deep-compression")?;
/// let kinds: Vec<&str> = recipe.steps.iter().map(|s| s.kind()).collect();
/// assert_eq!(kinds, ["prune", "share", "quantize", "encode"]);
/// # Ok::<(), secateur_compress::CompressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The form it is written in; [`VERSION`] where it does not say.
    #[serde(default = "version")]
    pub version: u32,
    /// The recipe's name.
    pub name: String,
    /// What is done, in this order.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}

/// One step of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Step {
    /// Train as the network stands.
    Train(TrainStep),
    /// Cut whole channels, and retrain.
    Channels(ChannelsStep),
    /// Train integers that are cheap to code.
    Rate(RateStep),
    /// Remove connections, and retrain.
    Prune(PruneStep),
    /// Give each layer few values, and retrain them.
    Share(ShareStep),
    /// Integers for weights and activations.
    Quantize(QuantizeStep),
    /// Measure the statistics of normalisations anew.
    Norms(NormsStep),
    /// How the file is coded.
    Encode(EncodeStep),
}

impl Step {
    /// The step's name in a recipe.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Train(_) => "train",
            Self::Channels(_) => "channels",
            Self::Prune(_) => "prune",
            Self::Rate(_) => "rate",
            Self::Share(_) => "share",
            Self::Quantize(_) => "quantize",
            Self::Norms(_) => "norms",
            Self::Encode(_) => "encode",
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Train(step) => step.retrain.check(),
            Self::Channels(step) => step.check(),
            Self::Prune(step) => step.check(),
            Self::Rate(step) => step.check(),
            Self::Share(step) => step.check(),
            Self::Quantize(step) => step.check(),
            Self::Norms(step) => step.check(),
            Self::Encode(_) => Ok(()),
        }
    }
}

/// Train as the network stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainStep {
    /// How.
    pub retrain: Retrain,
}

/// Which trade the file's coders make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodeStep {
    /// Which trade.
    #[serde(default)]
    pub store: StoreSetting,
    /// Whether channels are put in an order that the engine's sparse form packs better.
    #[serde(default)]
    pub order_channels: bool,
    /// Whether normalisations become part of the layers before them. Scales and biases of these
    /// take two bytes then, which moves answers in the third digit.
    #[serde(default)]
    pub fold_norms: bool,
}

/// The recipes that come with the library: name and text.
pub const BUILTIN: [(&str, &str); 7] = [
    (
        "deep-compression",
        include_str!("../../../../recipes/deep-compression.toml"),
    ),
    (
        "detector",
        include_str!("../../../../recipes/detector.toml"),
    ),
    ("int8", include_str!("../../../../recipes/int8.toml")),
    (
        "one-shot",
        include_str!("../../../../recipes/one-shot.toml"),
    ),
    (
        "one-shot-sparse",
        include_str!("../../../../recipes/one-shot-sparse.toml"),
    ),
    (
        "prune-only",
        include_str!("../../../../recipes/prune-only.toml"),
    ),
    (
        "smallest",
        include_str!("../../../../recipes/smallest.toml"),
    ),
];

fn version() -> u32 {
    VERSION
}

/// What is read first: a newer recipe may have keys and steps that are not known here.
#[derive(Deserialize)]
struct Preface {
    #[serde(default = "version")]
    version: u32,
}

/// What is read then: steps are read one by one, so that errors say which it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default = "version")]
    version: u32,
    name: String,
    step: Vec<Spanned<toml::Value>>,
}

impl Recipe {
    /// A recipe made in code.
    ///
    /// # Errors
    /// As [`Recipe::from_toml`].
    pub fn new(name: impl Into<String>, steps: Vec<Step>) -> Result<Self, CompressError> {
        let recipe = Self {
            version: VERSION,
            name: name.into(),
            steps,
        };
        recipe.check().map_err(|reason| CompressError::Recipe {
            place: recipe.name.clone(),
            reason,
        })?;
        Ok(recipe)
    }

    /// The recipe as a file's text, which [`Recipe::from_toml`] reads back as it was.
    ///
    /// # Errors
    /// A setting that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String, CompressError> {
        toml::to_string(self).map_err(|e| CompressError::Recipe {
            place: self.name.clone(),
            reason: e.to_string(),
        })
    }

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
    /// Text that is not TOML, a newer version, an unknown step or key, an order that makes no
    /// sense, a setting out of range.
    pub fn from_toml(text: &str, place: &str) -> Result<Self, CompressError> {
        let wrong = |reason: String| CompressError::Recipe {
            place: place.to_owned(),
            reason,
        };
        let preface: Preface = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
        if preface.version != VERSION {
            return Err(wrong(format!(
                "it is of version {}, this build reads version {VERSION}",
                preface.version
            )));
        }
        let read: Text = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
        let steps = read.step.into_iter().enumerate();
        let steps = steps.map(|(index, step)| {
            let line = 1 + text[..step.span().start].matches('\n').count();
            let kind = step.get_ref().get("kind").and_then(toml::Value::as_str);
            let kind = kind.unwrap_or("of no kind").to_owned();
            Step::deserialize(step.into_inner()).map_err(|error| {
                let reason = error.to_string();
                wrong(format!(
                    "step {} ({kind}), which begins in line {line}: {}",
                    index + 1,
                    reason.trim()
                ))
            })
        });
        let recipe = Self {
            version: read.version,
            name: read.name,
            steps: steps.collect::<Result<_, _>>()?,
        };
        recipe.check().map_err(wrong)?;
        Ok(recipe)
    }

    /// Refuses settings for weights that a network does not have, before any step is begun.
    ///
    /// # Errors
    /// A name without stars that is none of `names`.
    pub(crate) fn check_names(&self, names: &[String]) -> Result<(), CompressError> {
        self.steps.iter().try_for_each(|step| match step {
            Step::Share(share) => check_names(step.kind(), &share.layers, names),
            Step::Quantize(quantize) => check_names(step.kind(), &quantize.bits, names),
            _ => Ok(()),
        })
    }

    fn check(&self) -> Result<(), String> {
        let mut done: Vec<&str> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let kind = step.kind();
            let before = |other: &str| done.contains(&other);
            let because = match kind {
                _ if before("encode") => Some("the file is encoded last"),
                "rate" if before("share") || before("quantize") => {
                    Some("it decides by itself in which form weights are")
                }
                "channels"
                    if matches!(step, Step::Channels(step) if step.criterion != Criterion::Magnitude)
                        && ["rate", "share", "quantize"].into_iter().any(before) =>
                {
                    Some("this criterion is for weights in f32")
                }
                "prune" | "share" if before("rate") => Some("the weights are few integers already"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Recipe::from_toml(text, "r.toml").unwrap_err().to_string()
    }

    #[test]
    fn built_in_recipes_read_and_are_written_as_they_were() {
        for (name, _) in BUILTIN {
            let recipe = Recipe::builtin(name).unwrap();
            assert_eq!(recipe.name, name);
            let text = recipe.to_toml().unwrap();
            assert_eq!(Recipe::from_toml(&text, name).unwrap(), recipe, "{text}");
        }
        assert!(Recipe::builtin("nope").is_err());
    }

    #[test]
    fn measured_recipes_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/recipes");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            Recipe::from_toml(&text, &path.display().to_string()).unwrap();
        }
        let docs = include_str!("../../../../docs/recipes.md");
        let example = docs.split("```").nth(1).unwrap();
        Recipe::from_toml(example.strip_prefix("toml").unwrap(), "recipes.md").unwrap();
    }

    #[test]
    fn networks_have_their_own_settings() {
        let recipe = Recipe::builtin("deep-compression").unwrap();
        let Step::Prune(step) = &recipe.steps[0] else {
            panic!("the first step prunes");
        };
        let per_layer = |name| {
            matches!(
                step.resolve(name).allocation,
                AllocationSettings::PerLayer(_)
            )
        };
        assert!(per_layer("lenet-300-100"));
        assert!(!per_layer("resnet-20"));
    }

    #[test]
    fn a_newer_recipe_says_so() {
        let newer = error("version = 2\nname = \"x\"\nspirit = 1\n[[step]]\nkind = \"melt\"");
        assert!(
            newer.contains("version 2") && newer.contains("version 1"),
            "{newer}"
        );
        assert!(
            Recipe::from_toml(
                "version = 1\nname = \"x\"\n[[step]]\nkind = \"encode\"",
                "x"
            )
            .is_ok()
        );
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
        for (settings, reason) in [
            ("pattern = \"5:4\"", "n at most m"),
            ("criterion = \"movement\"", "cubic"),
            (
                "criterion = \"obs\"\nschedule = { cubic = { updates = 3 } }\nretrain = { epochs = 1, learning_rate = 0.1 }",
                "one-shot or rounds",
            ),
            ("shadow = true", "cubic"),
            (
                "schedule = { rigl = { updates = 3, fraction = 0.3 } }",
                "retrain",
            ),
            (
                "schedule = { rigl = { updates = 3, fraction = 1.5 } }",
                "fraction",
            ),
            ("images = 0", "images"),
        ] {
            let found = error(&step(&format!("{prune}{settings}\n")));
            assert!(found.contains(reason), "{settings}: {found}");
        }
        let bare = "[[step]]\nkind = \"prune\"\n";
        let unbounded = error(&step(bare));
        assert!(unbounded.contains("allocation"), "{unbounded}");
        Recipe::from_toml(&step(&format!("{bare}pattern = \"8:64\"\n")), "r.toml").unwrap();
        let channels = |s: &str| error(&step(&format!("[[step]]\nkind = \"channels\"\n{s}")));
        assert!(channels("keep = 1.5\n").contains("found 1.5"));
        assert!(channels("keep = 0.5\ngroups = { \"a*\" = 0.0 }\n").contains("found 0"));
        assert!(channels("keep = 0.5\nschedule = { rounds = 0 }\n").contains("rounds"));
        let key = error(&step(&format!("{quantize}\n{prune}densty = 3\n")));
        assert!(key.contains("densty"), "{key}");
        assert!(
            key.contains("step 2 (prune), which begins in line 6"),
            "{key}"
        );
        assert!(error("name = \"x\"\nstep = []").contains("at least one"));
    }
}
