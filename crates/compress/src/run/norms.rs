//! The norms step.

use super::Stage;
use crate::CompressError;
use crate::recipe::NormsStep;
use secateur_model::Graph;
use secateur_train::measure_norms;

impl Stage<'_> {
    pub(super) fn norms(
        &mut self,
        graph: &mut Graph,
        step: &NormsStep,
    ) -> Result<(), CompressError> {
        let measured = measure_norms(graph, self.train, step.images);
        measured.map(|_| ()).map_err(|e| self.failed(e))
    }
}
