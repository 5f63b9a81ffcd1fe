//! Accumulators to bytes with AVX-512: the same bits as [`Requantize`] and [`After`] give.
//!
//! Codes are worked on as unsigned ones, signed ones 128 higher, so that one saturation serves both.

use std::{arch::x86_64::*, ops::Range};

use super::codes::Table;
use crate::{AddCodes, After, Held, IntOut, Requantize, SparseI8, epilogue::LANES, passes::BAND};

/// Groups of a band.
pub(crate) const GROUPS: usize = BAND / LANES;

/// A real number to an unsigned code, and that to a byte.
struct ToCode {
    /// The upper bound before the zero point is added: what is larger would not fit an integer.
    top: __m512,
    zero_point: i32,
    /// The lower bound, the zero point added.
    lo: i32,
    flip: u8,
}

impl ToCode {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(requantize: &Requantize, after: &After) -> Self {
        if let After::Add { add, .. } = after {
            let (codes, bounds) = (add.end.codes, add.end.bounds);
            return Self {
                top: _mm512_set1_ps(bounds.hi),
                zero_point: codes.zero_point,
                lo: bounds.lo as i32 + codes.zero_point,
                flip: codes.flip,
            };
        }
        let (_, zero_point, (lo, hi)) = requantize.parts();
        let (flip, up) = match requantize.is_signed() {
            true => (0x80, 128),
            false => (0, 0),
        };
        Self {
            top: _mm512_set1_ps((hi - zero_point) as f32),
            zero_point: zero_point + up,
            lo: lo + up,
            flip,
        }
    }

    /// Steps from the code of 0, none above the upper bound; what is far too small stays too small.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn steps(&self, real: __m512) -> __m512i {
        _mm512_cvtps_epi32(_mm512_min_ps(real, self.top))
    }
}

/// A sum of 16 requantized codes and 16 that the output holds.
struct Sum {
    /// Bounds of a requantized code, before the zero point is added.
    lo: __m512,
    hi: __m512,
    /// What rounds to integers, and what takes it away and brings the addend's zero point in.
    magic: [__m512; 2],
    factor: __m512,
    held_flip: u8,
    held_zero: __m512,
    held_factor: __m512,
    held: Held,
}

impl Sum {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(requantize: &Requantize, add: &AddCodes, held: Held) -> Self {
        const MAGIC: f32 = 12_582_912.0;
        let (own, other) = match held {
            Held::Second => (add.a, add.b),
            Held::First => (add.b, add.a),
        };
        let (_, zero_point, (lo, hi)) = requantize.parts();
        let own_zero = own.0.zero_point - i32::from(own.0.flip);
        Self {
            lo: _mm512_set1_ps((lo - zero_point) as f32),
            hi: _mm512_set1_ps((hi - zero_point) as f32),
            magic: [
                _mm512_set1_ps(MAGIC),
                _mm512_set1_ps(MAGIC - (zero_point - own_zero) as f32),
            ],
            factor: _mm512_set1_ps(own.1),
            held_flip: other.0.flip,
            held_zero: _mm512_set1_ps(other.0.zero_point as f32),
            held_factor: _mm512_set1_ps(other.1),
            held,
        }
    }

    /// `real`: sums times their multipliers; `held`: the output's bytes, flipped, one a lane.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn of(&self, real: __m512, held: __m512i) -> __m512 {
        let bounded = _mm512_min_ps(_mm512_max_ps(real, self.lo), self.hi);
        let [magic, back] = self.magic;
        let own = _mm512_sub_ps(_mm512_add_ps(bounded, magic), back);
        let held = _mm512_sub_ps(_mm512_cvtepi32_ps(held), self.held_zero);
        match self.held {
            Held::Second => {
                _mm512_fmadd_ps(own, self.factor, _mm512_mul_ps(held, self.held_factor))
            }
            Held::First => _mm512_fmadd_ps(held, self.held_factor, _mm512_mul_ps(own, self.factor)),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn product(acc: __m512i, multiplier: __m512) -> __m512 {
    _mm512_mul_ps(_mm512_cvtepi32_ps(acc), multiplier)
}

/// How 16 consecutive outputs become bytes.
pub(crate) struct Bytes<'a> {
    multiplier: __m512,
    to_code: ToCode,
    sum: Option<Sum>,
    after: &'a After,
    mask: __mmask16,
}

impl<'a> Bytes<'a> {
    /// For outputs `outputs`, at most 16; `None` where bytes are not what is asked for.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(crate) fn of(out: &IntOut<'a>, outputs: Range<usize>) -> Option<Self> {
        let (requantize, after) = (out.requantize()?, out.after());
        let multiplier = &requantize.parts().0[outputs];
        let mask = !0 >> (LANES - multiplier.len());
        Some(Self {
            // SAFETY: the mask covers the multipliers.
            multiplier: unsafe { _mm512_maskz_loadu_ps(mask, multiplier.as_ptr()) },
            to_code: ToCode::new(requantize, after),
            sum: match after {
                After::Add { add, held } => Some(Sum::new(requantize, add, *held)),
                After::Nothing | After::Table(_) => None,
            },
            after,
            mask,
        })
    }

