//! Elements widened, so that an operator is written for two types, not twelve:
//! floats as f64, integers and booleans as i128, both exactly.

use super::args::Tensors;
use super::{MAX_BYTES, cast};
use crate::{DType, Data, ModelError};

/// Bytes of a widened element.
const WIDEST: u64 = 16;

/// A tensor's elements.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wide {
    Floats(Vec<f64>),
    Integers(Vec<i128>),
}

impl Wide {
    /// The elements of input `index`; refused where they, or the outputs' of
    /// the same width, would take more than [`MAX_BYTES`].
    pub fn of(args: &Tensors<'_>, index: usize) -> Result<Self, ModelError> {
        let x = args.need(index)?;
        let outputs = args.outputs.iter().map(|(_, shape)| shape);
        for shape in outputs.chain([x.shape()]) {
            if (shape.elements() as u64).saturating_mul(WIDEST) > MAX_BYTES {
                return Err(
                    args.unsupported(format!("{shape} widened is larger than {MAX_BYTES} bytes"))
                );
            }
        }
        if x.dtype().is_float() {
            return Ok(Self::Floats(args.doubles(index)?));
        }
        cast::widen(x.data())
            .map(Self::Integers)
            .ok_or_else(|| args.no_type(index, x.dtype()))
    }

    /// The elements as f64; integers beyond 2^53 are rounded.
    pub fn into_floats(self) -> Vec<f64> {
        match self {
            Self::Floats(v) => v,
            Self::Integers(v) => v.into_iter().map(|x| x as f64).collect(),
        }
    }

    /// The elements as a type, each rounded once. Integers wrap; a float that
    /// becomes an integer is truncated and saturates.
    pub fn narrow(&self, args: &Tensors<'_>, to: DType) -> Result<Data, ModelError> {
        match self {
            Self::Floats(v) => cast::from_floats(args, to, v),
            Self::Integers(v) => cast::from_integers(args, to, v),
        }
    }
}
