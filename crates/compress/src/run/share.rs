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
        for name in prune::prunable(graph) {
            let levels = step.levels_of(&name);
            replace_weights(graph, vec![name], |weight| {
                share::share(weight, levels, step.codebooks, step.init, self.seed)
            })?;
        }
        let retrain = step.resolve(&graph.name);
        self.retrain(graph, retrain)
    }
}
