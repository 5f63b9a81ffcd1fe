//! ConvInteger, MatMulInteger and DynamicQuantizeLinear: products of codes
//! without scales. Sums are in i32 and wrap.

use super::TypedShape;
use super::args::{Shapes, Tensors};
use super::conv::Geometry;
use super::matmul::Batched;
use crate::{DType, Data, ModelError, Shape, Tensor, Window};

const CODES: &[DType] = &[DType::U8, DType::I8];

/// A zero point must have the type of input `of` and be one value or `extent`.
fn check_zero(
    args: &Shapes<'_>,
    index: usize,
    of: usize,
    extent: Option<usize>,
) -> Result<(), ModelError> {
    let Some(zero) = args.get(index) else {
        return Ok(());
    };
    args.check_type(index, zero.dtype, &[args.need(of)?.dtype])?;
    let list = zero.shape.rank() <= 1;
    let fits = zero.shape.elements() == 1 || Some(zero.shape.elements()) == extent;
    if !list || !fits {
        return Err(args.unsupported(format!(
            "zero point (input {index}) of shape {}",
            zero.shape
        )));
    }
    Ok(())
}

/// The zero points of `extent` rows or columns; 0 where none are given.
fn zeros(args: &Tensors<'_>, index: usize, extent: usize) -> Result<Vec<i32>, ModelError> {
    let zeros = match args.get(index) {
        None => vec![0],
        Some(_) => args.integers(index)?,
    };
    Ok(match zeros.as_slice() {
        &[zero] => vec![zero; extent],
        _ => zeros,
    })
}

pub(super) fn infer_conv(
    args: &Shapes<'_>,
    window: &Window,
    groups: usize,
) -> Result<Vec<TypedShape>, ModelError> {
    let (x, w) = (args.typed(0, CODES)?, args.typed(1, CODES)?);
    let geometry = Geometry::new(args.node, window, groups, &x.shape, &w.shape)?;
    check_zero(args, 2, 0, None)?;
    check_zero(args, 3, 1, Some(geometry.out_channels))?;
    Ok(vec![(DType::I32, geometry.output(args)?)])
}

/// Conv of `x − zero_x` and `w − zero_w`, the latter one for each output
/// channel; padding is zero after the subtraction.
pub(super) fn conv(
    args: &Tensors<'_>,
    window: &Window,
    groups: usize,
) -> Result<Vec<Tensor>, ModelError> {
    let (shape_x, shape_w) = (args.need(0)?.shape(), args.need(1)?.shape());
    let g = Geometry::new(args.node, window, groups, shape_x, shape_w)?;
    // Without outputs there may be more channels than can be listed.
    if args.output()?.1.elements() == 0 {
        return args.single(Data::I32(Vec::new()));
    }
    let (x, w) = (args.integers(0)?, args.integers(1)?);
    let zero_x = zeros(args, 2, 1)?[0];
    let zero_w = zeros(args, 3, g.out_channels)?;
    let mut y = Vec::new();
    g.each_output(&mut Vec::new(), |o, channel, w_row, taps| {
        let mut acc = 0i32;
        for &(tap, position) in taps {
            for c in 0..g.depth {
                let w = w[w_row + c * g.taps + tap] - zero_w[o];
                let x = x[(channel + c) * g.plane + position] - zero_x;
                acc = acc.wrapping_add(w * x);
            }
        }
        y.push(acc);
    });
    args.single(Data::I32(y))
}

pub(super) fn infer_matmul(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let (a, b) = (args.typed(0, CODES)?, args.typed(1, CODES)?);
    let batched = Batched::new(args, &a.shape, &b.shape)?;
    check_zero(args, 2, 0, Some(batched.m))?;
    check_zero(args, 3, 1, Some(batched.n))?;
    Ok(vec![(DType::I32, batched.output)])
}

