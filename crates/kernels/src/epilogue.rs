//! What happens to an accumulator before it is stored.  One portable implementation, inlined into
//! each instruction set's kernels and vectorised there by the compiler: the bits cannot differ.

use crate::{After, Held, KernelError, RowsMut, error::check_len};

/// Outputs that an integer kernel finishes at once.
pub(crate) const LANES: usize = 16;

/// The fused activation of an f32 output: `min(max(v, lo), hi)`, NaN kept.
///
/// ```
/// use secateur_kernels::Clamp;
/// assert_eq!(Clamp::RELU.apply(-2.0), 0.0);
/// assert_eq!(Clamp::NONE.apply(-2.0), -2.0);
/// assert_eq!(Clamp::new(0.0, 6.0)?.apply(9.0), 6.0);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clamp {
    pub(crate) lo: f32,
    pub(crate) hi: f32,
}

impl Clamp {
    /// No activation.
    pub const NONE: Clamp = Clamp {
        lo: f32::NEG_INFINITY,
        hi: f32::INFINITY,
    };
    /// `max(v, 0)`.
    pub const RELU: Clamp = Clamp {
        lo: 0.0,
        hi: f32::INFINITY,
    };

    /// Clip to `[lo, hi]`; either bound may be infinite.
    ///
    /// # Errors
    /// When a bound is NaN or `lo > hi`.
    pub fn new(lo: f32, hi: f32) -> Result<Self, KernelError> {
        if lo <= hi {
            return Ok(Self { lo, hi });
        }
        Err(KernelError::Parameter {
            what: "clamp",
            reason: "needed lo <= hi, neither NaN",
        })
    }

    /// The activation of one value.
    #[inline(always)]
    pub fn apply(self, v: f32) -> f32 {
        let v = if self.lo > v { self.lo } else { v };
        if self.hi < v { self.hi } else { v }
    }
}

impl Default for Clamp {
    fn default() -> Self {
        Self::NONE
    }
}

/// Rounds `v`, `|v| <= 2^22`, to the nearest integer, ties to even: adding 1.5·2^23 leaves the
/// rounded integer in the low bits of the significand.
#[inline(always)]
pub(crate) fn round_small(v: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (v + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()) as i32
}

/// i32 accumulators to 8 bits: `clamp(round_half_even(acc as f32 · multiplier[o]) + zero_point, lo, hi)`.
///
/// The product is one f32 multiply, as in ONNX's QLinearConv.  A fused Relu or Clip is a
/// narrower `[lo, hi]`.
///
/// ```
/// use secateur_kernels::Requantize;
/// let relu = Requantize::new(vec![0.5, 0.25], 0, 0, 255)?;
/// assert_eq!(relu.apply(0, 5), 2);       // 2.5 rounds to even
/// assert_eq!(relu.apply(1, -40), 0);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Requantize {
    multiplier: Vec<f32>,
    zero_point: i32,
    /// The bounds before the zero point is added, exact in f32.
    bounds: Clamp,
    range: (i32, i32),
}

impl Requantize {
    /// `multiplier[o] = sx·sw[o]/sy`, one for each output of the layer (not of a range of it).
    ///
    /// # Errors
    /// When a multiplier is not finite, or `[lo, hi]` and the zero point fit neither u8 nor i8.
    pub fn new(
        multiplier: Vec<f32>,
        zero_point: i32,
        lo: i32,
        hi: i32,
    ) -> Result<Self, KernelError> {
        if !multiplier.iter().all(|m| m.is_finite()) {
            return Err(KernelError::Parameter {
                what: "requantization multiplier",
                reason: "needed a finite number",
            });
        }
        let fits =
            |min, max| min <= lo && lo <= hi && hi <= max && (min..=max).contains(&zero_point);
        if !fits(0, 255) && !fits(-128, 127) {
            return Err(KernelError::Parameter {
                what: "requantization range",
                reason: "needed lo <= hi and the zero point within 0..=255 or -128..=127",
            });
        }
        Ok(Self {
            multiplier,
            zero_point,
            bounds: Clamp {
                lo: (lo - zero_point) as f32,
                hi: (hi - zero_point) as f32,
            },
            range: (lo, hi),
        })
    }

