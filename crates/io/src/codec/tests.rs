//! Every coder: lossless on any plane, harmless on any bytes, close to entropy.

use super::*;
use proptest::prelude::*;
use secateur_model::Bitmask;

/// A plane that owns its slices.
#[derive(Debug, Clone)]
struct Owned {
    rows: usize,
    cols: usize,
    mask: Option<Vec<bool>>,
    symbols: Vec<i32>,
    alphabet: Alphabet,
}

impl Owned {
    fn plane(&self) -> Plane<'_> {
        Plane {
            rows: self.rows,
            cols: self.cols,
            mask: self.mask.as_deref(),
            symbols: &self.symbols,
            alphabet: self.alphabet,
        }
    }

    fn assert_lossless(&self, coder: Coder) -> Encoded {
        let encoded = encode(&self.plane(), coder).unwrap();
        let layout = self.plane().layout();
        let decoded = decode::<i32>(&encoded.bytes, &layout).unwrap();
        assert_eq!(bools(decoded.mask), self.mask, "{coder}");
        assert_eq!(decoded.symbols, self.symbols, "{coder}");
        assert_eq!(cost(&encoded.bytes, &self.plane()).unwrap(), encoded.cost);
        match decode::<i16>(&encoded.bytes, &layout) {
            Ok(narrow) => {
                let symbols = narrow.symbols.iter().map(|&s| i32::from(s));
                assert!(symbols.eq(self.symbols.iter().copied()), "{coder}");
            }
            Err(_) => assert!(self.alphabet.bits() >= 16),
        }
        encoded
    }
}

fn bools(mask: Option<Bitmask>) -> Option<Vec<bool>> {
    mask.map(|mask| mask.to_bools())
}

/// Deterministic uniform numbers in `0..1` (xorshift).
fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut x = seed | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn iid(rows: usize, cols: usize, density: f64, bits: u32, seed: u64) -> Owned {
    structured(rows, cols, bits, seed, |_, _| density)
}

/// A plane whose positions are non-zero with their own probability.
fn structured(
    rows: usize,
    cols: usize,
    bits: u32,
    seed: u64,
    p: impl Fn(usize, usize) -> f64,
) -> Owned {
    let mut next = uniform(seed);
    let mask: Vec<bool> = (0..rows * cols)
        .map(|i| next() < p(i / cols, i % cols))
        .collect();
    let top = (1 << (bits - 1)) - 1;
    let symbols = mask
        .iter()
        .filter(|&&bit| bit)
        .map(|_| {
            let magnitude = 1 + (next() * f64::from(top)) as i32;
            if next() < 0.5 { -magnitude } else { magnitude }
        })
        .collect();
    Owned {
        rows,
        cols,
        mask: Some(mask),
        symbols,
        alphabet: Alphabet::Signed { bits },
    }
}

fn alphabets() -> impl Strategy<Value = Alphabet> {
    prop_oneof![
        (1u32..=32).prop_map(|bits| Alphabet::Signed { bits }),
        prop_oneof![1u32..40, Just(256), Just(257), Just(65536)]
            .prop_map(|levels| Alphabet::Indexed { levels }),
    ]
}

