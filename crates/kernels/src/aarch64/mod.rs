//! Kernels for 64-bit Arm.  Each is `unsafe` only in that the processor must have its instruction set
//! and the operands the shapes that the public wrappers check.  Depthwise convolutions are the portable
//! ones: NEON is what they are compiled for.
#![expect(
    clippy::needless_range_loop,
    reason = "an index names a register: tile loops unroll over several arrays at once"
)]

mod dot;
pub(crate) mod neon_dense_i8;
pub(crate) mod neon_f32;
pub(crate) mod neon_sparse_i8;
