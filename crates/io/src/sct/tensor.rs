//! Plain tensors: element type, extents, elements as they are in memory.

use super::bytes::{Damage, Reader, Writer};
use half::{bf16, f16};
use secateur_model::{DType, Data, Shape, Tensor};

/// Most elements of one tensor, extents of zero counted as one.
pub(super) const MAX_ELEMENTS: usize = 1 << 28;

const DTYPES: [DType; 13] = [
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::I8,
    DType::U8,
    DType::I16,
    DType::U16,
    DType::I32,
    DType::U32,
    DType::I64,
    DType::U64,
    DType::Bool,
];

/// A type's place in the list above; behind its end the ONNX number follows.
pub(super) fn put_dtype(w: &mut Writer, dtype: DType) {
    let code = DTYPES.iter().position(|&d| d == dtype);
    w.size(code.unwrap_or(DTYPES.len()));
    if let DType::Opaque(number) = dtype {
        w.signed(number.into());
    }
}

pub(super) fn read_dtype(r: &mut Reader<'_>) -> Result<DType, Damage> {
    let code = r.size()?;
    if let Some(&dtype) = DTYPES.get(code) {
        return Ok(dtype);
    }
    if code > DTYPES.len() {
        return Err(r.damage(format!("no element type has number {code}")));
    }
    let number = r.signed()?;
    i32::try_from(number)
        .map(DType::Opaque)
        .map_err(|_| r.damage(format!("{number} is no ONNX type")))
}

/// Extents; refused where the elements are too many for the file.
pub(super) fn read_shape(r: &mut Reader<'_>) -> Result<Shape, Damage> {
    let dims = r.sizes()?;
    let Some(volume) = volume(&dims) else {
        return Err(r.damage(format!(
            "shape {dims:?} has more than {MAX_ELEMENTS} elements"
        )));
    };
    r.count_elements(volume)?;
    Shape::new(&dims).map_err(|e| r.damage(e.to_string()))
}

/// The product of the extents, zeros counted as one, if it is allowed.
pub(super) fn volume(dims: &[usize]) -> Option<usize> {
    dims.iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d.max(1)))
        .filter(|&n| n <= MAX_ELEMENTS)
}

pub(super) fn put_tensor(w: &mut Writer, tensor: &Tensor) {
    put_dtype(w, tensor.dtype());
    w.sizes(tensor.shape().dims());
    let out = &mut w.bytes;
    match tensor.data() {
        Data::F32(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::F64(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::F16(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::BF16(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::I8(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::U8(v) => out.extend_from_slice(v),
        Data::I16(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::U16(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::I32(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::U32(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::I64(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::U64(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::Bool(v) => out.extend(v.iter().map(|&x| u8::from(x))),
        Data::Opaque { bytes, .. } => w.blob(bytes),
    }
}

pub(super) fn read_tensor(r: &mut Reader<'_>) -> Result<Tensor, Damage> {
    let dtype = read_dtype(r)?;
    let shape = read_shape(r)?;
    let n = shape.elements();
    let data = match dtype {
        DType::F32 => Data::F32(elements(r, n, f32::from_le_bytes)?),
        DType::F64 => Data::F64(elements(r, n, f64::from_le_bytes)?),
        DType::F16 => Data::F16(elements(r, n, f16::from_le_bytes)?),
        DType::BF16 => Data::BF16(elements(r, n, bf16::from_le_bytes)?),
        DType::I8 => Data::I8(elements(r, n, i8::from_le_bytes)?),
        DType::U8 => Data::U8(elements(r, n, u8::from_le_bytes)?),
        DType::I16 => Data::I16(elements(r, n, i16::from_le_bytes)?),
        DType::U16 => Data::U16(elements(r, n, u16::from_le_bytes)?),
        DType::I32 => Data::I32(elements(r, n, i32::from_le_bytes)?),
        DType::U32 => Data::U32(elements(r, n, u32::from_le_bytes)?),
        DType::I64 => Data::I64(elements(r, n, i64::from_le_bytes)?),
        DType::U64 => Data::U64(elements(r, n, u64::from_le_bytes)?),
        DType::Bool => Data::Bool(elements(r, n, |[byte]| byte != 0)?),
        DType::Opaque(onnx_type) => Data::Opaque {
            onnx_type,
            bytes: r.blob()?.to_vec(),
        },
    };
    Tensor::new(shape, data).map_err(|e| r.damage(e.to_string()))
}

/// `count` elements of `N` bytes each; allocates what the file holds.
pub(super) fn elements<T, const N: usize>(
    r: &mut Reader<'_>,
    count: usize,
    element: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, Damage> {
    let bytes = count
        .checked_mul(N)
        .ok_or_else(|| r.damage(format!("{count} elements of {N} bytes")))?;
    let (chunks, _) = r.take(bytes)?.as_chunks();
    Ok(chunks.iter().map(|&chunk| element(chunk)).collect())
}
