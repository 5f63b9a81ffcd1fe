//! Batch and layer normalisation, and softmax.

use super::operator::Operands;
use super::{BatchStatistics, Mode, Value, unsupported};
use crate::TrainError;
use crate::ops;
use burn::tensor::{Tensor, activation};
use std::sync::Arc;

/// `(x − mean) / √(variance + ε) · scale + bias` for each channel: with running
/// statistics, or when training with the batch's, which are collected.
pub(super) fn batch_norm(
    o: &Operands<'_>,
    epsilon: f32,
    mode: &mut Mode<'_>,
) -> Result<Value, TrainError> {
    let x = o.value(0)?;
    let [scale, bias] = [o.value(1)?, o.value(2)?].map(|v| v.flat);
    let &[images, channels, ref spatial @ ..] = x.dims.as_slice() else {
        return Err(unsupported(o.node, "[n, c, …] is needed"));
    };
    let pixels: usize = spatial.iter().product();
    match mode {
        Mode::Evaluate => {
            let [mean, variance] = [o.value(3)?, o.value(4)?].map(|v| v.flat);
            let factor = scale / (variance + epsilon).sqrt();
            let offset = bias - mean * factor.clone();
            let wide = |t: Tensor<1>| t.reshape([1, channels, 1]);
            let y = x.shaped([images, channels, pixels]) * wide(factor) + wide(offset);
            Ok(Value::of(y, o.dims))
        }
        Mode::Train { statistics, .. } => {
            let name = |index| o.node.input(index).unwrap_or_default().to_owned();
            let moments = Arc::new(ops::moments(x.flat.clone(), channels, pixels));
            statistics.push(BatchStatistics {
                mean_name: name(3),
                variance_name: name(4),
                mean: moments.mean.clone(),
                variance: moments.variance.clone(),
            });
            Ok(x.map(|t| ops::batch_norm(t, scale, bias, moments, pixels, epsilon)))
        }
    }
}

/// `(x − mean) / √(variance + ε) · scale + bias` over all axes from one on.
pub(super) fn layer_norm(o: &Operands<'_>, axis: i64, epsilon: f32) -> Result<Value, TrainError> {
    let x = o.value(0)?;
    let axis = o.axis(axis, x.dims.len())?;
    let [before, along, behind] = x.around(axis);
    let width = along * behind;
    let rows = x.shaped([before, width]);
    let centred = rows.clone() - rows.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let line = |value: Value| match value.elements() == width {
        true => Ok(value.shaped([1, width])),
        false => Err(unsupported(
            o.node,
            "scale and bias must be as wide as what is normalised",
        )),
    };
    let scaled = centred / (variance + epsilon).sqrt() * line(o.value(1)?)?;
    let y = match o.optional(2) {
        Some(bias) => scaled + line(bias)?,
        None => scaled,
    };
    Ok(Value::of(y, o.dims))
}

/// Along one axis, or over all from it on.
pub(super) fn softmax(o: &Operands<'_>, axis: i64, flattened: bool) -> Result<Value, TrainError> {
    let x = o.value(0)?;
    let axis = o.axis(axis, x.dims.len())?;
    let [before, along, behind] = x.around(axis);
    let dims = match flattened {
        true => [before, along * behind, 1],
        false => [before, along, behind],
    };
    Ok(Value::of(activation::softmax(x.shaped(dims), 1), o.dims))
}