    /// Finishes `acc` and writes as many of its lanes as there are outputs.
    ///
    /// # Safety
    /// So many bytes may be read and written at `y`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(crate) unsafe fn store(&self, acc: __m512i, y: *mut u8) {
        let mut real = product(acc, self.multiplier);
        if let Some(sum) = &self.sum {
            // SAFETY: the mask covers the outputs.
            let held = unsafe { _mm_maskz_loadu_epi8(self.mask, y.cast()) };
            let held = _mm_xor_si128(held, _mm_set1_epi8(sum.held_flip as i8));
            real = sum.of(real, _mm512_cvtepu8_epi32(held));
        }
        let to_code = &self.to_code;
        let code = _mm512_add_epi32(to_code.steps(real), _mm512_set1_epi32(to_code.zero_point));
        let code = _mm512_max_epi32(code, _mm512_set1_epi32(to_code.lo));
        let bytes = _mm_xor_si128(
            _mm512_cvtepi32_epi8(code),
            _mm_set1_epi8(to_code.flip as i8),
        );
        if let After::Table(table) = self.after {
            let mut codes = [0u8; LANES];
            // SAFETY: 16 bytes; the outputs are as many as the mask has bits.
            unsafe {
                _mm_storeu_si128(codes.as_mut_ptr().cast(), bytes);
                for (n, code) in codes
                    .into_iter()
                    .take(self.mask.count_ones() as usize)
                    .enumerate()
                {
                    *y.add(n) = table[usize::from(code)];
                }
            }
            return;
        }
        // SAFETY: the mask covers the outputs.
        unsafe { _mm_mask_storeu_epi8(y.cast(), self.mask, bytes) };
    }
}

/// How the four groups of a sparse band become bytes, in the order of the outputs.
pub(crate) struct Band {
    multipliers: [__m512; GROUPS],
    to_code: ToCode,
    /// Where each output lies in the packed bytes.
    places: __m512i,
    then: Then,
    mask: __mmask64,
}

/// What becomes of the codes of a band.
enum Then {
    Nothing,
    Add {
        sum: Sum,
        /// Group by group, which of the band's outputs each lane is.
        outputs: [__m512i; GROUPS],
    },
    Table(Table),
}

