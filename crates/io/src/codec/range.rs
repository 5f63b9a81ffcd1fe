//! A binary arithmetic coder (range coder with carry propagation).
//!
//! One walk over the data serves encoder, decoder and cost estimate: the walk
//! asks a [`BitCoder`] to code each decision with a probability, and goes on
//! with the bit it gets back. Encoder and decoder can therefore not disagree.

use super::CodecError;

/// Probabilities are in units of `1 / ONE`.
pub(crate) const ONE: u32 = 1 << 16;

/// Renormalise when the interval is narrower than this.
const NARROW: u32 = 1 << 24;

/// Bytes of the final code value; so many may be left off when they are zero.
const TAIL: usize = 4;

/// Codes binary decisions, in either direction.
pub(crate) trait BitCoder {
    /// Codes one decision whose probability of being `true` is `p / ONE`,
    /// with `0 < p < ONE`. A decoder ignores `bit`; all return the true one.
    fn code(&mut self, bit: bool, p: u32) -> bool;

    /// Whether everything coded so far was really there.
    ///
    /// # Errors
    /// When a decoder has read beyond its input.
    fn check(&self) -> Result<(), CodecError>;
}

/// Codes nothing: what a model learns from decisions that are known on both sides.
#[derive(Debug)]
pub(crate) struct Idle;

impl BitCoder for Idle {
    fn code(&mut self, bit: bool, _: u32) -> bool {
        bit
    }

    fn check(&self) -> Result<(), CodecError> {
        Ok(())
    }
}

/// Writes decisions to bytes.
#[derive(Debug)]
pub(crate) struct RangeEncoder {
    out: Vec<u8>,
    low: u64,
    range: u32,
    /// The last byte that a carry could still reach, with the `0xFF`s after it.
    held: Option<u8>,
    held_ff: usize,
}

impl RangeEncoder {
    pub(crate) fn new() -> Self {
        Self {
            out: Vec::new(),
            low: 0,
            range: u32::MAX,
            held: None,
            held_ff: 0,
        }
    }

    fn shift_out(&mut self) {
        let carry = (self.low >> 32) as u8;
        let byte = (self.low >> 24) as u8;
        if byte == 0xFF && carry == 0 {
            self.held_ff += 1;
        } else {
            if let Some(held) = self.held {
                self.out.push(held.wrapping_add(carry));
            }
            let filler = 0xFFu8.wrapping_add(carry);
            self.out.extend(std::iter::repeat_n(filler, self.held_ff));
            self.held_ff = 0;
            self.held = Some(byte);
        }
        self.low = (self.low & 0x00FF_FFFF) << 8;
    }

    /// Ends the stream with the shortest code value inside the interval.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let last = self.low + u64::from(self.range) - 1;
        let zeros = (0..32)
            .rev()
            .find(|&k| (self.low.div_ceil(1 << k) << k) <= last)
            .unwrap_or(0);
        self.low = self.low.div_ceil(1 << zeros) << zeros;
        for _ in 0..=TAIL {
            self.shift_out();
        }
        // The last shift pushes what was held and holds a zero of its own.
        let shortest = self.out.len().saturating_sub(TAIL);
        while self.out.len() > shortest && self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

impl BitCoder for RangeEncoder {
    #[inline]
    fn code(&mut self, bit: bool, p: u32) -> bool {
        let bound = split(self.range, p);
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        while self.range < NARROW {
            self.shift_out();
            self.range <<= 8;
        }
        bit
    }

    fn check(&self) -> Result<(), CodecError> {
        Ok(())
    }
}

/// Reads decisions from bytes.
#[derive(Debug)]
pub(crate) struct RangeDecoder<'a> {
    bytes: &'a [u8],
    at: usize,
    code: u32,
    range: u32,
}

impl<'a> RangeDecoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            bytes,
            at: 0,
            code: 0,
            range: u32::MAX,
        };
        for _ in 0..TAIL {
            decoder.shift_in();
        }
        decoder
    }

    #[inline]
    fn shift_in(&mut self) {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.code = self.code << 8 | u32::from(byte);
        self.at += 1;
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// When decisions came from beyond the input, or input is left over.
    pub(crate) fn finish(self) -> Result<(), CodecError> {
        self.check()?;
        if self.at < self.bytes.len() {
            return Err(CodecError::Trailing {
                at: self.at,
                bytes: self.bytes.len() - self.at,
            });
        }
        Ok(())
    }
}

impl BitCoder for RangeDecoder<'_> {
    #[inline]
    fn code(&mut self, _: bool, p: u32) -> bool {
        let bound = split(self.range, p);
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        while self.range < NARROW {
            self.shift_in();
            self.range <<= 8;
        }
        bit
    }

    fn check(&self) -> Result<(), CodecError> {
        if self.at > self.bytes.len() + TAIL {
            return Err(CodecError::Truncated {
                at: self.bytes.len(),
                what: "range coder",
            });
        }
        Ok(())
    }
}

/// Adds up what decisions would cost, without writing them.
#[derive(Debug, Default)]
pub(super) struct CostMeter {
    units: u64,
}

impl CostMeter {
    /// Bits spent so far, rounded.
    pub(super) fn bits(&self) -> u64 {
        (self.units + (1 << (COST_SHIFT - 1))) >> COST_SHIFT
    }
}