    /// The quantized value of accumulator `acc` of output `o`; as with slices, `o` out of range panics.
    pub fn apply(&self, o: usize, acc: i32) -> i32 {
        self.one(acc, self.multiplier[o])
    }

    #[inline(always)]
    fn one(&self, acc: i32, multiplier: f32) -> i32 {
        round_small(self.bounds.apply(acc as f32 * multiplier)) + self.zero_point
    }

    /// Whether codes are of i8; those that both types have are the same bytes in both.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn is_signed(&self) -> bool {
        self.range.0.min(self.zero_point) < 0
    }

    /// The multipliers from output `first` on.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn multipliers_from(&self, first: usize) -> &[f32] {
        &self.multiplier[first..]
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn zero_point(&self) -> i32 {
        self.zero_point
    }

    /// The bounds, the zero point added.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn range(&self) -> (i32, i32) {
        self.range
    }

    /// The multipliers of outputs `rows`.
    #[inline(always)]
    pub(crate) fn multipliers(&self, rows: &[u32]) -> [f32; LANES] {
        gather(&self.multiplier, rows)
    }

    /// What one multiplies by, adds, and keeps to: the parts that kernels with vectors of their own need.
    #[inline(always)]
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn parts(&self) -> (&[f32], i32, (i32, i32)) {
        (&self.multiplier, self.zero_point, self.range)
    }

    /// 16 accumulators to bytes (u8, or the bits of i8).
    #[inline(always)]
    pub(crate) fn bytes(&self, acc: &[i32; LANES], multiplier: &[f32; LANES]) -> [u8; LANES] {
        let mut bytes = [0; LANES];
        for ((byte, &acc), &multiplier) in bytes.iter_mut().zip(acc).zip(multiplier) {
            *byte = self.one(acc, multiplier) as u8;
        }
        bytes
    }
}

/// i32 accumulators to f32: `clamp(acc as f32 · scale[o])`, `scale[o] = sx·sw[o]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dequantize {
    scale: Vec<f32>,
    clamp: Clamp,
}

impl Dequantize {
    /// One scale for each output of the layer.
    ///
    /// # Errors
    /// When a scale is not finite.
    pub fn new(scale: Vec<f32>, clamp: Clamp) -> Result<Self, KernelError> {
        if scale.iter().all(|s| s.is_finite()) {
            return Ok(Self { scale, clamp });
        }
        Err(KernelError::Parameter {
            what: "dequantization scale",
            reason: "needed a finite number",
        })
    }

    /// The scales and the bounds, for kernels with vectors of their own.
    #[inline(always)]
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn parts(&self) -> (&[f32], Clamp) {
        (&self.scale, self.clamp)
    }

    /// The real value of accumulator `acc` of output `o`; as with slices, `o` out of range panics.
    pub fn apply(&self, o: usize, acc: i32) -> f32 {
        self.clamp.apply(acc as f32 * self.scale[o])
    }
}

