//! Products of matrices of codes: tiles of 10 rows and two panels.

use std::arch::x86_64::*;

use crate::matmul_codes::LANES;
use crate::{CodesOut, MatmulCodes};

/// Rows of a tile.
const ROWS: usize = 10;
/// Rows of the tiles behind the last whole one.
const FEWER_ROWS: usize = 4;
/// Panels of a tile, so that one broadcast activation feeds two products.
const PANELS: usize = 2;
/// Bytes of a register.
const BYTES: usize = 64;

type Sums<const R: usize, const N: usize> = [[__m512i; R]; N];

/// Lengths are those that [`MatmulCodes::run`] checks.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
pub(crate) fn matmul(
    matmul: &MatmulCodes,
    a: &[u8],
    b: &[u8],
    scratch: &mut [u8],
    mut y: CodesOut<'_>,
) {
    let (codes, terms) = scratch.split_at_mut(matmul.panels() * matmul.panel_bytes());
    pack(matmul, b, codes, terms);
    let right = Right {
        matmul,
        codes,
        terms,
        end: End::new(matmul),
    };
    let rows = y.len() / matmul.columns.max(1);
    let mut first = 0;
    while first < rows {
        first += match rows - first {
            ROWS.. => right.rows::<ROWS>(a, first, &mut y),
            FEWER_ROWS.. => right.rows::<FEWER_ROWS>(a, first, &mut y),
            _ => right.rows::<1>(a, first, &mut y),
        };
    }
}

/// The second factor, packed, and how sums become results.
struct Right<'a> {
    matmul: &'a MatmulCodes,
    codes: &'a [u8],
    terms: &'a [u8],
    end: End,
}

impl Right<'_> {
    /// `R` rows of the product, from `first` on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn rows<const R: usize>(&self, a: &[u8], first: usize, y: &mut CodesOut<'_>) -> usize {
        let depth = self.matmul.depth;
        let a = &a[first * depth..][..R * depth];
        let mut row_terms = [0; R];
        for r in 0..R {
            row_terms[r] = self.matmul.row_term(&a[r * depth..][..depth]);
        }
        for panel in (0..self.matmul.panels()).step_by(PANELS) {
            let each = self.matmul.panel_bytes();
            let codes = &self.codes[panel * each..];
            let tile = Tile {
                first,
                panel,
                row_terms: &row_terms,
                terms: &self.terms[panel * BYTES..],
            };
            match self.matmul.panels() - panel {
                1 => {
                    let sums = sums::<R, 1>(a, depth, &codes[..each]);
                    self.end.put(self.matmul, &tile, &sums, y);
                }
                _ => {
                    let sums = sums::<R, PANELS>(a, depth, &codes[..PANELS * each]);
                    self.end.put(self.matmul, &tile, &sums, y);
                }
            }
        }
        R
    }
}

/// Packs `b` as [`MatmulCodes`] says.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn pack(matmul: &MatmulCodes, b: &[u8], codes: &mut [u8], terms: &mut [u8]) {
    let (depth, columns) = (matmul.depth, matmul.columns);
    let (to_signed, zero_a, both) = matmul.packing();
    let flip = _mm_set1_epi8(to_signed as i8);
    let ones = _mm512_set1_epi8(1);
    for panel in 0..matmul.panels() {
        let first = panel * LANES;
        let mask: __mmask16 = !0 >> (LANES - LANES.min(columns - first));
        let mut sums = _mm512_setzero_si512();
        for group in 0..depth.div_ceil(4) {
            let mut rows = [_mm_setzero_si128(); 4];
            for (r, row) in rows.iter_mut().enumerate().take(depth - 4 * group) {
                let from = b[(4 * group + r) * columns + first..].as_ptr();
                // SAFETY: the mask covers what the row has from this column on.
                *row = _mm_xor_si128(unsafe { _mm_maskz_loadu_epi8(mask, from.cast()) }, flip);
            }
            let [a, b, c, d] = rows;
            let low = [_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d)];
            let high = [_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d)];
            let quarters = [
                _mm_unpacklo_epi16(low[0], low[1]),
                _mm_unpackhi_epi16(low[0], low[1]),
                _mm_unpacklo_epi16(high[0], high[1]),
                _mm_unpackhi_epi16(high[0], high[1]),
            ];
            let to = &mut codes[panel * matmul.panel_bytes() + group * BYTES..][..BYTES];
            // SAFETY: four times 16 bytes are written and read.
            unsafe {
                for (n, quarter) in quarters.into_iter().enumerate() {
                    _mm_storeu_si128(to.as_mut_ptr().add(16 * n).cast(), quarter);
                }
                let group = _mm512_loadu_si512(to.as_ptr().cast());
                sums = _mm512_dpbusd_epi32(sums, ones, group);
            }
        }
        let sums = _mm512_mullo_epi32(sums, _mm512_set1_epi32(-zero_a));
        let to = &mut terms[panel * BYTES..][..BYTES];
        let term = _mm512_add_epi32(sums, _mm512_set1_epi32(both));
        // SAFETY: 64 bytes.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), term) };
    }
}

