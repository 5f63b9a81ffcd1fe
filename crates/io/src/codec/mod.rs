//! How one compressed weight tensor becomes bytes: a mask of where, an integer
//! of what at each place, and six coders to choose from.

mod around;
mod bits;
mod blocks;
mod context;
mod error;
mod frequencies;
mod gap;
mod golomb;
mod huffman;
pub(crate) mod mixer;
mod plane;
mod quotes;
pub(crate) mod range;
mod rans;
mod raw;
mod settings;
mod stream;
mod support;
#[cfg(test)]
mod tests;
mod token;
mod values;

use rayon::prelude::*;
use std::fmt;
use std::str::FromStr;

pub use error::CodecError;
pub use plane::{Alphabet, Decoded, Layout, MAX_POSITIONS, Plane, Symbol};
pub use quotes::{Quotes, Zeros};

/// A way to write a [`Plane`] as bytes; all of them are lossless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Coder {
    /// One bit per position, symbols at their width.
    Raw,
    /// Deep Compression's relative index of fixed width, with filler zeros.
    FixedGap,
    /// Canonical Huffman codes of gaps and of values.
    Huffman,
    /// Range asymmetric numeral systems of gaps and values: fast.
    Rans,
    /// Context-adaptive binary range coding: smallest.
    Context,
    /// As [`Rans`](Self::Rans), in blocks that are decoded in parallel.
    Blocks,
}

impl Coder {
    /// Every coder, by its tag.
    pub const ALL: [Self; 6] = [
        Self::Raw,
        Self::FixedGap,
        Self::Huffman,
        Self::Rans,
        Self::Context,
        Self::Blocks,
    ];

    /// First byte of everything this coder writes.
    pub fn tag(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::FixedGap => 1,
            Self::Huffman => 2,
            Self::Rans => 3,
            Self::Context => 4,
            Self::Blocks => 5,
        }
    }

    /// The coder that writes `tag`, if there is one.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.get(usize::from(tag)).copied()
    }

    /// Name in commands and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::FixedGap => "gap",
            Self::Huffman => "huffman",
            Self::Rans => "rans",
            Self::Context => "context",
            Self::Blocks => "blocks",
        }
    }

    /// Percent of its size that a coder counts under `store` for a plane of so
    /// many positions: the price of decoding it. `None`: it is not considered.
    fn percent(self, store: Store, positions: usize) -> Option<usize> {
        match store {
            Store::Smallest => Some(100),
            Store::Small if positions <= QUICK_POSITIONS => Some(100),
            Store::Small => Some(match self {
                Self::Raw | Self::FixedGap | Self::Blocks => 100,
                Self::Rans => 101,
                Self::Huffman | Self::Context => 103,
            }),
            Store::Fast => match self {
                Self::Raw => Some(100),
                Self::FixedGap => Some(105),
                Self::Blocks => Some(109),
                Self::Rans => Some(110),
                Self::Huffman | Self::Context => None,
            },
        }
    }
}

/// Planes of no more positions are read within a millisecond by any coder.
const QUICK_POSITIONS: usize = 1 << 15;

impl fmt::Display for Coder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Coder {
    type Err = CodecError;

    fn from_str(name: &str) -> Result<Self, CodecError> {
        Self::ALL
            .into_iter()
            .find(|coder| coder.name() == name)
            .ok_or_else(|| CodecError::UnknownName {
                name: name.to_owned(),
            })
    }
}

/// What a file is stored for.
///
/// A mask without structure takes the same bytes under contexts as under static
/// probabilities, to a thousandth, but thirty times as long to read: 35 ns a position
/// against 1 (ResNet-50, nine tenths pruned at random: 800 ms against 25).
/// Where contexts do find structure they may save a fifth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Store {
    /// Fewest bytes, whatever the coder.
    Smallest,
    /// Fewest bytes, but for a large weight a coder that decodes fast if it is within
    /// 3 % of that.
    #[default]
    Small,
    /// Fewest bytes among the coders that decode fast, with a bonus to faster.
    Fast,
}

/// Where the bits of a coded tensor went; what the blob has beyond these is
/// headers, tables and padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Bits that say where the non-zeros are.
    pub support_bits: u64,
    /// Bits that say what they are.
    pub value_bits: u64,
}

/// A coded tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The coder that wrote the bytes.
    pub coder: Coder,
    /// Self-describing but for the [`Layout`]; the first byte is the coder's tag.
    pub bytes: Vec<u8>,
    /// Where the bits went.
    pub cost: Cost,
}

/// Writes `plane` through `coder`.
///
/// ```
/// use secateur_io::codec::{decode, encode, Alphabet, Coder, Plane};
///
/// let mask = [true, false, false, true, false, false];
/// let plane = Plane { rows: 2, cols: 3, mask: Some(&mask), symbols: &[-3, 5], alphabet: Alphabet::Signed { bits: 4 } };
/// let encoded = encode(&plane, Coder::Context)?;
/// let decoded = decode::<i32>(&encoded.bytes, &plane.layout())?;
/// assert_eq!(decoded.mask.map(|m| m.to_bools()).as_deref(), Some(&mask[..]));
/// assert_eq!(decoded.symbols, [-3, 5]);
/// # Ok::<(), secateur_io::codec::CodecError>(())
/// ```
///
/// # Errors
/// When the plane contradicts itself: lengths, or symbols outside the alphabet.
pub fn encode(plane: &Plane<'_>, coder: Coder) -> Result<Encoded, CodecError> {
    plane.check()?;
    Ok(encode_checked(plane, coder))
}

