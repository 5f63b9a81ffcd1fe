//! Tensors: a shape and its elements.

use crate::{DType, ModelError, Shape};
use half::{bf16, f16};

/// The elements of a tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // one variant per `DType`, documented there
pub enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    I32(Vec<i32>),
    U32(Vec<u32>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    Bool(Vec<bool>),
    /// Elements of a type that is only carried: ONNX's type number and the
    /// elements' bytes as they came.
    Opaque {
        onnx_type: i32,
        bytes: Vec<u8>,
    },
}

/// Calls `$body` with `$v` bound to the element vector, whatever its type;
/// `$opaque` serves data that is only carried.
#[macro_export]
macro_rules! match_data {
    ($data:expr, $v:ident => $body:expr, $opaque:pat => $fallback:expr) => {
        match $data {
            $crate::Data::F32($v) => $body,
            $crate::Data::F64($v) => $body,
            $crate::Data::F16($v) => $body,
            $crate::Data::BF16($v) => $body,
            $crate::Data::I8($v) => $body,
            $crate::Data::U8($v) => $body,
            $crate::Data::I16($v) => $body,
            $crate::Data::U16($v) => $body,
            $crate::Data::I32($v) => $body,
            $crate::Data::U32($v) => $body,
            $crate::Data::I64($v) => $body,
            $crate::Data::U64($v) => $body,
            $crate::Data::Bool($v) => $body,
            $opaque => $fallback,
        }
    };
}

impl Data {
    /// The element type.
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
            Self::F16(_) => DType::F16,
            Self::BF16(_) => DType::BF16,
            Self::I8(_) => DType::I8,
            Self::U8(_) => DType::U8,
            Self::I16(_) => DType::I16,
            Self::U16(_) => DType::U16,
            Self::I32(_) => DType::I32,
            Self::U32(_) => DType::U32,
            Self::I64(_) => DType::I64,
            Self::U64(_) => DType::U64,
            Self::Bool(_) => DType::Bool,
            Self::Opaque { onnx_type, .. } => DType::Opaque(*onnx_type),
        }
    }

    /// Number of elements; `None` for data that is only carried.
    pub fn len(&self) -> Option<usize> {
        match_data!(self, v => Some(v.len()), Self::Opaque { .. } => None)
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        match_data!(self, v => v.is_empty(), Self::Opaque { bytes, .. } => bytes.is_empty())
    }
}

/// A shape and its elements, row-major.
///
/// ```
/// # use secateur_model::Tensor;
/// let t = Tensor::f32(&[2, 2], vec![1., 2., 3., 4.])?;
/// assert_eq!(t.as_f32()?, [1., 2., 3., 4.]);
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Shape,
    data: Data,
}

impl Tensor {
    /// Joins a shape and its elements; the counts must agree (opaque data is
    /// taken as it is).
    pub fn new(shape: Shape, data: Data) -> Result<Self, ModelError> {
        match data.len() {
            Some(found) if found != shape.elements() => Err(ModelError::Length {
                needed: shape.elements(),
                shape,
                found,
            }),
            _ => Ok(Self { shape, data }),
        }
    }

    /// A tensor of f32.
    pub fn f32(dims: &[usize], values: Vec<f32>) -> Result<Self, ModelError> {
        Self::new(Shape::new(dims)?, Data::F32(values))
    }

    /// A tensor of u8.
    pub fn u8(dims: &[usize], values: Vec<u8>) -> Result<Self, ModelError> {
        Self::new(Shape::new(dims)?, Data::U8(values))
    }

    /// A tensor of i8.
    pub fn i8(dims: &[usize], values: Vec<i8>) -> Result<Self, ModelError> {
        Self::new(Shape::new(dims)?, Data::I8(values))
    }

    /// A tensor of i32.
    pub fn i32(dims: &[usize], values: Vec<i32>) -> Result<Self, ModelError> {
        Self::new(Shape::new(dims)?, Data::I32(values))
    }

    /// A tensor of i64.
    pub fn i64(dims: &[usize], values: Vec<i64>) -> Result<Self, ModelError> {
        Self::new(Shape::new(dims)?, Data::I64(values))
    }

    /// One f32, without extents.
    pub fn scalar_f32(value: f32) -> Self {
        Self {
            shape: Shape::scalar(),
            data: Data::F32(vec![value]),
        }
    }

    /// The extents.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The parts.
    pub fn into_parts(self) -> (Shape, Data) {
        (self.shape, self.data)
    }

    /// The elements as f32, without conversion.
    pub fn as_f32(&self) -> Result<&[f32], ModelError> {
        match &self.data {
            Data::F32(v) => Ok(v),
            other => Err(ModelError::Type {
                what: "tensor".into(),
                needed: DType::F32,
                found: other.dtype(),
            }),
        }
    }

    /// The elements as i64, without conversion.
    pub fn as_i64(&self) -> Result<&[i64], ModelError> {
        match &self.data {
            Data::I64(v) => Ok(v),
            other => Err(ModelError::Type {
                what: "tensor".into(),
                needed: DType::I64,
                found: other.dtype(),
            }),
        }
    }

    /// The same elements under another shape of as many elements.
    pub fn reshaped(self, shape: Shape) -> Result<Self, ModelError> {
        Self::new(shape, self.data)
    }

    /// Bytes of the elements.
    pub fn bytes(&self) -> usize {
        match &self.data {
            Data::Opaque { bytes, .. } => bytes.len(),
            data => data.len().unwrap_or(0) * data.dtype().size_bytes().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_must_agree() {
        assert!(Tensor::f32(&[2, 2], vec![0.0; 3]).is_err());
        assert_eq!(Tensor::f32(&[2, 2], vec![0.0; 4]).unwrap().bytes(), 16);
    }
}
