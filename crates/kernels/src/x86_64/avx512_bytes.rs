//! Accumulators to bytes with AVX-512: the same bits as [`Requantize`](crate::Requantize) gives.

use std::{arch::x86_64::*, ops::Range};

use crate::{
    IntOut, SparseI8,
    epilogue::{LANES, gather},
    passes::BAND,
};

/// Sums above this are out of every byte's range, and below what the conversion to integers takes.
const LARGE: f32 = 1_048_576.0;

/// How 16 consecutive outputs become bytes.
pub(crate) struct Bytes {
    multiplier: __m512,
    zero_point: __m512i,
    lo: __m512i,
    hi: __m512i,
}

impl Bytes {
    /// For outputs `outputs`, at most 16; `None` where bytes are not what is asked for.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(crate) fn of(out: &IntOut<'_>, outputs: Range<usize>) -> Option<Self> {
        let (IntOut::U8(_, requantize) | IntOut::I8(_, requantize)) = out else {
            return None;
        };
        let (multiplier, zero_point, (lo, hi)) = requantize.parts();
        let multiplier = &multiplier[outputs];
        let mask = !0 >> (LANES - multiplier.len());
        Some(Self {
            // SAFETY: the mask covers the multipliers.
            multiplier: unsafe { _mm512_maskz_loadu_ps(mask, multiplier.as_ptr()) },
            zero_point: _mm512_set1_epi32(zero_point),
            lo: _mm512_set1_epi32(lo),
            hi: _mm512_set1_epi32(hi),
        })
    }

    /// Finishes `acc` and writes its first `y.len()` lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(crate) fn store(&self, acc: __m512i, y: &mut [u8]) {
        let rounded = _mm512_add_epi32(rounded(acc, self.multiplier), self.zero_point);
        let bounded = _mm512_min_epi32(_mm512_max_epi32(rounded, self.lo), self.hi);
        let bytes = _mm512_cvtepi32_epi8(bounded);
        let mask = !0 >> (LANES - y.len());
        // SAFETY: the mask covers `y`.
        unsafe { _mm_mask_storeu_epi8(y.as_mut_ptr().cast(), mask, bytes) };
    }
}

/// How the four groups of a sparse band become bytes, in the order of the outputs.
pub(crate) struct Band {
    multipliers: [__m512; BAND / LANES],
    zero_point: __m512i,
    lo: __m512i,
    hi: __m512i,
    /// Where each output lies in the packed bytes.
    places: __m512i,
    is_signed: bool,
}

impl Band {
    /// For band `outputs` of the layer; `None` where bytes are not what is asked for.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(crate) fn of(out: &IntOut<'_>, layer: &SparseI8, outputs: &Range<usize>) -> Option<Self> {
        let (IntOut::U8(_, requantize) | IntOut::I8(_, requantize)) = out else {
            return None;
        };
        let (multiplier, zero_point, (lo, hi)) = requantize.parts();
        let mut multipliers = [_mm512_setzero_ps(); BAND / LANES];
        let passes = layer.passes();
        for (to, g) in multipliers.iter_mut().zip(passes.groups_of(outputs)) {
            let lanes = gather(multiplier, passes.group(g).rows);
            // SAFETY: 16 lanes.
            *to = unsafe { _mm512_loadu_ps(lanes.as_ptr()) };
        }
        let mut places = [0u8; BAND];
        for (to, &place) in places.iter_mut().zip(layer.places(outputs.start / BAND)) {
            // Packing takes four lanes of each group in turn.
            let (group, lane) = (place / LANES as u8, place % LANES as u8);
            *to = lane / 4 * 16 + group * 4 + lane % 4;
        }
        Some(Self {
            multipliers,
            zero_point: _mm512_set1_epi16(zero_point as i16),
            lo: _mm512_set1_epi8(lo as i8),
            hi: _mm512_set1_epi8(hi as i8),
            // SAFETY: 64 places.
            places: unsafe { _mm512_loadu_si512(places.as_ptr().cast()) },
            is_signed: matches!(out, IntOut::I8(..)),
        })
    }

    /// Finishes the sums of a pixel and writes the band's outputs, `y.len()` of them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(crate) fn store(&self, sums: &[__m512i; BAND / LANES], y: &mut [u8]) {
        let a = rounded(sums[0], self.multipliers[0]);
        let b = rounded(sums[1], self.multipliers[1]);
        let c = rounded(sums[2], self.multipliers[2]);
        let d = rounded(sums[3], self.multipliers[3]);
        // Every step saturates, as clamping once at the end would.
        let ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), self.zero_point);
        let cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), self.zero_point);
        let bytes = match self.is_signed {
            true => _mm512_min_epi8(
                _mm512_max_epi8(_mm512_packs_epi16(ab, cd), self.lo),
                self.hi,
            ),
            false => _mm512_min_epu8(
                _mm512_max_epu8(_mm512_packus_epi16(ab, cd), self.lo),
                self.hi,
            ),
        };
        let ordered = _mm512_permutexvar_epi8(self.places, bytes);
        let mask = !0 >> (BAND - y.len());
        // SAFETY: the mask covers `y`.
        unsafe { _mm512_mask_storeu_epi8(y.as_mut_ptr().cast(), mask, ordered) };
    }
}

/// `round_half_even(acc · multiplier)`, no larger than [`LARGE`].
#[inline]
#[target_feature(enable = "avx512f")]
fn rounded(acc: __m512i, multiplier: __m512) -> __m512i {
    let real = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), multiplier);
    // Too small a number becomes the smallest integer by itself, too large a one would, too.
    _mm512_cvtps_epi32(_mm512_min_ps(real, _mm512_set1_ps(LARGE)))
}
