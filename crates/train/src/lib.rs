//! Graphs executed with gradients.
//!
//! Invariant: the only crate that knows the tensor library. A training keeps
//! what compression decided: the form of each weight is its constraint.
#![recursion_limit = "256"]

mod error;
mod fit;
mod latent;
mod ops;
mod optimiser;
mod score;
mod trace;

pub use error::TrainError;
pub use fit::{Augment, Distill, FitOptions, FitReport, Hooks, Quiet, epochs_for, fit};
pub use latent::LatentWeights;
pub use optimiser::{Optimiser, Schedule};
pub use score::{Score, evaluate, logits, observe};
