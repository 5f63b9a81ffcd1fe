//! Adaptive Exp-Golomb code: unsigned integers of any size whose small and
//! whose frequent values get short codes.

use super::mixer::Counter;
use super::range::{BitCoder, bits};

/// Contexts of the bits of one class.
const PLACES: usize = 16;
/// Codes `value + 1` as its bit length in unary, then the bits below the
/// leading one; every bit is adaptive.
#[derive(Debug)]
pub(super) struct Golomb {
    class: Vec<Counter>,
    below: Vec<Counter>,
}

impl Golomb {
    pub(super) fn new() -> Self {
        Self {
            class: vec![Counter::NEW; 32],
            below: vec![Counter::NEW; 32 * PLACES],
        }
    }

    /// Codes a value below `u32::MAX`.
    pub(super) fn code<C: BitCoder>(&mut self, coder: &mut C, value: u32) -> u32 {
        let value = value.wrapping_add(1);
        let mut class = 0;
        while class < 31 && self.class[class].code(coder, value >> (class + 1) != 0) {
            class += 1;
        }
        let mut read = 1u32;
        for place in (0..class).rev() {
            let counter = &mut self.below[Self::context(class, place, read)];
            read = read << 1 | u32::from(counter.code(coder, value >> place & 1 == 1));
        }
        read - 1
    }

    /// What a value would cost now, in bits.
    pub(super) fn bits(&self, value: u32) -> f32 {
        let value = value.wrapping_add(1);
        let class = value.max(1).ilog2().min(31) as usize;
        let longer: f32 = self.class[..class].iter().map(|c| bits(c.p())[1]).sum();
        let ends = self.class.get(class).filter(|_| class < 31);
        let below = (0..class).rev().map(|place| {
            let counter = &self.below[Self::context(class, place, value >> (place + 1))];
            bits(counter.p())[value as usize >> place & 1]
        });
        longer + ends.map_or(0.0, |c| bits(c.p())[0]) + below.sum::<f32>()
    }

    /// The counter of the bit at `place` of a value of `class`, after the bits above it.
    fn context(class: usize, place: usize, above: u32) -> usize {
        // The two leading bits have a context each, the rest one a place.
        let context = if class - place <= 2 {
            above as usize & 3
        } else {
            4 + place.min(PLACES - 5)
        };
        class * PLACES + context
    }
}

#[cfg(test)]
mod tests {
    use super::super::range::{RangeDecoder, RangeEncoder};
    use super::*;

    #[test]
    fn values_of_every_size_come_back() {
        let values: Vec<u32> = (0..32)
            .flat_map(|bit| [1 << bit, (1 << bit) - 1, (1 << bit) + 1])
            .collect();
        let mut encoder = RangeEncoder::new();
        let mut golomb = Golomb::new();
        for &value in &values {
            golomb.code(&mut encoder, value);
        }
        let bytes = encoder.finish();
        let mut decoder = RangeDecoder::new(&bytes);
        let mut golomb = Golomb::new();
        for &value in &values {
            assert_eq!(golomb.code(&mut decoder, 0), value);
        }
        decoder.finish().unwrap();
    }
}
