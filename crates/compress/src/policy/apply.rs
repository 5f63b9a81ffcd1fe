//! A choice made for a layer.

use crate::quantize::{Granularity, Range, quantize_weights};
use crate::record::Choice;
use crate::{CompressError, Pattern, View, prune};
use secateur_model::Weight;

/// The width that means: the values stay as they are.
pub const FULL_BITS: u8 = 32;

/// The pattern of a choice.
///
/// # Errors
/// One that does not exist.
pub fn pattern_of(choice: &Choice) -> Result<Pattern, CompressError> {
    choice.pattern.parse().map_err(|_| CompressError::Setting {
        step: "policy",
        setting: "pattern",
        needed: "unstructured, channels, n:m or hxw",
        found: choice.pattern.clone(),
    })
}

/// A weight that lies so, as a choice makes it: pruned by magnitude to the choice's density, which counts removed
/// weights in, then rounded to integers with a scale for each output channel.
///
/// # Errors
/// A pattern, density or width that does not exist; a weight that is shared or quantized already.
pub fn apply(weight: &Weight, view: View, choice: &Choice) -> Result<Weight, CompressError> {
    let pruned = prune::prune_weight(weight, view, pattern_of(choice)?, choice.density)?;
    let granularity = match view.columns {
        true => Granularity::PerColumn,
        false => Granularity::PerChannel,
    };
    match choice.bits {
        FULL_BITS => Ok(pruned),
        bits => quantize_weights(&pruned, bits, granularity, Range::Mse),
    }
}
