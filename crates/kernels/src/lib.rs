//! Slices in, slices out: dense and sparse kernels per instruction set.  Knows no graph; kernels
//! start no threads: the caller splits work by ranges of outputs or pixels, among a [`Crew`] if it likes.
//!
//! # The arithmetic contract
//! Results do not depend on the instruction set, on how work is split, or on whether zeros are stored.
//!
//! * **int8**: `acc = bias[o] + Σ w[o,k]·x[k]`, u8 × i8, exact in i32 (wrapping, so exact whenever the sum
//!   itself fits; up to [`MAX_DEPTH`] products always do).  [`IntOut`] finishes it: [`Requantize`] is
//!   ONNX's `saturate(round_half_even(acc · multiplier) + zero_point)`, the product one f32 multiply.
//!   Zero points of the activations are folded into the bias; i8 activations are shifted to u8 by 128.
//! * **f32**: an output *is* the fused-multiply-add chain `acc = bias[o]; acc = fma(w[o,k], x[k], acc)` for
//!   k ascending.  Kernels vectorise over outputs or pixels, never over k.  A skipped zero changes
//!   nothing for finite operands but the sign of a zero: results are equal by `==`.
//!
//! # Packed forms
//! Activations may lie anywhere; rows that begin on 64 bytes are read fastest.  Weights are packed once, at plan time, for one [`Isa`].  A packed layer owns its buffers, is `Send` and
//! `Sync`, and reports `bytes()` and `macs()`; ranges of outputs begin and end on its `granule()`.
//!
//! * [`DenseF32`], [`DenseI8`]: panels of outputs, k inside.
//! * [`SparseF32`], [`SparseI8`], from [`Nonzeros`]: groups of rows (permuted within bands of 64), windows of inputs, passes
//!   of slots; no zero is stored but the unused slots, which `fill_ratios()` reports.
//! * [`DepthwiseF32`], [`DepthwiseI8`]: taps of channels.  Other convolutions are [`Im2col`] rows.
//!
//! # Names
//! `{lhs}{rhs}{acc}_{what}_{mr}x{nr}[_{format}]__{isa}`: `u8i8i32_spmm_16x14_gather64__avx512vnni` multiplies
//! u8 activations by sparse i8 weights into i32, 16 outputs × 14 pixels a tile.  [`KERNELS`] lists all.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod add_codes;
mod after;
mod band_bytes;
mod broadcast;
mod buffer;
mod codes;
mod crew;
mod demand;
mod dense_f32;
mod dense_i8;
mod depthwise;
mod elementwise;
mod epilogue;
mod error;
mod gather;
mod generic;
mod im2col;
mod interleave;
mod isa;
mod lanes;
mod lookup;
mod math;
mod matmul_codes;
mod mean_codes;
mod multiversion;
mod nest;
mod nonzeros;
mod norm;
mod passes;
mod patches;
mod pool;
mod product_f32;
mod range;
mod rearrange;
mod recurrent;
mod reduce;
mod resample;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "only kernels of AVX-512 interleave rows")
)]
mod row_quads;
mod rows;
mod slab;
mod softmax;
mod sparse_f32;
mod sparse_i8;
mod squares;
mod sums16;
mod table;
#[cfg(test)]
mod tests;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm32;
mod window;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use add_codes::AddCodes;
pub use after::{After, Held};
pub use broadcast::{Binary, select};
pub use codes::{Codes, CodesOut};
pub use crew::Crew;
pub use dense_f32::DenseF32;
pub use dense_i8::DenseI8;
pub use depthwise::{DepthwiseF32, DepthwiseI8};
pub use elementwise::{Affine, add, nchw_to_nhwc, nhwc_to_nchw};
pub use epilogue::{Clamp, Dequantize, IntOut, Requantize};
pub use error::KernelError;
pub use gather::gather;
pub use im2col::Im2col;
pub use interleave::interleave;
pub use isa::{Isa, cpu_name, features};
pub use lookup::lookup;
pub use math::Function;
pub use matmul_codes::MatmulCodes;
pub use mean_codes::MeanCodes;
pub use nest::Nest;
pub use nonzeros::Nonzeros;
pub use norm::{Moments, normalize_rows};
pub use patches::Patches;
pub use pool::{PadCount, average_pool, global_average_pool, max_pool};
pub use product_f32::ProductF32;
pub use rearrange::{Rearrange, Walk};
pub use recurrent::{Cell, Recipe, Recurrence, Reset, Sequences, Squash, Way, Zeros};
pub use reduce::{Axis, Reduction};
pub use resample::{Resample, Taps};
pub use rows::{Element, Rows, RowsMut};
pub use slab::Slab;
pub use softmax::softmax;
pub use sparse_f32::SparseF32;
pub use sparse_i8::SparseI8;
pub use table::{Accuracy, KERNELS, Kernel, What};
pub use window::Window2d;

/// Deepest int8 reduction: 65536 · 255 · 128 < 2³¹.
pub const MAX_DEPTH: usize = 65_536;
