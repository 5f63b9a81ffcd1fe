use std::{arch::x86_64::*, ops::Range};

use crate::{
    DenseI8, IntOut, Rows, SparseI8,
    dense_i8::{PANEL, QUAD},
    epilogue::LANES,
    passes::{BAND, Group, LastWindow},
    sparse_i8::{GATHER64, PASS64},
};

/// Pixels of a dense tile of two panels: 24 accumulators.
pub(crate) const DENSE_PIXELS: usize = 12;
/// Panels of a dense tile, so that one broadcast activation feeds two products.
const DENSE_PANELS: usize = 2;
/// Panels that one pixel walks at once.
const DENSE_STREAMS: usize = 8;
/// Pixels of a sparse tile; more would not leave registers for indices and weights.
pub(crate) const SPARSE_PIXELS: usize = 14;
/// Accumulators of a group at one pixel, so that `vpdpbusd` does not wait for itself.
const CHAINS: usize = 4;

/// # Safety
/// As the table says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) unsafe fn dense(
    layer: &DenseI8,
    x: Rows<'_, u8>,
    outputs: Range<usize>,
    mut out: IntOut<'_>,
) {
    let mut first = outputs.start;
    while first < outputs.end {
        let panels = (outputs.end - first).div_ceil(PANEL);
        let tile = DenseTile {
            layer,
            x,
            outputs: &outputs,
            first,
        };
        // SAFETY: the panels exist.
        first += PANEL
            * unsafe {
                match (x.rows(), panels) {
                    (1, DENSE_STREAMS..) => tile.run::<1, DENSE_STREAMS>(0, &mut out),
                    (1, 4..) => tile.run::<1, 4>(0, &mut out),
                    (_, DENSE_PANELS..) => tile.pixels::<DENSE_PANELS>(&mut out),
                    _ => tile.pixels::<1>(&mut out),
                }
            };
    }
}

/// Some panels, from output `first` on.
struct DenseTile<'a> {
    layer: &'a DenseI8,
    x: Rows<'a, u8>,
    outputs: &'a Range<usize>,
    first: usize,
}

impl DenseTile<'_> {
    /// # Safety
    /// `N` panels exist.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn pixels<const N: usize>(&self, out: &mut IntOut<'_>) -> usize {
        let mut pixel = 0;
        while pixel < self.x.rows() {
            let left = self.x.rows() - pixel;
            // SAFETY: at most `left` pixels.
            unsafe {
                match left {
                    DENSE_PIXELS.. => self.run::<DENSE_PIXELS, N>(pixel, out),
                    8.. => self.run::<8, N>(pixel, out),
                    4.. => self.run::<4, N>(pixel, out),
                    3 => self.run::<3, N>(pixel, out),
                    2 => self.run::<2, N>(pixel, out),
                    _ => self.run::<1, N>(pixel, out),
                }
            };
            pixel += match left {
                DENSE_PIXELS.. => DENSE_PIXELS,
                8.. => 8,
                4.. => 4,
                _ => left,
            };
        }
        N
    }

    /// # Safety
    /// `P` pixels from `pixel` on are rows of `x`; `N` panels exist.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<const P: usize, const N: usize>(
        &self,
        pixel: usize,
        out: &mut IntOut<'_>,
    ) -> usize {
        const VECTOR: usize = PANEL * QUAD;
        let depth = self.layer.depth();
        let stride = self.x.stride();
        let mut acc = [[_mm512_setzero_si512(); P]; N];
        let mut w = [std::ptr::null(); N];
        for n in 0..N {
            let panel = self.first / PANEL + n;
            w[n] = self.layer.panel(panel).as_ptr();
            // SAFETY: a panel has 16 biases.
            acc[n] =
                [unsafe { _mm512_loadu_si512(self.layer.panel_bias(panel).as_ptr().cast()) }; P];
        }
        // SAFETY: the pixels are rows of `x`, read in whole quads below `depth`; a panel has a vector a quad.
        unsafe {
            let x = self.x.as_ptr().add(pixel * stride);
            for q in 0..depth / QUAD {
                let mut weights = [_mm512_setzero_si512(); N];
                for n in 0..N {
                    weights[n] = _mm512_loadu_si512(w[n].add(q * VECTOR).cast());
                }
                for p in 0..P {
                    let x = x.add(p * stride + q * QUAD).cast::<i32>().read_unaligned();
                    let x = _mm512_set1_epi32(x);
                    for n in 0..N {
                        acc[n][p] = _mm512_dpbusd_epi32(acc[n][p], x, weights[n]);
                    }
                }
            }
        }
        if !depth.is_multiple_of(QUAD) {
            let from = depth / QUAD * QUAD;
            for p in 0..P {
                let x = _mm512_set1_epi32(last_quad(self.x.row(pixel + p)));
                for n in 0..N {
                    // SAFETY: the last vector of a panel holds the tail, padded with zeros.
                    let w = unsafe { _mm512_loadu_si512(w[n].add(from * PANEL).cast()) };
                    acc[n][p] = _mm512_dpbusd_epi32(acc[n][p], x, w);
                }
            }
        }
        for n in 0..N {
            let first = self.first + n * PANEL;
            let count = PANEL.min(self.outputs.end - first);
            out.put(&lanes(&acc[n]), pixel, self.outputs.start, first, count);
        }
        N
    }
}

