//! What a weight is worth. Scores add up over positions, so that blocks and channels have theirs.

mod activation;
mod magnitude;
pub(crate) mod obs;
mod saliency;

pub(crate) use magnitude::scores as magnitude;
pub use saliency::Saliency;

use crate::pattern::{Pattern, Units};
use crate::prune::targets;
use crate::{CompressError, View};
use secateur_data::Dataset;
use secateur_model::{Graph, Weight};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What decides which weights stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// `w²`: the large stay.
    #[default]
    Magnitude,
    /// `|w · ∂L/∂w|`, averaged over batches: what the loss is expected to change by (Molchanov et al.
    /// 2019).
    Taylor,
    /// `Σ −w · ∂L/∂w` over a training: those stay that move away from zero (Sanh et al. 2020).
    Movement,
    /// `w² · E[x²]`: the large stay that see large inputs (Wanda, Sun et al. 2023).
    Activation,
    /// The least change of the layer's output that is possible without the weight, the others making
    /// up for it; they are changed so (Optimal Brain Compression, Frantar & Alistarh 2022).
    Obs,
}

impl Criterion {
    /// Whether images are run for it before a cut.
    pub fn looks_at_images(self) -> bool {
        matches!(self, Self::Taylor | Self::Activation | Self::Obs)
    }
}

/// Samples that criteria look at.
#[derive(Debug, Clone, Copy)]
pub struct Calibration<'a> {
    /// Where they come from; only `taylor` reads the labels.
    pub data: &'a Dataset,
    /// How many are taken, from the first on.
    pub images: usize,
}

/// A weight that is to be pruned.
pub(crate) struct Target {
    pub name: String,
    pub weight: Weight,
    pub view: View,
    pub pattern: Pattern,
    pub units: Units,
}

impl Target {
    /// Takes another pattern.
    pub fn follow(&mut self, pattern: Pattern) {
        self.units = pattern.units(self.weight.shape(), &self.view);
        self.pattern = pattern;
    }

    /// For each unit the mean over its positions.
    pub fn unit_scores(&self, scores: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut sums = self.units.sums(scores);
        let sizes = self.units.sizes.iter();
        sums.iter_mut()
            .zip(sizes)
            .for_each(|(sum, &size)| *sum /= f64::from(size.max(1)));
        sums
    }
}

/// For each target what a position of each of its units is worth, in a measure that all targets share.
pub(crate) fn scores(
    criterion: Criterion,
    graph: &Graph,
    targets: &[Target],
    calibration: Option<&Calibration<'_>>,
) -> Result<Vec<Vec<f64>>, CompressError> {
    let refused = |reason: &str| CompressError::Refused {
        step: "prune",
        reason: reason.to_owned(),
    };
    let data = || calibration.ok_or_else(|| refused("this criterion needs samples"));
    match criterion {
        Criterion::Magnitude => Ok(targets.iter().map(magnitude::scores).collect()),
        Criterion::Taylor => saliency::taylor(graph, targets, data()?),
        Criterion::Movement => Err(refused(
            "movement is gathered while training: cut along a schedule, such as cubic",
        )),
        Criterion::Activation => activation::scores(graph, targets, data()?),
        Criterion::Obs => obs::scores(graph, targets, data()?),
    }
}

/// What each weight that can be pruned is worth by itself, by name.
///
/// # Errors
/// As [`scores`]; a weight that is shared or quantized.
pub(crate) fn of_weights(
    criterion: Criterion,
    graph: &Graph,
    calibration: &Calibration<'_>,
) -> Result<BTreeMap<String, Vec<f32>>, CompressError> {
    let targets = targets(graph, Pattern::Unstructured, |_| true)?;
    let scores = scores(criterion, graph, &targets, Some(calibration))?;
    let narrow = |scores: Vec<f64>| scores.into_iter().map(|s| s as f32).collect();
    let names = targets.into_iter().map(|target| target.name);
    Ok(names.zip(scores.into_iter().map(narrow)).collect())
}

/// Scores as shares of their sum, so that layers compare that have other units of measure.
fn as_shares(mut scores: Vec<f64>) -> Vec<f64> {
    let sum: f64 = scores.iter().sum();
    if sum > 0.0 {
        scores.iter_mut().for_each(|s| *s /= sum);
    }
    scores
}