impl BitCoder for CostMeter {
    #[inline]
    fn code(&mut self, bit: bool, p: u32) -> bool {
        self.units += u64::from(units(bit, p));
        bit
    }

    fn check(&self) -> Result<(), CodecError> {
        Ok(())
    }
}

/// Notes what either way of each decision would have cost, in bits: `false`, `true`.
#[derive(Debug, Default)]
pub(super) struct EitherWay(pub Vec<[f32; 2]>);

impl BitCoder for EitherWay {
    fn code(&mut self, bit: bool, p: u32) -> bool {
        self.0.push(bits(p));
        bit
    }

    fn check(&self) -> Result<(), CodecError> {
        Ok(())
    }
}

/// Writes decisions, and adds up what they cost.
#[derive(Debug)]
pub(super) struct MeteredEncoder {
    encoder: RangeEncoder,
    meter: CostMeter,
}

impl MeteredEncoder {
    pub(super) fn new() -> Self {
        Self {
            encoder: RangeEncoder::new(),
            meter: CostMeter::default(),
        }
    }

    /// Bits spent since this was last asked, rounded.
    pub(super) fn take_bits(&mut self) -> u64 {
        std::mem::take(&mut self.meter).bits()
    }

    /// Ends the stream.
    pub(super) fn finish(self) -> Vec<u8> {
        self.encoder.finish()
    }
}

impl BitCoder for MeteredEncoder {
    #[inline]
    fn code(&mut self, bit: bool, p: u32) -> bool {
        self.meter.code(bit, p);
        self.encoder.code(bit, p)
    }

    fn check(&self) -> Result<(), CodecError> {
        Ok(())
    }
}

/// Width of the lower part of an interval, which stands for `true`.
#[inline]
fn split(range: u32, p: u32) -> u32 {
    ((u64::from(range) * u64::from(p)) >> 16) as u32
}

/// What a decision costs, in `2^-COST_SHIFT` bits.
#[inline]
fn units(bit: bool, p: u32) -> u32 {
    let p = if bit { p } else { ONE - p };
    COST[(p >> 4) as usize & 0xFFF]
}

/// What either way of a decision costs, in bits: `false`, `true`.
pub(super) fn bits(p: u32) -> [f32; 2] {
    [false, true].map(|bit| units(bit, p) as f32 / (1 << COST_SHIFT) as f32)
}

const COST_SHIFT: u32 = 16;

/// `-log2` of a probability of `(i + ½) / 4096`, in `2^-COST_SHIFT` bits.
static COST: [u32; 4096] = {
    let mut table = [0; 4096];
    let mut i = 0;
    while i < table.len() {
        table[i] = (13 << COST_SHIFT) - log2(2 * i as u64 + 1);
        i += 1;
    }
    table
};

/// `log2(x)` in fixed point, one fraction bit per squaring.
const fn log2(x: u64) -> u32 {
    let whole = x.ilog2();
    let mut y = (x << 31) >> whole;
    let mut result = whole;
    let mut bit = 0;
    while bit < COST_SHIFT {
        y = (y * y) >> 31;
        result <<= 1;
        if y >> 32 != 0 {
            y >>= 1;
            result |= 1;
        }
        bit += 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoder_returns_what_was_encoded_at_every_skew() {
        for p in [1, 2, 300, 32768, 65000, 65535] {
            let bits: Vec<bool> = (0..5000u32)
                .map(|i| i.wrapping_mul(2_654_435_761) >> 16 < p)
                .collect();
            let mut encoder = RangeEncoder::new();
            let mut meter = CostMeter::default();
            for &bit in &bits {
                encoder.code(bit, p);
                meter.code(bit, p);
            }
            let bytes = encoder.finish();
            assert!(
                bytes.len() as u64 <= meter.bits() / 8 + 8,
                "p {p}: {} bytes for {} bits",
                bytes.len(),
                meter.bits()
            );
            let mut decoder = RangeDecoder::new(&bytes);
            for &bit in &bits {
                assert_eq!(decoder.code(false, p), bit);
            }
            decoder.finish().unwrap();
        }
    }

    #[test]
    fn carries_reach_back_through_held_bytes() {
        // Taking the upper part of a nearly full interval keeps low near a carry.
        let mut encoder = RangeEncoder::new();
        let bits: Vec<bool> = (0..4000).map(|i| i % 97 == 96).collect();
        for &bit in &bits {
            encoder.code(bit, 65535);
        }
        let bytes = encoder.finish();
        let mut decoder = RangeDecoder::new(&bytes);
        assert!(bits.iter().all(|&bit| decoder.code(false, 65535) == bit));
        decoder.finish().unwrap();
    }

    #[test]
    fn nothing_coded_takes_no_bytes() {
        assert_eq!(RangeEncoder::new().finish(), Vec::<u8>::new());
        RangeDecoder::new(&[]).finish().unwrap();
    }

    #[test]
    fn left_over_input_is_an_error() {
        let decoder = RangeDecoder::new(&[1, 2, 3, 4, 5]);
        assert_eq!(
            decoder.finish(),
            Err(CodecError::Trailing { at: 4, bytes: 1 })
        );
    }

    #[test]
    fn log2_is_exact_to_its_last_bits() {
        for x in [1u64, 2, 3, 1000, 8191] {
            let want = (x as f64).log2() * f64::from(1u32 << COST_SHIFT);
            assert!((f64::from(log2(x)) - want).abs() < 1.5);
        }
    }
}
