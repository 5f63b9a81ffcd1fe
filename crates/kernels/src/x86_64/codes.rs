//! Kernels on codes, for each instruction set: the portable bodies, which the compiler vectorises,
//! and lookups by permutations of bytes.

use std::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_mask_blend_epi8, _mm512_mask_permutexvar_epi8,
    _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8, _mm512_movepi8_mask,
    _mm512_permutex2var_epi8, _mm512_permutexvar_epi8, _mm512_storeu_si512,
};
use std::ops::Range;

use crate::matmul_codes::portable_tile;
use crate::{AddCodes, CodesOut, MatmulCodes, MeanCodes, PadCount, Window2d};

#[target_feature(enable = "avx2,fma")]
pub(crate) fn add_avx2(add: &AddCodes, a: &[u8], b: &[u8], y: &mut [u8]) {
    add.body(a, b, y);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,fma")]
pub(crate) fn add_avx512(add: &AddCodes, a: &[u8], b: &[u8], y: &mut [u8]) {
    add.body(a, b, y);
}

#[target_feature(enable = "avx2,fma")]
pub(crate) fn mean_avx2(mean: &MeanCodes, x: &[u8], extents: (usize, usize), y: CodesOut<'_>) {
    mean.axis_body(x, extents, y);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,fma")]
pub(crate) fn mean_avx512(mean: &MeanCodes, x: &[u8], extents: (usize, usize), y: CodesOut<'_>) {
    mean.axis_body(x, extents, y);
}

#[target_feature(enable = "avx2,fma")]
pub(crate) fn windows_avx2(
    mean: &MeanCodes,
    window: &Window2d,
    image: &[u8],
    pixels: Range<usize>,
    pad: PadCount,
    y: CodesOut<'_>,
) {
    mean.windows_body(window, image, pixels, pad, y);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,fma")]
pub(crate) fn windows_avx512(
    mean: &MeanCodes,
    window: &Window2d,
    image: &[u8],
    pixels: Range<usize>,
    pad: PadCount,
    y: CodesOut<'_>,
) {
    mean.windows_body(window, image, pixels, pad, y);
}

/// 256 bytes in registers.
pub(crate) struct Table([__m512i; 4]);

impl Table {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(crate) fn new(table: &[u8; 256]) -> Self {
        Self(std::array::from_fn(|i| {
            // SAFETY: bytes `64·i ..` of 256 hold 64.
            unsafe { _mm512_loadu_si512(table.as_ptr().add(64 * i).cast()) }
        }))
    }

    /// Of each byte what the table has there.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(crate) fn look_up(&self, x: __m512i) -> __m512i {
        let [a, b, c, d] = self.0;
        let low = _mm512_permutex2var_epi8(a, x, b);
        let high = _mm512_permutex2var_epi8(c, x, d);
        _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high)
    }
}

/// `y[i] = table[x[i]]`; `x` and `y` are of one length.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn lookup_avx512(table: &[u8; 256], x: &[u8], y: &mut [u8]) {
    let table = Table::new(table);
    let (whole, rest) = x.as_chunks::<64>();
    let (whole_y, rest_y) = y.as_chunks_mut::<64>();
    for (x, y) in whole.iter().zip(whole_y) {
        // SAFETY: both are 64 bytes.
        unsafe {
            let x = _mm512_loadu_si512(x.as_ptr().cast());
            _mm512_storeu_si512(y.as_mut_ptr().cast(), table.look_up(x));
        }
    }
    let mask = (1u64 << rest.len().min(rest_y.len())) - 1;
    // SAFETY: the mask keeps to bytes that both have.
    unsafe {
        let x = _mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast());
        _mm512_mask_storeu_epi8(rest_y.as_mut_ptr().cast(), mask, table.look_up(x));
    }
}

/// Pixels of three planes that are interleaved at once.
const PIXELS: usize = 64;

/// Which pixel of its plane each byte of 64 interleaved pixels is, and which bytes are of the second
/// and of the third plane.
const PLACES: ([[u8; PIXELS]; 3], [[u64; 3]; 3]) = {
    let (mut pixels, mut masks) = ([[0; PIXELS]; 3], [[0; 3]; 3]);
    let mut n = 0;
    while n < 3 * PIXELS {
        pixels[n / PIXELS][n % PIXELS] = (n / 3) as u8;
        masks[n / PIXELS][n % 3] |= 1 << (n % PIXELS);
        n += 1;
    }
    (pixels, masks)
};

/// `[3, pixels] -> [pixels, 3]` as far as whole vectors go; how many pixels that is.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(crate) fn interleave_avx512(x: &[u8], y: &mut [u8]) -> usize {
    let (all, (places, masks)) = (x.len() / 3, PLACES);
    let whole = all.min(y.len() / 3) / PIXELS * PIXELS;
    for pixel in (0..whole).step_by(PIXELS) {
        // SAFETY: each plane has 64 pixels from `pixel` on, the target three times as many bytes.
        unsafe {
            let plane = |c: usize| _mm512_loadu_si512(x.as_ptr().add(c * all + pixel).cast());
            let planes = [plane(0), plane(1), plane(2)];
            for n in 0..3 {
                let places = _mm512_loadu_si512(places[n].as_ptr().cast());
                let mut bytes = _mm512_permutexvar_epi8(places, planes[0]);
                for c in 1..3 {
                    let mask = masks[n][c];
                    bytes = _mm512_mask_permutexvar_epi8(bytes, mask, places, planes[c]);
                }
                let to = y.as_mut_ptr().add(3 * pixel + n * PIXELS);
                _mm512_storeu_si512(to.cast(), bytes);
            }
        }
    }
    whole
}

#[target_feature(enable = "avx2,fma")]
pub(crate) fn matmul_avx2(
    matmul: &MatmulCodes,
    a: &[u8],
    b: &[u8],
    scratch: &mut [u8],
    y: CodesOut<'_>,
) {
    matmul.body(a, b, scratch, y, portable_tile);
}
