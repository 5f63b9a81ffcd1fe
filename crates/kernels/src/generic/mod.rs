//! Portable kernels: plain loops over the packed forms.

pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod sparse;
