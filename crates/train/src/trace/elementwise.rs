//! Operators on each element: broadcasting, dropout, fake quantization.

use super::operator::Operands;
use super::{Dropout, Value, unsupported};
use crate::TrainError;
use crate::ops::{self, Codes};
use burn::tensor::Tensor as Flowing;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_model::{DType, Data, Node, Tensor};

/// Ranks up to this broadcast.
const RANK: usize = 6;

/// An operator on two values, with NumPy's broadcasting.
pub(super) fn binary(
    a: &Value,
    b: &Value,
    o: &Operands<'_>,
    f: impl FnOnce(Flowing<RANK>, Flowing<RANK>) -> Flowing<RANK>,
) -> Result<Value, TrainError> {
    combine(a, b, o.dims, o, f)
}

fn combine(
    a: &Value,
    b: &Value,
    dims: &[usize],
    o: &Operands<'_>,
    f: impl FnOnce(Flowing<RANK>, Flowing<RANK>) -> Flowing<RANK>,
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
    Ok(Value::of(f(a.shaped(wide_a), b.shaped(wide_b)), dims))
}

/// An operator on all of the node's inputs, two at a time.
pub(super) fn fold(
    o: &Operands<'_>,
    f: impl Fn(Flowing<RANK>, Flowing<RANK>) -> Flowing<RANK>,
) -> Result<Value, TrainError> {
    let mut all = o.value(0)?;
    for index in 1..o.node.inputs.len() {
        let next = o.value(index)?;
        let dims = broadcast(&all.dims, &next.dims);
        all = combine(&all, &next, &dims, o, &f)?;
    }
    Ok(all)
}

/// Extents of two values together.
fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], axis: usize| match (axis + dims.len()).checked_sub(rank) {
        Some(own) => dims[own],
        None => 1,
    };
    (0..rank)
        .map(|axis| match at(a, axis) {
            1 => at(b, axis),
            extent => extent,
        })
        .collect()
}

/// Zeroes each element with the node's probability, as far as it holds, and scales
/// the rest up (Srivastava et al. 2014). The same seed drops the same elements.
pub(super) fn dropout(o: &Operands<'_>, dropout: &Dropout<'_>) -> Result<Value, TrainError> {
    let x = o.value(0)?;
    let share = dropout.shares.get(&o.index).copied().unwrap_or(1.0);
    let ratio = o.scalar_or(1, 0.5)? * share;
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
    let mut rng = ChaCha8Rng::seed_from_u64(dropout.seed);
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

/// Rounds to the quantizer's codes and back. The scale may be a parameter: its
/// gradient is then the learned step's.
pub(super) fn fake_quantize(o: &Operands<'_>) -> Result<Value, TrainError> {
    let scale = o
        .value(1)
        .ok()
        .filter(|scale| scale.elements() == 1)
        .filter(|scale| scale.to_vec().iter().all(|&s| s.is_finite() && s > 0.0))
        .ok_or_else(|| unsupported(o.node, "one positive scale is needed"))?;
    let codes =
        codes_of(o.node, o.tensor(2).as_deref()).map_err(|reason| unsupported(o.node, reason))?;
    Ok(o.value(0)?
        .map(|t| ops::fake_quantize(t, scale.flat, codes)))
}

/// The codes of a quantizer about its zero point, which says how wide they are.
pub(crate) fn codes_of(node: &Node, zero_point: Option<&Tensor>) -> Result<Codes, String> {
    let (zero, dtype) = match (node.input(2), zero_point.map(Tensor::data)) {
        (None, _) => (0, DType::U8),
        (_, Some(Data::U8(z))) if z.len() == 1 => (i32::from(z[0]), DType::U8),
        (_, Some(Data::I8(z))) if z.len() == 1 => (i32::from(z[0]), DType::I8),
        (_, Some(Data::U16(z))) if z.len() == 1 => (i32::from(z[0]), DType::U16),
        (_, Some(Data::I16(z))) if z.len() == 1 => (i32::from(z[0]), DType::I16),
        _ => return Err("one constant zero point of 8 or 16 bits is needed".into()),
    };
    let (low, high) = match dtype {
        DType::I8 => (-128, 127),
        DType::U16 => (0, 65_535),
        DType::I16 => (-32_768, 32_767),
        _ => (0, 255),
    };
    Ok(Codes {
        range: [low - zero, high - zero].map(|code| code as f32),
    })
}
