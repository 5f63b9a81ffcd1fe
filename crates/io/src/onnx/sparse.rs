//! `SparseTensorProto` to [`Tensor`]: the coordinate format, zeros put in place.

use super::proto::SparseTensorProto;
use super::tensor;
use crate::IoError;
use secateur_model::{Data, Shape, Tensor};
use std::path::Path;

/// Elements that sparse tensors of any file may unfold to.
const FREE_ELEMENTS: usize = 1 << 20;
/// Elements beyond these for each byte of the file: a stored value takes 12
/// bytes, so that one kept of 3072 is always read.
const ELEMENTS_PER_BYTE: usize = 256;

/// Elements that the sparse tensors of a file may still unfold to: their size
/// is not bounded by the bytes they take.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    /// For a file of `bytes` bytes.
    pub(super) fn of(bytes: usize) -> Self {
        Self(FREE_ELEMENTS.saturating_add(bytes.saturating_mul(ELEMENTS_PER_BYTE)))
    }

    fn take(&mut self, elements: usize) -> Option<()> {
        self.0 = self.0.checked_sub(elements)?;
        Some(())
    }
}

/// The name of the tensor, which is that of its values.
pub(super) fn name(proto: &SparseTensorProto) -> &str {
    proto.values.as_ref().map_or("", |values| &values.name)
}

/// Reads a sparse tensor: `values` of `[n]` at `indices` of `[n]` (places in
/// row-major order) or `[n, rank]`, ascending.
pub(super) fn read(
    file: &str,
    proto: &SparseTensorProto,
    folder: Option<&Path>,
    budget: &mut Budget,
) -> Result<Tensor, IoError> {
    let place = format!("sparse tensor `{}`", name(proto));
    let malformed = |reason: String| IoError::malformed(file, place.as_str(), reason);
    let shape = tensor::shape(file, &place, &proto.dims)?;
    let (Some(values), Some(indices)) = (&proto.values, &proto.indices) else {
        return Err(malformed("it needs values and indices".into()));
    };
    let values = tensor::read(file, values, folder)?;
    let indices = tensor::read(file, indices, folder)?;
    let count = values.shape().elements();
    let coordinates = indices
        .as_i64()
        .map_err(IoError::model(file, place.as_str()))?;
    let places: Vec<usize> = match indices.shape().dims() {
        [n] if *n == count => coordinates
            .iter()
            .map(|&i| usize::try_from(i).ok())
            .collect(),
        [n, rank] if *n == count && *rank == shape.rank() && *rank > 0 => coordinates
            .chunks_exact(*rank)
            .map(|at| position(&shape, at))
            .collect(),
        _ => None,
    }
    .filter(|places: &Vec<usize>| places.last().is_none_or(|&p| p < shape.elements()))
    .filter(|places| places.is_sorted_by(|a, b| a < b))
    .ok_or_else(|| {
        malformed(format!(
            "{count} values in {shape} need as many ascending places, found {}",
            indices.shape()
        ))
    })?;
    budget.take(shape.elements()).ok_or_else(|| {
        malformed(format!(
            "{shape} with {count} values is too sparse for a file of this size"
        ))
    })?;
    let data = unfold(values.data(), &places, shape.elements()).ok_or_else(|| {
        IoError::unsupported(
            file,
            place.as_str(),
            format!("its elements are of type {}", values.dtype()),
        )
    })?;
    Tensor::new(shape, data).map_err(IoError::model(file, place))
}

/// The row-major place of a coordinate, if it is within the shape.
fn position(shape: &Shape, at: &[i64]) -> Option<usize> {
    at.iter()
        .zip(shape.iter())
        .try_fold(0, |place, (&i, &extent)| {
            let i = usize::try_from(i).ok().filter(|&i| i < extent)?;
            Some(place * extent + i)
        })
}

