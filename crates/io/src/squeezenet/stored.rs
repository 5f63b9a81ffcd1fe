//! Bytes to weights, layer by layer.

use super::layer::Layer;
use crate::IoError;
use crate::codec::Coder;
use crate::sct::{Parts, WeightSummary};
use secateur_model::{Bitmask, Codebook, Shape, Support, Values, Weight};

/// Entries of a codebook; the first stands for "no weight".
const CODEBOOK: usize = 256;
/// Bits of a gap: two gaps are a byte.
const GAP_BITS: usize = 4;

/// The parameters of one layer.
pub(super) struct Stored {
    pub weight: Weight,
    pub bias: Weight,
    /// Entries in the file, fillers included.
    entries: usize,
}

impl Stored {
    /// Where the layer's bytes are.
    pub fn summaries(&self, layer: &Layer) -> [WeightSummary; 2] {
        let weight = Parts {
            support: self.entries.div_ceil(2),
            values: self.entries,
            parameters: 4 * CODEBOOK,
            rest: 0,
        };
        let bias = Parts {
            values: 4 * self.bias.kept(),
            ..Parts::default()
        };
        let coder = Some(Coder::FixedGap);
        [
            WeightSummary::of(&layer.weight(), &self.weight, weight, coder),
            WeightSummary::of(&layer.bias(), &self.bias, bias, None),
        ]
    }
}

/// The parameters of all layers, which are all that `bytes` may hold; `file` names them in errors.
pub(super) fn read(bytes: &[u8], layers: &[Layer], file: &str) -> Result<Vec<Stored>, IoError> {
    let mut rest = Rest { bytes, file };
    let counts = rest.words("the beginning", "numbers of entries", layers.len())?;
    let stored = layers
        .iter()
        .zip(counts)
        .map(|(layer, count)| rest.layer(layer, u32::from_le_bytes(*count)))
        .collect::<Result<_, _>>()?;
    match rest.bytes.len() {
        0 => Ok(stored),
        left => Err(IoError::malformed(
            file,
            "the end",
            format!("{left} bytes are left over"),
        )),
    }
}

/// What is not yet read.
struct Rest<'a> {
    bytes: &'a [u8],
    file: &'a str,
}

impl<'a> Rest<'a> {
    fn take(&mut self, place: &str, what: &str, count: usize) -> Result<&'a [u8], IoError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            let left = self.bytes.len();
            let reason = format!("{what} need {count} bytes, {left} are left");
            return Err(IoError::malformed(self.file, place, reason));
        };
        self.bytes = rest;
        Ok(taken)
    }

    fn words(&mut self, place: &str, what: &str, count: usize) -> Result<&'a [[u8; 4]], IoError> {
        Ok(self.take(place, what, 4 * count)?.as_chunks().0)
    }

    fn floats(&mut self, place: &str, what: &str, count: usize) -> Result<Vec<f32>, IoError> {
        let words = self.words(place, what, count)?.iter();
        Ok(words.map(|word| f32::from_le_bytes(*word)).collect())
    }

    fn layer(&mut self, layer: &Layer, count: u32) -> Result<Stored, IoError> {
        let (name, file) = (layer.name.as_str(), self.file);
        let malformed = |reason| IoError::malformed(file, name, reason);
        let weights = layer.elements();
        // Each entry has a position of its own, so that memory is bounded by the network.
        let entries = usize::try_from(count).unwrap_or(usize::MAX);
        if entries > weights {
            return Err(malformed(format!(
                "needed at most {weights} entries, one for each weight, found {count}"
            )));
        }
        let codebook = self.floats(name, "the codebook's values", CODEBOOK)?;
        let bias = self.floats(name, "biases", layer.dims[0])?;
        let codes = self.take(name, "codes", entries)?;
        let gaps = self.take(name, "gaps", entries.div_ceil(8 / GAP_BITS))?;

        if let Some(value) = codebook.first().filter(|value| **value != 0.0) {
            return Err(malformed(format!(
                "the codebook's first value is {value}; it stands for no weight and has to be 0"
            )));
        }
        let kept = kept(layer, codes, gaps).map_err(malformed)?;
        let model = |what| IoError::model(file, format!("{name}, {what}"));
        Ok(Stored {
            weight: weight(layer, &codebook, kept).map_err(model("weights"))?,
            bias: Shape::new(&layer.dims[..1])
                .and_then(|shape| Weight::dense(shape, bias))
                .map_err(model("biases"))?,
            entries,
        })
    }
}

/// The positions of the graph that have a weight, ascending, and their codes.
fn kept(layer: &Layer, codes: &[u8], gaps: &[u8]) -> Result<Vec<(usize, u8)>, String> {
    let halves = gaps.iter().flat_map(|pair| [pair & 0xF, pair >> GAP_BITS]);
    let mut kept = Vec::with_capacity(codes.len());
    let mut next = 0;
    for (entry, (&code, gap)) in codes.iter().zip(halves).enumerate() {
        let position = next + usize::from(gap);
        if position >= layer.elements() {
            return Err(format!(
                "entry {entry} stands at position {position}, the layer has {} weights",
                layer.elements()
            ));
        }
        next = position + 1;
        if code != 0 {
            kept.push((layer.place(position), code));
        }
    }
    kept.sort_unstable();
    Ok(kept)
}

/// The weight that has these codes at these positions.
fn weight(
    layer: &Layer,
    codebook: &[f32],
    kept: Vec<(usize, u8)>,
) -> Result<Weight, secateur_model::ModelError> {
    let mut order: Vec<usize> = (1..codebook.len()).collect();
    order.sort_by(|&a, &b| codebook[a].total_cmp(&codebook[b]));
    let mut rank = [0; CODEBOOK];
    (0..).zip(&order).for_each(|(r, &code)| rank[code] = r);

    let mut bits = vec![false; layer.elements()];
    kept.iter().for_each(|&(position, _)| bits[position] = true);
    Weight::new(
        Shape::new(&layer.dims)?,
        Support::Unstructured(Bitmask::from_bools(&bits)),
        Values::Shared {
            codebook: Codebook::F32(order.iter().map(|&code| codebook[code]).collect()),
            codes: kept
                .iter()
                .map(|(_, code)| rank[usize::from(*code)])
                .collect(),
        },
    )
}
