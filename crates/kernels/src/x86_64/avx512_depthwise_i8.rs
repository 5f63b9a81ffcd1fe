//! Depthwise int8 convolutions: four rows of one column, interleaved, feed `vpdpbusd`.

use std::{arch::x86_64::*, mem::MaybeUninit, ops::Range};

use super::avx512_requantize::{ToBytes, transposed};
use crate::{
    DepthwiseI8, IntOut,
    epilogue::LANES,
    generic::depthwise::i8_body,
    row_quads::{BLOCK, MAX_QUADS, QUAD, QUAD_BYTES, RowQuads},
};

/// Quads that are interleaved before they are multiplied, if a pixel needs no more: they stay in the
/// first level of the cache.
const CACHED_QUADS: usize = 64;
/// Quads of a window whose weights stay in registers: 3 × 3, or a column of 12.
const HELD: usize = 3;

/// Interleaved quads, `[columns][quads]`.
#[repr(align(64))]
struct Scratch([MaybeUninit<u8>; MAX_QUADS * QUAD_BYTES]);

/// # Safety
/// As the table says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) unsafe fn depthwise(
    layer: &DepthwiseI8,
    image: &[u8],
    pad: u8,
    pixels: Range<usize>,
    mut out: IntOut<'_>,
) {
    let Some(quads) = layer.quads() else {
        i8_body(layer, image, pad, pixels, out);
        return;
    };
    let mut scratch = Scratch([MaybeUninit::uninit(); MAX_QUADS * QUAD_BYTES]);
    let width = quads.window().output[1];
    let mut at = pixels.start;
    while at < pixels.end {
        let (row, column) = (at / width, at % width);
        let whole = match column {
            0 => ((pixels.end - at) / width).min(quads.shared()),
            _ => 0,
        };
        let strip = Strip {
            quads,
            image,
            pad: [pad; BLOCK],
            row,
            rows: whole.max(1),
            columns: match whole {
                0 => column..width.min(column + pixels.end - at),
                _ => 0..width,
            },
            first: at - pixels.start,
        };
        // SAFETY: the wrapper checked the image and the output, the strip lies in both.
        unsafe { strip.run(&mut scratch, &mut out) };
        at += strip.rows * strip.columns.len();
    }
}

/// Output rows that share their quads, or a part of one.
struct Strip<'a> {
    quads: &'a RowQuads,
    image: &'a [u8],
    /// What lies outside of the image.
    pad: [u8; BLOCK],
    row: usize,
    rows: usize,
    columns: Range<usize>,
    /// The row of the output matrix that holds its first pixel.
    first: usize,
}

/// Some columns of a [`Strip`] at 64 channels.
struct Tile<'a> {
    strip: &'a Strip<'a>,
    block: usize,
    mask: __mmask64,
    columns: Range<usize>,
}

impl Strip<'_> {
    /// # Safety
    /// The strip lies in the output, which `out` is.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run(&self, scratch: &mut Scratch, out: &mut IntOut<'_>) {
        let window = self.quads.window();
        let span = (window.kernel[1] - 1) * window.dilation[1] + 1;
        let room = (CACHED_QUADS / self.quads.quads()).max(span);
        let most = (room - span) / window.stride[1] + 1;
        let each = self
            .columns
            .len()
            .div_ceil(self.columns.len().div_ceil(most));
        for block in 0..window.channels.div_ceil(BLOCK) {
            let channels = (window.channels - block * BLOCK).min(BLOCK);
            for start in self.columns.clone().step_by(each) {
                let tile = Tile {
                    strip: self,
                    block,
                    mask: !0 >> (BLOCK - channels),
                    columns: start..self.columns.end.min(start + each),
                };
                // SAFETY: the quads of so many columns fit; the tile lies in the strip.
                unsafe {
                    if channels == BLOCK {
                        tile.interleave::<true>(scratch);
                    } else {
                        tile.interleave::<false>(scratch);
                    }
                    if window.kernel[1] * self.quads.quads() == HELD {
                        tile.multiply::<true>(scratch, out);
                    } else {
                        tile.multiply::<false>(scratch, out);
                    }
                }
            }
        }
    }
}