/// The sums of products of `R` rows, which lie back to back, and `N` panels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn sums<const R: usize, const N: usize>(a: &[u8], depth: usize, codes: &[u8]) -> Sums<R, N> {
    let each = codes.len() / N;
    let mut acc = [[_mm512_setzero_si512(); R]; N];
    for g in 0..depth / 4 {
        // SAFETY: each panel has a register for every four codes of a row, which each row has.
        unsafe {
            let group = codes.as_ptr().add(g * BYTES);
            let rows = a.as_ptr().add(4 * g);
            let mut b = [_mm512_setzero_si512(); N];
            for n in 0..N {
                b[n] = _mm512_loadu_si512(group.add(n * each).cast());
            }
            for r in 0..R {
                let four = rows.add(r * depth).cast::<i32>().read_unaligned();
                let four = _mm512_set1_epi32(four);
                for n in 0..N {
                    acc[n][r] = _mm512_dpbusd_epi32(acc[n][r], four, b[n]);
                }
            }
        }
    }
    if !depth.is_multiple_of(4) {
        let mut fours = [0; R];
        for r in 0..R {
            let mut bytes = [0; 4];
            let rest = &a[r * depth..][depth / 4 * 4..depth];
            bytes[..rest.len()].copy_from_slice(rest);
            fours[r] = i32::from_ne_bytes(bytes);
        }
        for n in 0..N {
            // SAFETY: the last register of a panel holds what is left, zeros behind it.
            let b =
                unsafe { _mm512_loadu_si512(codes.as_ptr().add((n + 1) * each - BYTES).cast()) };
            for r in 0..R {
                acc[n][r] = _mm512_dpbusd_epi32(acc[n][r], _mm512_set1_epi32(fours[r]), b);
            }
        }
    }
    acc
}

/// Where the sums of a tile go, and what the zero points add.
struct Tile<'a, const R: usize> {
    first: usize,
    panel: usize,
    row_terms: &'a [i32; R],
    /// Of the columns, from the first panel on, as bytes.
    terms: &'a [u8],
}

/// How sums become results.
struct End {
    factor: __m512,
    bounds: [__m512; 2],
    zero_point: __m512i,
    flip: __m128i,
}

impl End {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(matmul: &MatmulCodes) -> Self {
        let (lo, hi, zero_point, flip) = match &matmul.end {
            Some(end) => {
                let codes = end.codes;
                (end.bounds.lo, end.bounds.hi, codes.zero_point, codes.flip)
            }
            None => (0.0, 0.0, 0, 0),
        };
        Self {
            factor: _mm512_set1_ps(matmul.factor),
            bounds: [_mm512_set1_ps(lo), _mm512_set1_ps(hi)],
            zero_point: _mm512_set1_epi32(zero_point),
            flip: _mm_set1_epi8(flip as i8),
        }
    }

    /// Finishes and writes the sums of a tile.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn put<const R: usize, const N: usize>(
        &self,
        matmul: &MatmulCodes,
        tile: &Tile<'_, R>,
        sums: &Sums<R, N>,
        y: &mut CodesOut<'_>,
    ) {
        for (n, sums) in sums.iter().enumerate() {
            let first = (tile.panel + n) * LANES;
            let lanes = LANES.min(matmul.columns - first);
            let mask: __mmask16 = !0 >> (LANES - lanes);
            let terms = &tile.terms[n * BYTES..][..BYTES];
            // SAFETY: 16 terms are 64 bytes.
            let terms = unsafe { _mm512_loadu_si512(terms.as_ptr().cast()) };
            for r in 0..R {
                let at = (tile.first + r) * matmul.columns + first;
                let row = _mm512_set1_epi32(tile.row_terms[r]);
                let sum = _mm512_add_epi32(_mm512_add_epi32(sums[r], row), terms);
                let real = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), self.factor);
                match y {
                    // SAFETY: the mask covers as many of the row's lanes.
                    CodesOut::Real(y) => unsafe {
                        let to = y[at..at + lanes].as_mut_ptr();
                        _mm512_mask_storeu_ps(to, mask, real);
                    },
                    CodesOut::Codes(y) => {
                        let to = y[at..at + lanes].as_mut_ptr();
                        // SAFETY: the mask covers as many of the row's lanes.
                        unsafe { _mm_mask_storeu_epi8(to.cast(), mask, self.bytes(real)) };
                    }
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn bytes(&self, real: __m512) -> __m128i {
        let [lo, hi] = self.bounds;
        let steps = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(real, lo), hi));
        let code = _mm512_add_epi32(steps, self.zero_point);
        _mm_xor_si128(_mm512_cvtepi32_epi8(code), self.flip)
    }
}
