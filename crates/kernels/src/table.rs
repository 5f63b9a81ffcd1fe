//! The list of every kernel that exists for some instruction set: dispatch, tests, benches and
//! `secateur cpu` read it.
//!
//! Names follow `{lhs}{rhs}{acc}_{what}_{mr}x{nr}[_{format}]__{isa}`: types of activations, weights
//! and accumulators; what is computed; `mr` outputs × `nr` pixels a tile; the packed form.

use crate::{
    Clamp, DenseI8, DepthwiseF32, DepthwiseI8, IntOut, Isa, KernelError, Patches, Rows, RowsMut,
    SparseF32, SparseI8, dense_f32::PanelsF32, generic,
};
use std::ops::Range;

#[cfg(target_arch = "aarch64")]
use crate::aarch64::{neon_dense_i8, neon_f32, neon_sparse_i8};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use crate::wasm32;
#[cfg(target_arch = "x86_64")]
use crate::x86_64::{avx2_f32, depthwise, ymm_dense_i8, ymm_sparse_i8};
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
use crate::x86_64::{avx512_depthwise_i8, avx512bwvnni_f32, avx512bwvnni_i8, avx512vnni_i8};

/// What a kernel computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// [`DenseF32`](crate::DenseF32), several pixels or one.
    DenseF32,
    /// [`SparseF32`], several pixels or one.
    SparseF32,
    /// [`DenseI8`], several pixels or one.
    DenseI8,
    /// [`SparseI8`], several pixels or one.
    SparseI8,
    /// [`DepthwiseF32`].
    DepthwiseF32,
    /// [`DepthwiseI8`].
    DepthwiseI8,
}

impl What {
    /// Everything that is computed by a kernel of the table.
    pub const ALL: [What; 6] = [
        What::DenseF32,
        What::SparseF32,
        What::DenseI8,
        What::SparseI8,
        What::DepthwiseF32,
        What::DepthwiseI8,
    ];

    /// How a name of this begins.
    pub const fn prefix(self) -> &'static str {
        match self {
            What::DenseF32 => "f32f32f32_gemm",
            What::SparseF32 => "f32f32f32_spmm",
            What::DenseI8 => "u8i8i32_gemm",
            What::SparseI8 => "u8i8i32_spmm",
            What::DepthwiseF32 => "f32f32f32_dwconv",
            What::DepthwiseI8 => "u8i8i32_dwconv",
        }
    }
}

/// How close a kernel comes to the definition of its arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accuracy {
    /// Integer sums without rounding: the same bits everywhere.
    Exact,
    /// One fused multiply-add chain an output, in k order: the same f32 everywhere (`==`).
    SameChain,
}

/// One kernel.
#[derive(Debug)]
pub struct Kernel {
    /// The full name.
    pub name: &'static str,
    /// What it computes.
    pub what: What,
    /// The instruction set it needs.
    pub isa: Isa,
    /// Outputs of a tile.
    pub mr: usize,
    /// Pixels of a tile.
    pub nr: usize,
    /// Against the definition.
    pub accuracy: Accuracy,
    pub(crate) entry: Entry,
}

impl Kernel {
    /// The kernel that computes `what` for `isa`: its own, or that of the most capable lesser set that has
    /// one.
    ///
    /// # Errors
    /// [`KernelError::IsaUnavailable`] when the processor lacks `isa`.
    pub fn of(isa: Isa, what: What) -> Result<&'static Kernel, KernelError> {
        find(isa, |entry| (entry.what() == what).then_some(())).map(|(kernel, ())| kernel)
    }

    /// Whether it reads operands where they lie in an image, and not as rows alone.
    pub fn reads_patches(&self) -> bool {
        matches!(
            self.entry,
            Entry::DenseI8Patches(_) | Entry::SparseI8Patches(_)
        )
    }
}

