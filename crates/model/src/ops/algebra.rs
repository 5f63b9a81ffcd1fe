//! Det and DFT, computed in f64 and rounded once.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors};
use crate::{ModelError, Tensor};
use std::f64::consts::PI;

pub(super) fn infer_det(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    match x.shape.dims() {
        [stack @ .., rows, columns] if rows == columns && *rows > 0 => {
            Ok(vec![(x.dtype, args.shape(stack)?)])
        }
        _ => Err(args.wrong(format!("needs square matrices, found {}", x.shape))),
    }
}

/// Determinants of a stack of matrices, by elimination with the largest pivot.
pub(super) fn det(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let n = args.need(0)?.shape().last().copied().unwrap_or(1);
    let mut x = args.doubles(0)?;
    let values = x.chunks_exact_mut(n * n).map(|a| eliminate(a, n)).collect();
    args.single(args.round_doubles(args.output()?.0, values)?)
}

fn eliminate(a: &mut [f64], n: usize) -> f64 {
    let mut product = 1.0;
    for k in 0..n {
        let mut pivot = k;
        for row in k + 1..n {
            if a[row * n + k].abs() > a[pivot * n + k].abs() {
                pivot = row;
            }
        }
        if pivot != k {
            (0..n).for_each(|column| a.swap(k * n + column, pivot * n + column));
            product = -product;
        }
        let head = a[k * n + k];
        product *= head;
        if head == 0.0 {
            return 0.0;
        }
        for row in k + 1..n {
            let factor = a[row * n + k] / head;
            for column in k..n {
                a[row * n + column] -= factor * a[k * n + column];
            }
        }
    }
    product
}

/// The axis, the length of the signal and the extent of the output along it.
fn transform(args: &Shapes<'_>, onesided: bool) -> Result<(usize, usize, usize), ModelError> {
    let x = &args.need(0)?.shape;
    let rank = x.rank();
    let parts = x.last().copied().unwrap_or(0);
    if rank < 2 || !matches!(parts, 1 | 2) {
        return Err(args.wrong(format!("needs […, 1] or […, 2], found {x}")));
    }
    if onesided && parts == 2 {
        return Err(args.unsupported("one side of a complex signal"));
    }
    let axis = args.axis(args.integer(2)?.unwrap_or(-2), rank)?;
    if axis == rank - 1 {
        return Err(args.wrong("the last axis holds the parts of a number"));
    }
    let length = match args.integer(1)? {
        None => x[axis],
        Some(length) => usize::try_from(length).unwrap_or(0),
    };
    if length == 0 {
        return Err(args.wrong("a signal without length"));
    }
    let output = if onesided { length / 2 + 1 } else { length };
    Ok((axis, length, output))
}

pub(super) fn infer_dft(args: &Shapes<'_>, onesided: bool) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    let (axis, _, output) = transform(args, onesided)?;
    let mut dims = x.shape.dims().to_vec();
    dims[axis] = output;
    dims[x.shape.rank() - 1] = 2;
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

/// `y[k] = Σ x[t] · e^(−2πi k t / n)` along an axis, the signal cut or continued
/// by zeros to n; the inverse has the other sign and is divided by n.
pub(super) fn dft(
    args: &Tensors<'_>,
    inverse: bool,
    onesided: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let (known, shape) = (args.known(), args.need(0)?.shape());
    let shapes = Shapes {
        node: args.node,
        inputs: &known,
    };
    let (axis, length, frequencies) = transform(&shapes, onesided)?;
    let (dtype, output) = args.output()?;
    let x = args.doubles(0)?;
    let parts = shape[shape.rank() - 1];
    let inner: usize = output[axis + 1..output.rank() - 1].iter().product();
    let (sign, scale) = match inverse {
        true => (2.0 * PI, 1.0 / length as f64),
        false => (-2.0 * PI, 1.0),
    };
    let steps = length.min(shape[axis]);
    let mut y = Vec::new();
    for i in 0..output.elements() / 2 {
        let (outer, k, place) = (i / inner / frequencies, i / inner % frequencies, i % inner);
        let (mut real, mut imaginary) = (0.0, 0.0);
        for t in 0..steps {
            let at = ((outer * shape[axis] + t) * inner + place) * parts;
            let (a, b) = (x[at], if parts == 2 { x[at + 1] } else { 0.0 });
            // Whole turns are taken off while they are exact.
            let turns = (k as u128 * t as u128 % length as u128) as f64 / length as f64;
            let (sin, cos) = (sign * turns).sin_cos();
            real += a * cos - b * sin;
            imaginary += a * sin + b * cos;
        }
        y.extend([real * scale, imaginary * scale]);
    }
    args.single(args.round_doubles(*dtype, y)?)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{ModelError, Node, Op, Tensor};

    #[test]
    fn determinants() {
        let x = Tensor::f32(&[2, 2, 2], vec![0., 2., 3., 4., 1., 2., 2., 4.]).unwrap();
        let y = evaluate(&Node::new("d", Op::Det, &["x"], &["y"]), &[Some(&x)]).unwrap();
        assert_eq!(y, [Tensor::f32(&[2], vec![-6., 0.]).unwrap()]);
        let flat = Tensor::f32(&[1, 2], vec![0.; 2]).unwrap();
        assert!(evaluate(&Node::new("d", Op::Det, &["x"], &["y"]), &[Some(&flat)]).is_err());
    }

    fn transform(
        x: &Tensor,
        length: i64,
        inverse: bool,
        onesided: bool,
    ) -> Result<Tensor, ModelError> {
        let op = Op::Dft { inverse, onesided };
        let length = Tensor::i64(&[], vec![length]).unwrap();
        let axis = Tensor::i64(&[], vec![0]).unwrap();
        let node = Node::new("d", op, &["x", "n", "a"], &["y"]);
        evaluate(&node, &[Some(x), Some(&length), Some(&axis)]).map(|mut y| y.remove(0))
    }

    #[test]
    fn there_and_back() {
        let x = Tensor::f32(&[4, 1], vec![1., 2., 3., 4.]).unwrap();
        let close = |y: &Tensor, needed: &[f32]| {
            let y = y.as_f32().unwrap();
            assert_eq!(y.len(), needed.len());
            assert!(
                y.iter().zip(needed).all(|(a, b)| (a - b).abs() < 1e-6),
                "{y:?}"
            );
        };
        let y = transform(&x, 4, false, false).unwrap();
        close(&y, &[10., 0., -2., 2., -2., 0., -2., -2.]);
        let back = transform(&y, 4, true, false).unwrap();
        close(&back, &[1., 0., 2., 0., 3., 0., 4., 0.]);
        let y = transform(&x, 4, false, true).unwrap();
        close(&y, &[10., 0., -2., 2., -2., 0.]);
        close(&transform(&x, 2, false, false).unwrap(), &[3., 0., -1., 0.]);
        assert!(transform(&x, 0, false, false).is_err());
        assert!(transform(&back, 4, false, true).is_err());
    }
}
