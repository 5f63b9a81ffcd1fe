//! Squares of 16 × 16 elements that are turned in registers, by SSE2, which every processor has.

use std::arch::x86_64::*;

use crate::squares::SIDE;

/// `to[c·to_step + r] = from[r·from_step + c]` of bytes.
///
/// # Safety
/// Both sides hold a square.
#[inline(always)]
pub(crate) unsafe fn turn_bytes(from: *const u8, from_step: usize, to: *mut u8, to_step: usize) {
    // SAFETY: the caller's; SSE2 is there.
    unsafe {
        let mut lines = [_mm_setzero_si128(); SIDE];
        for r in 0..SIDE {
            lines[r] = _mm_loadu_si128(from.add(r * from_step).cast());
        }
        // Four times, each line of the first half is interleaved with one of the second: the bits of a
        // place turn once around those of its line.
        for _ in 0..SIDE.ilog2() {
            let mut turned = lines;
            for i in 0..SIDE / 2 {
                turned[2 * i] = _mm_unpacklo_epi8(lines[i], lines[i + SIDE / 2]);
                turned[2 * i + 1] = _mm_unpackhi_epi8(lines[i], lines[i + SIDE / 2]);
            }
            lines = turned;
        }
        for c in 0..SIDE {
            _mm_storeu_si128(to.add(c * to_step).cast(), lines[c]);
        }
    }
}

/// As [`turn_bytes`], of four bytes each: 16 squares of 4 × 4.
///
/// # Safety
/// Both sides hold a square.
#[inline(always)]
pub(crate) unsafe fn turn_words(from: *const u32, from_step: usize, to: *mut u32, to_step: usize) {
    const PART: usize = 4;
    // SAFETY: the caller's; SSE2 is there.
    unsafe {
        for c in (0..SIDE).step_by(PART) {
            for r in (0..SIDE).step_by(PART) {
                let mut lines = [_mm_setzero_si128(); PART];
                for n in 0..PART {
                    lines[n] = _mm_loadu_si128(from.add((r + n) * from_step + c).cast());
                }
                for _ in 0..PART.ilog2() {
                    lines = [
                        _mm_unpacklo_epi32(lines[0], lines[2]),
                        _mm_unpackhi_epi32(lines[0], lines[2]),
                        _mm_unpacklo_epi32(lines[1], lines[3]),
                        _mm_unpackhi_epi32(lines[1], lines[3]),
                    ];
                }
                for n in 0..PART {
                    _mm_storeu_si128(to.add((c + n) * to_step + r).cast(), lines[n]);
                }
            }
        }
    }
}
