//! A value on the tensor library.

use crate::ops::Live;
use burn::tensor::{Device, Tensor, TensorData};
use std::sync::Arc;

/// A flat tensor and its extents.
#[derive(Clone)]
pub(crate) struct Value {
    pub flat: Tensor<1>,
    pub dims: Vec<usize>,
    /// Rows and columns of a weight that are not zero for good.
    pub live: Option<Arc<Live>>,
}

impl Value {
    pub(crate) fn new(values: Vec<f32>, dims: &[usize]) -> Self {
        let data = TensorData::new(values, [dims.iter().product::<usize>()]);
        Self::flat(Tensor::from_data(data, &Device::flex()), dims)
    }

    /// A weight whose other rows and columns are zero and stay so.
    pub(crate) fn with_live(self, live: Option<Arc<Live>>) -> Self {
        Self { live, ..self }
    }

    /// A value that gradients are asked for.
    pub(crate) fn parameter(values: Vec<f32>, dims: &[usize]) -> Self {
        let value = Self::new(values, dims);
        Self {
            flat: value.flat.autodiff().require_grad(),
            ..value
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<f32> {
        to_vec(self.flat.clone())
    }

    pub(super) fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// The same elements as a tensor of these extents, whose product must be theirs.
    pub(super) fn shaped<const D: usize>(&self, dims: [usize; D]) -> Tensor<D> {
        self.flat.clone().reshape(dims)
    }

    /// Flat again, under the given extents.
    pub(super) fn of<const D: usize>(tensor: Tensor<D>, dims: &[usize]) -> Self {
        let elements = tensor.dims().iter().product::<usize>();
        Self::flat(tensor.reshape([elements]), dims)
    }

    pub(super) fn flat(flat: Tensor<1>, dims: &[usize]) -> Self {
        Self {
            flat,
            dims: dims.to_vec(),
            live: None,
        }
    }

    pub(super) fn map(&self, f: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Self {
        Self::flat(f(self.flat.clone()), &self.dims)
    }

    /// The same elements under other extents.
    pub(super) fn reshaped(self, dims: &[usize]) -> Self {
        Self {
            dims: dims.to_vec(),
            live: None,
            ..self
        }
    }

    /// Extents before an axis, of it, and behind it.
    pub(super) fn around(&self, axis: usize) -> [usize; 3] {
        let (before, rest) = self.dims.split_at(axis.min(self.dims.len()));
        let (along, behind) = rest.split_first().map_or((1, rest), |(&a, b)| (a, b));
        [before.iter().product(), along, behind.iter().product()]
    }
}

pub(crate) fn to_vec(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap_or_default()
}