/// Every element, zeros in place; `None` for types that are only carried.
fn unfold(values: &Data, places: &[usize], elements: usize) -> Option<Data> {
    fn put<T: Copy + Default>(values: &[T], places: &[usize], elements: usize) -> Vec<T> {
        let mut all = vec![T::default(); elements];
        for (&place, &value) in places.iter().zip(values) {
            if let Some(slot) = all.get_mut(place) {
                *slot = value;
            }
        }
        all
    }
    Some(match values {
        Data::F32(v) => Data::F32(put(v, places, elements)),
        Data::F64(v) => Data::F64(put(v, places, elements)),
        Data::F16(v) => Data::F16(put(v, places, elements)),
        Data::BF16(v) => Data::BF16(put(v, places, elements)),
        Data::I8(v) => Data::I8(put(v, places, elements)),
        Data::U8(v) => Data::U8(put(v, places, elements)),
        Data::I16(v) => Data::I16(put(v, places, elements)),
        Data::U16(v) => Data::U16(put(v, places, elements)),
        Data::I32(v) => Data::I32(put(v, places, elements)),
        Data::U32(v) => Data::U32(put(v, places, elements)),
        Data::I64(v) => Data::I64(put(v, places, elements)),
        Data::U64(v) => Data::U64(put(v, places, elements)),
        Data::Bool(v) => Data::Bool(put(v, places, elements)),
        Data::Opaque { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::proto::TensorProto;
    use super::*;

    fn sparse(dims: &[i64], indices: &[i64], index_dims: &[i64]) -> SparseTensorProto {
        let count = index_dims.first().copied().unwrap_or(0);
        let values = TensorProto {
            name: "w".into(),
            dims: vec![count],
            data_type: 1,
            float_data: (1..=count).map(|v| v as f32).collect(),
            ..TensorProto::default()
        };
        let indices = TensorProto {
            dims: index_dims.to_vec(),
            data_type: 7,
            int64_data: indices.to_vec(),
            ..TensorProto::default()
        };
        SparseTensorProto {
            values: Some(values),
            indices: Some(indices),
            dims: dims.to_vec(),
        }
    }

    fn read(proto: &SparseTensorProto) -> Result<Vec<f32>, String> {
        let tensor = super::read("m.onnx", proto, None, &mut Budget::of(100));
        tensor
            .map(|t| t.as_f32().unwrap().to_vec())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn both_forms_of_indices_put_zeros_in_place() {
        let expected = [0., 1., 0., 0., 0., 2.];
        assert_eq!(read(&sparse(&[2, 3], &[1, 5], &[2])).unwrap(), expected);
        let coordinates = [0, 1, 1, 2];
        assert_eq!(
            read(&sparse(&[2, 3], &coordinates, &[2, 2])).unwrap(),
            expected
        );
        assert_eq!(read(&sparse(&[2], &[], &[0])).unwrap(), [0., 0.]);
    }

    #[test]
    fn contradictions_name_the_tensor() {
        for (dims, indices, index_dims) in [
            (&[2, 3][..], &[1, 6][..], &[2][..]),
            (&[2, 3], &[5, 1], &[2]),
            (&[2, 3], &[1, 1], &[2]),
            (&[2, 3], &[-1, 1], &[2]),
            (&[2, 3], &[0, 3, 1, 0], &[2, 2]),
            (&[2, 3], &[0, 1, 1], &[1, 3]),
            (&[-2, 3], &[1], &[1]),
            (&[1 << 40, 1 << 40], &[1], &[1]),
            (&[1 << 40], &[1], &[1]),
        ] {
            let error = read(&sparse(dims, indices, index_dims)).unwrap_err();
            assert!(error.contains("m.onnx") && error.contains("`w`"), "{error}");
        }
        let empty = read(&SparseTensorProto::default()).unwrap_err();
        assert!(empty.contains("values and indices"), "{empty}");
    }

    #[test]
    fn what_a_file_unfolds_to_is_bounded_in_sum() {
        let proto = sparse(&[1 << 19], &[7], &[1]);
        let mut budget = Budget::of(0);
        let mut read = || super::read("m.onnx", &proto, None, &mut budget);
        assert!(read().is_ok() && read().is_ok());
        let error = read().unwrap_err().to_string();
        assert!(error.contains("too sparse"), "{error}");
    }
}
