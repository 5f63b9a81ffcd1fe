//! Accumulators to real numbers with AVX-512: the same bits as [`Dequantize`](crate::Dequantize) gives.

use std::{arch::x86_64::*, ops::Range};

use super::avx512_bytes::{GROUPS, picked};
use crate::{IntOut, SparseI8, epilogue::LANES, passes::BAND};

/// How the four groups of a sparse band become real numbers, in the order of the outputs.
pub(crate) struct FloatBand {
    /// Group by group, in the order of their lanes.
    scales: [__m512; GROUPS],
    lo: __m512,
    hi: __m512,
    /// Sixteen outputs at a time, which lane of the band each is.
    places: [__m512i; GROUPS],
    /// Sixteen outputs at a time, those that there are.
    masks: [__mmask16; GROUPS],
}

impl FloatBand {
    /// For band `outputs` of the layer; `None` where real numbers are not what is asked for.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(crate) fn of(out: &IntOut<'_>, layer: &SparseI8, outputs: &Range<usize>) -> Option<Self> {
        let (scale, clamp) = out.dequantize()?.parts();
        let places = layer.places(outputs.start / BAND);
        let mut in_order = [_mm512_setzero_ps(); GROUPS];
        let mut masks = [0; GROUPS];
        for (n, scale) in scale[outputs.clone()].chunks(LANES).enumerate() {
            masks[n] = !0 >> (LANES - scale.len());
            // SAFETY: the mask covers the scales.
            in_order[n] = unsafe { _mm512_maskz_loadu_ps(masks[n], scale.as_ptr()) };
        }
        let mut scales = in_order;
        let passes = layer.passes();
        for (n, g) in passes.groups_of(outputs).enumerate() {
            let rows = passes.group(g).rows;
            let mask = !0 >> (LANES - rows.len());
            // SAFETY: the mask covers the rows.
            let rows = unsafe { _mm512_maskz_loadu_epi32(mask, rows.as_ptr().cast()) };
            let first = _mm512_set1_epi32(outputs.start as i32);
            scales[n] = picked(&in_order, _mm512_maskz_sub_epi32(mask, rows, first));
        }
        let mut at = [_mm512_setzero_si512(); GROUPS];
        for (at, places) in at.iter_mut().zip(places.as_chunks::<LANES>().0) {
            // SAFETY: 16 places.
            *at = unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(places.as_ptr().cast())) };
        }
        Some(Self {
            scales,
            lo: _mm512_set1_ps(clamp.lo),
            hi: _mm512_set1_ps(clamp.hi),
            places: at,
            masks,
        })
    }

    /// Finishes the sums of the band at `P` pixels and writes its outputs, from `y` on for the first
    /// pixel and `stride` further for each.
    ///
    /// # Safety
    /// As many numbers as the band has outputs may be written there.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) unsafe fn store<const P: usize>(
        &self,
        sums: &[[__m512i; P]; GROUPS],
        y: *mut f32,
        stride: usize,
    ) {
        for p in 0..P {
            let mut reals = self.scales;
            for (real, sums) in reals.iter_mut().zip(sums) {
                let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[p]), *real);
                // The second operand where both are equal, as zeros of either sign are.
                *real = _mm512_min_ps(self.hi, _mm512_max_ps(self.lo, product));
            }
            let y = y.wrapping_add(p * stride);
            for (n, (places, mask)) in self.places.iter().zip(self.masks).enumerate() {
                let y = y.wrapping_add(n * LANES);
                // SAFETY: the mask covers the outputs.
                unsafe { _mm512_mask_storeu_ps(y, mask, picked(&reals, *places)) };
            }
        }
    }
}
