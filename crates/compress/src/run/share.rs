//! The share step.

use super::{Stage, replace_weights};
use crate::recipe::ShareStep;
use crate::{CompressError, prune, share};
use secateur_model::Graph;

impl Stage<'_> {
    pub(super) fn share(
        &mut self,
        graph: &mut Graph,
        step: &ShareStep,
    ) -> Result<(), CompressError> {
        replace_weights(graph, prune::prunable(graph), |weight| {
            share::share(weight, step.levels, step.init, self.seed)
        })?;
        let retrain = step.resolve(&graph.name);
        self.retrain(graph, retrain)
    }
}
