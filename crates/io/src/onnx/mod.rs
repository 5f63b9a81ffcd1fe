//! ONNX in and out (ONNX 1.19, opsets 7 to 24).
//!
//! Reading rewrites older operator forms to the newest, so that a
//! [`Graph`](secateur_model::Graph) knows one form only, and turns the weights of
//! Gemms so that rows are outputs; ONNX Runtime's operators on codes are spelt as
//! what they stand for; operators that are not known are carried as they came. Writing gives a file that any ONNX runtime executes: zeros in
//! place, quantized layers between `DequantizeLinear`s, as integer runtimes
//! recognise them; carried operators keep the opset that they came in.

mod attributes;
mod contrib;
mod control;
mod dtype;
mod export_op;
mod external;
mod gemm;
mod import_op;
mod names;
mod older;
mod parameters;
mod proto;
mod qdq;
mod read;
mod sparse;
mod spelling;
mod tensor;
mod write;

pub(crate) use control::{revive, spell_out};
pub use read::{load, read, read_tensor};
pub use write::{save, write};

/// The newest opset of the default domain that is read.
const NEWEST_OPSET: i64 = 24;
/// The oldest opset of the default domain that is read.
const OLDEST_OPSET: i64 = 7;

#[cfg(test)]
mod tests;
