//! SqueezeNet in the file that Deep Compression's authors published
//! (`compressed_SqueezeNet.net`; Han, Mao and Dally 2016).
//!
//! The file has no header: it holds the weights of this one network. All of it is little-endian.
//! First stand 26 `u32`, the stored entries of each convolution in the network's order; then, for
//! each convolution,
//!
//! | what | bytes |
//! |---|---|
//! | codebook: 256 `f32`, the first of them 0 | 1024 |
//! | bias: an `f32` for each output | 4 an output |
//! | codes: a place in the codebook for each entry | 1 an entry |
//! | gaps: positions passed over since the entry before, two a byte, lower half first | ½ an entry |
//!
//! Positions are row-major over `[outputs, inputs, height, width]`. An entry of code 0 is a filler,
//! which carries a gap of more than 15 on, and no weight.
//!
//! The graph differs from the file in two ways, neither of which touches a value. It takes pictures
//! as red, green, blue, where the file has blue first: the kernels of the first convolution are
//! turned. And each codebook is sorted, without its zero. The mean that is to be taken from pixels
//! is kept as the metadata `mean` and `std`.

mod graph;
mod layer;
mod stored;
#[cfg(test)]
mod tests;

use crate::sct::{Summary, WeightSummary};
use crate::{IoError, file};
use secateur_model::Graph;
use std::path::Path;

/// Reads the network from a file.
///
/// # Errors
/// As [`read`], and [`IoError::File`] from the file system.
pub fn load(path: impl AsRef<Path>) -> Result<Graph, IoError> {
    let path = path.as_ref();
    read(&file::read(path)?, &path.display().to_string())
}

/// Reads the network: `[batch, 3, 227, 227]` to the probabilities of 1000 classes, `[batch, 1000]`.
/// Its weights keep their positions and codebooks; `name` stands for the file in errors.
///
/// # Errors
/// [`IoError::Malformed`], naming the layer, where bytes are missing or left over, where a layer has
/// more entries than weights or an entry stands beyond them, and where "no weight" has a value;
/// [`IoError::Model`] for values that are not finite.
pub fn read(bytes: &[u8], name: &str) -> Result<Graph, IoError> {
    read_and_inspect(bytes, name).map(|(graph, _)| graph)
}

/// Both the network and where its bytes are; the parts add up to the file.
///
/// # Errors
/// As [`read`].
pub fn read_and_inspect(bytes: &[u8], name: &str) -> Result<(Graph, Summary), IoError> {
    let layers = layer::layers();
    let stored = stored::read(bytes, &layers, name)?;
    let weights: Vec<WeightSummary> = layers
        .iter()
        .zip(&stored)
        .flat_map(|(layer, stored)| stored.summaries(layer))
        .collect();
    let taken: usize = weights.iter().map(|w| w.bytes).sum();
    let summary = Summary {
        bytes: bytes.len(),
        weights,
        rest: bytes.len().saturating_sub(taken),
        graph: 0,
        tensors: 0,
        metadata: 0,
    };
    Ok((graph::graph(&layers, stored), summary))
}
