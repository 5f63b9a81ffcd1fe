//! Sparse int8 in registers of 32 bytes, for AVX2 and for AVX-VNNI.

use std::{arch::x86_64::*, ops::Range};

use super::ymm_dot::{Weights, dot, dot16, widened};
use crate::{
    IntOut, Rows, SparseI8,
    band_bytes::BandBytes,
    epilogue::LANES,
    passes::{BAND, Group},
    sparse_i8::QUADS16X8,
};

/// Pixels of a tile: 8 accumulators.
pub(crate) const PIXELS: usize = 8;
/// Accumulators of a group at one pixel, so that `vpdpbusd` does not wait for itself.
const CHAINS: usize = 4;
/// Inputs of a window.
const WINDOW: usize = QUADS16X8.window;
/// Bytes of a register: the indices of a pass, or its weights.
const BYTES: usize = 32;

/// # Safety
/// As the table says; with `VNNI` the processor has AVX-VNNI.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn sparse<const VNNI: bool>(
    layer: &SparseI8,
    x: Rows<'_, u8>,
    outputs: Range<usize>,
    mut out: IntOut<'_>,
) {
    let mut first = outputs.start;
    while first < outputs.end {
        let band = first..outputs.end.min(first + BAND);
        let places = layer.places(first / BAND);
        let mut pixel = 0;
        while pixel < x.rows() {
            let tile = Tile {
                layer,
                x,
                base: outputs.start,
                band: &band,
                places,
                pixel,
            };
            // SAFETY: the tile's pixels are rows of `x`.
            pixel += unsafe {
                match x.rows() - pixel {
                    PIXELS.. => tile.run::<PIXELS, VNNI>(&mut out),
                    4.. => tile.run::<4, VNNI>(&mut out),
                    2.. => tile.run::<2, VNNI>(&mut out),
                    _ => tile.run::<1, VNNI>(&mut out),
                }
            };
        }
        first = band.end;
    }
}

/// One band of rows at several pixels.
struct Tile<'a> {
    layer: &'a SparseI8,
    x: Rows<'a, u8>,
    base: usize,
    band: &'a Range<usize>,
    places: &'a [u8],
    pixel: usize,
}