impl Tile<'_> {
    /// Interleaves every column that the tile reads.
    ///
    /// # Safety
    /// The columns fit the scratch; `WHOLE` if the block has all of its channels.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn interleave<const WHOLE: bool>(&self, scratch: &mut Scratch) {
        let quads = self.strip.quads;
        let window = quads.window();
        let origin = self.columns.start * window.stride[1];
        let span = (self.columns.len() - 1) * window.stride[1]
            + (window.kernel[1] - 1) * window.dilation[1]
            + 1;
        let (left, width) = (window.pads[1], window.input[1]);
        let start = left.saturating_sub(origin).min(span);
        let end = (left + width).saturating_sub(origin).clamp(start, span);
        let to = scratch.0.as_mut_ptr().cast::<u8>();
        let outside = _mm512_set1_epi8(self.strip.pad[0] as i8);
        for column in (0..start).chain(end..span) {
            for v in 0..quads.quads() * QUAD {
                // SAFETY: a column has as many vectors.
                unsafe {
                    let to = to.add(column * quads.quads() * QUAD_BYTES + v * BLOCK);
                    _mm512_store_si512(to.cast(), outside);
                }
            }
        }
        if start == end {
            return;
        }
        let needed = quads.rows(self.strip.rows);
        for q in 0..quads.quads() {
            // Where the row's first column in the image lies, and the distance to the next.
            let mut rows = [(self.strip.pad.as_ptr(), 0); QUAD];
            for (i, row) in rows.iter_mut().enumerate() {
                let slot = q * QUAD + i;
                if slot >= needed {
                    continue;
                }
                let y = self.strip.row * window.stride[0] + slot * window.dilation[0];
                let y = y.wrapping_sub(window.pads[0]);
                if y < window.input[0] {
                    let pixel = y * width + (origin + start - left);
                    let from = pixel * window.channels + self.block * BLOCK;
                    *row = (self.strip.image[from..].as_ptr(), window.channels);
                }
            }
            for column in start..end {
                // SAFETY: `end - start` columns from the rows' first on lie in the image; the mask
                // keeps to the channels; the column fits the scratch.
                unsafe {
                    let load = |i: usize| {
                        let (from, step) = rows[i];
                        let from = from.add((column - start) * step).cast();
                        if WHOLE {
                            _mm512_loadu_si512(from)
                        } else {
                            _mm512_maskz_loadu_epi8(self.mask, from.cast())
                        }
                    };
                    let [a, b, c, d] = [load(0), load(1), load(2), load(3)];
                    let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
                    let to = to.add((column * quads.quads() + q) * QUAD_BYTES);
                    _mm512_store_si512(to.cast(), _mm512_unpacklo_epi16(ab, cd));
                    _mm512_store_si512(to.add(BLOCK).cast(), _mm512_unpackhi_epi16(ab, cd));
                    let (ab, cd) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
                    let to = to.add(2 * BLOCK);
                    _mm512_store_si512(to.cast(), _mm512_unpacklo_epi16(ab, cd));
                    _mm512_store_si512(to.add(BLOCK).cast(), _mm512_unpackhi_epi16(ab, cd));
                }
            }
        }
    }

    /// Multiplies what is interleaved, and finishes it.
    ///
    /// # Safety
    /// The scratch is interleaved for this tile; `ALL_HELD` if a window has [`HELD`] quads; the tile
    /// lies in `out`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn multiply<const ALL_HELD: bool>(&self, scratch: &Scratch, out: &mut IntOut<'_>) {
        let first = self.block * BLOCK;
        let (requantize, signed) = match out {
            IntOut::U8(_, requantize) => (*requantize, false),
            IntOut::I8(_, requantize) => (*requantize, true),
            // SAFETY: as for this function.
            IntOut::Codes(..) | IntOut::I32(_) | IntOut::F32(..) => unsafe {
                return self.wide::<ALL_HELD>(scratch, out);
            },
        };
        let Some(largest) = self.strip.quads.largest(self.block).first_chunk() else {
            return;
        };
        // SAFETY: as for this function; the wrapper checked the multipliers.
        unsafe {
            let to_bytes = ToBytes::new(requantize, first, self.mask);
            let narrow = match (signed, to_bytes.is_convertible(largest)) {
                (false, false) => Self::narrow::<ALL_HELD, false, false>,
                (false, true) => Self::narrow::<ALL_HELD, false, true>,
                (true, false) => Self::narrow::<ALL_HELD, true, false>,
                (true, true) => Self::narrow::<ALL_HELD, true, true>,
            };
            narrow(self, scratch, &to_bytes, out);
        }
    }

    /// Sums to bytes.
    ///
    /// # Safety
    /// As for `multiply`; `out` is of bytes.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn narrow<const ALL_HELD: bool, const SIGNED: bool, const CONVERTIBLE: bool>(
        &self,
        scratch: &Scratch,
        to_bytes: &ToBytes,
        out: &mut IntOut<'_>,
    ) {
        let Some((to, stride)) = out.byte_rows() else {
            return;
        };
        for r in 0..self.strip.rows {
            // SAFETY: the row is the strip's; the tile's pixels and channels are in `out`.
            unsafe {
                let window = Window::<ALL_HELD>::new(self, r);
                let mut to = to.add(self.pixel(r) * stride + self.block * BLOCK);
                let mut from = scratch.0.as_ptr().cast();
                for _ in self.columns.clone() {
                    let bytes = to_bytes.bytes::<SIGNED, CONVERTIBLE>(window.sums(from));
                    _mm512_mask_storeu_epi8(to.cast(), self.mask, bytes);
                    to = to.wrapping_add(stride);
                    from = from.wrapping_add(window.stride);
                }
            }
        }
    }

    /// Sums, or what the portable code makes of them.
    ///
    /// # Safety
    /// As for `multiply`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn wide<const ALL_HELD: bool>(&self, scratch: &Scratch, out: &mut IntOut<'_>) {
        let channels = self.strip.quads.window().channels;
        let first = self.block * BLOCK;
        for r in 0..self.strip.rows {
            // SAFETY: the row is the strip's.
            let window = unsafe { Window::<ALL_HELD>::new(self, r) };
            for x in 0..self.columns.len() {
                // SAFETY: the scratch holds the tile's columns.
                let sums =
                    unsafe { window.sums(scratch.0.as_ptr().cast::<u8>().add(x * window.stride)) };
                for (v, &sums) in transposed(sums).iter().enumerate() {
                    let first = first + v * LANES;
                    let mut lanes = [0; LANES];
                    // SAFETY: 16 lanes.
                    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), sums) };
                    let count = channels.saturating_sub(first).min(LANES);
                    if count > 0 {
                        out.put(&[lanes], self.pixel(r) + x, 0, first, count);
                    }
                }
            }
        }
    }

    /// The row of the output matrix that holds the tile's first pixel of output row `r`.
    #[inline(always)]
    fn pixel(&self, r: usize) -> usize {
        let width = self.strip.quads.window().output[1];
        self.strip.first + r * width + (self.columns.start - self.strip.columns.start)
    }
}

