//! What a network would cost on a machine: cycles and what they were spent on.
//!
//! Invariant: reads a network and a machine, never the clock or this processor. Every cycle of every
//! processing element is accounted for, and the parts sum to the whole.

pub mod eie;
mod error;
pub mod systolic;

pub use error::AccelError;