impl Tile<'_> {
    /// # Safety
    /// `P` pixels from `self.pixel` on are rows of `x`; with `VNNI` the processor has AVX-VNNI.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run<const P: usize, const VNNI: bool>(&self, out: &mut IntOut<'_>) -> usize {
        let passes = self.layer.passes();
        let mut bytes = BandBytes::<P>::new(self.pixel, self.base);
        let mut tails = [[0; WINDOW]; P];
        let tail = self.layer.depth() / WINDOW * WINDOW;
        if !self.reads_beyond::<P>() {
            for (p, to) in tails.iter_mut().enumerate() {
                let left = &self.x.row(self.pixel + p)[tail..];
                to[..left.len()].copy_from_slice(left);
            }
        }
        let groups = passes.groups_of(self.band);
        for first in groups.clone().step_by(2) {
            let mut lanes = [[0; LANES]; P];
            for g in first..groups.end.min(first + 2) {
                let bias = self.layer.group_bias(g);
                // SAFETY: the group is the layer's, the pixels are rows of `x`.
                let acc = unsafe {
                    if !VNNI && self.layer.sums16() > 0 {
                        self.small::<P>(passes.group(g), bias, &tails)
                    } else if P == 1 {
                        [self.one::<VNNI>(passes.group(g), bias, &tails[0]); P]
                    } else {
                        self.group::<P, VNNI>(passes.group(g), bias, &tails)
                    }
                };
                for p in 0..P {
                    let half = &mut lanes[p][(g - first) * QUADS16X8.rows..][..QUADS16X8.rows];
                    // SAFETY: 8 lanes.
                    unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), acc[p]) };
                }
            }
            let lane = (first - groups.start) * QUADS16X8.rows;
            bytes.put(out, &lanes, lane, passes.rows_of(first, 2));
        }
        bytes.store(out, self.band, |bytes| permuted(bytes, self.places));
        P
    }

    /// Whether windows may end beyond a row: what lies there is picked by no index, but behind the last row
    /// there may be nothing.
    #[inline(always)]
    fn reads_beyond<const P: usize>(&self) -> bool {
        self.pixel + P < self.x.rows() && self.x.stride() >= WINDOW
    }

    /// Where the first pixel's window from `origin` on lies, and how far the next pixel's is from it.
    #[inline(always)]
    fn window<const P: usize>(&self, origin: u32, tails: &[[u8; WINDOW]; P]) -> (*const u8, usize) {
        let (origin, stride) = (origin as usize, self.x.stride());
        if self.reads_beyond::<P>() || origin + WINDOW <= self.layer.depth() {
            let first = self.pixel * stride + origin;
            return (self.x.as_ptr().wrapping_add(first), stride);
        }
        (tails.as_ptr().cast(), WINDOW)
    }

    /// The passes of a group, 64 bytes each.
    #[inline(always)]
    fn data(&self, group: Group<'_>) -> *const u8 {
        self.layer.data()[group.first_pass * 2 * BYTES..].as_ptr()
    }

    /// # Safety
    /// As for `run`; `group` is the layer's, `tails` the pixels' inputs behind the whole windows.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn group<const P: usize, const VNNI: bool>(
        &self,
        group: Group<'_>,
        bias: &[i32],
        tails: &[[u8; WINDOW]; P],
    ) -> [__m256i; P] {
        // SAFETY: the pixels are rows of `x`; windows begin within them, and one that would end beyond is
        // read from its copy, unless a row follows a window or more behind; a pass has 32 indices and
        // 32 weights; a group has 8 biases.
        unsafe {
            let mut pass = self.data(group);
            let mut acc = [_mm256_loadu_si256(bias.as_ptr().cast()); P];
            for &origin in group.origins {
                let (x, step) = self.window(origin, tails);
                let at = _mm256_loadu_si256(pass.cast());
                let w = Weights::of::<VNNI>(_mm256_loadu_si256(pass.add(BYTES).cast()));
                for p in 0..P {
                    acc[p] = dot::<VNNI>(acc[p], picked(x.add(p * step), at), w);
                }
                pass = pass.add(2 * BYTES);
            }
            acc
        }
    }

    /// Of small weights: products are added up in 16 bits.
    ///
    /// # Safety
    /// As for `group`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn small<const P: usize>(
        &self,
        group: Group<'_>,
        bias: &[i32],
        tails: &[[u8; WINDOW]; P],
    ) -> [__m256i; P] {
        // SAFETY: as for `group`.
        unsafe {
            let mut pass = self.data(group);
            let mut acc = [_mm256_loadu_si256(bias.as_ptr().cast()); P];
            for origins in group.origins.chunks(self.layer.sums16()) {
                let mut sums = [_mm256_setzero_si256(); P];
                for &origin in origins {
                    let (x, step) = self.window(origin, tails);
                    let at = _mm256_loadu_si256(pass.cast());
                    let w = _mm256_loadu_si256(pass.add(BYTES).cast());
                    for p in 0..P {
                        sums[p] = dot16(sums[p], picked(x.add(p * step), at), w);
                    }
                    pass = pass.add(2 * BYTES);
                }
                // By index, so that the sums stay in registers.
                for p in 0..P {
                    acc[p] = widened(acc[p], sums[p]);
                }
            }
            acc
        }
    }

    /// # Safety
    /// As for `group`, with one pixel.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn one<const VNNI: bool>(
        &self,
        group: Group<'_>,
        bias: &[i32],
        tail: &[u8; WINDOW],
    ) -> __m256i {
        let depth = self.layer.depth();
        let row = self.x.row(self.pixel).as_ptr();
        // SAFETY: as for `group`.
        unsafe {
            let mut pass = self.data(group);
            let mut acc = [_mm256_setzero_si256(); CHAINS];
            acc[0] = _mm256_loadu_si256(bias.as_ptr().cast());
            let mut step = |acc: &mut __m256i, origin: u32| {
                let origin = origin as usize;
                let whole = origin + WINDOW <= depth;
                let x = if whole {
                    row.add(origin)
                } else {
                    tail.as_ptr()
                };
                let at = _mm256_loadu_si256(pass.cast());
                let w = Weights::of::<VNNI>(_mm256_loadu_si256(pass.add(BYTES).cast()));
                *acc = dot::<VNNI>(*acc, picked(x, at), w);
                pass = pass.add(2 * BYTES);
            };
            let chunks = group.origins.chunks_exact(CHAINS);
            let rest = chunks.remainder();
            for origins in chunks {
                for (acc, &origin) in acc.iter_mut().zip(origins) {
                    step(acc, origin);
                }
            }
            for (acc, &origin) in acc.iter_mut().zip(rest) {
                step(acc, origin);
            }
            let [a, b, c, d] = acc;
            _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d))
        }
    }
}

/// The activations that a pass's indices pick from a window.
///
/// # Safety
/// `x` points to 16 bytes.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn picked(x: *const u8, at: __m256i) -> __m256i {
    // SAFETY: the caller's.
    let window = unsafe { _mm_loadu_si128(x.cast()) };
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(window), at)
}

/// `bytes[places[j]]`; `places` are 64, each below 64.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn permuted(bytes: &[u8; BAND], places: &[u8]) -> [u8; BAND] {
    const QUARTER: usize = BAND / 4;
    let mut ordered = [0; BAND];
    for (to, places) in ordered
        .chunks_exact_mut(BYTES)
        .zip(places.chunks_exact(BYTES))
    {
        // SAFETY: both chunks have 32 bytes, a quarter has 16.
        unsafe {
            let places = _mm256_loadu_si256(places.as_ptr().cast());
            let mut picked = _mm256_setzero_si256();
            for quarter in 0..4 {
                // A place of this quarter is 0x70 to 0x7f, others set the bit that clears the byte.
                let origin = _mm256_set1_epi8((quarter * QUARTER) as i8);
                let at = _mm256_xor_si256(places, origin);
                let at = _mm256_adds_epu8(at, _mm256_set1_epi8(0x70));
                let from = _mm_loadu_si128(bytes.as_ptr().add(quarter * QUARTER).cast());
                let from = _mm256_broadcastsi128_si256(from);
                picked = _mm256_or_si256(picked, _mm256_shuffle_epi8(from, at));
            }
            _mm256_storeu_si256(to.as_mut_ptr().cast(), picked);
        }
    }
    ordered
}
