//! What a network takes and gives, as C reads it.

use crate::failure::Failure;
use crate::{Status, Tensor, dtype};
use secateur_model::{Dim, Graph, ValueInfo};
use std::ffi::CString;
use std::ptr;

/// The inputs and outputs of a network.
#[derive(Debug)]
pub struct Interface {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
}

/// An input or an output.
#[derive(Debug)]
pub struct Port {
    pub name: CString,
    dtype: i32,
    /// Open extents are -1; none where the rank is open, too.
    dims: Option<Vec<i64>>,
}

impl Interface {
    /// That of a graph.
    pub fn of(graph: &Graph) -> Result<Self, Failure> {
        let ports = |values: &[ValueInfo]| values.iter().map(Port::of).collect::<Result<_, _>>();
        Ok(Self {
            inputs: ports(&graph.inputs)?,
            outputs: ports(&graph.outputs)?,
        })
    }
}

impl Port {
    fn of(value: &ValueInfo) -> Result<Self, Failure> {
        let name = CString::new(value.name.as_str()).map_err(|_| {
            let words = format!("the name {:?} has a zero in it", value.name);
            Failure::new(Status::Unsupported, words)
        })?;
        let extent = |dim: &Dim| match dim {
            Dim::Known(extent) => i64::try_from(*extent).unwrap_or(-1),
            Dim::Named(_) => -1,
        };
        Ok(Self {
            name,
            dtype: dtype::to_code(value.dtype),
            dims: value.dims.as_ref().map(|d| d.iter().map(extent).collect()),
        })
    }

    /// For C: without elements, borrowed from this.
    pub fn described(&self) -> Tensor {
        let rank = self.dims.as_ref().map_or(-1, |dims| dims.len() as i32);
        Tensor {
            name: self.name.as_ptr(),
            dtype: self.dtype,
            rank,
            dims: self.dims.as_ref().map_or(ptr::null(), |dims| dims.as_ptr()),
            data: ptr::null(),
            bytes: 0,
        }
    }
}
