//! Cast between the types that are computed with.
//!
//! Floating point to integer truncates toward zero and saturates (NaN gives 0);
//! integer to integer wraps; anything but zero is `true`. ONNX leaves what is
//! out of range open.

use super::TypedShape;
use super::args::{Shapes, Tensors};
use crate::{DType, Data, ModelError, Tensor};
use half::{bf16, f16};

pub(super) fn infer(args: &Shapes<'_>, to: DType) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    for dtype in [x.dtype, to] {
        if dtype.size_bytes().is_none() {
            return Err(args.unsupported(format!("cast from {} to {to}", x.dtype)));
        }
    }
    Ok(vec![(to, x.shape.clone())])
}

/// CastLike: the type is that of input 1.
pub(super) fn infer_like(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    infer(args, args.need(1)?.dtype)
}

pub(super) fn evaluate(args: &Tensors<'_>, to: DType) -> Result<Vec<Tensor>, ModelError> {
    args.single(convert(args, to, args.need(0)?.data())?)
}

/// The elements as another type.
pub(super) fn convert(args: &Tensors<'_>, to: DType, data: &Data) -> Result<Data, ModelError> {
    if data.dtype() == to {
        return Ok(data.clone());
    }
    if let Some(x) = doubles(data) {
        return from_floats(args, to, &x);
    }
    let x = widen(data).ok_or_else(|| args.no_type(0, data.dtype()))?;
    from_integers(args, to, &x)
}

/// Floating-point elements, exactly.
pub(super) fn doubles(data: &Data) -> Option<Vec<f64>> {
    Some(match data {
        Data::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::F64(v) => v.clone(),
        Data::F16(v) => v.iter().map(|x| x.to_f64()).collect(),
        Data::BF16(v) => v.iter().map(|x| x.to_f64()).collect(),
        _ => return None,
    })
}

pub(super) fn from_floats(args: &Tensors<'_>, to: DType, x: &[f64]) -> Result<Data, ModelError> {
    macro_rules! saturate {
        ($variant:ident, $type:ty) => {
            Data::$variant(x.iter().map(|&x| x as $type).collect())
        };
    }
    Ok(match to {
        DType::I8 => saturate!(I8, i8),
        DType::U8 => saturate!(U8, u8),
        DType::I16 => saturate!(I16, i16),
        DType::U16 => saturate!(U16, u16),
        DType::I32 => saturate!(I32, i32),
        DType::U32 => saturate!(U32, u32),
        DType::I64 => saturate!(I64, i64),
        DType::U64 => saturate!(U64, u64),
        DType::Bool => Data::Bool(x.iter().map(|&x| x != 0.0).collect()),
        _ => args.round_doubles(to, x.to_vec())?,
    })
}

/// Every integer type and bool fits.
pub(super) fn widen(data: &Data) -> Option<Vec<i128>> {
    macro_rules! wide {
        ($v:expr) => {
            $v.iter().map(|&x| i128::from(x)).collect()
        };
    }
    Some(match data {
        Data::I8(v) => wide!(v),
        Data::U8(v) => wide!(v),
        Data::I16(v) => wide!(v),
        Data::U16(v) => wide!(v),
        Data::I32(v) => wide!(v),
        Data::U32(v) => wide!(v),
        Data::I64(v) => wide!(v),
        Data::U64(v) => wide!(v),
        Data::Bool(v) => wide!(v),
        _ => return None,
    })
}

pub(super) fn from_integers(args: &Tensors<'_>, to: DType, x: &[i128]) -> Result<Data, ModelError> {
    macro_rules! wrap {
        ($variant:ident, $type:ty) => {
            Data::$variant(x.iter().map(|&x| x as $type).collect())
        };
    }
    Ok(match to {
        DType::I8 => wrap!(I8, i8),
        DType::U8 => wrap!(U8, u8),
        DType::I16 => wrap!(I16, i16),
        DType::U16 => wrap!(U16, u16),
        DType::I32 => wrap!(I32, i32),
        DType::U32 => wrap!(U32, u32),
        DType::I64 => wrap!(I64, i64),
        DType::U64 => wrap!(U64, u64),
        DType::F32 => wrap!(F32, f32),
        DType::F64 => wrap!(F64, f64),
        DType::F16 => Data::F16(x.iter().map(|&x| f16::from_f64(x as f64)).collect()),
        DType::BF16 => Data::BF16(x.iter().map(|&x| bf16::from_f64(x as f64)).collect()),
        DType::Bool => Data::Bool(x.iter().map(|&x| x != 0).collect()),
        DType::Opaque(_) => return Err(args.unsupported(format!("cast to {to}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{DType, Data, Node, Op, Shape, Tensor};

    fn cast(x: Data, to: DType) -> Data {
        let shape = Shape::new(&[x.len().unwrap()]).unwrap();
        let x = Tensor::new(shape, x).unwrap();
        let node = Node::new("c", Op::Cast { to }, &["x"], &["y"]);
        evaluate(&node, &[Some(&x)])
            .unwrap()
            .remove(0)
            .into_parts()
            .1
    }

    #[test]
    fn floats_truncate_and_saturate() {
        let x = Data::F32(vec![-1.9, 1.9, 300.0, f32::NAN]);
        assert_eq!(cast(x.clone(), DType::U8), Data::U8(vec![0, 1, 255, 0]));
        assert_eq!(cast(x.clone(), DType::I64), Data::I64(vec![-1, 1, 300, 0]));
        assert_eq!(cast(x, DType::Bool), Data::Bool(vec![true; 4]));
    }

    #[test]
    fn integers_wrap_and_widen_exactly() {
        assert_eq!(
            cast(Data::I32(vec![257, -1]), DType::U8),
            Data::U8(vec![1, 255])
        );
        assert_eq!(
            cast(Data::Bool(vec![true]), DType::F32),
            Data::F32(vec![1.0])
        );
        let big = Data::U64(vec![u64::MAX]);
        assert_eq!(cast(big, DType::F64), Data::F64(vec![u64::MAX as f64]));
    }

    #[test]
    fn carried_types_are_refused() {
        let node = Node::new(
            "c",
            Op::Cast {
                to: DType::Opaque(17),
            },
            &["x"],
            &["y"],
        );
        assert!(evaluate(&node, &[Some(&Tensor::scalar_f32(1.0))]).is_err());
    }
}
