//! Whole channels: which belong together, cut for good, removed where they do
//! nothing, and put in an order that packs better.
//!
//! Unlike a mask, a cut channel is gone from the shapes: of the layer that makes
//! it, of all that read it, and of whatever lies between, through residual sums,
//! concatenations, groups and flattening.

mod atoms;
mod dead;
mod extents;
mod groups;
mod levels;
mod permute;
mod prune;
mod rules;
mod select;
mod shapes;
mod take;
mod trace;

pub use dead::remove_dead;
pub use groups::{Channel, Channels, Group};
pub use permute::{Packing, permute_for_engine};
pub use prune::{ChannelCut, Importance, KeptChannels, Schedule, prune_channels};

#[cfg(test)]
mod tests;
