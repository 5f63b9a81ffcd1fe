//! [`Requantize`] of 64 accumulators at once, for sums whose lanes lie as `vpunpck` leaves them.

use std::arch::x86_64::*;

use crate::Requantize;

/// Products below this are converted to i32 without saturation.
const CONVERTIBLE: f32 = (1u32 << 30) as f32;
const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// 4 × 4 blocks of four lanes, transposed: from channels in order to the order of unpacked bytes,
/// and back.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transposed([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let low = [
        _mm512_shuffle_i32x4::<0x44>(a, b),
        _mm512_shuffle_i32x4::<0x44>(c, d),
    ];
    let high = [
        _mm512_shuffle_i32x4::<0xEE>(a, b),
        _mm512_shuffle_i32x4::<0xEE>(c, d),
    ];
    [
        _mm512_shuffle_i32x4::<0x88>(low[0], low[1]),
        _mm512_shuffle_i32x4::<0xDD>(low[0], low[1]),
        _mm512_shuffle_i32x4::<0x88>(high[0], high[1]),
        _mm512_shuffle_i32x4::<0xDD>(high[0], high[1]),
    ]
}

/// What turns 64 sums into bytes.
pub(crate) struct ToBytes {
    multiplier: [__m512; 4],
    /// The upper bound before the zero point is added.
    top: __m512,
    /// As i16.
    zero_point: __m512i,
    /// The bounds as bytes.
    range: [__m512i; 2],
}

impl ToBytes {
    /// For the channels of `mask`, from `first` on.
    ///
    /// # Safety
    /// The channels exist.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(crate) unsafe fn new(requantize: &Requantize, first: usize, mask: __mmask64) -> Self {
        let (zero_point, (lo, hi)) = (requantize.zero_point(), requantize.range());
        let mut multiplier = [_mm512_setzero_si512(); 4];
        for (v, multiplier) in multiplier.iter_mut().enumerate() {
            // SAFETY: the mask ends where the channels do.
            *multiplier = unsafe {
                let from = requantize.multipliers_from(first).as_ptr();
                let mask = (mask >> (16 * v)) as __mmask16;
                _mm512_maskz_loadu_epi32(mask, from.wrapping_add(16 * v).cast())
            };
        }
        Self {
            multiplier: transposed(multiplier).map(|v| _mm512_castsi512_ps(v)),
            top: _mm512_set1_ps((hi - zero_point) as f32),
            zero_point: _mm512_set1_epi16(zero_point as i16),
            range: [_mm512_set1_epi8(lo as i8), _mm512_set1_epi8(hi as i8)],
        }
    }

    /// Whether no product of a multiplier and a sum up to `largest` saturates when it is converted.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(crate) fn is_convertible(&self, largest: &[f32; 64]) -> bool {
        let mut all = !0;
        let mut vectors = [_mm512_setzero_si512(); 4];
        for (v, vector) in vectors.iter_mut().enumerate() {
            // SAFETY: 64 floats.
            *vector = unsafe { _mm512_loadu_si512(largest.as_ptr().add(16 * v).cast()) };
        }
        for (largest, &multiplier) in transposed(vectors).into_iter().zip(&self.multiplier) {
            let product = _mm512_mul_ps(_mm512_castsi512_ps(largest), _mm512_abs_ps(multiplier));
            all &= _mm512_cmp_ps_mask::<_CMP_LT_OQ>(product, _mm512_set1_ps(CONVERTIBLE));
        }
        all == !0
    }

    /// The bytes of 64 sums, channels in order.
    ///
    /// Below, conversion and packing saturate to values that the lower bound replaces.  Above,
    /// conversion would wrap: `CONVERTIBLE` says that it cannot happen.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(crate) fn bytes<const SIGNED: bool, const CONVERTIBLE: bool>(
        &self,
        sums: [__m512i; 4],
    ) -> __m512i {
        let mut rounded = sums;
        for (v, &multiplier) in rounded.iter_mut().zip(&self.multiplier) {
            let mut real = _mm512_mul_ps(_mm512_cvtepi32_ps(*v), multiplier);
            if !CONVERTIBLE {
                real = _mm512_min_ps(real, self.top);
            }
            *v = _mm512_cvt_roundps_epi32::<NEAREST>(real);
        }
        let [a, b, c, d] = rounded;
        let low = _mm512_adds_epi16(_mm512_packs_epi32(a, b), self.zero_point);
        let high = _mm512_adds_epi16(_mm512_packs_epi32(c, d), self.zero_point);
        let [lo, hi] = self.range;
        if SIGNED {
            _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(low, high), lo), hi)
        } else {
            _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(low, high), lo), hi)
        }
    }
}
