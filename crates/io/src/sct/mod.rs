//! The `.sct` container: a compressed network in one file.
//!
//! `SCT`, one byte of major version, then three sections, each with a tag of one
//! byte, a length, a body and the CRC-32 of all these: the graph (names, inputs,
//! outputs, nodes), the constants, the metadata. Fixed-width numbers are
//! little-endian, all others LEB128, signed ones zigzag. A weight is stored as
//! its support and symbols through the [codec](crate::codec) that is smallest.
//!
//! Version 2 is what [`Store::Smallest`] writes for files of little structure: the length of the
//! three bodies, unpacked and packed, the bodies packed as one by a model that knows common networks,
//! then the coded planes in the order of their weights, and one CRC-32 of all that.
//!
//! ```
//! use secateur_io::sct;
//!
//! let net = secateur_model::zoo::build("lenet-300-100", [1, 28, 28], 10, 1)?;
//! let bytes = sct::write(&net, sct::Store::Small)?;
//! assert_eq!(sct::read(&bytes, "lenet.sct")?, net);
//!
//! let summary = sct::inspect(&bytes, "lenet.sct")?;
//! let weights: usize = summary.weights.iter().map(|w| w.bytes).sum();
//! assert_eq!(weights + summary.rest, bytes.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attributes;
mod bytes;
mod file;
mod flow;
mod graph;
mod names;
mod pack;
mod put_op;
mod read;
mod read_op;
#[cfg(test)]
mod samples;
mod section;
mod summary;
mod tensor;
#[cfg(test)]
mod tests;
mod weight;
mod write;

pub use crate::codec::Store;
pub use file::{load, save};
pub use read::{inspect, read, read_and_inspect};
pub use summary::{Parts, Summary, WeightSummary};
pub use weight::{code_quotes, weight_bytes};
pub use write::write;

use secateur_model::{Constant, Shape};

const MAGIC: &[u8] = b"SCT";
/// Version of a file of three sections.
const PLAIN: u8 = 1;
/// Version of a file whose sections are packed.
const PACKED: u8 = 2;

/// Whether bytes begin as a file of this form does.
pub fn is_sct(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Most elements that the constants of a file of `bytes` bytes unfold to,
/// extents of zero counted as one: coded tensors may be far smaller than what
/// they unfold to, but hostile files shall not fill the memory.
fn max_elements(bytes: usize) -> usize {
    const FREE: usize = 1 << 24;
    const FOR_EACH_BYTE: usize = 1 << 12;
    const MOST: usize = 1 << 30;
    FREE.saturating_add(bytes.saturating_mul(FOR_EACH_BYTE))
        .min(MOST)
}

fn shape(constant: &Constant) -> &Shape {
    match constant {
        Constant::Tensor(tensor) => tensor.shape(),
        Constant::Weight(weight) => weight.shape(),
    }
}