impl Band {
    /// For band `outputs` of the layer; `None` where bytes are not what is asked for.
    ///
    /// # Safety
    /// There is a multiplier for every output of the layer.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(crate) unsafe fn of(
        out: &IntOut<'_>,
        layer: &SparseI8,
        outputs: &Range<usize>,
    ) -> Option<Self> {
        let (requantize, after) = (out.requantize()?, out.after());
        let (multiplier, ..) = requantize.parts();
        let mut multipliers = [_mm512_setzero_ps(); GROUPS];
        let mut of_lanes = [_mm512_setzero_si512(); GROUPS];
        let passes = layer.passes();
        for (n, g) in passes.groups_of(outputs).enumerate() {
            let rows = passes.group(g).rows;
            let mask = !0 >> (LANES - rows.len());
            // SAFETY: the mask covers the rows, which are outputs of the layer.
            unsafe {
                let rows = _mm512_maskz_loadu_epi32(mask, rows.as_ptr().cast());
                let zero = _mm512_setzero_ps();
                multipliers[n] =
                    _mm512_mask_i32gather_ps::<4>(zero, mask, rows, multiplier.as_ptr());
                let first = _mm512_set1_epi32(outputs.start as i32);
                of_lanes[n] = _mm512_maskz_sub_epi32(mask, rows, first);
            }
        }
        let places = layer.places(outputs.start / BAND);
        // SAFETY: 64 places.
        let places = unsafe { _mm512_loadu_si512(places.as_ptr().cast()) };
        Some(Self {
            multipliers,
            to_code: ToCode::new(requantize, after),
            places: packed(places),
            then: match after {
                After::Nothing => Then::Nothing,
                After::Add { add, held } => Then::Add {
                    sum: Sum::new(requantize, add, *held),
                    outputs: of_lanes,
                },
                After::Table(table) => Then::Table(Table::new(table)),
            },
            mask: !0 >> (BAND - outputs.len()),
        })
    }

    /// Finishes the sums of the band at `P` pixels and writes its outputs, from `y` on for the first
    /// pixel and `stride` further for each.
    ///
    /// # Safety
    /// As many bytes as the band has outputs may be read and written there.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(crate) unsafe fn store<const P: usize>(
        &self,
        sums: &[[__m512i; P]; GROUPS],
        y: *mut u8,
        stride: usize,
    ) {
        let at = |p: usize| y.wrapping_add(p * stride);
        // SAFETY: the mask covers the outputs.
        let write =
            |p: usize, bytes| unsafe { _mm512_mask_storeu_epi8(at(p).cast(), self.mask, bytes) };
        let real = |p: usize, n: usize| product(sums[n][p], self.multipliers[n]);
        match &self.then {
            Then::Nothing => {
                for p in 0..P {
                    write(
                        p,
                        self.bytes([real(p, 0), real(p, 1), real(p, 2), real(p, 3)]),
                    );
                }
            }
            Then::Table(table) => {
                for p in 0..P {
                    let codes = self.bytes([real(p, 0), real(p, 1), real(p, 2), real(p, 3)]);
                    write(p, table.look_up(codes));
                }
            }
            Then::Add { sum, outputs } => {
                let flip = _mm512_set1_epi8(sum.held_flip as i8);
                for p in 0..P {
                    // SAFETY: the mask covers the outputs.
                    let held = unsafe { _mm512_maskz_loadu_epi8(self.mask, at(p).cast()) };
                    let held = _mm512_xor_si512(held, flip);
                    let total = |n: usize| {
                        // One byte of four is an index; the others are to be zero.
                        const LOW: __mmask64 = 0x1111_1111_1111_1111;
                        let held = _mm512_maskz_permutexvar_epi8(LOW, outputs[n], held);
                        sum.of(real(p, n), held)
                    };
                    write(p, self.bytes([total(0), total(1), total(2), total(3)]));
                }
            }
        }
    }

    /// The codes of four groups, in the order of the outputs.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn bytes(&self, reals: [__m512; GROUPS]) -> __m512i {
        let to_code = &self.to_code;
        let [a, b, c, d] = reals;
        let ab = _mm512_packs_epi32(to_code.steps(a), to_code.steps(b));
        let cd = _mm512_packs_epi32(to_code.steps(c), to_code.steps(d));
        // Every step saturates, as clamping once at the end would.
        let zero_point = _mm512_set1_epi16(to_code.zero_point as i16);
        let ab = _mm512_adds_epi16(ab, zero_point);
        let cd = _mm512_adds_epi16(cd, zero_point);
        let codes = _mm512_packus_epi16(ab, cd);
        let codes = _mm512_max_epu8(codes, _mm512_set1_epi8(to_code.lo as i8));
        let bytes = _mm512_xor_si512(codes, _mm512_set1_epi8(to_code.flip as i8));
        _mm512_permutexvar_epi8(self.places, bytes)
    }
}

/// Places in group order to places in packed bytes: packing takes four lanes of each group in turn.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn packed(places: __m512i) -> __m512i {
    // Lane and group are the nibbles: 00gg llll becomes 00ll ggll.
    let high = _mm512_slli_epi16::<2>(_mm512_and_si512(places, _mm512_set1_epi8(0x0c)));
    let group = _mm512_srli_epi16::<2>(_mm512_and_si512(places, _mm512_set1_epi8(0x30)));
    let low = _mm512_and_si512(places, _mm512_set1_epi8(0x03));
    _mm512_or_si512(_mm512_or_si512(high, group), low)
}
