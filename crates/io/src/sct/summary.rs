//! Where the bytes of a file are.

use super::weight::{self, Blob};
use crate::codec::{self, Coder, Cost};
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
    /// Of these, the section of the graph: names, nodes, inputs and outputs; in a packed file all
    /// that is packed.
    pub graph: usize,
    /// Of these, the plain tensors.
    pub tensors: usize,
    /// Of these, the section of the metadata.
    pub metadata: usize,
}

impl Summary {
    /// Bytes that hold the file together: its first ones, and the frame around the constants.
    pub fn frame(&self) -> usize {
        let named = self.graph + self.tensors + self.metadata;
        self.rest.saturating_sub(named)
    }
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
    /// What these are spent on.
    pub parts: Parts,
    /// The coder of its plane; none where values lie in the file as they are.
    pub coder: Option<Coder>,
}

/// What the bytes of a weight are spent on; they add up to all of them. A coder's bits are
/// rounded to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts {
    /// Where the kept positions are.
    pub support: usize,
    /// What stands there.
    pub values: usize,
    /// Scales or codebook.
    pub parameters: usize,
    /// Name, form and extents, and the coder's tables and padding.
    pub rest: usize,
}

/// The bytes of a constant in a file.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// All of them.
    pub bytes: usize,
    /// Those of a weight's scales or codebook.
    pub parameters: usize,
    /// Where a coder's are.
    pub blob: Blob,
}

impl WeightSummary {
    pub(super) fn new(name: &str, weight: &Weight, span: &Span, file: &[u8]) -> Self {
        let blob = span.blob.clone().and_then(|place| file.get(place));
        let coder = blob.and_then(|blob| Coder::from_tag(*blob.first()?));
        Self::of(name, weight, Parts::of(weight, span, blob), coder)
    }

    /// A weight whose bytes are `parts`.
    pub(crate) fn of(name: &str, weight: &Weight, parts: Parts, coder: Option<Coder>) -> Self {
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
            bits: weight.bits(),
            kept: weight.kept(),
            bytes: parts.support + parts.values + parts.parameters + parts.rest,
            parts,
            coder,
        }
    }
}

impl Parts {
    fn of(weight: &Weight, span: &Span, blob: Option<&[u8]>) -> Self {
        let coded = blob.map_or(0, <[u8]>::len);
        let cost = blob.map_or(Cost::default(), |blob| {
            let cost = weight::with_plane(weight, |plane| codec::cost(blob, plane));
            // What was decoded has a cost.
            cost.unwrap_or_default()
        });
        let bytes = |bits: u64| usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX);
        let support = bytes(cost.support_bits).min(coded);
        let values = bytes(cost.value_bits).min(coded - support);
        // Where planes stand apart, values are packed with the structure.
        let plain = weight::plain_bytes(weight.values()).min(span.bytes.saturating_sub(coded));
        let known = support + values + plain + span.parameters;
        Self {
            support,
            values: values + plain,
            parameters: span.parameters,
            rest: span.bytes.saturating_sub(known),
        }
    }
}
