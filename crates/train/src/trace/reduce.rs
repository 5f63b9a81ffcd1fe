//! Sums, means and extremes over axes.

use super::operator::Operands;
use super::{Value, unsupported};
use crate::TrainError;
use burn::tensor::Tensor;
use secateur_model::Reduction;

/// Over the constant axes in input 1; without any, over all.
pub(super) fn reduce(
    o: &Operands<'_>,
    kind: Reduction,
    noop_with_empty_axes: bool,
) -> Result<Value, TrainError> {
    let reduced: fn(Tensor<3>) -> Tensor<3> = match kind {
        Reduction::Max => |lanes| lanes.max_dim(1),
        Reduction::Mean => |lanes| lanes.mean_dim(1),
        Reduction::Min => |lanes| lanes.min_dim(1),
        Reduction::Sum => |lanes| lanes.sum_dim(1),
        _ => {
            return Err(unsupported(
                o.node,
                "no gradient for this operator or attribute",
            ));
        }
    };
    let mut x = o.value(0)?;
    let rank = x.dims.len();
    let axes = match o.node.input(1) {
        Some(_) => o
            .integers(1)
            .ok_or_else(|| unsupported(o.node, "the axes must be constant"))?,
        None => Vec::new(),
    };
    let axes: Vec<i64> = match axes.is_empty() && !noop_with_empty_axes {
        true => (0..rank as i64).collect(),
        false => axes,
    };
    for axis in axes {
        let axis = o.axis(axis, rank)?;
        let lanes = x.shaped(x.around(axis));
        let mut dims = x.dims.clone();
        dims[axis] = 1;
        x = Value::of(reduced(lanes), &dims);
    }
    Ok(x.reshaped(o.dims))
}
