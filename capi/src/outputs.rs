//! What a run gave.

use crate::argument::given;
use crate::failure::{Failure, guard};
use crate::interface::Interface;
use crate::tensor::start;
use crate::{Status, Tensor, dtype};
use secateur_model::Tensor as Model;
use std::mem::MaybeUninit;
use std::sync::Arc;

/// The outputs of a run, which may outlive its session. Any number of threads may read them at once.
#[derive(Debug)]
pub struct Outputs {
    /// For the names.
    interface: Arc<Interface>,
    tensors: Vec<(Model, Vec<i64>)>,
}

impl Outputs {
    pub(crate) fn new(interface: Arc<Interface>, tensors: Vec<Model>) -> Self {
        let with_dims = |tensor: Model| {
            let dims = tensor.shape().dims().iter().map(|&d| d as i64).collect();
            (tensor, dims)
        };
        Self {
            interface,
            tensors: tensors.into_iter().map(with_dims).collect(),
        }
    }

    /// For C: borrowed from this.
    fn view(&self, index: usize) -> Option<Tensor> {
        let port = self.interface.outputs.get(index)?;
        let (tensor, dims) = self.tensors.get(index)?;
        Some(Tensor {
            name: port.name.as_ptr(),
            dtype: dtype::to_code(tensor.dtype()),
            rank: dims.len() as i32,
            dims: dims.as_ptr(),
            data: start(tensor),
            bytes: tensor.bytes(),
        })
    }
}

/// How many outputs there are; 0 for null.
#[unsafe(no_mangle)]
pub extern "C" fn secateur_outputs_count(outputs: Option<&Outputs>) -> usize {
    outputs.map_or(0, |outputs| outputs.tensors.len())
}

/// Gives an output, in the network's order. All that it points to stays that of `outputs`.
#[unsafe(no_mangle)]
pub extern "C" fn secateur_outputs_get(
    outputs: Option<&Outputs>,
    index: usize,
    output: Option<&mut MaybeUninit<Tensor>>,
) -> Status {
    guard(|| {
        let output = given(output, "output")?;
        let outputs = given(outputs, "outputs")?;
        let view = outputs.view(index).ok_or_else(|| {
            let words = format!("there is no index {index} among {}", outputs.tensors.len());
            Failure::new(Status::Argument, words)
        })?;
        output.write(view);
        Ok(())
    })
}

/// Frees outputs and all that was asked of them. Null is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn secateur_outputs_free(outputs: Option<Box<Outputs>>) {
    guard(|| {
        drop(outputs);
        Ok(())
    });
}
