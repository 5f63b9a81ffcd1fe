//! Operators on each element: broadcasting, dropout, fake quantization.

use super::operator::Operands;
use super::{Value, unsupported};
use crate::TrainError;
use burn::tensor::Tensor;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_model::DType;

/// Ranks up to this broadcast.
const RANK: usize = 6;

/// An operator on two values, with NumPy's broadcasting.
pub(super) fn binary(
    a: &Value,
    b: &Value,
    o: &Operands<'_>,
    f: impl FnOnce(Tensor<RANK>, Tensor<RANK>) -> Tensor<RANK>,
) -> Result<Value, TrainError> {
    let wide = |v: &Value| -> Result<[usize; RANK], TrainError> {
        let mut dims = vec![1; RANK.saturating_sub(v.dims.len())];
        dims.extend(&v.dims);
        dims.try_into()
            .map_err(|_| unsupported(o.node, format!("rank {}", v.dims.len())))
    };
    // Equal extents need no broadcasting: one long line.
    let (wide_a, wide_b) = if a.dims == b.dims {
        let mut line = [1; RANK];
        line[RANK - 1] = a.elements();
        (line, line)
    } else {
        (wide(a)?, wide(b)?)
    };
    Ok(Value::of(f(a.shaped(wide_a), b.shaped(wide_b)), o.dims))
}

/// Zeroes each element with the node's probability and scales the rest up
/// (Srivastava et al. 2014). The same seed drops the same elements.
pub(super) fn dropout(o: &Operands<'_>, seed: u64) -> Result<Value, TrainError> {
    let x = o.value(0)?;
    let ratio = o.scalar_or(1, 0.5)?;
    if !(0.0..1.0).contains(&ratio) {
        return Err(unsupported(
            o.node,
            format!("a ratio of {ratio} is not in [0, 1)"),
        ));
    }
    if ratio == 0.0 {
        return Ok(x);
    }
    // Each node draws from its own stream.
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(o.index as u64 + 1);
    let kept = 1.0 / (1.0 - ratio);
    let mask = (0..x.elements())
        .map(|_| match rng.random::<f32>() < ratio {
            true => 0.0,
            false => kept,
        })
        .collect();
    let mask = Value::new(mask, &x.dims);
    Ok(x.map(|t| t * mask.flat))
}

/// Rounds to the grid of 8- or 16-bit codes; the gradient goes straight through inside the
/// range and is zero outside (Bengio et al. 2013).
pub(super) fn fake_quantize(o: &Operands<'_>) -> Result<Value, TrainError> {
    let scale = o
        .tensor(1)
        .filter(|t| t.shape().elements() == 1)
        .and_then(|t| t.as_f32().ok()?.first().copied())
        .filter(|scale| scale.is_finite() && *scale > 0.0)
        .ok_or_else(|| unsupported(o.node, "one constant, positive scale is needed"))?;
    let zero = match (o.node.input(2), o.integers(2)) {
        (None, _) => 0.0,
        (_, Some(codes)) if codes.len() == 1 => codes[0] as f32,
        _ => return Err(unsupported(o.node, "one constant zero point is needed")),
    };
    let codes = o.tensor(2).map_or(DType::U8, |zero| zero.dtype());
    let (lo, hi) = match codes {
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::U16 => (0.0, 65_535.0),
        DType::I16 => (-32_768.0, 32_767.0),
        other => {
            return Err(unsupported(
                o.node,
                format!("codes of 8 or 16 bits are needed, found {other}"),
            ));
        }
    };
    Ok(o.value(0)?.map(|t| {
        let clipped = t.clamp((lo - zero) * scale, (hi - zero) * scale);
        let grid = clipped
            .clone()
            .detach()
            .div_scalar(scale)
            .round()
            .mul_scalar(scale);
        clipped.clone() + (grid - clipped.detach())
    }))
}
