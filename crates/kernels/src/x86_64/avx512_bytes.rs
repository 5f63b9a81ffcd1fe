//! Accumulators to bytes with AVX-512: the same bits as [`Requantize`] and [`After`] give.
//!
//! Codes are worked on as unsigned ones, signed ones 128 higher, so that one saturation serves both.

use std::{arch::x86_64::*, ops::Range};

use super::codes::Table;
use crate::{AddCodes, After, Held, IntOut, Requantize, SparseI8, epilogue::LANES, passes::BAND};

/// Groups of a band.
pub(crate) const GROUPS: usize = BAND / LANES;

/// The low byte of each of 16 lanes.
const LOW_BYTES: __mmask64 = 0x1111_1111_1111_1111;

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
    fn of<const HELD_FIRST: bool>(&self, real: __m512, held: __m512i) -> __m512 {
        let bounded = _mm512_min_ps(_mm512_max_ps(real, self.lo), self.hi);
        let [magic, back] = self.magic;
        let own = _mm512_sub_ps(_mm512_add_ps(bounded, magic), back);
        let held = _mm512_sub_ps(_mm512_cvtepi32_ps(held), self.held_zero);
        match HELD_FIRST {
            false => _mm512_fmadd_ps(own, self.factor, _mm512_mul_ps(held, self.held_factor)),
            true => _mm512_fmadd_ps(held, self.held_factor, _mm512_mul_ps(own, self.factor)),
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
            let held = _mm512_cvtepu8_epi32(held);
            real = match sum.held {
                Held::First => sum.of::<true>(real, held),
                Held::Second => sum.of::<false>(real, held),
            };
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

/// Pixels that [`Pair`] finishes at once.
const PAIR_PIXELS: usize = 2;

/// How the 32 consecutive outputs of two panels become bytes that are stored as they are: packed
/// together, they take half of what each takes by itself.
pub(crate) struct Pair<'a>([Bytes<'a>; 2]);

impl<'a> Pair<'a> {
    /// For more than 16 outputs, of two panels; `None` where they are fewer, or more becomes of their
    /// codes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(crate) fn of(out: &IntOut<'a>, outputs: Range<usize>) -> Option<Self> {
        if outputs.len() <= LANES || !matches!(out.after(), After::Nothing) {
            return None;
        }
        let middle = outputs.start + LANES;
        Some(Self([
            Bytes::of(out, outputs.start..middle)?,
            Bytes::of(out, middle..outputs.end)?,
        ]))
    }

    /// Finishes the sums of both panels at `P` pixels and writes them, from `y` on for the first pixel
    /// and `stride` further for each.
    ///
    /// # Safety
    /// As many bytes as there are outputs may be written there.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(crate) unsafe fn store<const P: usize>(
        &self,
        sums: [&[__m512i; P]; 2],
        y: *mut u8,
        stride: usize,
    ) {
        let mask = self.0.iter().rev().fold(0, |mask: __mmask32, panel| {
            mask << LANES | __mmask32::from(panel.mask)
        });
        let to_code = &self.0[0].to_code;
        let zero_point = _mm512_set1_epi16(to_code.zero_point as i16);
        let pixel = |p: usize| {
            let [a, b] = [0, 1].map(|n| to_code.steps(product(sums[n][p], self.0[n].multiplier)));
            _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero_point)
        };
        // Packing takes four outputs of each panel and pixel in turn.
        let in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        for p in (0..P).step_by(PAIR_PIXELS) {
            let second = (p + 1).min(P - 1);
            let codes = _mm512_packus_epi16(pixel(p), pixel(second));
            let codes = _mm512_max_epu8(codes, _mm512_set1_epi8(to_code.lo as i8));
            let bytes = _mm512_xor_si512(codes, _mm512_set1_epi8(to_code.flip as i8));
            let bytes = _mm512_permutexvar_epi32(in_order, bytes);
            let halves = [
                _mm512_castsi512_si256(bytes),
                _mm512_extracti64x4_epi64::<1>(bytes),
            ];
            for (p, half) in [p, second].into_iter().zip(halves) {
                // SAFETY: the mask covers the outputs.
                unsafe { _mm256_mask_storeu_epi8(y.wrapping_add(p * stride).cast(), mask, half) };
            }
        }
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
#[allow(
    clippy::large_enum_variant,
    reason = "one for each band that is worked through, on the stack"
)]
enum Then {
    Nothing,
    Add {
        sum: Sum,
        /// Group by group, which of the band's outputs each lane is.
        outputs: [__m512i; GROUPS],
        /// The low bytes of lanes.
        low: __mmask64,
    },
    Table(Table),
}