/// # Safety
/// The processor has the kernel's instruction set; the panels are those of a packed layer or product; `x`
/// is `[pixels, depth]`, `y` is `[pixels, range]`, and the range lies on the packed form's boundaries.
pub(crate) type DenseF32Fn =
    unsafe fn(PanelsF32<'_>, Rows<'_, f32>, Range<usize>, Clamp, RowsMut<'_, f32>);
/// # Safety
/// As for [`DenseF32Fn`].
pub(crate) type SparseF32Fn =
    unsafe fn(&SparseF32, Rows<'_, f32>, Range<usize>, Clamp, RowsMut<'_, f32>);
/// # Safety
/// As for [`DenseF32Fn`].
pub(crate) type DenseI8Fn = unsafe fn(&DenseI8, Rows<'_, u8>, Range<usize>, IntOut<'_>);
/// # Safety
/// As for [`DenseF32Fn`].
pub(crate) type SparseI8Fn = unsafe fn(&SparseI8, Rows<'_, u8>, Range<usize>, IntOut<'_>);
/// # Safety
/// The processor has the kernel's instruction set; lines of `x` are those of the layer, or without a
/// gap; `out` is `[pixels, range]`, and the range lies on the packed form's boundaries.
pub(crate) type DenseI8PatchesFn = unsafe fn(&DenseI8, Patches<'_, u8>, Range<usize>, IntOut<'_>);
/// # Safety
/// As for [`DenseI8PatchesFn`].
pub(crate) type SparseI8PatchesFn = unsafe fn(&SparseI8, Patches<'_, u8>, Range<usize>, IntOut<'_>);
/// # Safety
/// The processor has the kernel's instruction set.
pub(crate) type DepthwiseF32Fn =
    unsafe fn(&DepthwiseF32, &[f32], Range<usize>, Clamp, RowsMut<'_, f32>);
/// # Safety
/// The processor has the kernel's instruction set.
pub(crate) type DepthwiseI8Fn = unsafe fn(&DepthwiseI8, &[u8], u8, Range<usize>, IntOut<'_>);

#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "avx512"), allow(dead_code))] // some forms are read by AVX-512 alone
pub(crate) enum Entry {
    DenseF32(DenseF32Fn),
    SparseF32(SparseF32Fn),
    DenseI8(DenseI8Fn),
    DenseI8Patches(DenseI8PatchesFn),
    SparseI8(SparseI8Fn),
    SparseI8Patches(SparseI8PatchesFn),
    DepthwiseF32(DepthwiseF32Fn),
    DepthwiseI8(DepthwiseI8Fn),
}

impl Entry {
    const fn what(self) -> What {
        match self {
            Entry::DenseF32(_) => What::DenseF32,
            Entry::SparseF32(_) => What::SparseF32,
            Entry::DenseI8(_) | Entry::DenseI8Patches(_) => What::DenseI8,
            Entry::SparseI8(_) | Entry::SparseI8Patches(_) => What::SparseI8,
            Entry::DepthwiseF32(_) => What::DepthwiseF32,
            Entry::DepthwiseI8(_) => What::DepthwiseI8,
        }
    }
}

const fn kernel(
    name: &'static str,
    isa: Isa,
    mr: usize,
    nr: usize,
    what: What,
    entry: Entry,
) -> Kernel {
    let accuracy = match what {
        What::DenseF32 | What::SparseF32 | What::DepthwiseF32 => Accuracy::SameChain,
        What::DenseI8 | What::SparseI8 | What::DepthwiseI8 => Accuracy::Exact,
    };
    Kernel {
        name,
        what,
        isa,
        mr,
        nr,
        accuracy,
        entry,
    }
}

/// Every kernel compiled in, whether this processor can run it or not.
#[rustfmt::skip]
pub static KERNELS: &[Kernel] = &[
    kernel("f32f32f32_gemm_16x4_panel16__generic", Isa::Generic, 16, 4, What::DenseF32, Entry::DenseF32(generic::dense::f32)),
    kernel("f32f32f32_spmm_16x1_gather__generic", Isa::Generic, 16, 1, What::SparseF32, Entry::SparseF32(generic::sparse::f32)),
    kernel("u8i8i32_gemm_16x4_panel16k4__generic", Isa::Generic, 16, 4, What::DenseI8, Entry::DenseI8(generic::dense::i8)),
    kernel("u8i8i32_spmm_16x1_gather64__generic", Isa::Generic, 16, 1, What::SparseI8, Entry::SparseI8Patches(generic::sparse::i8)),
    kernel("f32f32f32_dwconv_64x1__generic", Isa::Generic, 64, 1, What::DepthwiseF32, Entry::DepthwiseF32(generic::depthwise::f32)),
    kernel("u8i8i32_dwconv_64x1__generic", Isa::Generic, 64, 1, What::DepthwiseI8, Entry::DepthwiseI8(generic::depthwise::i8)),
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    kernel("f32f32f32_gemm_16x1_panel16__simd128", Isa::Simd128, 16, 1, What::DenseF32, Entry::DenseF32(wasm32::dense_f32::dense)),
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    kernel("u8i8i32_gemm_16x2_panel16wide__simd128", Isa::Simd128, 16, 2, What::DenseI8, Entry::DenseI8(wasm32::dense_i8::dense)),
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    kernel("u8i8i32_spmm_8x4_gather16__simd128", Isa::Simd128, 8, 4, What::SparseI8, Entry::SparseI8(wasm32::sparse_i8::sparse)),
    #[cfg(target_arch = "aarch64")]
    kernel("f32f32f32_gemm_16x6_panel16__neon", Isa::Neon, 16, 6, What::DenseF32, Entry::DenseF32(neon_f32::dense)),
    #[cfg(target_arch = "aarch64")]
    kernel("f32f32f32_spmm_8x4_window16__neon", Isa::Neon, 8, 4, What::SparseF32, Entry::SparseF32(neon_f32::sparse)),
    #[cfg(target_arch = "aarch64")]
    kernel("u8i8i32_gemm_16x4_panel16k4__neon", Isa::Neon, 16, 4, What::DenseI8, Entry::DenseI8(neon_dense_i8::dense::<false>)),
    #[cfg(target_arch = "aarch64")]
    kernel("u8i8i32_spmm_16x2_gather64__neon", Isa::Neon, 16, 2, What::SparseI8, Entry::SparseI8(neon_sparse_i8::sparse::<false>)),
    #[cfg(target_arch = "aarch64")]
    kernel("u8i8i32_gemm_16x6_panel16k4__neondot", Isa::NeonDot, 16, 6, What::DenseI8, Entry::DenseI8(neon_dense_i8::dense::<true>)),
    #[cfg(target_arch = "aarch64")]
    kernel("u8i8i32_spmm_16x2_gather64__neondot", Isa::NeonDot, 16, 2, What::SparseI8, Entry::SparseI8(neon_sparse_i8::sparse::<true>)),
    #[cfg(target_arch = "x86_64")]
    kernel("f32f32f32_gemm_16x6_panel16__avx2", Isa::Avx2, 16, 6, What::DenseF32, Entry::DenseF32(avx2_f32::dense)),
    #[cfg(target_arch = "x86_64")]
    kernel("f32f32f32_spmm_8x8_window8__avx2", Isa::Avx2, 8, 8, What::SparseF32, Entry::SparseF32(avx2_f32::sparse)),
    #[cfg(target_arch = "x86_64")]
    kernel("u8i8i32_gemm_16x4_panel16k4__avx2", Isa::Avx2, 16, 4, What::DenseI8, Entry::DenseI8(ymm_dense_i8::dense::<false>)),
    #[cfg(target_arch = "x86_64")]
    kernel("u8i8i32_spmm_8x8_quads16__avx2", Isa::Avx2, 8, 8, What::SparseI8, Entry::SparseI8(ymm_sparse_i8::sparse::<false>)),
    #[cfg(target_arch = "x86_64")]
    kernel("f32f32f32_dwconv_64x1__avx2", Isa::Avx2, 64, 1, What::DepthwiseF32, Entry::DepthwiseF32(depthwise::f32_avx2)),
    #[cfg(target_arch = "x86_64")]
    kernel("u8i8i32_dwconv_64x1__avx2", Isa::Avx2, 64, 1, What::DepthwiseI8, Entry::DepthwiseI8(depthwise::i8_avx2)),
    #[cfg(target_arch = "x86_64")]
    kernel("u8i8i32_gemm_16x6_panel16k4__avxvnni", Isa::AvxVnni, 16, 6, What::DenseI8, Entry::DenseI8(ymm_dense_i8::dense::<true>)),
    #[cfg(target_arch = "x86_64")]
    kernel("u8i8i32_spmm_8x8_quads16__avxvnni", Isa::AvxVnni, 8, 8, What::SparseI8, Entry::SparseI8(ymm_sparse_i8::sparse::<true>)),
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    kernel("f32f32f32_gemm_32x12_panel32__avx512bwvnni", Isa::Avx512BwVnni, 32, 12, What::DenseF32, Entry::DenseF32(avx512bwvnni_f32::dense)),
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    kernel("f32f32f32_spmm_16x8_window32__avx512bwvnni", Isa::Avx512BwVnni, 16, 8, What::SparseF32, Entry::SparseF32(avx512bwvnni_f32::sparse)),
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    kernel("u8i8i32_gemm_32x10_panel16k4__avx512bwvnni", Isa::Avx512BwVnni, 32, 10, What::DenseI8, Entry::DenseI8Patches(avx512vnni_i8::dense)),
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    kernel("u8i8i32_spmm_16x14_quads16__avx512bwvnni", Isa::Avx512BwVnni, 16, 14, What::SparseI8, Entry::SparseI8(avx512bwvnni_i8::sparse)),
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    kernel("u8i8i32_spmm_16x14_gather64__avx512vnni", Isa::Avx512Vnni, 16, 14, What::SparseI8, Entry::SparseI8Patches(avx512vnni_i8::sparse)),
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    kernel("f32f32f32_dwconv_64x1__avx512bwvnni", Isa::Avx512BwVnni, 64, 1, What::DepthwiseF32, Entry::DepthwiseF32(depthwise::f32_avx512bwvnni)),
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    kernel("u8i8i32_dwconv_64x1_quads__avx512bwvnni", Isa::Avx512BwVnni, 64, 1, What::DepthwiseI8, Entry::DepthwiseI8(avx512_depthwise_i8::depthwise)),
];

/// The kernel that `pick` accepts for `isa`, or for the most capable lesser set that has one.
pub(crate) fn find<F>(
    isa: Isa,
    pick: impl Fn(Entry) -> Option<F>,
) -> Result<(&'static Kernel, F), KernelError> {
    isa.require()?;
    KERNELS
        .iter()
        .filter(|kernel| kernel.isa <= isa && kernel.isa.is_available())
        .filter_map(|kernel| Some((kernel, pick(kernel.entry)?)))
        .max_by_key(|(kernel, _)| kernel.isa)
        .ok_or(KernelError::IsaUnavailable {
            isa,
            best: Isa::best(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_the_entries_are() {
        for kernel in KERNELS {
            let (head, isa) = kernel.name.split_once("__").unwrap();
            assert_eq!(isa, kernel.isa.token());
            assert_eq!(kernel.what, kernel.entry.what(), "{}", kernel.name);
            let tile = head.strip_prefix(kernel.what.prefix()).unwrap();
            let tile = tile[1..].split('_').next().unwrap();
            assert_eq!(
                tile,
                format!("{}x{}", kernel.mr, kernel.nr),
                "{}",
                kernel.name
            );
        }
    }

    #[test]
    fn generic_has_everything_and_names_are_unique() {
        for what in What::ALL {
            let of = |k: &&Kernel| k.what == what && k.isa == Isa::Generic;
            assert_eq!(KERNELS.iter().filter(of).count(), 1);
        }
        let mut names: Vec<_> = KERNELS.iter().map(|k| k.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KERNELS.len());
    }
}
