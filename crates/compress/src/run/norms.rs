//! The norms step, and what it does after cuts.

use super::Stage;
use crate::CompressError;
use crate::recipe::{NormsStep, Retrain};
use secateur_model::Graph;
use secateur_train::measure_norms;

impl Stage<'_> {
    pub(super) fn norms(
        &mut self,
        graph: &mut Graph,
        step: &NormsStep,
    ) -> Result<(), CompressError> {
        let measured = measure_norms(graph, self.images()?, step.images);
        measured.map(|_| ()).map_err(|e| self.failed(e))
    }

    /// After a cut: retrains, or at the least fits normalisations to what is left.
    pub(super) fn settle(
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
