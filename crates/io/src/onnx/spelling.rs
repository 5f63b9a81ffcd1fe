//! How ONNX spells the values of attributes that are text.

use super::attributes::Attributes;
use crate::IoError;
use secateur_model::ops::{
    Aspect, CellActivation, Coordinates, Direction, GridMode, GridPadding, Rounding,
};

pub(super) type Spelling<T> = [(&'static str, T)];

pub(super) const ROUNDING: &Spelling<Rounding> = &[
    ("round_prefer_floor", Rounding::PreferFloor),
    ("round_prefer_ceil", Rounding::PreferCeil),
    ("floor", Rounding::Floor),
    ("ceil", Rounding::Ceil),
];

pub(super) const COORDINATES: &Spelling<Coordinates> = &[
    ("half_pixel", Coordinates::HalfPixel),
    ("half_pixel_symmetric", Coordinates::HalfPixelSymmetric),
    ("pytorch_half_pixel", Coordinates::PytorchHalfPixel),
    ("align_corners", Coordinates::AlignCorners),
    ("asymmetric", Coordinates::Asymmetric),
    ("tf_crop_and_resize", Coordinates::CropAndResize),
];

pub(super) const ASPECT: &Spelling<Aspect> = &[
    ("stretch", Aspect::Stretch),
    ("not_larger", Aspect::NotLarger),
    ("not_smaller", Aspect::NotSmaller),
];

pub(super) const DIRECTION: &Spelling<Direction> = &[
    ("forward", Direction::Forward),
    ("reverse", Direction::Reverse),
    ("bidirectional", Direction::Bidirectional),
];

pub(super) const ACTIVATION: &Spelling<CellActivation> = &[
    ("Relu", CellActivation::Relu),
    ("Sigmoid", CellActivation::Sigmoid),
    ("Softplus", CellActivation::Softplus),
    ("Softsign", CellActivation::Softsign),
    ("Tanh", CellActivation::Tanh),
];

pub(super) const GRID_MODE: &Spelling<GridMode> = &[
    ("linear", GridMode::Linear),
    ("nearest", GridMode::Nearest),
    ("cubic", GridMode::Cubic),
    // Before opset 20.
    ("bilinear", GridMode::Linear),
    ("bicubic", GridMode::Cubic),
];

pub(super) const GRID_PADDING: &Spelling<GridPadding> = &[
    ("zeros", GridPadding::Zeros),
    ("border", GridPadding::Border),
    ("reflection", GridPadding::Reflection),
];

/// The value of a text attribute, the first of the table where it is absent;
/// `None` for a value that is not known.
pub(super) fn value<T: Copy>(
    a: &Attributes<'_>,
    name: &str,
    table: &Spelling<T>,
) -> Result<Option<T>, IoError> {
    Ok(match a.string(name)? {
        Some(text) => find(text, table),
        None => table.first().map(|(_, value)| *value),
    })
}

/// The value that is spelled so.
pub(super) fn find<T: Copy>(text: &str, table: &Spelling<T>) -> Option<T> {
    let found = table.iter().find(|(spelled, _)| *spelled == text);
    found.map(|(_, value)| *value)
}

/// How a value is spelled.
pub(super) fn name<T: PartialEq>(value: &T, table: &Spelling<T>) -> &'static str {
    let found = table.iter().find(|(_, listed)| listed == value);
    found.map_or("", |(spelled, _)| spelled)
}
