//! Pruning, sharing and quantization: pure functions from a graph to a graph.
//!
//! Invariant: deterministic for a seed; a zero stays a zero through every step.

pub mod activations;
pub mod allocation;
mod bias;
pub mod channels;
pub mod criterion;
pub mod dead;
pub mod error;
pub mod histogram;
mod linalg;
pub mod pattern;
pub mod policy;
pub mod prune;
pub mod ptq;
pub mod quantize;
pub mod recipe;
pub mod record;
pub mod run;
pub mod search;
pub mod second_moment;
pub mod share;
pub mod view;
mod wildcard;

pub use activations::{activation_scales, on_reals, quantizable, quantize_activations};
pub use allocation::Allocation;
pub use channels::{ChannelCut, Channels, Importance, prune_channels, remove_dead};
pub use criterion::{Calibration, Criterion, Saliency};
pub use dead::clear_dead;
pub use error::CompressError;
pub use histogram::{ActivationScale, Histogram, Width};
pub use pattern::Pattern;
pub use prune::{Kept, Pruning, prunable, prune};
pub use quantize::{Granularity, Range, quantize_weights};
pub use recipe::Recipe;
pub use record::RunRecord;
pub use run::{
    Checkpoint, Observer, Report, StepReport, quantize as quantize_network, resume,
    resume_unlabelled, run,
};
pub use second_moment::{Moment, SecondMoments, mean_squares};
pub use share::{Codebooks, Init, share};
pub use view::View;
