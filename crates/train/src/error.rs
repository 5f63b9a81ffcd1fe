//! One error type for the crate.

use secateur_model::ModelError;

/// Why a network cannot be trained or evaluated.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// An operator, attribute or rank without a gradient here.
    #[error("node `{node}`: {op} cannot be trained: {reason}")]
    Unsupported {
        /// The node's name.
        node: String,
        /// The operator.
        op: String,
        /// What is missing.
        reason: String,
    },
    /// Data and network do not fit each other.
    #[error("data `{data}`: {what} must be {needed}, found {found}")]
    Data {
        /// The set's name.
        data: String,
        /// What does not fit.
        what: &'static str,
        /// What the network takes.
        needed: String,
        /// What the set has.
        found: String,
    },
    /// A setting that makes no sense.
    #[error("training: {0}")]
    Setting(String),
    /// The loss is no longer a number.
    #[error(
        "the loss became {loss} after {step} optimiser steps (epoch {epoch:.2}); the network is as \
             it was before; lower the learning rate"
    )]
    Diverged {
        /// The optimiser step.
        step: usize,
        /// Passes over the data so far.
        epoch: f32,
        /// The loss.
        loss: f32,
    },
    /// The hooks asked to stop.
    #[error("stopped at step {step} of {total}")]
    Stopped {
        /// The optimiser step.
        step: usize,
        /// Steps in all.
        total: usize,
    },
    /// A training that was kept cannot be gone on with, or one cannot be kept.
    #[error("a training on its way: {0}")]
    State(String),
    /// The trained weights do not make a valid graph.
    #[error(transparent)]
    Model(#[from] ModelError),
}