/// Where an integer kernel's outputs go, `[pixels, outputs of the range]`, and how.
#[derive(Debug)]
pub enum IntOut<'a> {
    /// Requantized to u8; the range of the [`Requantize`] must lie in 0..=255.
    U8(RowsMut<'a, u8>, &'a Requantize),
    /// Requantized to i8; the range of the [`Requantize`] must lie in -128..=127.
    I8(RowsMut<'a, i8>, &'a Requantize),
    /// Requantized to either, and what becomes of that.
    Codes(RowsMut<'a, u8>, &'a Requantize, &'a After),
    /// The exact accumulators.
    I32(RowsMut<'a, i32>),
    /// The accumulators as real numbers.
    F32(RowsMut<'a, f32>, &'a Dequantize),
}

impl<'a> IntOut<'a> {
    fn extent(&self) -> (usize, usize) {
        match self {
            IntOut::U8(y, _) => (y.rows(), y.cols()),
            IntOut::I8(y, _) => (y.rows(), y.cols()),
            IntOut::Codes(y, ..) => (y.rows(), y.cols()),
            IntOut::I32(y) => (y.rows(), y.cols()),
            IntOut::F32(y, _) => (y.rows(), y.cols()),
        }
    }

    /// Fails unless `pixels × outputs` fits and every parameter covers the layer's `all` outputs.
    pub(crate) fn check(
        &self,
        pixels: usize,
        outputs: usize,
        all: usize,
    ) -> Result<(), KernelError> {
        let (rows, cols) = self.extent();
        check_len("output rows", pixels, rows)?;
        check_len("output columns", outputs, cols)?;
        let (range, legal) = match self {
            IntOut::U8(_, rq) => (rq.range, (0, 255)),
            IntOut::I8(_, rq) => (rq.range, (-128, 127)),
            // A `Requantize` fits one of the types.
            IntOut::Codes(..) | IntOut::I32(_) | IntOut::F32(..) => ((0, 0), (0, 0)),
        };
        if range.0 < legal.0 || range.1 > legal.1 {
            return Err(KernelError::Parameter {
                what: "requantization range",
                reason: "does not fit the output's type",
            });
        }
        if let IntOut::Codes(_, rq, After::Add { add, held }) = self {
            let own = match held {
                Held::First => add.b.0,
                Held::Second => add.a.0,
            };
            let fits = match own.flip {
                0 => rq.range.0 >= 0,
                _ => rq.range.1 <= 127,
            };
            if !fits {
                return Err(KernelError::Parameter {
                    what: "addend",
                    reason: "needed the type that sums are requantized to",
                });
            }
        }
        match self {
            IntOut::U8(_, rq) | IntOut::I8(_, rq) | IntOut::Codes(_, rq, _) => {
                check_len("requantization multiplier", all, rq.multiplier.len())
            }
            IntOut::F32(_, dq) => check_len("dequantization scale", all, dq.scale.len()),
            IntOut::I32(_) => Ok(()),
        }
    }

    /// How sums become codes, where codes are asked for.
    #[inline(always)]
    pub(crate) fn requantize(&self) -> Option<&'a Requantize> {
        match self {
            IntOut::U8(_, rq) | IntOut::I8(_, rq) | IntOut::Codes(_, rq, _) => Some(rq),
            IntOut::I32(_) | IntOut::F32(..) => None,
        }
    }

    /// What becomes of the codes.
    #[inline(always)]
    pub(crate) fn after(&self) -> &'a After {
        static NOTHING: After = After::Nothing;
        match self {
            IntOut::Codes(_, _, after) => after,
            _ => &NOTHING,
        }
    }

    /// Pixel `pixel` of an 8-bit output, as bytes.
    #[inline(always)]
    pub(crate) fn byte_row(&mut self, pixel: usize) -> Option<&mut [u8]> {
        match self {
            IntOut::U8(y, _) | IntOut::Codes(y, ..) => Some(y.row_mut(pixel)),
            IntOut::I8(y, _) => {
                let row = y.row_mut(pixel);
                // SAFETY: u8 and i8 have the same layout, and any bits are a value of both.
                Some(unsafe { std::slice::from_raw_parts_mut(row.as_mut_ptr().cast(), row.len()) })
            }
            IntOut::I32(_) | IntOut::F32(..) => None,
        }
    }

    /// Where the rows of an 8-bit output begin, and how far apart they are.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn byte_rows(&mut self) -> Option<(*mut u8, usize)> {
        match self {
            IntOut::U8(y, _) | IntOut::Codes(y, ..) => Some((y.as_mut_ptr(), y.stride())),
            IntOut::I8(y, _) => Some((y.as_mut_ptr().cast(), y.stride())),
            IntOut::I32(_) | IntOut::F32(..) => None,
        }
    }

    /// How sums become real numbers, where those are asked for.
    #[inline(always)]
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn dequantize(&self) -> Option<&'a Dequantize> {
        match self {
            IntOut::F32(_, dq) => Some(dq),
            _ => None,
        }
    }

    /// Where the rows of an f32 output begin, and how far apart they are.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn float_rows(&mut self) -> Option<(*mut f32, usize)> {
        match self {
            IntOut::F32(y, _) => Some((y.as_mut_ptr(), y.stride())),
            _ => None,
        }
    }

    /// Finishes `acc[p][l]`, output `first + l` of the layer at pixel `pixel + p`, for `l < count`;
    /// `base` is the first output of the range.
    #[inline(always)]
    pub(crate) fn put(
        &mut self,
        acc: &[[i32; LANES]],
        pixel: usize,
        base: usize,
        first: usize,
        count: usize,
    ) {
        let to = first - base..first - base + count;
        match self {
            IntOut::U8(y, rq) => {
                let multiplier = head(&rq.multiplier[first..first + count]);
                for (p, acc) in acc.iter().enumerate() {
                    let bytes = rq.bytes(acc, &multiplier);
                    copy_head(&mut y.row_mut(pixel + p)[to.clone()], &bytes);
                }
            }
            IntOut::I8(y, rq) => {
                let multiplier = head(&rq.multiplier[first..first + count]);
                for (p, acc) in acc.iter().enumerate() {
                    let bytes = rq.bytes(acc, &multiplier).map(|b| b as i8);
                    copy_head(&mut y.row_mut(pixel + p)[to.clone()], &bytes);
                }
            }
            IntOut::Codes(y, rq, after) => {
                let multiplier = head(&rq.multiplier[first..first + count]);
                for (p, acc) in acc.iter().enumerate() {
                    let bytes = rq.bytes(acc, &multiplier);
                    after.apply(&bytes, &mut y.row_mut(pixel + p)[to.clone()]);
                }
            }
            IntOut::I32(y) => {
                for (p, acc) in acc.iter().enumerate() {
                    y.row_mut(pixel + p)[to.clone()].copy_from_slice(&acc[..count]);
                }
            }
            IntOut::F32(y, dq) => {
                let scale = head(&dq.scale[first..first + count]);
                for (p, acc) in acc.iter().enumerate() {
                    let mut out = [0.0; LANES];
                    for ((o, &a), &s) in out.iter_mut().zip(acc).zip(&scale) {
                        *o = dq.clamp.apply(a as f32 * s);
                    }
                    y.row_mut(pixel + p)[to.clone()].copy_from_slice(&out[..count]);
                }
            }
        }
    }

    /// Finishes `acc[p][l]`, output `rows[l]` of the layer at pixel `pixel + p`.
    #[inline(always)]
    pub(crate) fn scatter(
        &mut self,
        acc: &[[i32; LANES]],
        pixel: usize,
        base: usize,
        rows: &[u32],
    ) {
        match self {
            IntOut::U8(y, rq) => {
                let multiplier = rq.multipliers(rows);
                for (p, acc) in acc.iter().enumerate() {
                    let bytes = rq.bytes(acc, &multiplier);
                    let y = y.row_mut(pixel + p);
                    for (&row, byte) in rows.iter().zip(bytes) {
                        y[row as usize - base] = byte;
                    }
                }
            }
            IntOut::I8(y, rq) => {
                let multiplier = rq.multipliers(rows);
                for (p, acc) in acc.iter().enumerate() {
                    let bytes = rq.bytes(acc, &multiplier);
                    let y = y.row_mut(pixel + p);
                    for (&row, byte) in rows.iter().zip(bytes) {
                        y[row as usize - base] = byte as i8;
                    }
                }
            }
            IntOut::Codes(y, rq, after) => {
                let multiplier = rq.multipliers(rows);
                for (p, acc) in acc.iter().enumerate() {
                    let bytes = rq.bytes(acc, &multiplier);
                    let y = y.row_mut(pixel + p);
                    for (&row, byte) in rows.iter().zip(bytes) {
                        let at = row as usize - base;
                        after.apply(&[byte], &mut y[at..=at]);
                    }
                }
            }
            IntOut::I32(y) => {
                for (p, acc) in acc.iter().enumerate() {
                    let y = y.row_mut(pixel + p);
                    for (&row, &acc) in rows.iter().zip(acc) {
                        y[row as usize - base] = acc;
                    }
                }
            }
            IntOut::F32(y, dq) => {
                for (p, acc) in acc.iter().enumerate() {
                    let y = y.row_mut(pixel + p);
                    for (&row, &acc) in rows.iter().zip(acc) {
                        y[row as usize - base] = dq.apply(row as usize, acc);
                    }
                }
            }
        }
    }
}

