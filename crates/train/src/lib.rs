//! Graphs executed with gradients.
//!
//! Invariant: the only crate that knows the tensor library. A training keeps
//! what compression decided: the form of each weight is its constraint.
#![recursion_limit = "256"]

mod batch;
mod detector;
mod error;
mod fit;
mod latent;
mod loss;
mod ops;
mod optimiser;
mod score;
mod trace;

pub use batch::Augment;
pub use error::TrainError;
pub use fit::{FitOptions, FitReport, Hooks, Quiet, epochs_for, fit};
pub use latent::LatentWeights;
pub use loss::Distill;
pub use ops::cross_product;
pub use optimiser::{Optimiser, Schedule};
pub use score::{Answers, Probe, Score, evaluate, logits, observe, observe_together};
