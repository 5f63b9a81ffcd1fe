//! QLinearConv and QLinearMatMul.
//!
//! Exact: sums are integers, each ends in one [`quant::requantize`] with the
//! multiplier `(scale_a · scale_b) / scale_y` in f32. A sum beyond i32 is an
//! error, never wrong bits.

use super::TypedShape;
use super::args::{Shapes, Tensors};
use super::conv::{Geometry, check_bias};
use super::matmul::Batched;
use super::quantize::{check_zero_point, code_range};
use crate::quant;
use crate::{DType, ModelError, Shape, Tensor, Window};

const CODES: &[DType] = &[DType::I8, DType::U8];
const SCALES: &[DType] = &[DType::F32, DType::F16, DType::BF16];

/// Checks value, scale and zero point at `first`, `first + 1`, `first + 2`; the
/// scale is one or `lanes` values.
fn check_quantized(args: &Shapes<'_>, first: usize, lanes: usize) -> Result<(), ModelError> {
    let value = args.typed(first, CODES)?;
    check_scale(args, first + 1, lanes)?;
    if args.need(first + 2)?.dtype != value.dtype {
        return Err(args.wrong(format!(
            "zero point (input {}) must be {} like its values, found {}",
            first + 2,
            value.dtype,
            args.need(first + 2)?.dtype
        )));
    }
    Ok(())
}

/// Checks the scale at `index` and the shape of the zero point behind it.
fn check_scale(args: &Shapes<'_>, index: usize, lanes: usize) -> Result<(), ModelError> {
    let scale = args.typed(index, SCALES)?;
    let fits = scale.shape.elements() == 1 || scale.shape.dims() == [lanes];
    if !fits {
        return Err(args.wrong(format!(
            "scale (input {index}) must be one value or [{lanes}], found {}",
            scale.shape
        )));
    }
    check_zero_point(args, index + 1, &args.need(index + 1)?.shape, &scale.shape)
}

pub(super) fn infer_conv(
    args: &Shapes<'_>,
    window: &Window,
    groups: usize,
) -> Result<Vec<TypedShape>, ModelError> {
    let (x, w) = (args.need(0)?, args.need(3)?);
    let geometry = Geometry::new(args.node, window, groups, &x.shape, &w.shape)?;
    check_quantized(args, 0, 1)?;
    check_quantized(args, 3, geometry.out_channels)?;
    check_scale(args, 6, 1)?;
    let y = args.typed(7, CODES)?;
    if let Some(bias) = args.get(8) {
        args.check_type(8, bias.dtype, &[DType::I32])?;
        check_bias(args, 8, &bias.shape, geometry.out_channels)?;
    }
    Ok(vec![(y.dtype, geometry.output(args)?)])
}

/// `y = requantize(b[o] + Σ (w − zw[o]) · (x − zx))`, the padding being `zx`.
/// Shapes as for Conv.
pub(super) fn conv(
    args: &Tensors<'_>,
    window: &Window,
    groups: usize,
) -> Result<Vec<Tensor>, ModelError> {
    let (x, w) = (args.need(0)?.shape(), args.need(3)?.shape());
    let g = Geometry::new(args.node, window, groups, x, w)?;
    let (x, w) = (centred(args, 0, x)?, centred(args, 3, w)?);
    let bias = args.get(8).map(|_| args.integers(8)).transpose()?;
    let end = Requantizer::new(args, 1, 4, 6)?;
    let mut y = Vec::new();
    g.each_output(&mut Vec::new(), |o, channel, w_row, taps| {
        let mut acc = bias.as_ref().map_or(0, |b| i64::from(b[o]));
        for &(tap, position) in taps {
            for c in 0..g.depth {
                let (w, x) = (
                    w[w_row + c * g.taps + tap],
                    x[(channel + c) * g.plane + position],
                );
                acc += i64::from(w) * i64::from(x);
            }
        }
        y.push(end.apply(acc, 0, o));
    });
    finish(args, y)
}

pub(super) fn infer_matmul(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let batched = Batched::new(args, &args.need(0)?.shape, &args.need(3)?.shape)?;
    check_quantized(args, 0, batched.m)?;
    check_quantized(args, 3, batched.n)?;
    check_scale(args, 6, 1)?;
    Ok(vec![(args.typed(7, CODES)?.dtype, batched.output)])
}

/// `y = requantize(Σ (a − za[i]) · (b − zb[j]))`.  a: `[…, m, k]`,
/// b: `[…, k, n]` -> `[…, m, n]`; scales of a may be per row, of b per column.
pub(super) fn matmul(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let shapes = Shapes {
        node: args.node,
        inputs: &[],
    };
    let (a, b) = (args.need(0)?.shape(), args.need(3)?.shape());
    let g = Batched::new(&shapes, a, b)?;
    let (a, b) = (args.integers(0)?, args.integers(3)?);
    let (zero_a, zero_b) = (args.integers(2)?, args.integers(5)?);
    let end = Requantizer::new(args, 1, 4, 6)?;
    let mut y = Vec::new();
    for (at_a, at_b) in g.starts() {
        for i in 0..g.m {
            for j in 0..g.n {
                let (za, zb) = (lane(&zero_a, i), lane(&zero_b, j));
                let acc = (0..g.k)
                    .map(|k| {
                        let (a, b) = (a[at_a + i * g.k + k], b[at_b + k * g.n + j]);
                        i64::from(a - za) * i64::from(b - zb)
                    })
                    .sum();
                y.push(end.apply(acc, i, j));
            }
        }
    }
    finish(args, y)
}

