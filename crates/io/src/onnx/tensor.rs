//! `TensorProto` to [`Tensor`] and back.

use super::proto::TensorProto;
use super::{dtype, external};
use crate::IoError;
use half::{bf16, f16};
use prost::Message;
use secateur_model::{DType, Data, Shape, Tensor};
use std::path::Path;

/// A tensor's shape from its extents.
pub(super) fn shape(file: &str, place: &str, dims: &[i64]) -> Result<Shape, IoError> {
    let negative = |d| IoError::malformed(file, place, format!("extent {d} is negative"));
    let dims = dims
        .iter()
        .map(|&d| usize::try_from(d).map_err(|_| negative(d)))
        .collect::<Result<Vec<_>, _>>()?;
    Shape::new(&dims).map_err(IoError::model(file, place))
}

/// Reads a tensor; its element count is held against the bytes that are there
/// before anything is allocated.
pub(super) fn read(
    file: &str,
    proto: &TensorProto,
    folder: Option<&Path>,
) -> Result<Tensor, IoError> {
    let place = format!("tensor `{}`", proto.name);
    let malformed = |reason: String| IoError::malformed(file, place.as_str(), reason);
    let shape = shape(file, &place, &proto.dims)?;
    let code = proto.data_type;
    let dtype = dtype::from_code(code)
        .ok_or_else(|| malformed(format!("element type {code} does not exist")))?;

    if code == dtype::STRING {
        if proto.string_data.len() != shape.elements() {
            return Err(malformed(format!(
                "shape {shape} needs {} strings, found {}",
                shape.elements(),
                proto.string_data.len()
            )));
        }
        let strings = TensorProto {
            string_data: proto.string_data.clone(),
            ..TensorProto::default()
        };
        let data = Data::Opaque {
            onnx_type: code,
            bytes: strings.encode_to_vec(),
        };
        return Tensor::new(shape, data).map_err(IoError::model(file, place));
    }

    let needed = dtype::bits(code)
        .and_then(|bits| shape.elements().checked_mul(bits))
        .map(|bits| bits.div_ceil(8))
        .ok_or_else(|| {
            malformed(format!(
                "shape {shape} has more bytes than can be addressed"
            ))
        })?;
    let data = if proto.data_location == external::EXTERNAL {
        let bytes = external::read(file, &place, proto, folder, needed)?;
        from_bytes(dtype, &bytes)
    } else if let Some(bytes) = &proto.raw_data {
        if bytes.len() != needed {
            return Err(malformed(format!(
                "shape {shape} of {dtype} needs {needed} bytes, found {}",
                bytes.len()
            )));
        }
        from_bytes(dtype, bytes)
    } else {
        let data = from_fields(dtype, proto)
            .ok_or_else(|| malformed(format!("a value does not fit {dtype}")))?;
        match &data {
            Data::Opaque { bytes, .. } if bytes.len() != needed => {
                return Err(malformed(format!(
                    "shape {shape} of {dtype} needs {needed} bytes, found {}",
                    bytes.len()
                )));
            }
            _ => data,
        }
    };
    Tensor::new(shape, data).map_err(IoError::model(file, place))
}

/// Little-endian elements.
fn from_bytes(dtype: DType, bytes: &[u8]) -> Data {
    match dtype {
        DType::F32 => Data::F32(elements(bytes, f32::from_le_bytes)),
        DType::F64 => Data::F64(elements(bytes, f64::from_le_bytes)),
        DType::F16 => Data::F16(elements(bytes, f16::from_le_bytes)),
        DType::BF16 => Data::BF16(elements(bytes, bf16::from_le_bytes)),
        DType::I8 => Data::I8(elements(bytes, i8::from_le_bytes)),
        DType::U8 => Data::U8(bytes.to_vec()),
        DType::I16 => Data::I16(elements(bytes, i16::from_le_bytes)),
        DType::U16 => Data::U16(elements(bytes, u16::from_le_bytes)),
        DType::I32 => Data::I32(elements(bytes, i32::from_le_bytes)),
        DType::U32 => Data::U32(elements(bytes, u32::from_le_bytes)),
        DType::I64 => Data::I64(elements(bytes, i64::from_le_bytes)),
        DType::U64 => Data::U64(elements(bytes, u64::from_le_bytes)),
        DType::Bool => Data::Bool(bytes.iter().map(|&b| b != 0).collect()),
        DType::Opaque(onnx_type) => Data::Opaque {
            onnx_type,
            bytes: bytes.to_vec(),
        },
    }
}

fn elements<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| read(chunk)).collect()
}

/// Elements of the typed fields; `None` where one does not fit its type.
fn from_fields(dtype: DType, proto: &TensorProto) -> Option<Data> {
    let ints = &proto.int32_data;
    Some(match dtype {
        DType::F32 => Data::F32(proto.float_data.clone()),
        DType::F64 => Data::F64(proto.double_data.clone()),
        DType::F16 => Data::F16(narrow(ints)?.into_iter().map(f16::from_bits).collect()),
        DType::BF16 => Data::BF16(narrow(ints)?.into_iter().map(bf16::from_bits).collect()),
        DType::I8 => Data::I8(narrow(ints)?),
        DType::U8 => Data::U8(narrow(ints)?),
        DType::I16 => Data::I16(narrow(ints)?),
        DType::U16 => Data::U16(narrow(ints)?),
        DType::I32 => Data::I32(ints.clone()),
        DType::U32 => Data::U32(narrow(&proto.uint64_data)?),
        DType::I64 => Data::I64(proto.int64_data.clone()),
        DType::U64 => Data::U64(proto.uint64_data.clone()),
        DType::Bool => Data::Bool(ints.iter().map(|&i| i != 0).collect()),
        DType::Opaque(onnx_type) => Data::Opaque {
            onnx_type,
            bytes: match onnx_type {
                14 => proto
                    .float_data
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect(),
                15 => proto
                    .double_data
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect(),
                // Types of 8 and 4 bits: one byte an entry, signed or not.
                _ => ints.iter().map(|&i| i.to_le_bytes()[0]).collect(),
            },
        },
    })
}

fn narrow<T: TryFrom<S>, S: Copy>(values: &[S]) -> Option<Vec<T>> {
    values.iter().map(|&v| T::try_from(v).ok()).collect()
}

/// Writes a tensor with raw little-endian data.
pub(super) fn write(name: &str, tensor: &Tensor) -> TensorProto {
    let mut proto = TensorProto {
        name: name.to_owned(),
        dims: tensor.shape().iter().map(|&d| d as i64).collect(),
        data_type: dtype::to_code(tensor.dtype()),
        ..TensorProto::default()
    };
    let raw: Vec<u8> = match tensor.data() {
        Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::F16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::BF16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I8(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U8(v) => v.clone(),
        Data::I16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::Bool(v) => v.iter().map(|&b| u8::from(b)).collect(),
        Data::Opaque { onnx_type, bytes } if *onnx_type == dtype::STRING => {
            let strings = TensorProto::decode(bytes.as_slice()).unwrap_or_default();
            proto.string_data = strings.string_data;
            return proto;
        }
        Data::Opaque { bytes, .. } => bytes.clone(),
    };
    proto.raw_data = Some(raw.into());
    proto
}
