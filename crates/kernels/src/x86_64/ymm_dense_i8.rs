//! Dense int8 in registers of 32 bytes, for AVX2 and for AVX-VNNI.

use std::{arch::x86_64::*, ops::Range};

use super::ymm_dot::{Weights, dot, dot16, widened};
use crate::{
    DenseI8, IntOut, Rows,
    dense_i8::{PANEL, QUAD},
    epilogue::LANES,
};

/// Pixels of a tile of AVX-VNNI: 12 accumulators.
pub(crate) const VNNI_PIXELS: usize = 6;
/// Pixels of a tile of AVX2, whose products need more registers: 8 accumulators.
pub(crate) const PIXELS: usize = 4;
/// Lanes of a register.
const HALF: usize = LANES / 2;

/// # Safety
/// As the table says; with `VNNI` the processor has AVX-VNNI.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn dense<const VNNI: bool>(
    layer: &DenseI8,
    x: Rows<'_, u8>,
    outputs: Range<usize>,
    mut out: IntOut<'_>,
) {
    for first in outputs.clone().step_by(PANEL) {
        let tile = Tile {
            layer,
            x,
            base: outputs.start,
            first,
            count: PANEL.min(outputs.end - first),
        };
        let mut pixel = 0;
        while pixel < x.rows() {
            // SAFETY: the panel exists, the pixels are rows of `x`.
            pixel += unsafe {
                match x.rows() - pixel {
                    VNNI_PIXELS.. if VNNI => tile.run::<VNNI_PIXELS, VNNI>(pixel, &mut out),
                    PIXELS.. => tile.run::<PIXELS, VNNI>(pixel, &mut out),
                    2.. => tile.run::<2, VNNI>(pixel, &mut out),
                    _ => tile.run::<1, VNNI>(pixel, &mut out),
                }
            };
        }
    }
}

/// One panel, of output `first` and `count - 1` more.
struct Tile<'a> {
    layer: &'a DenseI8,
    x: Rows<'a, u8>,
    base: usize,
    first: usize,
    count: usize,
}

impl Tile<'_> {
    /// # Safety
    /// With `VNNI` the processor has AVX-VNNI; `P` pixels from `pixel` on are rows of `x`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run<const P: usize, const VNNI: bool>(
        &self,
        pixel: usize,
        out: &mut IntOut<'_>,
    ) -> usize {
        let depth = self.layer.depth();
        let stride = self.x.stride();
        let w = self.layer.panel(self.first / PANEL).as_ptr();
        let bias = self.layer.panel_bias(self.first / PANEL).as_ptr();
        let mut acc = [[_mm256_setzero_si256(); 2]; P];
        // SAFETY: the pixels are rows of `x`, read in whole quads below `depth`, and beyond where another
        // row follows a quad or more behind; a panel has 64 weights a quad, zeros beyond `depth`, and 16 biases.
        unsafe {
            acc.fill([
                _mm256_loadu_si256(bias.cast()),
                _mm256_loadu_si256(bias.add(HALF).cast()),
            ]);
            let x = self.x.as_ptr().add(pixel * stride);
            let from = depth / QUAD * QUAD;
            // What lies behind a row is multiplied by zeros; behind the last one there may be nothing.
            let more = pixel + P < self.x.rows() && stride >= QUAD;
            let last = match more {
                true => whole_quads::<P>(x.add(from), stride),
                false => self.last_quads::<P>(pixel, from),
            };
            let together = self.layer.sums16();
            if !VNNI && together > 0 {
                for first in (0..depth.div_ceil(QUAD)).step_by(together) {
                    let mut sums = [[_mm256_setzero_si256(); 2]; P];
                    for q in first..(first + together).min(depth / QUAD) {
                        step16::<P>(
                            &mut sums,
                            w.add(q * PANEL * QUAD),
                            &whole_quads(x.add(q * QUAD), stride),
                        );
                    }
                    if from < depth && first + together > depth / QUAD {
                        step16::<P>(&mut sums, w.add(from * PANEL), &last);
                    }
                    // By index, so that the sums stay in registers.
                    for p in 0..P {
                        acc[p][0] = widened(acc[p][0], sums[p][0]);
                        acc[p][1] = widened(acc[p][1], sums[p][1]);
                    }
                }
            } else {
                for q in 0..depth / QUAD {
                    step::<P, VNNI>(
                        &mut acc,
                        w.add(q * PANEL * QUAD),
                        &whole_quads(x.add(q * QUAD), stride),
                    );
                }
                if from < depth {
                    step::<P, VNNI>(&mut acc, w.add(from * PANEL), &last);
                }
            }
        }
        let mut lanes = [[0; LANES]; P];
        for (lanes, acc) in lanes.iter_mut().zip(&acc) {
            for (half, acc) in lanes.chunks_exact_mut(HALF).zip(acc) {
                // SAFETY: the chunk has 8 lanes.
                unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), *acc) };
            }
        }
        out.put(&lanes, pixel, self.base, self.first, self.count);
        P
    }

    /// The inputs from `from` on, fewer than a quad, of `P` pixels, filled with zeros.
    #[inline]
    fn last_quads<const P: usize>(&self, pixel: usize, from: usize) -> [i32; P] {
        let mut quads = [0; P];
        for (p, quad) in quads.iter_mut().enumerate() {
            let rest = &self.x.row(pixel + p)[from..];
            let mut bytes = [0; QUAD];
            bytes[..rest.len()].copy_from_slice(rest);
            *quad = i32::from_le_bytes(bytes);
        }
        quads
    }
}

/// A quad of each of `P` rows.
///
/// # Safety
/// `x` and what lies whole strides behind it point to 4 bytes.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn whole_quads<const P: usize>(x: *const u8, stride: usize) -> [i32; P] {
    let mut quads = [0; P];
    for (p, quad) in quads.iter_mut().enumerate() {
        // SAFETY: the caller's.
        *quad = unsafe { x.add(p * stride).cast::<i32>().read_unaligned() };
    }
    quads
}

/// Adds 4 depth steps in 16 bits.
///
/// # Safety
/// `w` points to 64 weights.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn step16<const P: usize>(sums: &mut [[__m256i; 2]; P], w: *const i8, x: &[i32; P]) {
    // SAFETY: the caller's.
    unsafe {
        let low = _mm256_loadu_si256(w.cast());
        let high = _mm256_loadu_si256(w.add(HALF * QUAD).cast());
        for (sums, &x) in sums.iter_mut().zip(x) {
            let x = _mm256_set1_epi32(x);
            sums[0] = dot16(sums[0], x, low);
            sums[1] = dot16(sums[1], x, high);
        }
    }
}

/// Adds 4 depth steps.
///
/// # Safety
/// With `VNNI` the processor has AVX-VNNI; `w` points to 64 weights.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn step<const P: usize, const VNNI: bool>(
    acc: &mut [[__m256i; 2]; P],
    w: *const i8,
    x: &[i32; P],
) {
    // SAFETY: the caller's.
    unsafe {
        let low = Weights::of::<VNNI>(_mm256_loadu_si256(w.cast()));
        let high = Weights::of::<VNNI>(_mm256_loadu_si256(w.add(HALF * QUAD).cast()));
        for (acc, &x) in acc.iter_mut().zip(x) {
            let x = _mm256_set1_epi32(x);
            acc[0] = dot::<VNNI>(acc[0], x, low);
            acc[1] = dot::<VNNI>(acc[1], x, high);
        }
    }
}
