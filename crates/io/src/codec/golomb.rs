//! Adaptive Exp-Golomb code: unsigned integers of any size whose small and
//! whose frequent values get short codes.

use super::mixer::Counter;
use super::range::BitCoder;

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
            // The two leading bits have a context each, the rest one a place.
            let context = if class - place <= 2 {
                read as usize & 3
            } else {
                4 + place.min(PLACES - 5)
            };
            let counter = &mut self.below[class * PLACES + context];
            read = read << 1 | u32::from(counter.code(coder, value >> place & 1 == 1));
        }
        read - 1
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
