//! Runs a plan: sessions, threads, profile.
//!
//! A [`Session`] plans once for each set of input shapes and keeps the arenas of
//! its runs, so that the run loop allocates nothing (steps that fall back to
//! the model's reference evaluation are the one exception). Work is dealt to
//! threads by ranges of outputs, and every output is one chain of additions:
//! results depend neither on the number of threads nor on the instruction set.

mod arena;
mod calibrate;
mod costs;
mod error;
mod memory;
mod options;
mod profile;
mod run;
mod session;
mod team;

pub use arena::read as tensor_from_bytes;
pub use costs::{costs_path, known_costs, measure_costs};
pub use error::EngineError;
pub use memory::may_have;
pub use options::SessionOptions;
pub use profile::StepProfile;
pub use session::{Bound, Session};