/// MatMul of `a − zero_a` and `b − zero_b`, one for each row of a and column of
/// b.
pub(super) fn matmul(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let shapes = Shapes {
        node: args.node,
        inputs: &[],
    };
    let batched = Batched::new(&shapes, args.need(0)?.shape(), args.need(1)?.shape())?;
    let (m, k, n) = (batched.m, batched.k, batched.n);
    let (a, b) = (args.integers(0)?, args.integers(1)?);
    if args.output()?.1.elements() == 0 {
        return args.single(Data::I32(Vec::new()));
    }
    let (zero_a, zero_b) = (zeros(args, 2, m)?, zeros(args, 3, n)?);
    let mut y = Vec::new();
    for (at_a, at_b) in batched.starts() {
        for i in 0..m {
            for j in 0..n {
                let products = (0..k).map(|k_at| {
                    let a = a[at_a + i * k + k_at] - zero_a[i];
                    let b = b[at_b + k_at * n + j] - zero_b[j];
                    a * b
                });
                y.push(products.fold(0i32, i32::wrapping_add));
            }
        }
    }
    args.single(Data::I32(y))
}

pub(super) fn infer_dynamic(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, &[DType::F32])?;
    Ok(vec![
        (DType::U8, x.shape.clone()),
        (DType::F32, Shape::scalar()),
        (DType::U8, Shape::scalar()),
    ])
}

/// Codes, scale and zero point of x: its range, widened to hold 0, over 255
/// steps. A range of nothing has a scale of 1.
pub(super) fn dynamic(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let x = args.floats(0)?;
    let least = x.iter().copied().fold(0.0, f32::min);
    let most = x.iter().copied().fold(0.0, f32::max);
    let scale = match most - least {
        0.0 => 1.0,
        range => range / 255.0,
    };
    let zero = (-least / scale).round_ties_even().clamp(0.0, 255.0);
    let code = |&x: &f32| ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0) as u8;
    let codes = Data::U8(x.iter().map(code).collect());
    let mut outputs = args.single(codes)?;
    outputs.push(Tensor::scalar_f32(scale));
    outputs.push(Tensor::u8(&[], vec![zero as u8])?);
    outputs.truncate(args.outputs.len());
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Node, Op, Tensor, Window};

    #[test]
    fn zero_points_are_taken_off() {
        let node = Node::new("m", Op::MatMulInteger, &["a", "b", "za", "zb"], &["y"]);
        let a = Tensor::u8(&[2, 2], vec![1, 2, 3, 4]).unwrap();
        let b = Tensor::i8(&[2, 1], vec![-1, 5]).unwrap();
        let za = Tensor::u8(&[2], vec![1, 2]).unwrap();
        let zb = Tensor::i8(&[], vec![-2]).unwrap();
        let y = evaluate(&node, &[Some(&a), Some(&b), Some(&za), Some(&zb)]).unwrap();
        // [0 1; 1 2] · [1 7]
        assert_eq!(y, [Tensor::i32(&[2, 1], vec![7, 15]).unwrap()]);
        let three = Tensor::u8(&[3], vec![0; 3]).unwrap();
        assert!(evaluate(&node, &[Some(&a), Some(&b), Some(&three)]).is_err());
    }

    #[test]
    fn padding_is_the_zero_point() {
        let op = Op::ConvInteger {
            window: Window::default().pad(&[1, 0]),
            groups: 1,
        };
        let node = Node::new("c", op, &["x", "w", "zx"], &["y"]);
        let x = Tensor::u8(&[1, 1, 2], vec![3, 5]).unwrap();
        let w = Tensor::u8(&[1, 1, 2], vec![10, 1]).unwrap();
        let zero = Tensor::u8(&[], vec![1]).unwrap();
        let y = evaluate(&node, &[Some(&x), Some(&w), Some(&zero)]).unwrap();
        assert_eq!(y, [Tensor::i32(&[1, 1, 2], vec![2, 24]).unwrap()]);
    }

    #[test]
    fn ranges_hold_zero() {
        let run = |values: &[f32]| {
            let x = Tensor::f32(&[values.len()], values.to_vec()).unwrap();
            let node = Node::new("d", Op::DynamicQuantizeLinear, &["x"], &["y", "s", "z"]);
            evaluate(&node, &[Some(&x)]).unwrap()
        };
        let y = run(&[-51., 0., 204.]);
        assert_eq!(y[0], Tensor::u8(&[3], vec![0, 51, 255]).unwrap());
        assert_eq!(y[1], Tensor::scalar_f32(1.0));
        assert_eq!(y[2], Tensor::u8(&[], vec![51]).unwrap());
        let y = run(&[0., 0.]);
        assert_eq!(y[0], Tensor::u8(&[2], vec![0, 0]).unwrap());
        assert_eq!(run(&[510.0])[0], Tensor::u8(&[1], vec![255]).unwrap());
    }
}
