//! Cuts along a cubic during training (Zhu & Gupta 2017).

use crate::criterion::Target;
use crate::prune::{targets, trainable};
use crate::recipe::{AllocationSettings, PruneStep};
use crate::{CompressError, Criterion, Pattern, Saliency};
use secateur_model::Graph;
use secateur_train::{LatentWeights, Removed, TrainError};
use std::collections::BTreeMap;

/// A cubic on its way.
pub(super) struct Gradual {
    allocation: AllocationSettings,
    pattern: Pattern,
    updates: usize,
    targets: Vec<Target>,
    worth: Worth,
    removed: Removed,
}

/// What decides which weights stay.
enum Worth {
    /// Their size.
    Magnitude,
    /// What was gathered since the last cut.
    SinceLastCut(Saliency),
    /// What was gathered since the training began.
    SinceStart(Saliency),
}

/// The share of a training after which the last cut is made.
const LAST_CUT: f64 = 0.6;

impl Gradual {
    /// # Errors
    /// What cannot be pruned so.
    pub fn new(
        graph: &Graph,
        step: &PruneStep,
        updates: usize,
        allocation: AllocationSettings,
        pattern: Pattern,
    ) -> Result<Self, CompressError> {
        let worth = match step.criterion {
            Criterion::Magnitude => Worth::Magnitude,
            Criterion::Taylor => Worth::SinceLastCut(Saliency::taylor()),
            Criterion::Movement => Worth::SinceStart(Saliency::movement()),
            Criterion::Activation | Criterion::Obs => {
                return Err(CompressError::Refused {
                    step: "prune",
                    reason: "this criterion does not look at weights while they train".into(),
                });
            }
        };
        let target = allocation.part_way(0.0);
        let names: Vec<String> = trainable(graph).collect();
        target.check(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self {
            targets: targets(graph, pattern, |name| target.concerns(name))?,
            allocation,
            pattern,
            updates,
            worth,
            removed: match step.shadow {
                true => Removed::Shadow,
                false => Removed::Cleared,
            },
        })
    }

    /// Gathers what the criterion looks at.
    pub fn gradients(&mut self, weights: &LatentWeights, gradients: &BTreeMap<String, Vec<f32>>) {
        let saliency = match &mut self.worth {
            Worth::Magnitude => return,
            Worth::SinceLastCut(saliency) | Worth::SinceStart(saliency) => saliency,
        };
        for Target { name, .. } in &self.targets {
            if let (Some(values), Some(gradient)) = (weights.values(name), gradients.get(name)) {
                saliency.add(name, values, gradient);
            }
        }
    }

    pub fn before_step(
        &mut self,
        step: usize,
        total: usize,
        weights: &mut LatentWeights,
    ) -> Result<(), TrainError> {
        let last = ((total as f64 * LAST_CUT) as usize).min(total - 1);
        let every = (last / self.updates).max(1);
        if step > last || (!step.is_multiple_of(every) && step != last) {
            return Ok(());
        }
        let done = if last == 0 {
            1.0
        } else {
            step as f64 / last as f64
        };
        // Nothing is left to return after the last cut.
        let removed = if step == last {
            Removed::Cleared
        } else {
            self.removed
        };
        self.cut((1.0 - done).powi(3), removed, weights)
    }

    /// Cuts to `left` (1 to 0) of the way from dense to the target.
    fn cut(
        &mut self,
        left: f64,
        removed: Removed,
        weights: &mut LatentWeights,
    ) -> Result<(), TrainError> {
        let pattern = self.pattern.loosened(|d| d + (1.0 - d) * left);
        if pattern != self.targets.first().map_or(pattern, |t| t.pattern) {
            self.targets
                .iter_mut()
                .for_each(|target| target.follow(pattern));
        }
        let scores: Vec<Vec<f64>> = self
            .targets
            .iter()
            .map(|t| self.worth.of(t, weights))
            .collect();
        let layers: Vec<_> = self
            .targets
            .iter()
            .zip(&scores)
            .map(|(target, scores)| {
                let mask = match self.removed {
                    Removed::Cleared => weights.support(&target.name).and_then(|s| s.mask()),
                    // What an earlier step has removed does not return.
                    Removed::Shadow => target.weight.support().mask(),
                };
                target.layer(scores, mask)
            })
            .collect();
        let kept = self.allocation.part_way(left).keep(&layers);
        for (target, kept) in self.targets.iter().zip(kept) {
            let mask = target.units.positions(&kept);
            let support = pattern.support(mask, &target.view);
            weights.set_support(&target.name, support, removed)?;
        }
        if let Worth::SinceLastCut(saliency) = &mut self.worth {
            saliency.clear();
        }
        Ok(())
    }
}

impl Worth {
    fn of(&self, target: &Target, weights: &LatentWeights) -> Vec<f64> {
        match self {
            Self::Magnitude => {
                let values = weights.values(&target.name).unwrap_or_default();
                target.unit_scores(values.iter().map(|&w| f64::from(w) * f64::from(w)))
            }
            Self::SinceLastCut(saliency) | Self::SinceStart(saliency) => {
                let sums = saliency.of(&target.name).unwrap_or_default();
                target.unit_scores(sums.iter().copied())
            }
        }
    }
}
