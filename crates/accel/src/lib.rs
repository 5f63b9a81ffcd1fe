//! What a network would cost on a machine: it is computed bit by bit on a real input, and every cycle is
//! accounted for.
//!
//! A [`Machine`] is a file; [`simulate`] runs a lowered network on it. The parts stand alone as well: the
//! sparse array ([`sparse`]), dense arrays ([`systolic`], [`spatial`], [`row_stationary`]), EIE's engine for matrix and
//! vector ([`eie`]); [`mapper`] says how a layer goes through the memories, and [`nest`] what any other mapping on any hierarchy costs.
//!
//! Invariant: reads a network, an input and a machine, never the clock or this processor. Sums, where an array leaves
//! something out, are those of the engine, to the bit. The cycles of the parts of a machine sum to the whole.

mod builtin;
pub mod eie;
pub mod energy;
mod error;
mod image;
mod machine;
pub mod mapper;
pub mod nest;
mod network;
pub mod row_stationary;
pub mod sparse;
pub mod spatial;
pub mod systolic;

pub use error::AccelError;
pub use image::Image;
pub use machine::{Array, Buffers, Host, Machine, Memory};
pub use network::{Busy, Cause, Evaluated, Kind, Lane, LayerCost, NetworkCost, simulate};
