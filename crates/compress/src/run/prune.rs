//! The prune step: cuts, at once or while training.

use super::retrain::Beside;
use super::{Round, Stage};
use crate::prune::{self, Layer};
use crate::recipe::{AllocationSettings, NormsStep, PruneSchedule, PruneStep, Retrain};
use crate::{Allocation, CompressError};
use secateur_model::Graph;
use secateur_train::{LatentWeights, TrainError};

impl Stage<'_> {
    pub(super) fn prune(
        &mut self,
        graph: &mut Graph,
        step: &PruneStep,
    ) -> Result<(), CompressError> {
        let (allocation, retrain) = step.resolve(&graph.name);
        match step.schedule {
            PruneSchedule::OneShot => {
                prune::prune(graph, &allocation.part_way(0.0))?;
                self.settle(graph, retrain)
            }
            PruneSchedule::Rounds(rounds) => {
                for round in 1..=rounds {
                    let part = round as f64 / rounds as f64;
                    self.round = Round {
                        index: round - 1,
                        rounds,
                    };
                    prune::prune(graph, &allocation.geometric(part))?;
                    self.settle(graph, retrain)?;
                }
                Ok(())
            }
            PruneSchedule::Cubic { updates } => {
                // Refuses what cannot be pruned, before any training.
                prune::prune(&mut graph.clone(), &allocation.part_way(0.0))?;
                let layers = prune::prunable(graph)
                    .into_iter()
                    .filter_map(|name| {
                        let dims = graph.weight(&name)?.shape().dims().to_vec();
                        Some((name, dims))
                    })
                    .collect();
                let beside = Beside {
                    gradual: Some(Gradual {
                        allocation,
                        updates,
                        layers,
                    }),
                    ..Beside::default()
                };
                self.retrain_with(graph, retrain, beside)
            }
        }
    }
}

impl Stage<'_> {
    /// After a cut: retrains, or at the least fits normalisations to what is left.
    fn settle(
        &mut self,
        graph: &mut Graph,
        retrain: Option<&Retrain>,
    ) -> Result<(), CompressError> {
        match retrain {
            Some(_) => self.retrain(graph, retrain),
            None => self.norms(graph, &NormsStep::default()),
        }
    }
}

/// Cuts along a cubic during training (Zhu & Gupta 2017).
pub(super) struct Gradual<'a> {
    allocation: &'a AllocationSettings,
    updates: usize,
    layers: Vec<(String, Vec<usize>)>,
}

/// The share of a training after which the last cut is made.
const LAST_CUT: f64 = 0.6;

impl Gradual<'_> {
    pub(super) fn before_step(
        &self,
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
        let allocation = self.allocation.part_way((1.0 - done).powi(3));
        for (name, mask) in masks(&self.layers, weights, &allocation)? {
            weights.set_mask(&name, mask)?;
        }
        Ok(())
    }
}

fn masks(
    layers: &[(String, Vec<usize>)],
    weights: &LatentWeights,
    allocation: &Allocation,
) -> Result<Vec<(String, secateur_model::Bitmask)>, TrainError> {
    let layers: Vec<Layer<'_>> = layers
        .iter()
        .filter_map(|(name, dims)| {
            Some(Layer {
                name,
                dims,
                values: weights.values(name)?.into(),
            })
        })
        .collect();
    let counts =
        prune::counts(&layers, allocation).map_err(|e| TrainError::Setting(e.to_string()))?;
    Ok(layers
        .iter()
        .zip(counts)
        .filter_map(|(l, count)| Some((l.name.to_owned(), prune::largest(&l.values, count?))))
        .collect())
}
