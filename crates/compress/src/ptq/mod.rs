//! Quantization without training: a network, samples without labels, and what is
//! known of each layer's inputs.
//!
//! [`fold_norms`] and [`equalize`] change a network's form but not what it
//! computes. [`sweep`] then quantizes (and, if asked, prunes) layer by layer.

mod affordable;
mod biases;
pub(crate) mod columns;
mod effects;
mod entropy;
mod equalize;
mod fold;
mod layers;
mod matching;
mod moments;
mod outputs;
mod prefix;
mod prices;
mod pruning;
mod rounding;
mod samples;
mod solve;
mod sweep;

pub use affordable::affordable;
pub use biases::{make_room_for_biases, with_rounded_biases};
pub use effects::{Effect, densities, effects};
pub use entropy::bins_in_range;
pub use equalize::equalize;
pub use fold::fold_norms;
pub use layers::{Bias, Layer, Layout, MAX_COLUMNS, Part, layers};
pub use matching::{best_scale, matched};
pub use moments::Moments;
pub use prefix::prefix;
pub use prices::Prices;
pub use pruning::{Pruned, Sparsity, remove};
pub use rounding::{Problem, Rounder, output_error};
pub use samples::{Each, Images, Probe, Samples};
pub use sweep::{LayerError, Sweep, sweep};
