//! The large stay.

use super::Target;

/// The mean square of each unit.
pub(crate) fn scores(target: &Target) -> Vec<f64> {
    let values = target.weight.to_f32();
    target.unit_scores(values.iter().map(|&w| f64::from(w) * f64::from(w)))
}
