use crate::Isa;

/// Why a kernel could not be packed or run.  Nothing was written when one is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The caller forced an instruction set that this processor lacks.
    #[error("instruction set {isa} is not available on this processor (best here: {best})")]
    IsaUnavailable {
        /// The set asked for.
        isa: Isa,
        /// The best set of this processor.
        best: Isa,
    },
    /// A name that is no instruction set of this crate.
    #[error("unknown instruction set {name:?}: needed generic, avx2 or avx512vnni")]
    UnknownIsa {
        /// The name as given.
        name: String,
    },
    /// A slice or extent has the wrong length.
    #[error("{what}: needed {needed} elements, got {got}")]
    Length {
        /// The operand.
        what: &'static str,
        /// Elements needed.
        needed: usize,
        /// Elements given.
        got: usize,
    },
    /// A range of outputs that does not lie on the packed form's boundaries.
    #[error(
        "outputs {start}..{end}: needed boundaries that are multiples of {granule} or the end {outputs}"
    )]
    OutputRange {
        /// First output asked for.
        start: usize,
        /// One past the last output asked for.
        end: usize,
        /// The packed form's granule.
        granule: usize,
        /// Outputs of the packed form.
        outputs: usize,
    },
    /// A range of pixels outside the output image.
    #[error("pixels {start}..{end}: the output image has {pixels}")]
    PixelRange {
        /// First pixel asked for.
        start: usize,
        /// One past the last pixel asked for.
        end: usize,
        /// Pixels of the output image.
        pixels: usize,
    },
    /// A reduction too deep for exact 32-bit sums or for the index width.
    #[error("depth {depth} exceeds the limit of {max}")]
    TooDeep {
        /// Depth asked for.
        depth: usize,
        /// Deepest reduction supported.
        max: usize,
    },
    /// An index beyond what it counts.
    #[error("index {index} of an extent of {extent}")]
    Index {
        /// The index.
        index: i64,
        /// Elements that there are.
        extent: usize,
    },
    /// A size whose product does not fit the address space.
    #[error("{what}: the size overflows")]
    Overflow {
        /// The operand.
        what: &'static str,
    },
    /// A scale, multiplier or bound that is not usable.
    #[error("{what}: {reason}")]
    Parameter {
        /// The parameter.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Fails unless `got == needed`.
pub(crate) fn check_len(what: &'static str, needed: usize, got: usize) -> Result<(), KernelError> {
    if needed == got {
        return Ok(());
    }
    Err(KernelError::Length { what, needed, got })
}

/// `a · b`, or the error that names `what`.
pub(crate) fn product(what: &'static str, a: usize, b: usize) -> Result<usize, KernelError> {
    a.checked_mul(b).ok_or(KernelError::Overflow { what })
}
