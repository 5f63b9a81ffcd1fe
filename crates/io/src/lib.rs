//! Bytes to model and back: ONNX, the .sct container and its codecs, SqueezeNet's file of record.
//!
//! Invariant: no bytes make a reader panic, and no reader uses memory beyond a
//! small multiple of what the file holds.

pub mod codec;
pub mod error;
mod file;
mod network;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod sct;
pub mod squeezenet;

pub use error::IoError;
pub use file::{check_replaceable, replace};
pub use network::{Form, load, read};
