//! Calibration samples, whatever they are and whatever runs a network on them.

use crate::CompressError;
use secateur_data::Dataset;
use secateur_model::Tensor;
pub use secateur_train::Probe;
use secateur_train::observe_together;

/// Told the values of a batch: for each probe, one for each of its names.
pub type Each<'a> = dyn FnMut(&[Vec<Tensor>]) -> Result<(), CompressError> + 'a;

/// Samples that networks can be run on.
pub trait Samples {
    /// Runs the networks on all samples, batch by batch side by side, and hands
    /// over what the probes ask for. Memory does not grow with the samples.
    ///
    /// # Errors
    /// A network that cannot run, and whatever `each` refuses.
    fn observe(&self, probes: &[Probe<'_>], each: &mut Each<'_>) -> Result<(), CompressError>;

    /// The samples as images, where they are such: what can be trained on.
    fn images(&self) -> Option<&Dataset> {
        None
    }
}

/// The first images of a data set, for networks that the training library runs.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// The set; labels are not looked at.
    pub data: &'a Dataset,
    /// Images, at most.
    pub limit: usize,
}

impl Samples for Images<'_> {
    fn observe(&self, probes: &[Probe<'_>], each: &mut Each<'_>) -> Result<(), CompressError> {
        observe_together(probes, self.data, self.limit, each)
    }

    fn images(&self) -> Option<&Dataset> {
        Some(self.data)
    }
}