/// The first `to.len()` of 16 values, at most all, in pieces of known length: a copy of a length that
/// is not known is a call.
#[inline(always)]
fn copy_head<T: Copy>(to: &mut [T], from: &[T; LANES]) {
    if let Some(to) = to.first_chunk_mut::<LANES>() {
        *to = *from;
        return;
    }
    let at = copy_piece::<T, 8>(to, from, 0);
    let at = copy_piece::<T, 4>(to, from, at);
    let at = copy_piece::<T, 2>(to, from, at);
    copy_piece::<T, 1>(to, from, at);
}

/// Copies `N` values from `at` on where there is room for them; where the next piece begins.
#[inline(always)]
fn copy_piece<T: Copy, const N: usize>(to: &mut [T], from: &[T], at: usize) -> usize {
    match (
        to[at..].first_chunk_mut::<N>(),
        from[at..].first_chunk::<N>(),
    ) {
        (Some(to), Some(from)) => {
            *to = *from;
            at + N
        }
        _ => at,
    }
}

/// The first up to 16 values, then zeros.
#[inline(always)]
fn head(values: &[f32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    lanes[..values.len()].copy_from_slice(values);
    lanes
}

/// `values[rows[l]]`, then zeros.
#[inline(always)]
pub(crate) fn gather(values: &[f32], rows: &[u32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    for (lane, &row) in lanes.iter_mut().zip(rows) {
        *lane = values[row as usize];
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_to_even_and_overflow_saturates() {
        let rq = Requantize::new(vec![0.5, f32::MAX, -1.0], 3, 0, 255).unwrap();
        assert_eq!([1, 3, 5, 7].map(|acc| rq.apply(0, acc)), [3, 5, 5, 7]);
        assert_eq!(rq.apply(1, i32::MAX), 255);
        assert_eq!(rq.apply(1, i32::MIN), 0);
        assert_eq!(rq.apply(2, i32::MIN), 255);
        assert!(Requantize::new(vec![f32::NAN], 0, 0, 255).is_err());
        assert!(Requantize::new(vec![1.0], 0, -1, 255).is_err());
        assert!(Requantize::new(vec![1.0], 200, -128, 127).is_err());
    }

    #[test]
    fn nan_survives_the_activation() {
        assert!(Clamp::RELU.apply(f32::NAN).is_nan());
        assert!(Clamp::new(f32::NAN, 1.0).is_err());
    }

    proptest! {
        #[test]
        fn equals_the_definition(acc: i32, multiplier in -2.0f32..2.0, zp in -128i32..128, a in -128i32..128, b in -128i32..128) {
            let (lo, hi) = (a.min(b), a.max(b));
            let rq = Requantize::new(vec![multiplier], zp, lo, hi).unwrap();
            let wide = f64::from(acc as f32 * multiplier).round_ties_even() + f64::from(zp);
            prop_assert_eq!(f64::from(rq.apply(0, acc)), wide.clamp(f64::from(lo), f64::from(hi)));
        }
    }
}
