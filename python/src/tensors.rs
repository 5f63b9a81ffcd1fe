//! Tensors from NumPy arrays, and back.

use half::f16;
use numpy::{
    Element, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use secateur::model::{Data, Shape, Tensor};

/// A copy of an array of any layout, whose type is one of ONNX's.
pub fn tensor_of(name: &str, array: &Bound<'_, PyUntypedArray>) -> PyResult<Tensor> {
    let data = data_of(array)?.ok_or_else(|| {
        let found = array.dtype();
        PyTypeError::new_err(format!("input `{name}`: arrays of {found} are not taken"))
    })?;
    let wrong = |e: secateur::model::ModelError| PyValueError::new_err(e.to_string());
    let shape = Shape::new(array.shape()).map_err(wrong)?;
    Tensor::new(shape, data).map_err(wrong)
}

fn data_of(array: &Bound<'_, PyUntypedArray>) -> PyResult<Option<Data>> {
    macro_rules! first_of {
        ($($element:ty => $variant:ident),*) => {
            $(if let Some(values) = values::<$element>(array)? {
                return Ok(Some(Data::$variant(values)));
            })*
        };
    }
    first_of!(
        f32 => F32, f64 => F64, f16 => F16, i8 => I8, u8 => U8, i16 => I16, u16 => U16,
        i32 => I32, u32 => U32, i64 => I64, u64 => U64, bool => Bool
    );
    Ok(None)
}

/// The elements in C order, if they are of this type.
fn values<T: Element + Clone>(array: &Bound<'_, PyUntypedArray>) -> PyResult<Option<Vec<T>>> {
    let Ok(array) = array.cast::<PyArrayDyn<T>>() else {
        return Ok(None);
    };
    if let Some(values) = in_place(&array.try_readonly()?) {
        return Ok(Some(values.to_vec()));
    }
    let copy = array.call_method1("copy", ("C",))?;
    let copy = copy.cast_into::<PyArrayDyn<T>>()?;
    Ok(in_place(&copy.try_readonly()?).map(<[T]>::to_vec))
}

/// The elements where they lie, if they lie as Rust's do: in C order, aligned.
pub fn in_place<'a, T: Element>(array: &'a PyReadonlyArrayDyn<'_, T>) -> Option<&'a [T]> {
    array.as_slice().ok().filter(|_| array.is_c_contiguous())
}

/// An array that takes over a tensor's elements.
pub fn array_of<'py>(py: Python<'py>, tensor: Tensor) -> PyResult<Bound<'py, PyAny>> {
    fn shaped<'py, T: Element>(
        py: Python<'py>,
        values: Vec<T>,
        shape: &[usize],
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyArray1::from_vec(py, values).reshape(shape)?.into_any())
    }
    let (shape, data) = tensor.into_parts();
    let dims = shape.dims();
    match data {
        Data::F32(values) => shaped(py, values, dims),
        Data::F64(values) => shaped(py, values, dims),
        Data::F16(values) => shaped(py, values, dims),
        // NumPy has no such type; every value is one of f32's.
        Data::BF16(values) => shaped(py, values.into_iter().map(f32::from).collect(), dims),
        Data::I8(values) => shaped(py, values, dims),
        Data::U8(values) => shaped(py, values, dims),
        Data::I16(values) => shaped(py, values, dims),
        Data::U16(values) => shaped(py, values, dims),
        Data::I32(values) => shaped(py, values, dims),
        Data::U32(values) => shaped(py, values, dims),
        Data::I64(values) => shaped(py, values, dims),
        Data::U64(values) => shaped(py, values, dims),
        Data::Bool(values) => shaped(py, values, dims),
        Data::Opaque { onnx_type, .. } => Err(PyTypeError::new_err(format!(
            "an output is of ONNX's type {onnx_type}, which NumPy lacks"
        ))),
    }
}
