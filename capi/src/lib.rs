//! The engine for C: a network is opened, described, run and freed. Its header, `include/secateur.h`, is made from
//! these files by cbindgen.
//!
//! What holds for every function is said once, in the header's preamble (`cbindgen.toml`): a pointer is null or points
//! to as much as its parameters say, for as long as the call takes. Null is refused with a status where something is
//! needed. That is the contract of every `unsafe` function here.
//!
//! Nothing unwinds into C: each function runs within a guard, so that a defect is a status too.

#![allow(clippy::missing_safety_doc)] // one contract for all of them, above

mod argument;
mod describe;
mod dtype;
mod failure;
mod interface;
mod open;
mod options;
mod outputs;
mod run;
mod session;
mod status;
mod tensor;
mod version;

pub use describe::{
    secateur_session_input, secateur_session_input_count, secateur_session_metadata,
    secateur_session_output, secateur_session_output_count,
};
pub use dtype::DType;
pub use failure::secateur_last_error;
pub use open::{secateur_session_open, secateur_session_open_bytes};
pub use options::Options;
pub use outputs::{Outputs, secateur_outputs_count, secateur_outputs_free, secateur_outputs_get};
pub use run::{secateur_session_run, secateur_session_run_into};
pub use session::{Session, secateur_session_free};
pub use status::Status;
pub use tensor::{Buffer, Tensor};
pub use version::secateur_version;
