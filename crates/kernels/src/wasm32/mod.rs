//! Kernels for WebAssembly with 128-bit vectors, which a module either has or does not run without:
//! they are compiled where `-C target-feature=+simd128` says so.  Depthwise int8 is the portable form.
#![expect(
    clippy::needless_range_loop,
    reason = "an index names a register: tile loops unroll over several arrays at once"
)]

pub(crate) mod dense_f32;
pub(crate) mod dense_i8;
mod fused;
#[cfg(feature = "relaxed-simd")]
mod relaxed;
pub(crate) mod sparse_i8;
