//! Tensors as C has them.

use crate::argument::{many, text};
use crate::failure::Failure;
use crate::{Status, dtype};
use secateur_engine::tensor_from_bytes;
use secateur_model::{Shape, Tensor as Model, match_data};
use std::ffi::{c_char, c_void};

/// A tensor that lies elsewhere: this owns none of what it points to.
///
/// As an input it points to the caller's memory, which is read during the call and not after it. Those that the library
/// fills in point to memory of the session, or of the outputs, that they were asked of.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Tensor {
    /// The name; of an input, null means the network's input at the same place.
    pub name: *const c_char,
    /// A `secateur_dtype`.
    pub dtype: i32,
    /// Number of extents; -1 where a network leaves it open.
    pub rank: i32,
    /// The extents, outermost first; -1 where a network leaves one open.
    pub dims: *const i64,
    /// The elements, row-major, at any address; null in a description.
    pub data: *const c_void,
    /// Bytes of the elements.
    pub bytes: usize,
}

/// Memory of the caller's that an output is written to.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Buffer {
    /// Where it begins.
    pub data: *mut c_void,
    /// Its bytes: as many as the output has.
    pub bytes: usize,
}

impl Tensor {
    /// The input's name, if it has one of its own.
    ///
    /// # Safety
    /// The name is null or ends with a zero, and outlives `'a`.
    pub(crate) unsafe fn own_name<'a>(&self) -> Result<Option<&'a str>, Failure> {
        if self.name.is_null() {
            return Ok(None);
        }
        // SAFETY: a text that ends, as the caller promises.
        let name = unsafe { text(self.name, "name") }?.to_str();
        name.map(Some)
            .map_err(|_| Failure::new(Status::Input, "an input's name is not UTF-8"))
    }

    /// A copy for the engine; `name` stands for it in errors.
    ///
    /// # Safety
    /// Extents and elements are null, or as many as this says.
    pub(crate) unsafe fn copied(&self, name: &str) -> Result<Model, Failure> {
        let wrong = |what: String| Failure::new(Status::Input, format!("input `{name}`: {what}"));
        let dtype = dtype::from_code(self.dtype)
            .ok_or_else(|| wrong(format!("no elements are of type {}", self.dtype)))?;
        let rank = usize::try_from(self.rank)
            .map_err(|_| wrong(format!("a rank of {} is none", self.rank)))?;
        // SAFETY: as many extents as this says, as the caller promises.
        let dims = unsafe { many(self.dims, rank, "dims") }?;
        let dims: Vec<usize> = dims
            .iter()
            .map(|&d| usize::try_from(d).map_err(|_| wrong(format!("an extent of {d} is none"))))
            .collect::<Result<_, _>>()?;
        let shape = Shape::new(&dims).map_err(|e| wrong(e.to_string()))?;
        let needed = dtype
            .size_bytes()
            .and_then(|size| size.checked_mul(shape.elements()));
        if needed != Some(self.bytes) {
            let needed = needed.map_or("more".into(), |n| n.to_string());
            let found = self.bytes;
            return Err(wrong(format!(
                "{shape} of {dtype} takes {needed} bytes, {found} were given"
            )));
        }
        // SAFETY: as many bytes as this says, as the caller promises.
        let bytes = unsafe { many(self.data.cast::<u8>(), self.bytes, "data") }?;
        tensor_from_bytes(bytes, dtype, &shape).map_err(|e| wrong(e.to_string()))
    }
}

/// Where a tensor's elements begin; there are [`Model::bytes`] bytes of them.
pub fn start(tensor: &Model) -> *const c_void {
    match_data!(
        tensor.data(),
        v => v.as_ptr().cast(),
        secateur_model::Data::Opaque { bytes, .. } => bytes.as_ptr().cast()
    )
}
