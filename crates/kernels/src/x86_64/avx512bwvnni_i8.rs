use std::{arch::x86_64::*, ops::Range};

use crate::{
    IntOut, Rows, SparseI8,
    band_bytes::BandBytes,
    epilogue::LANES,
    passes::{BAND, Group},
    sparse_i8::QUADS16X16,
};

/// Pixels of a sparse tile; of 16 or 8, the compiler would finish the lanes of several pixels at once, by
/// gathers.
pub(crate) const SPARSE_PIXELS: usize = 14;
/// Accumulators of a group at one pixel, so that `vpdpbusd` does not wait for itself.
const CHAINS: usize = 4;
/// Inputs of a window.
const WINDOW: usize = QUADS16X16.window;
/// Bytes of a register: the indices of a pass, or its weights.
const BYTES: usize = 64;

/// # Safety
/// As the table says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) unsafe fn sparse(
    layer: &SparseI8,
    x: Rows<'_, u8>,
    outputs: Range<usize>,
    mut out: IntOut<'_>,
) {
    let mut first = outputs.start;
    while first < outputs.end {
        let band = first..outputs.end.min(first + BAND);
        let mut pixel = 0;
        while pixel < x.rows() {
            let tile = Tile {
                layer,
                x,
                base: outputs.start,
                band: &band,
                pixel,
            };
            // SAFETY: the tile's pixels are rows of `x`.
            pixel += unsafe {
                match x.rows() - pixel {
                    SPARSE_PIXELS.. => tile.run::<SPARSE_PIXELS>(&mut out),
                    7.. => tile.run::<7>(&mut out),
                    4.. => tile.run::<4>(&mut out),
                    2.. => tile.run::<2>(&mut out),
                    _ => tile.run::<1>(&mut out),
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
    pixel: usize,
}

impl Tile<'_> {
    /// # Safety
    /// `P` pixels from `self.pixel` on are rows of `x`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<const P: usize>(&self, out: &mut IntOut<'_>) -> usize {
        let passes = self.layer.passes();
        let mut bytes = BandBytes::<P>::new(self.pixel, self.base);
        let mut tails = [[0; WINDOW]; P];
        let tail = self.layer.depth() / WINDOW * WINDOW;
        for p in 0..P {
            let left = &self.x.row(self.pixel + p)[tail..];
            tails[p][..left.len()].copy_from_slice(left);
        }
        for (n, g) in passes.groups_of(self.band).enumerate() {
            let group = passes.group(g);
            let bias = self.layer.group_bias(g);
            // SAFETY: the group is the layer's, the pixels are rows of `x`.
            let acc = unsafe {
                if P == 1 {
                    [self.one(group, bias, &tails[0]); P]
                } else {
                    self.group::<P>(group, bias, &tails)
                }
            };
            let mut lanes = [[0; LANES]; P];
            for p in 0..P {
                // SAFETY: 16 lanes.
                unsafe { _mm512_storeu_si512(lanes[p].as_mut_ptr().cast(), acc[p]) };
            }
            bytes.put(out, &lanes, n * LANES, group.rows);
        }
        let places = self.layer.places(self.band.start / BAND);
        bytes.store(out, self.band, |bytes| permuted(bytes, places));
        P
    }

    /// # Safety
    /// As for `run`; `group` is the layer's, `tails` the pixels' inputs behind the whole windows.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn group<const P: usize>(
        &self,
        group: Group<'_>,
        bias: &[i32],
        tails: &[[u8; WINDOW]; P],
    ) -> [__m512i; P] {
        let depth = self.layer.depth();
        let stride = self.x.stride();
        // SAFETY: the pixels are rows of `x`; windows begin below `depth`, and one that would end
        // beyond it is read from its copy; a pass has 64 indices and 64 weights; a group has 16 biases.
        unsafe {
            let rows = self.x.as_ptr().add(self.pixel * stride);
            let mut pass = self.layer.data().as_ptr();
            pass = pass.add(group.first_pass * 2 * BYTES);
            let mut acc = [_mm512_loadu_si512(bias.as_ptr().cast()); P];
            for &origin in group.origins {
                let origin = origin as usize;
                let (x, step) = if origin + WINDOW <= depth {
                    (rows.add(origin), stride)
                } else {
                    (tails.as_ptr().cast(), WINDOW)
                };
                let at = _mm512_loadu_si512(pass.cast());
                let w = _mm512_loadu_si512(pass.add(BYTES).cast());
                for p in 0..P {
                    acc[p] = _mm512_dpbusd_epi32(acc[p], picked(x.add(p * step), at), w);
                }
                pass = pass.add(2 * BYTES);
            }
            acc
        }
    }

    /// # Safety
    /// As for `group`, with one pixel.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn one(&self, group: Group<'_>, bias: &[i32], tail: &[u8; WINDOW]) -> __m512i {
        let depth = self.layer.depth();
        let row = self.x.row(self.pixel).as_ptr();
        // SAFETY: as for `group`.
        unsafe {
            let mut pass = self.layer.data().as_ptr();
            pass = pass.add(group.first_pass * 2 * BYTES);
            let mut acc = [_mm512_setzero_si512(); CHAINS];
            acc[0] = _mm512_loadu_si512(bias.as_ptr().cast());
            let mut step = |acc: &mut __m512i, origin: u32| {
                let origin = origin as usize;
                let whole = origin + WINDOW <= depth;
                let x = if whole {
                    row.add(origin)
                } else {
                    tail.as_ptr()
                };
                let at = _mm512_loadu_si512(pass.cast());
                let w = _mm512_loadu_si512(pass.add(BYTES).cast());
                *acc = _mm512_dpbusd_epi32(*acc, picked(x, at), w);
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
            _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d))
        }
    }
}

/// The activations that a pass's indices pick from a window.
///
/// # Safety
/// `x` points to 16 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn picked(x: *const u8, at: __m512i) -> __m512i {
    // SAFETY: the caller's.
    let window = unsafe { _mm_loadu_si128(x.cast()) };
    _mm512_shuffle_epi8(_mm512_broadcast_i32x4(window), at)
}

/// `bytes[places[j]]`; `places` are 64, each below 64.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn permuted(bytes: &[u8; BAND], places: &[u8]) -> [u8; BAND] {
    const QUARTER: usize = BAND / 4;
    let mut ordered = [0; BAND];
    // SAFETY: 64 places, 64 bytes, 16 of them a quarter.
    unsafe {
        let places = _mm512_loadu_si512(places.as_ptr().cast());
        let mut picked = _mm512_setzero_si512();
        for quarter in 0..4 {
            // A place of this quarter is 0x70 to 0x7f, others set the bit that clears the byte.
            let origin = _mm512_set1_epi8((quarter * QUARTER) as i8);
            let at = _mm512_xor_si512(places, origin);
            let at = _mm512_adds_epu8(at, _mm512_set1_epi8(0x70));
            let from = _mm_loadu_si128(bytes.as_ptr().add(quarter * QUARTER).cast());
            let from = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(from), at);
            picked = _mm512_or_si512(picked, from);
        }
        _mm512_storeu_si512(ordered.as_mut_ptr().cast(), picked);
    }
    ordered
}
