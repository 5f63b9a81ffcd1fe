//! What can be wrong with coded bytes or with what is to be coded.

/// Error of encoding or decoding one tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes end before the data does.
    #[error("byte {at}: {what} needs more bytes, the data ends here")]
    Truncated {
        /// Offset in the coded bytes.
        at: usize,
        /// Which part was being read.
        what: &'static str,
    },
    /// Bytes are left after the data.
    #[error("byte {at}: the data ends here, {bytes} bytes are left over")]
    Trailing {
        /// Offset in the coded bytes.
        at: usize,
        /// Bytes left over.
        bytes: usize,
    },
    /// The bytes contradict themselves or the tensor's shape or alphabet.
    #[error("byte {at}: {what}")]
    Corrupt {
        /// Offset in the coded bytes.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The first byte names no coder.
    #[error("byte 0: no coder has tag {tag} (known: 0 to 5)")]
    UnknownCoder {
        /// The byte found.
        tag: u8,
    },
    /// A coder's name that does not exist.
    #[error("no coder is named {name:?} (known: raw, gap, huffman, rans, context, blocks)")]
    UnknownName {
        /// The name given.
        name: String,
    },
    /// A plane larger than the format allows.
    #[error("a plane of {rows} x {cols} is too large: at most {max} positions")]
    TooLarge {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
        /// Most positions a plane may have.
        max: usize,
    },
    /// Indices into a codebook, where numbers are needed.
    #[error("what codes cost is told of integers, and these are indices into {levels} levels")]
    Indices {
        /// Levels of the codebook.
        levels: u32,
    },
    /// An alphabet that no symbol fits.
    #[error("{what} {given} is outside {min}..={max}")]
    Alphabet {
        /// The quantity.
        what: &'static str,
        /// Its value.
        given: u32,
        /// Smallest allowed.
        min: u32,
        /// Largest allowed.
        max: u32,
    },
    /// A slice whose length does not fit the plane.
    #[error("{what} has {found} entries, the plane needs {needed}")]
    Length {
        /// The slice.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length needed.
        needed: usize,
    },
    /// A symbol outside its alphabet.
    #[error("symbol {index} is {symbol}, outside {min}..={max}")]
    Symbol {
        /// Index among the symbols.
        index: usize,
        /// The symbol.
        symbol: i32,
        /// Smallest of the alphabet.
        min: i32,
        /// Largest of the alphabet.
        max: i32,
    },
}