/// Writes `plane` through the coder that suits `store` best.
///
/// # Errors
/// As [`encode`].
pub fn encode_smallest(plane: &Plane<'_>, store: Store) -> Result<Encoded, CodecError> {
    plane.check()?;
    let positions = plane.layout().positions()?;
    let priced = |coder: Coder| Some((coder, coder.percent(store, positions)?));
    let coders: Vec<(Coder, usize)> = Coder::ALL.into_iter().filter_map(priced).collect();
    let candidates: Vec<(usize, Encoded)> = coders
        .into_par_iter()
        .filter(|&(coder, percent)| coder != Coder::Context || may_win(plane, percent))
        .map(|(coder, percent)| (percent, encode_checked(plane, coder)))
        .collect();
    let best = candidates
        .into_iter()
        .min_by_key(|(percent, encoded)| encoded.bytes.len() * percent);
    Ok(best.map_or_else(|| encode_checked(plane, Coder::Raw), |(_, encoded)| encoded))
}

/// Percent that contexts may yet gain by the rest of a plane and by the best settings, beyond what
/// they gain at its beginning.
const CONTEXT_SLACK: usize = 2;

/// Whether contexts, at so many percent of their size, may beat static probabilities.
fn may_win(plane: &Plane<'_>, percent: usize) -> bool {
    // Where nothing is asked of them, trying them is no more than encoding.
    if percent <= 100 {
        return true;
    }
    let (adaptive, fixed) = context::trial(plane);
    let bits = |cost: Cost| cost.support_bits + cost.value_bits;
    bits(adaptive) * percent as u64 <= bits(fixed) * (100 + CONTEXT_SLACK) as u64
}

/// Writes `plane` as Deep Compression's relative index with gaps of `bits`
/// bits (0 to 16), where [`Coder::FixedGap`] takes the width that is smallest.
///
/// # Errors
/// As [`encode`], and when `bits` is larger than 16.
pub fn encode_fixed_gap(plane: &Plane<'_>, bits: u32) -> Result<Encoded, CodecError> {
    plane.check()?;
    if bits > gap::MAX_GAP_BITS {
        return Err(CodecError::Alphabet {
            what: "gap bits",
            given: bits,
            min: 0,
            max: gap::MAX_GAP_BITS,
        });
    }
    let mut bytes = vec![Coder::FixedGap.tag()];
    let cost = gap::encode_with(plane, bits, &mut bytes);
    Ok(Encoded {
        coder: Coder::FixedGap,
        bytes,
        cost,
    })
}

/// Reads a tensor of `layout` back. Allocates in proportion to the layout's
/// positions and the length of `bytes`, whatever the bytes say; who takes the
/// layout from a file bounds it first.
///
/// # Errors
/// When the alphabet does not fit `S`; when the bytes are not what [`encode`] writes
/// for such a layout, as far as that can be seen: bytes that decode to another
/// valid tensor are the container's checksum to find.
pub fn decode<S: Symbol>(bytes: &[u8], layout: &Layout) -> Result<Decoded<S>, CodecError> {
    layout.check()?;
    layout.alphabet.check_fits::<S>()?;
    let mut cursor = bits::Cursor::new(bytes);
    let tag = cursor.byte("coder tag")?;
    match Coder::from_tag(tag).ok_or(CodecError::UnknownCoder { tag })? {
        Coder::Raw => raw::decode(cursor, layout),
        Coder::FixedGap => gap::decode(cursor, layout),
        Coder::Huffman => huffman::decode(cursor, layout),
        Coder::Rans => rans::decode(cursor, layout),
        Coder::Context => context::decode(cursor, layout),
        Coder::Blocks => blocks::decode(cursor, layout),
    }
}

/// Where the bits of `bytes` went, which [`decode`] reads as `plane`.
///
/// # Errors
/// When the plane contradicts itself, and when the bytes begin as no coder's do.
pub fn cost(bytes: &[u8], plane: &Plane<'_>) -> Result<Cost, CodecError> {
    plane.check()?;
    let mut cursor = bits::Cursor::new(bytes);
    let tag = cursor.byte("coder tag")?;
    match Coder::from_tag(tag).ok_or(CodecError::UnknownCoder { tag })? {
        // The settings are known; encoding would try them all again.
        Coder::Context => context::cost(cursor, plane),
        coder => Ok(encode_checked(plane, coder).cost),
    }
}

fn encode_checked(plane: &Plane<'_>, coder: Coder) -> Encoded {
    let mut bytes = vec![coder.tag()];
    let cost = match coder {
        Coder::Raw => raw::encode(plane, &mut bytes),
        Coder::FixedGap => gap::encode(plane, &mut bytes),
        Coder::Huffman => huffman::encode(plane, &mut bytes),
        Coder::Rans => rans::encode(plane, &mut bytes),
        Coder::Context => context::encode(plane, &mut bytes),
        Coder::Blocks => blocks::encode(plane, &mut bytes),
    };
    Encoded { coder, bytes, cost }
}