/// What is left of a row behind its whole quads, zeros behind it: the row's last four bytes, moved
/// to the front, so that no length has to be looked at byte by byte.
#[inline(always)]
fn last_quad(row: &[u8]) -> i32 {
    let tail = row.len() % QUAD;
    match row.last_chunk::<QUAD>() {
        Some(quad) => (u32::from_le_bytes(*quad) >> (8 * (QUAD - tail))) as i32,
        None => {
            let mut quad = [0; QUAD];
            quad[..tail].copy_from_slice(row);
            i32::from_le_bytes(quad)
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lanes<const P: usize>(acc: &[__m512i; P]) -> [[i32; LANES]; P] {
    let mut lanes = [[0; LANES]; P];
    for (lanes, acc) in lanes.iter_mut().zip(acc) {
        // SAFETY: 16 lanes.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), *acc) };
    }
    lanes
}

/// # Safety
/// As the table says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
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
            let tile = SparseBand {
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
                    13 => tile.run::<13>(&mut out),
                    12 => tile.run::<12>(&mut out),
                    11 => tile.run::<11>(&mut out),
                    10 => tile.run::<10>(&mut out),
                    9 => tile.run::<9>(&mut out),
                    8 => tile.run::<8>(&mut out),
                    7 => tile.run::<7>(&mut out),
                    6 => tile.run::<6>(&mut out),
                    5 => tile.run::<5>(&mut out),
                    4 => tile.run::<4>(&mut out),
                    3 => tile.run::<3>(&mut out),
                    2 => tile.run::<2>(&mut out),
                    _ => tile.run::<1>(&mut out),
                }
            };
        }
        first = band.end;
    }
}

/// One band of rows at several pixels.
struct SparseBand<'a> {
    layer: &'a SparseI8,
    x: Rows<'a, u8>,
    base: usize,
    band: &'a Range<usize>,
    pixel: usize,
}