/// The weights of 64 channels for one of the output rows that share quads.
struct Window<'a, const ALL_HELD: bool> {
    bias: [__m512i; 4],
    held: [[__m512i; 4]; HELD],
    weights: &'a [i8],
    /// Bytes of the quads of a column.
    column: usize,
    /// Bytes from one column of the window to the next.
    dilation: usize,
    /// Bytes from one held quad to the next.
    held_step: usize,
    /// Bytes from one pixel to the next.
    stride: usize,
}

impl<'a, const ALL_HELD: bool> Window<'a, ALL_HELD> {
    /// # Safety
    /// `ALL_HELD` if there are [`HELD`] quads, which is one a column or one column.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn new(tile: &Tile<'a>, r: usize) -> Self {
        let quads = tile.strip.quads;
        let weights = quads.weights(tile.block, r);
        let bias = quads.bias(tile.block).as_ptr();
        let mut held = [[_mm512_setzero_si512(); 4]; HELD];
        if ALL_HELD {
            for (v, held) in held.as_flattened_mut().iter_mut().enumerate() {
                // SAFETY: so many quads of four vectors.
                *held = unsafe { _mm512_load_si512(weights.as_ptr().add(v * BLOCK).cast()) };
            }
        }
        let column = quads.quads() * QUAD_BYTES;
        let dilation = quads.window().dilation[1] * column;
        Self {
            // SAFETY: 64 biases.
            bias: std::array::from_fn(|v| unsafe { _mm512_load_si512(bias.add(v * LANES).cast()) }),
            held,
            weights,
            column,
            dilation,
            held_step: if quads.quads() == 1 {
                dilation
            } else {
                QUAD_BYTES
            },
            stride: quads.window().stride[1] * column,
        }
    }

    /// The sums of the pixel whose first column is `from`.
    ///
    /// # Safety
    /// The pixel's columns are interleaved from there on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn sums(&self, from: *const u8) -> [__m512i; 4] {
        let mut sums = self.bias;
        if ALL_HELD {
            for k in 0..HELD {
                for v in 0..4 {
                    // SAFETY: so far apart are the pixel's quads.
                    let x = unsafe {
                        _mm512_load_si512(from.add(k * self.held_step + v * BLOCK).cast())
                    };
                    sums[v] = _mm512_dpbusd_epi32(sums[v], x, self.held[k][v]);
                }
            }
            return sums;
        }
        for (k, weights) in self.weights.chunks_exact(self.column).enumerate() {
            // SAFETY: the column is the pixel's.
            let column = unsafe { from.add(k * self.dilation) };
            for (q, weights) in weights.chunks_exact(QUAD_BYTES).enumerate() {
                for v in 0..4 {
                    // SAFETY: four vectors a quad, of the image and of weights.
                    unsafe {
                        let x = _mm512_load_si512(column.add(q * QUAD_BYTES + v * BLOCK).cast());
                        let w = _mm512_load_si512(weights.as_ptr().add(v * BLOCK).cast());
                        sums[v] = _mm512_dpbusd_epi32(sums[v], x, w);
                    }
                }
            }
        }
        sums
    }
}
