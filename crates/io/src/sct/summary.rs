//! Where the bytes of a file are.

use secateur_model::{Shape, Support, Values, Weight};

/// Sizes of a file and of the weights in it, in bytes of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Bytes of the whole file.
    pub bytes: usize,
    /// The weights, in the file's order.
    pub weights: Vec<WeightSummary>,
    /// Bytes of everything else: graph, plain tensors, metadata, framing.
    pub rest: usize,
}

/// What one weight is and what it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightSummary {
    /// The weight's name in the graph.
    pub name: String,
    /// The extents.
    pub shape: Shape,
    /// Kind of support: `all`, `unstructured`, `2 of 4`, `4x1 blocks`, `channels`.
    pub support: String,
    /// Kind of values: `f32`, `f16`, `bf16`, `int`, `shared`.
    pub values: &'static str,
    /// Width of a value before entropy coding.
    pub bits: u32,
    /// Number of kept positions.
    pub kept: usize,
    /// Bytes in the file, the weight's own header, scales and codebook included.
    pub bytes: usize,
}

impl WeightSummary {
    pub(super) fn new(name: &str, weight: &Weight, bytes: usize) -> Self {
        Self {
            name: name.to_owned(),
            shape: weight.shape().clone(),
            support: match weight.support() {
                Support::All => "all".into(),
                Support::Unstructured(_) => "unstructured".into(),
                Support::NofM { n, m, .. } => format!("{n} of {m}"),
                Support::Blocks { h, w, .. } => format!("{h}x{w} blocks"),
                Support::Channels(_) => "channels".into(),
            },
            values: match weight.values() {
                Values::F32(_) => "f32",
                Values::F16(_) => "f16",
                Values::BF16(_) => "bf16",
                Values::Int { .. } => "int",
                Values::Shared { .. } => "shared",
            },
            bits: weight.values().bits(),
            kept: weight.kept(),
            bytes,
        }
    }
}
