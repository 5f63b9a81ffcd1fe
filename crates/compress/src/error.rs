//! One error type for the crate.

use secateur_model::ModelError;
use secateur_train::TrainError;

impl From<TrainError> for CompressError {
    /// A network that the training library cannot run on samples.
    fn from(error: TrainError) -> Self {
        Self::Samples(error.into())
    }
}

/// Why a compression step is refused.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// A setting that cannot be met.
    #[error("{step}: {setting} must be {needed}, found {found}")]
    Setting {
        /// The step.
        step: &'static str,
        /// The setting's name.
        setting: &'static str,
        /// What it may be.
        needed: &'static str,
        /// What was given.
        found: String,
    },
    /// A step that makes no sense on this weight or at this place.
    #[error("{step}: {reason}")]
    Refused {
        /// The step.
        step: &'static str,
        /// Why.
        reason: String,
    },
    /// A recipe that cannot be read or makes no sense.
    #[error("recipe `{place}`: {reason}")]
    Recipe {
        /// The recipe's file or name.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A training that failed or was stopped.
    #[error("step {step}: {error}")]
    Train {
        /// The step's number and kind.
        step: String,
        /// What happened.
        #[source]
        error: TrainError,
    },
    /// Calibration samples that a network cannot be run on.
    #[error("calibration: {0}")]
    Samples(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What a step did could not be kept.
    #[error("step {step} is done but could not be kept: {source}")]
    Checkpoint {
        /// The step's number and kind.
        step: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What a search found could not be kept or recalled.
    #[error(transparent)]
    Journal(Box<dyn std::error::Error + Send + Sync>),
    /// A machine that cannot say what a network costs there.
    #[error("the network cannot be timed: {0}")]
    Machine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Work that somebody stopped.
    #[error("{step}: stopped")]
    Stopped {
        /// What was being done.
        step: &'static str,
    },
    /// The result would not be a valid weight or graph.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A weight that no coder takes.
    #[error(transparent)]
    Codec(#[from] secateur_io::codec::CodecError),
}
