//! The hardware of `rtl/`, verilated and driven from Rust, so that the simulator of `secateur-accel` is held against
//! something that could be built.
//!
//! [`Host`] is any design behind its port; [`eie`] and [`sparse`] fill the two machines, run them and read what they
//! did. Without verilator there is no [`Host`], and nothing else needs this crate.

mod designs;
pub mod eie;
mod host;
pub mod sparse;

pub use designs::{DESIGNS, Design};
pub use host::Host;
