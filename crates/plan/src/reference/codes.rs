//! Steps on codes, element by element.

use super::missing;
use crate::draft::{Clamp, OnCodes, Quantization};
use crate::lower::look_up;
use secateur_model::ops::{self, ShapeInput};
use secateur_model::{DType, Data, ModelError, Node, Op, Shape, Tensor, quant};

fn input<'t>(inputs: &[Option<&'t Tensor>], index: usize) -> Result<&'t Tensor, ModelError> {
    inputs
        .get(index)
        .copied()
        .flatten()
        .ok_or_else(|| missing("an input"))
}

/// Steps from the code of 0.
fn centred(node: &Node, codes: &Tensor, q: Quantization) -> Result<Vec<i32>, ModelError> {
    match codes.data() {
        Data::U8(v) => Ok(v.iter().map(|&c| i32::from(c) - q.zero_point).collect()),
        Data::I8(v) => Ok(v.iter().map(|&c| i32::from(c) - q.zero_point).collect()),
        other => Err(ModelError::Type {
            what: format!("node `{}`", node.name),
            needed: q.dtype,
            found: other.dtype(),
        }),
    }
}

fn codes(shape: Shape, y: Quantization, codes: Vec<i32>) -> Result<Tensor, ModelError> {
    let data = match y.dtype {
        DType::I8 => Data::I8(codes.into_iter().map(|c| c as i8).collect()),
        _ => Data::U8(codes.into_iter().map(|c| c as u8).collect()),
    };
    Tensor::new(shape, data)
}

/// `saturate(round(fma(a − za, sa/sy, (b − zb) · (sb/sy))) + zy)`.
pub fn sum(
    node: &Node,
    inputs: &[Option<&Tensor>],
    [a, b, y]: [Quantization; 3],
    clamp: Clamp,
) -> Result<Tensor, ModelError> {
    let addends = [input(inputs, 0)?, input(inputs, 1)?];
    let shapes = addends.map(|t| Some(ShapeInput::new(DType::F32, t.shape().clone())));
    let shape = match ops::infer(node, &shapes)?.pop() {
        Some((_, shape)) => shape,
        None => return Err(ModelError::at(node, "it has no output")),
    };
    let dims: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    let dims = Tensor::i64(&[dims.len()], dims)?;
    let expand = Node::new("expand", Op::Expand, &["x", "dims"], &["y"]);
    let repeated = |addend: &Tensor, q| {
        let whole = ops::evaluate(&expand, &[Some(addend), Some(&dims)])?.pop();
        centred(node, &whole.ok_or_else(|| missing("an addend"))?, q)
    };
    let (first, second) = (repeated(addends[0], a)?, repeated(addends[1], b)?);
    let (lo, hi) = (y.code(clamp.lo), y.code(clamp.hi));
    let sums = first.into_iter().zip(second).map(|(p, q)| {
        let sum = (p as f32).mul_add(a.scale / y.scale, q as f32 * (b.scale / y.scale));
        quant::quantize(sum, 1.0, y.zero_point, lo, hi)
    });
    codes(shape, y, sums.collect())
}

/// The operator's mean of the exact steps in f64, rounded to f32, times the
/// factor.
pub fn mean(
    node: &Node,
    inputs: &[Option<&Tensor>],
    x: Quantization,
    y: Option<Quantization>,
) -> Result<Tensor, ModelError> {
    let from = input(inputs, 0)?;
    let steps = centred(node, from, x)?.into_iter().map(f64::from).collect();
    let steps = Tensor::new(from.shape().clone(), Data::F64(steps))?;
    let mut operands = inputs.to_vec();
    operands[0] = Some(&steps);
    let means = ops::evaluate(node, &operands)?
        .pop()
        .map(Tensor::into_parts);
    let Some((shape, Data::F64(means))) = means else {
        return Err(ModelError::at(node, "it gave no f64 output"));
    };
    let means = means.into_iter().map(|m| m as f32);
    match y {
        None => Tensor::new(shape, Data::F32(means.map(|m| m * x.scale).collect())),
        Some(y) => {
            let factor = x.scale / y.scale;
            let (lo, hi) = y.limits();
            let rounded = means.map(|m| quant::quantize(m * factor, 1.0, y.zero_point, lo, hi));
            codes(shape, y, rounded.collect())
        }
    }
}

/// `Σ (a − za)(b − zb)`, in f64, which holds every 32-bit integer, times the
/// factor.
pub fn product(
    node: &Node,
    inputs: &[Option<&Tensor>],
    [a, b]: [Quantization; 2],
    y: Option<Quantization>,
) -> Result<Tensor, ModelError> {
    let steps = |index: usize, q| {
        let codes = input(inputs, index)?;
        let steps = centred(node, codes, q)?
            .into_iter()
            .map(f64::from)
            .collect();
        Tensor::new(codes.shape().clone(), Data::F64(steps))
    };
    let (first, second) = (steps(0, a)?, steps(1, b)?);
    let sums = ops::evaluate(node, &[Some(&first), Some(&second)])?.pop();
    let Some((shape, Data::F64(sums))) = sums.map(Tensor::into_parts) else {
        return Err(ModelError::at(node, "it gave no f64 output"));
    };
    let factor = OnCodes::product_factor(a, b, y);
    let sums = sums.into_iter().map(|sum| sum as i32);
    match y {
        None => Tensor::new(shape, Data::F32(sums.map(|s| s as f32 * factor).collect())),
        Some(y) => {
            let (lo, hi) = y.limits();
            let rounded = sums.map(|s| quant::requantize(s, factor, y.zero_point, lo, hi));
            codes(shape, y, rounded.collect())
        }
    }
}

/// What the second input has at the codes of the first.
pub fn table(node: &Node, inputs: &[Option<&Tensor>]) -> Result<Tensor, ModelError> {
    let table = input(inputs, 1)?;
    if table.shape().elements() != 256 {
        return Err(ModelError::at(node, "its table has not 256 entries"));
    }
    look_up(table, input(inputs, 0)?)
}
