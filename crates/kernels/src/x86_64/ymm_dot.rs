//! Four products a lane of u8 activations and i8 weights in registers of 32 bytes, for AVX2 and for
//! AVX-VNNI: what else the int8 kernels do is the same.

use std::arch::{asm, x86_64::*};

/// 32 weights as the products want them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    /// AVX-VNNI: the weights.  AVX2: their magnitudes.
    factors: __m256i,
    /// AVX2: what turns the activation `x` into a signed factor, `x - 128` beside a weight that is
    /// not negative, `127 - x` beside one that is.
    flips: __m256i,
}

impl Weights {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn of<const VNNI: bool>(w: __m256i) -> Self {
        if VNNI {
            return Self {
                factors: w,
                flips: w,
            };
        }
        let negative = _mm256_cmpgt_epi8(_mm256_setzero_si256(), w);
        Self {
            factors: _mm256_abs_epi8(w),
            flips: _mm256_xor_si256(negative, _mm256_set1_epi8(i8::MIN)),
        }
    }
}

/// `acc + x·w`.
///
/// `vpmaddubsw` adds two products in 16 bits, where those of u8 and i8 would saturate.  Magnitudes of
/// weights times signed activations do not: `2·128·-128` is -2¹⁵.  What the shift of the activations
/// leaves is [`Isa::constant`](crate::Isa)'s.
///
/// # Safety
/// With `VNNI` the processor has AVX-VNNI.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn dot<const VNNI: bool>(acc: __m256i, x: __m256i, w: Weights) -> __m256i {
    if VNNI {
        let mut acc = acc;
        // SAFETY: one instruction that reads and writes the named registers; the caller has it.
        unsafe {
            asm!(
                "{{vex}} vpdpbusd {acc}, {x}, {w}",
                acc = inout(ymm_reg) acc,
                x = in(ymm_reg) x,
                w = in(ymm_reg) w.factors,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        return acc;
    }
    let pairs = _mm256_maddubs_epi16(w.factors, _mm256_xor_si256(x, w.flips));
    widened(acc, pairs)
}

/// `sums + x·w` in 16 bits, two products a lane: of weights whose [sums fit](crate::sums16) only.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn dot16(sums: __m256i, x: __m256i, w: __m256i) -> __m256i {
    _mm256_add_epi16(sums, _mm256_maddubs_epi16(x, w))
}

/// `acc` and the two sums of 16 bits of each lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn widened(acc: __m256i, sums: __m256i) -> __m256i {
    _mm256_add_epi32(acc, _mm256_madd_epi16(sums, _mm256_set1_epi16(1)))
}