impl SparseBand<'_> {
    /// # Safety
    /// `P` pixels from `self.pixel` on are rows of `x`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn run<const P: usize>(&self, out: &mut IntOut<'_>) -> usize {
        let passes = self.layer.passes();
        let groups = passes.groups_of(self.band);
        let mut bytes = [[0u8; BAND]; P];
        let window = LastWindow::of(self.x.row(self.pixel));
        for (n, g) in groups.enumerate() {
            let group = passes.group(g);
            // SAFETY: the group is the layer's, the pixels are rows of `x`.
            let acc = unsafe {
                if P == 1 {
                    [self.one(group, self.layer.group_bias(g), &window); P]
                } else {
                    self.tile::<P>(group, self.layer.group_bias(g))
                }
            };
            let acc = lanes(&acc);
            match out {
                IntOut::U8(_, requantize) | IntOut::I8(_, requantize) => {
                    let multiplier = requantize.multipliers(group.rows);
                    for (bytes, acc) in bytes.iter_mut().zip(&acc) {
                        let lanes = requantize.bytes(acc, &multiplier);
                        bytes[n * LANES..][..LANES].copy_from_slice(&lanes);
                    }
                }
                IntOut::I32(_) | IntOut::F32(..) => {
                    out.scatter(&acc, self.pixel, self.base, group.rows);
                }
            }
        }
        let to = self.band.start - self.base..self.band.end - self.base;
        let places = self.layer.places(self.band.start / BAND);
        for (p, bytes) in bytes.iter().enumerate() {
            if let Some(y) = out.byte_row(self.pixel + p) {
                let y = &mut y[to.clone()];
                let mask = !0 >> (BAND - y.len());
                // SAFETY: 64 places, 64 bytes; the mask covers the `y.len()` outputs of the band.
                unsafe {
                    let places = _mm512_loadu_si512(places.as_ptr().cast());
                    let bytes = _mm512_loadu_si512(bytes.as_ptr().cast());
                    let ordered = _mm512_permutexvar_epi8(places, bytes);
                    _mm512_mask_storeu_epi8(y.as_mut_ptr().cast(), mask, ordered);
                }
            }
        }
        P
    }

    /// # Safety
    /// As for `run`; `group` is the layer's.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn tile<const P: usize>(&self, group: Group<'_>, bias: &[i32]) -> [__m512i; P] {
        let depth = self.layer.depth();
        let stride = self.x.stride();
        // SAFETY: the pixels are rows of `x`; windows begin below `depth`, and one that would end
        // beyond it is read with a mask; a pass has 64 indices and 64 weights; a group has 16 biases.
        unsafe {
            let x = self.x.as_ptr().add(self.pixel * stride);
            let mut pass = self.layer.data().as_ptr().add(group.first_pass * PASS64);
            let mut acc = [_mm512_loadu_si512(bias.as_ptr().cast()); P];
            for run in group.runs {
                let first = run.window as usize * GATHER64.window;
                let x = x.add(first);
                let mask = tail(depth - first);
                for _ in 0..run.passes {
                    let at = _mm512_loadu_si512(pass.cast());
                    let w = _mm512_loadu_si512(pass.add(PASS64 / 2).cast());
                    if mask == !0 {
                        for p in 0..P {
                            let x = _mm512_loadu_si512(x.add(p * stride).cast());
                            let x = _mm512_permutexvar_epi8(at, x);
                            acc[p] = _mm512_dpbusd_epi32(acc[p], x, w);
                        }
                    } else {
                        for p in 0..P {
                            let x = _mm512_maskz_loadu_epi8(mask, x.add(p * stride).cast());
                            let x = _mm512_permutexvar_epi8(at, x);
                            acc[p] = _mm512_dpbusd_epi32(acc[p], x, w);
                        }
                    }
                    pass = pass.add(PASS64);
                }
            }
            acc
        }
    }

    /// # Safety
    /// As for `tile`, with one pixel.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn one(&self, group: Group<'_>, bias: &[i32], window: &LastWindow<u8, 64>) -> __m512i {
        // SAFETY: as for `tile`; the last window, if partial, is read from its padded copy.
        unsafe {
            let x = self.x.as_ptr().add(self.pixel * self.x.stride());
            let mut pass = self.layer.data().as_ptr().add(group.first_pass * PASS64);
            let mut acc = [_mm512_setzero_si512(); CHAINS];
            acc[0] = _mm512_loadu_si512(bias.as_ptr().cast());
            let mut step = |acc: &mut __m512i, origin: u32| {
                let x = window.at(x, origin);
                let at = _mm512_loadu_si512(pass.cast());
                let w = _mm512_loadu_si512(pass.add(PASS64 / 2).cast());
                let x = _mm512_permutexvar_epi8(at, _mm512_loadu_si512(x.cast()));
                *acc = _mm512_dpbusd_epi32(*acc, x, w);
                pass = pass.add(PASS64);
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

/// The bytes of a window with `left` inputs before the end.
#[inline(always)]
fn tail(left: usize) -> __mmask64 {
    if left >= GATHER64.window {
        return !0;
    }
    (1 << left) - 1
}
