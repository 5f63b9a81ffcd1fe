//! Short structured bytes made shorter: a mix of the last one to six bytes' predictions, bit by
//! bit (Mahoney's PAQ), which begins with what it learned from the structure of common networks.
//!
//! A file of three kilobytes cannot afford three hundred bytes that say what its graph is called
//! and how it hangs together. The primer is part of the format: it never changes.

use crate::codec::mixer::{Counter, Mixer, Pace};
use crate::codec::range::{BitCoder, Idle, RangeDecoder, RangeEncoder};
use std::sync::LazyLock;

/// Structure of the built-in networks, with integer weights.
const PRIMER: &[u8] = include_bytes!("primer.bin");

/// Most bytes that are packed, and unpacked: about a microsecond each.
pub(super) const MAX_BYTES: usize = 1 << 16;

/// Packs at most [`MAX_BYTES`] bytes.
pub(super) fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut model = ByteModel::primed();
    let mut encoder = RangeEncoder::new();
    for &byte in bytes {
        model.code(&mut encoder, byte);
    }
    encoder.finish()
}

/// The `count` bytes that were packed, or none where `packed` is not what [`pack`] writes.
pub(super) fn unpack(packed: &[u8], count: usize) -> Option<Vec<u8>> {
    let mut model = ByteModel::primed();
    let mut decoder = RangeDecoder::new(packed);
    let mut bytes = Vec::with_capacity(count.min(MAX_BYTES));
    for _ in 0..count {
        bytes.push(model.code(&mut decoder, 0));
        decoder.check().ok()?;
    }
    decoder.finish().ok()?;
    Some(bytes)
}

/// Lengths of the contexts, in bytes.
const ORDERS: [u32; 5] = [1, 2, 3, 4, 6];
/// Counters of a table, as a power of two.
const TABLE_BITS: u32 = 16;
const PACE: Pace = Pace::new(3, 60, 1500);
/// Starting weight of a context, in `1 / 256`.
const START: [i32; ORDERS.len()] = [90; ORDERS.len()];

#[derive(Clone)]
struct ByteModel {
    mixer: Mixer<{ ORDERS.len() }>,
    base: Vec<Counter>,
    tables: [Vec<Counter>; ORDERS.len()],
    /// The last eight bytes, newest lowest.
    history: u64,
}

impl ByteModel {
    /// What the primer taught: learned once, then copied.
    fn primed() -> Self {
        static PRIMED: LazyLock<ByteModel> = LazyLock::new(ByteModel::learn_primer);
        PRIMED.clone()
    }

    fn learn_primer() -> Self {
        let mut model = Self {
            mixer: Mixer::new(ORDERS.len() + 1, START, PACE),
            base: vec![Counter::NEW; 256],
            tables: std::array::from_fn(|_| vec![Counter::NEW; 1 << TABLE_BITS]),
            history: 0,
        };
        for &byte in PRIMER {
            model.code(&mut Idle, byte);
        }
        model
    }

    /// Codes a byte, most significant bit first.
    fn code<C: BitCoder>(&mut self, coder: &mut C, byte: u8) -> u8 {
        let mut node = 1u32;
        for place in (0..8).rev() {
            let history = self.history;
            let places = ORDERS.map(|order| place_of(history, order, node));
            let [a, b, c, d, e] = &mut self.tables;
            let contexts = [
                &mut a[places[0]],
                &mut b[places[1]],
                &mut c[places[2]],
                &mut d[places[3]],
                &mut e[places[4]],
            ];
            // How many of them have been here before says whom to trust.
            let known = contexts.iter().filter(|c| !c.is_new()).count();
            let bit = byte >> place & 1 == 1;
            let base = &mut self.base[node as usize & 0xFF];
            let bit = self.mixer.code(coder, bit, base, contexts, known);
            node = node << 1 | u32::from(bit);
        }
        let byte = node as u8;
        self.history = self.history << 8 | u64::from(byte);
        byte
    }
}

/// A context's place in its table.
fn place_of(history: u64, order: u32, node: u32) -> usize {
    let bytes = history & (u64::MAX >> (64 - 8 * order));
    let mixed = (bytes << 8 | u64::from(node & 0xFF))
        .wrapping_add(u64::from(order))
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (64 - TABLE_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_primer_is_what_it_always_was() {
        assert_eq!(crc32fast::hash(PRIMER), 0x2970_522b);
    }

    #[test]
    fn what_the_primer_knows_takes_next_to_nothing() {
        let packed = pack(&PRIMER[..500]);
        assert!(packed.len() < 50, "{} bytes", packed.len());
        assert_eq!(unpack(&packed, 500).unwrap(), &PRIMER[..500]);
        assert!(unpack(&packed[..packed.len() - 2], 500).is_none());
    }

    proptest! {
        #[test]
        fn anything_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let packed = pack(&bytes);
            // What the primer believes of structure, noise contradicts.
            prop_assert!(packed.len() <= bytes.len() * 3 / 2 + 16);
            prop_assert_eq!(unpack(&packed, bytes.len()), Some(bytes));
        }

        #[test]
        fn anything_unpacks_or_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = unpack(&bytes, 200);
        }
    }
}