/// Values less their zero point, of which there is one or one for each row.
fn centred(args: &Tensors<'_>, first: usize, shape: &Shape) -> Result<Vec<i32>, ModelError> {
    let zero_points = args.integers(first + 2)?;
    let row: usize = shape.iter().skip(1).product();
    let values = args.integers(first)?.into_iter().enumerate();
    Ok(values
        .map(|(at, q)| q - lane(&zero_points, at / row.max(1)))
        .collect())
}

/// The value of a lane, of a list with one value for all or one for each.
fn lane<T: Copy + Default>(values: &[T], index: usize) -> T {
    match values {
        [value] => *value,
        values => values.get(index).copied().unwrap_or_default(),
    }
}

/// The end of a sum: scales and zero point of the output.
struct Requantizer {
    scale_a: Vec<f32>,
    scale_b: Vec<f32>,
    scale_y: f32,
    zero_point: i32,
    range: (i32, i32),
}

impl Requantizer {
    /// Reads the scales at the given inputs; the zero point follows `y`.
    fn new(args: &Tensors<'_>, a: usize, b: usize, y: usize) -> Result<Self, ModelError> {
        let dtype = args.output()?.0;
        Ok(Self {
            scale_a: args.floats(a)?,
            scale_b: args.floats(b)?,
            scale_y: lane(&args.floats(y)?, 0),
            zero_point: lane(&args.integers(y + 1)?, 0),
            range: code_range(dtype).ok_or_else(|| args.no_type(y + 1, dtype))?,
        })
    }

    /// `None` for a sum beyond i32.
    fn apply(&self, acc: i64, row: usize, column: usize) -> Option<i32> {
        let acc = i32::try_from(acc).ok()?;
        let multiplier = lane(&self.scale_a, row) * lane(&self.scale_b, column) / self.scale_y;
        let (lo, hi) = self.range;
        Some(quant::requantize(acc, multiplier, self.zero_point, lo, hi))
    }
}

fn finish(args: &Tensors<'_>, codes: Vec<Option<i32>>) -> Result<Vec<Tensor>, ModelError> {
    let codes: Option<Vec<i32>> = codes.into_iter().collect();
    let codes = codes.ok_or_else(|| args.wrong("a sum does not fit 32 bits"))?;
    args.single(args.round_integers(args.output()?.0, codes)?)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Node, Op, Tensor, Window};

    #[test]
    fn convolution_by_hand() {
        let op = Op::QLinearConv {
            window: Window::default().pad(&[1, 1]),
            groups: 1,
        };
        let names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"];
        let node = Node::new("q", op, &names, &["y"]);
        let x = Tensor::u8(&[1, 1, 2], vec![130, 126]).unwrap();
        let w = Tensor::i8(&[2, 1, 3], vec![1, 2, 3, -1, 0, 1]).unwrap();
        let (xs, xz) = (Tensor::scalar_f32(0.5), Tensor::u8(&[], vec![128]).unwrap());
        let ws = Tensor::f32(&[2], vec![1.0, 2.0]).unwrap();
        let wz = Tensor::i8(&[2], vec![0, 0]).unwrap();
        let (ys, yz) = (Tensor::scalar_f32(1.0), Tensor::u8(&[], vec![10]).unwrap());
        let b = Tensor::i32(&[2], vec![1, 0]).unwrap();
        let inputs = [&x, &xs, &xz, &w, &ws, &wz, &ys, &yz, &b].map(Some);
        let y = evaluate(&node, &inputs).unwrap();
        // Sums 2·2 + 3·(−2) + 1 = −1 and 2 − 4 + 1 = −1, then −2 and −2, by ½
        // and 1; −½ rounds to the even 0.
        assert_eq!(y, [Tensor::u8(&[1, 2, 2], vec![10, 10, 8, 8]).unwrap()]);
    }

    #[test]
    fn product_with_scales_per_column() {
        let names = ["a", "as", "az", "b", "bs", "bz", "ys", "yz"];
        let node = Node::new("q", Op::QLinearMatMul, &names, &["y"]);
        let a = Tensor::u8(&[1, 2], vec![3, 5]).unwrap();
        let b = Tensor::i8(&[2, 2], vec![1, 2, 3, 4]).unwrap();
        let az = Tensor::u8(&[], vec![1]).unwrap();
        let bz = Tensor::i8(&[2], vec![0, 1]).unwrap();
        let bs = Tensor::f32(&[2], vec![1.0, 2.0]).unwrap();
        let one = Tensor::scalar_f32(1.0);
        let yz = Tensor::i8(&[], vec![-1]).unwrap();
        let inputs = [&a, &one, &az, &b, &bs, &bz, &one, &yz].map(Some);
        let y = evaluate(&node, &inputs).unwrap();
        assert_eq!(y, [Tensor::i8(&[1, 2], vec![13, 27]).unwrap()]);

        let per_row = Tensor::f32(&[3], vec![1.0; 3]).unwrap();
        let inputs = [&a, &per_row, &az, &b, &bs, &bz, &one, &yz].map(Some);
        let error = evaluate(&node, &inputs).unwrap_err().to_string();
        assert!(error.contains("scale"), "{error}");
    }

    #[test]
    fn a_sum_beyond_32_bits_is_an_error() {
        let names = ["a", "as", "az", "b", "bs", "bz", "ys", "yz"];
        let node = Node::new("q", Op::QLinearMatMul, &names, &["y"]);
        let k = 40_000;
        let a = Tensor::u8(&[1, k], vec![255; k]).unwrap();
        let b = Tensor::u8(&[k, 1], vec![255; k]).unwrap();
        let (s, z) = (Tensor::scalar_f32(1.0), Tensor::u8(&[], vec![0]).unwrap());
        let inputs = [&a, &s, &z, &b, &s, &z, &s, &z].map(Some);
        let error = evaluate(&node, &inputs).unwrap_err().to_string();
        assert!(error.contains("32 bits"), "{error}");
    }
}
