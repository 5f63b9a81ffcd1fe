//! Graphs executed with gradients.
//!
//! Invariant: the only crate that knows the tensor library. A training keeps
//! what compression decided: the form of each weight is its constraint.
#![recursion_limit = "256"]

mod activation_steps;
mod average;
mod batch;
mod detector;
mod dropout;
mod error;
mod features;
mod fit;
mod gradients;
mod inputs;
mod latent;
mod loss;
mod norms;
mod ops;
mod optimiser;
mod rate;
mod schedule;
mod score;
mod state;
mod steps;
mod trace;
mod whiten;

pub use batch::Augment;
pub use error::TrainError;
pub use features::Features;
pub use fit::{FitOptions, FitReport, Hooks, Quiet, epochs_for, fit};
pub use gradients::{GradientObserver, loss_gradients};
pub use inputs::{LayerInput, layer_inputs};
pub use latent::{LatentWeights, Removed};
pub use loss::Distill;
pub use norms::measure_norms;
pub use ops::{Element, Matrix, add_product};
pub use optimiser::Optimiser;
pub use rate::{Coded, RateOptions};
pub use schedule::{Curve, Schedule};
pub use score::{Answers, Probe, Score, evaluate, logits, observe, observe_together};
pub use state::{FitState, Keeper};
pub use whiten::{Whitened, whiten};
