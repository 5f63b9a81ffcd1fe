//! The prune step: cuts, at once or while training.

use super::gradual::Gradual;
use super::retrain::{Beside, Masking};
use super::rigl::Rigl;
use super::{Round, Stage};
use crate::recipe::{PruneSchedule, PruneStep, ResolvedPrune};
use crate::{Allocation, Calibration, CompressError, Pattern, Pruning, clear_dead, prune};
use secateur_model::Graph;

impl Stage<'_> {
    pub(super) fn prune(
        &mut self,
        graph: &mut Graph,
        step: &PruneStep,
    ) -> Result<(), CompressError> {
        let ResolvedPrune {
            allocation,
            pattern,
            retrain,
        } = step.resolve(&graph.name);
        let calibration = Calibration {
            data: self.images()?,
            images: step.images,
        };
        let cut = |graph: &mut Graph, allocation: Allocation, pattern: Pattern| {
            let criterion = step.criterion;
            let pruning = Pruning {
                allocation,
                pattern,
                criterion,
            };
            prune(graph, &pruning, Some(&calibration))?;
            clear_dead(graph)
        };
        match step.schedule {
            PruneSchedule::OneShot => {
                cut(graph, allocation.part_way(0.0), pattern)?;
                self.settle(graph, retrain)?;
            }
            PruneSchedule::Rounds(rounds) => {
                for round in 1..=rounds {
                    let part = round as f64 / rounds as f64;
                    self.round = Round {
                        index: round - 1,
                        rounds,
                    };
                    let pattern = pattern.loosened(|d| d.powf(part));
                    cut(graph, allocation.geometric(part), pattern)?;
                    self.settle(graph, retrain)?;
                }
            }
            PruneSchedule::Cubic { updates } => {
                let gradual = Gradual::new(graph, step, updates, allocation, pattern)?;
                let beside = Beside {
                    masking: Some(Masking::Gradual(gradual)),
                    ..Beside::default()
                };
                self.retrain_with(graph, retrain, beside)?;
                clear_dead(graph)?;
            }
            PruneSchedule::Rigl { updates, fraction } => {
                let to = allocation.part_way(0.0);
                cut(graph, to.clone(), pattern)?;
                let rigl = Rigl::new(graph, &to, pattern, updates, fraction)?;
                let beside = Beside {
                    masking: Some(Masking::Rigl(rigl)),
                    ..Beside::default()
                };
                self.retrain_with(graph, retrain, beside)?;
                clear_dead(graph)?;
            }
        }
        Ok(())
    }
}
