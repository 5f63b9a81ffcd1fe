use std::{arch::x86_64::*, ops::Range};

use crate::{
    DenseI8, IntOut, Rows,
    dense_i8::{PANEL, QUAD},
    epilogue::LANES,
};

/// Pixels of a dense tile: 8 accumulators, 4 registers of widened weights.
pub(crate) const DENSE_PIXELS: usize = 4;
/// Lanes of a register.
const HALF: usize = LANES / 2;

/// # Safety
/// As the table says.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn dense(
    layer: &DenseI8,
    x: Rows<'_, u8>,
    outputs: Range<usize>,
    mut out: IntOut<'_>,
) {
    for first in outputs.clone().step_by(PANEL) {
        let count = PANEL.min(outputs.end - first);
        let panel = first / PANEL;
        let mut pixel = 0;
        while pixel < x.rows() {
            // SAFETY: the panel exists, the pixels are rows of `x`.
            unsafe {
                match x.rows() - pixel {
                    DENSE_PIXELS.. => {
                        let acc = dense_tile::<DENSE_PIXELS>(layer, panel, x, pixel);
                        out.put(&acc, pixel, outputs.start, first, count);
                        pixel += DENSE_PIXELS;
                    }
                    2.. => {
                        let acc = dense_tile::<2>(layer, panel, x, pixel);
                        out.put(&acc, pixel, outputs.start, first, count);
                        pixel += 2;
                    }
                    _ => {
                        let acc = dense_tile::<1>(layer, panel, x, pixel);
                        out.put(&acc, pixel, outputs.start, first, count);
                        pixel += 1;
                    }
                }
            }
        }
    }
}

/// One panel at `P` pixels.
///
/// # Safety
/// The panel exists; `P` pixels from `pixel` on are rows of `x`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn dense_tile<const P: usize>(
    layer: &DenseI8,
    panel: usize,
    x: Rows<'_, u8>,
    pixel: usize,
) -> [[i32; LANES]; P] {
    let depth = layer.depth();
    let stride = x.stride();
    let w = layer.panel(panel).as_ptr();
    let bias = layer.panel_bias(panel).as_ptr();
    let mut acc = [[_mm256_setzero_si256(); 2]; P];
    // SAFETY: the pixels are rows of `x`, read in whole quads below `depth`; a panel has 64 weights a
    // quad, zeros beyond `depth`, and 16 biases.
    unsafe {
        let bias = [
            _mm256_loadu_si256(bias.cast()),
            _mm256_loadu_si256(bias.add(HALF).cast()),
        ];
        acc.fill(bias);
        let start = x.as_ptr().add(pixel * stride);
        let mut quads = [0; P];
        for q in 0..depth / QUAD {
            for p in 0..P {
                let x = start.add(p * stride + q * QUAD);
                quads[p] = x.cast::<i32>().read_unaligned();
            }
            quad(&mut acc, w.add(q * PANEL * QUAD), &quads);
        }
        let from = depth / QUAD * QUAD;
        if from < depth {
            for p in 0..P {
                let mut bytes = [0; QUAD];
                bytes[..depth - from].copy_from_slice(&x.row(pixel + p)[from..]);
                quads[p] = i32::from_le_bytes(bytes);
            }
            quad(&mut acc, w.add(from * PANEL), &quads);
        }
    }
    let mut lanes = [[0; LANES]; P];
    for (lanes, acc) in lanes.iter_mut().zip(&acc) {
        for (half, acc) in lanes.chunks_exact_mut(HALF).zip(acc) {
            // SAFETY: the chunk has 8 lanes.
            unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), *acc) };
        }
    }
    lanes
}

/// Adds 4 depth steps.  Activations split into even and odd bytes widened to 16 bits: the pair sums
/// of `vpmaddwd` are exact, where those of `vpmaddubsw` would saturate.
///
/// # Safety
/// `w` points to 64 weights.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn quad<const P: usize>(acc: &mut [[__m256i; 2]; P], w: *const i8, x: &[i32; P]) {
    let mut weights = [[_mm256_setzero_si256(); 2]; 2];
    for (half, weights) in weights.iter_mut().enumerate() {
        for (odd, weights) in weights.iter_mut().enumerate() {
            // SAFETY: 16 of the 64 weights.
            *weights = unsafe {
                let bytes = _mm_loadu_si128(w.add(half * 32 + odd * 16).cast());
                _mm256_cvtepi8_epi16(bytes)
            };
        }
    }
    for (acc, &x) in acc.iter_mut().zip(x) {
        let x = _mm256_set1_epi32(x);
        let even = _mm256_and_si256(x, _mm256_set1_epi16(0xff));
        let odd = _mm256_srli_epi16::<8>(x);
        for (acc, w) in acc.iter_mut().zip(&weights) {
            let sum = _mm256_add_epi32(_mm256_madd_epi16(even, w[0]), _mm256_madd_epi16(odd, w[1]));
            *acc = _mm256_add_epi32(*acc, sum);
        }
    }
}