fn planes() -> impl Strategy<Value = Owned> {
    let density = prop_oneof![Just(0.0), Just(1.0), 0.0..1.0f64, 0.0..0.1f64];
    (
        0usize..24,
        0usize..70,
        alphabets(),
        density,
        any::<bool>(),
        any::<u64>(),
        0.0..1.0f64,
    )
        .prop_map(|(rows, cols, alphabet, density, masked, seed, spread)| {
            let mut next = uniform(seed);
            let mask: Vec<bool> = (0..rows * cols)
                .map(|_| !masked || next() < density)
                .collect();
            let (min, max) = alphabet.range();
            let count = mask.iter().filter(|&&bit| bit).count();
            let symbols = (0..count)
                .map(|_| {
                    // Mostly near zero, now and then anywhere in the alphabet.
                    let wide = next() < spread * spread;
                    let t = next();
                    let (low, high) = if wide {
                        (min, max)
                    } else {
                        (min.max(-3), max.min(4))
                    };
                    (f64::from(low) + t * (f64::from(high) - f64::from(low) + 1.0)).floor() as i32
                })
                .map(|symbol| symbol.clamp(min, max))
                .collect();
            Owned {
                rows,
                cols,
                mask: masked.then_some(mask),
                symbols,
                alphabet,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_coder_is_lossless(plane in planes()) {
        for coder in Coder::ALL {
            plane.assert_lossless(coder);
        }
    }

    #[test]
    fn every_gap_width_is_lossless(plane in planes(), bits in 0u32..=16) {
        let encoded = encode_fixed_gap(&plane.plane(), bits).unwrap();
        let decoded = decode::<i32>(&encoded.bytes, &plane.plane().layout()).unwrap();
        prop_assert_eq!(bools(decoded.mask), plane.mask);
        prop_assert_eq!(decoded.symbols, plane.symbols);
    }

    #[test]
    fn damaged_bytes_decode_to_an_error_or_a_valid_plane(
        plane in planes(),
        cut in 0.0..1.0f64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u32..8), 0..4),
    ) {
        for coder in Coder::ALL {
            let mut bytes = encode(&plane.plane(), coder).unwrap().bytes;
            for (index, bit) in &flips {
                let i = index.index(bytes.len());
                bytes[i] ^= 1 << bit;
            }
            if flips.is_empty() {
                bytes.truncate((bytes.len() as f64 * cut) as usize);
            }
            assert_harmless(&bytes, &plane.plane().layout());
        }
    }

    #[test]
    fn random_bytes_decode_to_an_error_or_a_valid_plane(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        rows in 0usize..20, cols in 0usize..50, masked: bool, alphabet in alphabets(),
    ) {
        let layout = Layout { rows, cols, masked, alphabet };
        assert_harmless(&bytes, &layout);
        for tag in 0..6 {
            let tagged: Vec<u8> = std::iter::once(tag).chain(bytes.iter().copied()).collect();
            assert_harmless(&tagged, &layout);
        }
    }
}

fn assert_harmless(bytes: &[u8], layout: &Layout) {
    let Ok(decoded) = decode::<i32>(bytes, layout) else {
        return;
    };
    assert_eq!(decoded.mask.is_some(), layout.masked);
    let mask = bools(decoded.mask);
    let plane = Plane {
        rows: layout.rows,
        cols: layout.cols,
        mask: mask.as_deref(),
        symbols: &decoded.symbols,
        alphabet: layout.alphabet,
    };
    plane.check().unwrap();
}

#[test]
fn empty_and_single_planes_are_lossless() {
    for (rows, cols) in [(0, 0), (0, usize::MAX), (usize::MAX, 0), (1, 1)] {
        for masked in [false, true] {
            for kept in [false, true] {
                let mask = vec![kept; rows * cols];
                let symbols = vec![-1; if masked && !kept { 0 } else { rows * cols }];
                let alphabet = Alphabet::Signed { bits: 8 };
                let plane = Owned {
                    rows,
                    cols,
                    mask: masked.then_some(mask),
                    symbols,
                    alphabet,
                };
                for coder in Coder::ALL {
                    plane.assert_lossless(coder);
                }
            }
        }
    }
}

#[test]
fn planes_that_contradict_themselves_are_refused() {
    let good = Plane {
        rows: 1,
        cols: 2,
        mask: Some(&[true, false]),
        symbols: &[3],
        alphabet: Alphabet::Signed { bits: 3 },
    };
    assert!(encode(&good, Coder::Raw).is_ok());
    let refused = |plane: Plane<'_>| encode(&plane, Coder::Context).unwrap_err();
    assert!(matches!(
        refused(Plane {
            symbols: &[4],
            ..good
        }),
        CodecError::Symbol {
            index: 0,
            symbol: 4,
            ..
        }
    ));
    assert!(matches!(
        refused(Plane {
            symbols: &[],
            ..good
        }),
        CodecError::Length { .. }
    ));
    assert!(matches!(
        refused(Plane {
            mask: Some(&[true]),
            ..good
        }),
        CodecError::Length { .. }
    ));
    assert!(matches!(
        refused(Plane {
            rows: usize::MAX,
            ..good
        }),
        CodecError::TooLarge { .. }
    ));
    let indexed = Alphabet::Indexed { levels: 0 };
    assert!(matches!(
        refused(Plane {
            alphabet: indexed,
            ..good
        }),
        CodecError::Alphabet { .. }
    ));
    assert!(encode_fixed_gap(&good, 17).is_err());
}

#[test]
fn hostile_layouts_are_refused_before_anything_is_allocated() {
    let alphabet = Alphabet::Signed { bits: 8 };
    for tag in 0..6 {
        let layout = Layout {
            rows: usize::MAX,
            cols: 3,
            masked: true,
            alphabet,
        };
        assert!(matches!(
            decode::<i32>(&[tag, 0, 0], &layout),
            Err(CodecError::TooLarge { .. })
        ));
    }
}

/// `H(p) / p`: fewest bits per non-zero of an i.i.d. mask.
fn entropy(p: f64) -> f64 {
    -(p * p.log2() + (1.0 - p) * (1.0 - p).log2()) / p
}

#[test]
fn context_cost_of_an_iid_mask_is_close_to_entropy() {
    for density in [0.10, 0.05, 0.02] {
        let plane = iid(300, 784, density, 5, 7);
        let encoded = plane.assert_lossless(Coder::Context);
        let n = plane.symbols.len() as f64;
        let floor = entropy(n / (300.0 * 784.0));
        let cost = encoded.cost.support_bits as f64 / n;
        assert!(
            cost < 1.02 * floor,
            "p {density}: {cost:.3} bits, entropy {floor:.3}"
        );
        // The parts account for the bytes.
        let parts = encoded.cost.support_bits + encoded.cost.value_bits;
        assert!((encoded.bytes.len() as u64 * 8).abs_diff(parts) < 80 + parts / 1000);
    }
}

#[test]
fn context_cost_of_a_structured_mask_is_below_that_of_its_density() {
    // A 28 x 28 image whose border is dead, neurons of unequal density.
    let plane = structured(300, 784, 5, 3, |r, c| {
        let (x, y) = ((c % 28) as f64 - 13.5, (c / 28) as f64 - 13.5);
        let pixel = (-(x * x + y * y) / 60.0).exp();
        0.3 * pixel * (0.2 + 1.6 * (r % 10) as f64 / 9.0)
    });
    let encoded = plane.assert_lossless(Coder::Context);
    let n = plane.symbols.len() as f64;
    let floor = entropy(n / (300.0 * 784.0));
    let cost = encoded.cost.support_bits as f64 / n;
    assert!(
        cost < 0.85 * floor,
        "{cost:.3} bits, i.i.d. entropy {floor:.3}"
    );
}

#[test]
fn fixed_gap_cost_is_that_in_print() {
    let printed = [
        (0.12, 4, 4.59),
        (0.12, 5, 5.09),
        (0.09, 4, 5.14),
        (0.09, 5, 5.26),
        (0.08, 4, 5.43),
        (0.08, 5, 5.37),
        (0.04, 5, 6.86),
        (0.04, 6, 6.47),
        (0.02, 6, 8.27),
        (0.01, 8, 8.66),
    ];
    for (density, bits, want) in printed {
        let plane = iid(1000, 1000, density, 5, 11);
        let encoded = encode_fixed_gap(&plane.plane(), bits).unwrap();
        let cost = encoded.cost.support_bits as f64 / plane.symbols.len() as f64;
        assert!(
            (cost / want - 1.0).abs() < 0.02,
            "p {density} b {bits}: {cost:.3}, want {want}"
        );
    }
}

#[test]
fn rans_and_huffman_are_close_to_their_own_entropy() {
    let plane = iid(300, 784, 0.08, 5, 5);
    let n = plane.symbols.len() as f64;
    let ideal = entropy(0.08) + 30f64.log2();
    for (coder, slack) in [(Coder::Rans, 1.02), (Coder::Huffman, 1.03)] {
        let cost = plane.assert_lossless(coder).bytes.len() as f64 * 8.0 / n;
        assert!(
            cost < ideal * slack,
            "{coder}: {cost:.3} bits, ideal {ideal:.3}"
        );
    }
}

#[test]
fn the_best_coder_is_the_smallest_or_a_fast_one() {
    let plane = iid(100, 300, 0.06, 5, 9);
    let smallest = encode_smallest(&plane.plane(), Store::Smallest).unwrap();
    for coder in Coder::ALL {
        assert!(smallest.bytes.len() <= encode(&plane.plane(), coder).unwrap().bytes.len());
    }
    let fast = encode_smallest(&plane.plane(), Store::Fast).unwrap();
    assert!(matches!(
        fast.coder,
        Coder::Raw | Coder::FixedGap | Coder::Rans | Coder::Blocks
    ));
}

#[test]
fn large_planes_without_structure_are_stored_for_fast_decoding() {
    let random = iid(600, 500, 0.1, 5, 9);
    let small = encode_smallest(&random.plane(), Store::Small).unwrap();
    assert_eq!(small.coder, Coder::Blocks);
    let smallest = encode_smallest(&random.plane(), Store::Smallest).unwrap();
    assert!(small.bytes.len() * 100 <= smallest.bytes.len() * 103);
    let columns = structured(600, 500, 5, 9, |_, c| if c % 10 == 0 { 0.9 } else { 0.01 });
    let small = encode_smallest(&columns.plane(), Store::Small).unwrap();
    assert_eq!(small.coder, Coder::Context);
}

#[test]
fn planes_of_several_blocks_are_lossless_and_harmless() {
    for (rows, cols) in [(1, (1 << 18) - 1), (512, 512), (700, 1001)] {
        for density in [0.0, 0.1, 1.0] {
            let mut plane = iid(rows, cols, density, 8, 3);
            let bytes = plane.assert_lossless(Coder::Blocks).bytes;
            let layout = plane.plane().layout();
            for cut in [1, 2, 9, 60, bytes.len() / 2, bytes.len() - 1] {
                assert!(decode::<i32>(&bytes[..cut.min(bytes.len() - 1)], &layout).is_err());
            }
            let mut next = uniform(5);
            for _ in 0..40 {
                let mut bytes = bytes.clone();
                // Headers and tables are hit as often as all the rest.
                let reach = if next() < 0.5 { 100.0 } else { f64::MAX };
                let at = (next() * (bytes.len() as f64).min(reach)) as usize;
                bytes[at] ^= 1 << (next() * 8.0) as u32;
                assert_harmless(&bytes, &layout);
            }
            if density == 1.0 {
                plane.mask = None;
                plane.assert_lossless(Coder::Blocks);
            }
        }
    }
}

#[test]
fn names_and_tags_are_stable() {
    for (tag, name) in (0u8..).zip(["raw", "gap", "huffman", "rans", "context", "blocks"]) {
        let coder = Coder::from_tag(tag).unwrap();
        assert_eq!((coder.tag(), coder.to_string().as_str()), (tag, name));
        assert_eq!(name.parse::<Coder>().unwrap(), coder);
    }
    assert_eq!(Coder::from_tag(6), None);
    assert!("zip".parse::<Coder>().is_err());
}

#[test]
fn the_format_does_not_change_unnoticed() {
    let plane = iid(40, 60, 0.1, 6, 1);
    let found = Coder::ALL.map(|coder| {
        let bytes = plane.assert_lossless(coder).bytes;
        (coder, bytes.len(), crc32fast::hash(&bytes))
    });
    assert_eq!(
        found,
        [
            (Coder::Raw, 496, 0xE506_F620),
            (Coder::FixedGap, 369, 0x3E8D_4A56),
            (Coder::Huffman, 364, 0x0D97_D2AB),
            (Coder::Rans, 387, 0xB03A_E021),
            (Coder::Context, 355, 0xA27C_1700),
            (Coder::Blocks, 389, 0x32B1_172F),
        ]
    );
}
