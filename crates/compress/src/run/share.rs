//! The share step.

use super::quantize::with_outputs_in_columns;
use super::{Stage, replace_weights};
use crate::recipe::ShareStep;
use crate::{Codebooks, CompressError, prune, share};
use secateur_model::Graph;
use std::collections::BTreeSet;

impl Stage<'_> {
    pub(super) fn share(
        &mut self,
        graph: &mut Graph,
        step: &ShareStep,
    ) -> Result<(), CompressError> {
        let columns = match step.codebooks {
            Codebooks::PerLayer => BTreeSet::new(),
            Codebooks::PerChannel => with_outputs_in_columns(graph),
        };
        for name in prune::trainable(graph).collect::<Vec<_>>() {
            if columns.contains(&name) {
                return Err(CompressError::Refused {
                    step: "share",
                    reason: format!(
                        "`{name}` lies as [inputs, outputs]: codebooks per channel are for rows that are outputs"
                    ),
                });
            }
            let levels = step.levels_of(&name);
            replace_weights(graph, vec![name], |weight| {
                share::share(weight, levels, step.codebooks, step.init, self.seed)
            })?;
        }
        let retrain = step.resolve(&graph.name);
        self.retrain(graph, retrain)
    }
}
