//! Kernels for x86-64.  Each is `unsafe` only in that the processor must have its instruction set and
//! the operands the shapes that the public wrappers check.
#![expect(
    clippy::needless_range_loop,
    reason = "an index names a register: tile loops unroll over several arrays at once"
)]
// What only kernels of AVX-512 use stays, and is dropped when a program is linked.
#![cfg_attr(not(feature = "avx512"), allow(dead_code))]

pub(crate) mod avx2_f32;
mod avx512_bytes;
pub(crate) mod avx512_depthwise_i8;
mod avx512_floats;
pub(crate) mod avx512_matmul_codes;
mod avx512_requantize;
pub(crate) mod avx512bwvnni_f32;
pub(crate) mod avx512bwvnni_i8;
pub(crate) mod avx512vnni_i8;
pub(crate) mod codes;
pub(crate) mod depthwise;
pub(crate) mod squares;
pub(crate) mod ymm_dense_i8;
mod ymm_dot;
pub(crate) mod ymm_sparse_i8;
