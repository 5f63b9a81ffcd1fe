//! Pruning, sharing and quantization: pure functions from a graph to a graph.
//!
//! Invariant: deterministic for a seed; a zero stays a zero through every step.

pub mod activations;
pub mod channels;
pub mod error;
pub mod histogram;
pub mod policy;
pub mod prune;
pub mod ptq;
pub mod quantize;
pub mod recipe;
pub mod record;
pub mod run;
pub mod search;
pub mod share;

pub use activations::quantize_activations;
pub use channels::{ChannelCut, Channels, Importance, prune_channels, remove_dead};
pub use error::CompressError;
pub use histogram::{ActivationScale, Histogram, Width};
pub use prune::{Allocation, prune};
pub use quantize::{Granularity, Range, quantize_weights};
pub use recipe::Recipe;
pub use record::RunRecord;
pub use run::{
    Checkpoint, Observer, Report, StepReport, quantize as quantize_network, resume, run,
    run_unlabelled,
};
pub use share::{Init, share};