impl Band {
    /// For band `outputs` of the layer; `None` where bytes are not what is asked for.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(crate) fn of(out: &IntOut<'_>, layer: &SparseI8, outputs: &Range<usize>) -> Option<Self> {
        let (requantize, after) = (out.requantize()?, out.after());
        let (multiplier, ..) = requantize.parts();
        let mut in_order = [_mm512_setzero_ps(); GROUPS];
        for (to, from) in in_order
            .iter_mut()
            .zip(multiplier[outputs.clone()].chunks(LANES))
        {
            // SAFETY: the mask covers the multipliers.
            *to = unsafe { _mm512_maskz_loadu_ps(!0 >> (LANES - from.len()), from.as_ptr()) };
        }
        let mut multipliers = in_order;
        let mut of_lanes = [_mm512_setzero_si512(); GROUPS];
        let passes = layer.passes();
        for (n, g) in passes.groups_of(outputs).enumerate() {
            let rows = passes.group(g).rows;
            let mask = !0 >> (LANES - rows.len());
            // SAFETY: the mask covers the rows.
            let rows = unsafe { _mm512_maskz_loadu_epi32(mask, rows.as_ptr().cast()) };
            of_lanes[n] =
                _mm512_maskz_sub_epi32(mask, rows, _mm512_set1_epi32(outputs.start as i32));
            multipliers[n] = picked(&in_order, of_lanes[n]);
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
                    // What the compiler knew, it would make an operation of its own.
                    low: std::hint::black_box(LOW_BYTES),
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
            // SAFETY: the caller's.
            Then::Add { sum, .. } => unsafe {
                match sum.held {
                    Held::First => self.store_sums::<P, true>(sums, y, stride),
                    Held::Second => self.store_sums::<P, false>(sums, y, stride),
                }
            },
        }
    }

    /// As `store`, where codes are added to what is there.
    ///
    /// # Safety
    /// As for `store`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn store_sums<const P: usize, const HELD_FIRST: bool>(
        &self,
        sums: &[[__m512i; P]; GROUPS],
        y: *mut u8,
        stride: usize,
    ) {
        let Then::Add { sum, outputs, low } = &self.then else {
            return;
        };
        let flip = _mm512_set1_epi8(sum.held_flip as i8);
        for p in 0..P {
            let y = y.wrapping_add(p * stride).cast();
            // SAFETY: the mask covers the outputs.
            let held = unsafe { _mm512_maskz_loadu_epi8(self.mask, y) };
            let held = _mm512_xor_si512(held, flip);
            let total = |n: usize| {
                let held = _mm512_maskz_permutexvar_epi8(*low, outputs[n], held);
                sum.of::<HELD_FIRST>(product(sums[n][p], self.multipliers[n]), held)
            };
            let bytes = self.bytes([total(0), total(1), total(2), total(3)]);
            // SAFETY: as above.
            unsafe { _mm512_mask_storeu_epi8(y, self.mask, bytes) };
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

/// `values[at[l]]` of 64. Not a gather, which takes as long as a hundred operations where processors
/// are guarded against what gathers leak.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn picked(values: &[__m512; GROUPS], at: __m512i) -> __m512 {
    let [a, b, c, d] = *values;
    let low = _mm512_permutex2var_ps(a, at, b);
    let high = _mm512_permutex2var_ps(c, at, d);
    let is_high = _mm512_test_epi32_mask(at, _mm512_set1_epi32(BAND as i32 / 2));
    _mm512_mask_blend_ps(is_high, low, high)
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
