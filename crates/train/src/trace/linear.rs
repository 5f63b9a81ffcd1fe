//! Products of matrices.

use super::operator::Operands;
use super::{Value, elementwise, unsupported};
use crate::TrainError;
use crate::ops::{self, LinearGeometry};

/// `alpha · A · B + beta · C`.
pub(super) fn gemm(
    o: &Operands<'_>,
    exchanged: [bool; 2],
    alpha: f32,
    beta: f32,
) -> Result<Value, TrainError> {
    let (a, b) = (o.value(0)?, o.value(1)?);
    let geometry = geometry(&a, &b, exchanged, alpha, o)?;
    let columns = geometry.columns;
    let bias = o.optional(2).map(|bias| match beta {
        1.0 => bias,
        beta => bias.map(|t| t * beta),
    });
    match bias {
        Some(bias) if bias.elements() == columns && bias.dims.last() == Some(&columns) => {
            product(&a, &b, &bias, geometry, o)
        }
        Some(bias) => {
            let y = product(&a, &b, &zeros(columns), geometry, o)?;
            elementwise::binary(&y, &bias, o, |y, bias| y + bias)
        }
        None => product(&a, &b, &zeros(columns), geometry, o),
    }
}

/// NumPy's product: of vectors, matrices, and stacks of matrices.
pub(super) fn matmul(o: &Operands<'_>) -> Result<Value, TrainError> {
    let (mut a, mut b) = (o.value(0)?, o.value(1)?);
    if a.dims.len() == 1 {
        a.dims.insert(0, 1);
    }
    if let [inner] = b.dims[..] {
        b = b.reshaped(&[inner, 1]);
    }
    // One matrix for the whole stack: its rows are those of one tall matrix.
    if let (&[.., inner], 2) = (a.dims.as_slice(), b.dims.len()) {
        a.dims = vec![a.elements() / inner.max(1), inner];
        let geometry = geometry(&a, &b, [false, false], 1.0, o)?;
        return product(&a, &b, &zeros(geometry.columns), geometry, o);
    }
    let wide = |v: &Value| -> Result<[usize; 4], TrainError> {
        let mut dims = vec![1; 4usize.saturating_sub(v.dims.len())];
        dims.extend(&v.dims);
        dims.try_into()
            .map_err(|_| unsupported(o.node, format!("rank {}", v.dims.len())))
    };
    let (wide_a, wide_b) = (wide(&a)?, wide(&b)?);
    Ok(Value::of(a.shaped(wide_a).matmul(b.shaped(wide_b)), o.dims))
}

fn product(
    a: &Value,
    b: &Value,
    bias: &Value,
    geometry: LinearGeometry,
    o: &Operands<'_>,
) -> Result<Value, TrainError> {
    let b_live = b.live.clone();
    let [a, b, bias] = [a, b, bias].map(|v| v.flat.clone());
    let live = b_live.filter(|_| !geometry.exchanged[0]);
    let flat = ops::linear(a, b, bias, geometry, live);
    Ok(Value::flat(flat, o.dims))
}

fn zeros(columns: usize) -> Value {
    Value::new(vec![0.0; columns], &[columns])
}

fn geometry(
    a: &Value,
    b: &Value,
    exchanged: [bool; 2],
    alpha: f32,
    o: &Operands<'_>,
) -> Result<LinearGeometry, TrainError> {
    let turned = |dims: &[usize], exchanged: bool| match *dims {
        [rows, columns] if exchanged => Some([columns, rows]),
        [rows, columns] => Some([rows, columns]),
        _ => None,
    };
    match (turned(&a.dims, exchanged[0]), turned(&b.dims, exchanged[1])) {
        (Some([rows, inner]), Some([same, columns])) if inner == same => Ok(LinearGeometry {
            rows,
            inner,
            columns,
            exchanged,
            alpha,
        }),
        _ => Err(unsupported(
            o.node,
            format!("{:?} and {:?} do not multiply", a.dims, b.dims),
        )),
    }
}
