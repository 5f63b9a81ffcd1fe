//! Deterministic damage to files.

use rand::{Rng, RngExt};

/// Values at the edges of what a field of a length or count can hold.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x1000_0000,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
    u64::MAX,
];

/// One of `files` with one to four damages: bits flipped, the end cut off, a piece of another
/// file put in, a piece taken out or repeated, a run of zeros or ones, the value of a field
/// replaced. The result depends on `files` and the state of `rng` alone.
///
/// ```
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
/// use secateur_fuzz::mutate::mutate;
/// let files = [b"some file".to_vec()];
/// let once = mutate(&files, &mut ChaCha8Rng::seed_from_u64(1));
/// assert_eq!(once, mutate(&files, &mut ChaCha8Rng::seed_from_u64(1)));
/// ```
pub fn mutate(files: &[Vec<u8>], rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = pick(files, rng);
    for _ in 0..rng.random_range(1..=4) {
        match rng.random_range(0..8) {
            0 | 1 => flip(&mut bytes, rng),
            2 => bytes.truncate(rng.random_range(0..=bytes.len())),
            3 => splice(&mut bytes, &pick(files, rng), rng),
            4 => repeat(&mut bytes, rng),
            5 => run(&mut bytes, rng),
            6 => field(&mut bytes, rng),
            _ => varint(&mut bytes, rng),
        }
    }
    bytes
}

fn pick(files: &[Vec<u8>], rng: &mut impl Rng) -> Vec<u8> {
    let index = rng.random_range(0..files.len().max(1));
    files.get(index).cloned().unwrap_or_default()
}

/// A short piece of `len` bytes: where it begins and ends.
fn piece(len: usize, rng: &mut impl Rng) -> std::ops::Range<usize> {
    let start = rng.random_range(0..=len);
    start..len.min(start + rng.random_range(0..=32))
}

fn flip(bytes: &mut [u8], rng: &mut impl Rng) {
    if !bytes.is_empty() {
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
    }
}

fn splice(bytes: &mut Vec<u8>, other: &[u8], rng: &mut impl Rng) {
    let (to, from) = (piece(bytes.len(), rng), piece(other.len(), rng));
    bytes.splice(to, other[from].iter().copied());
}

fn repeat(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    let from = piece(bytes.len(), rng);
    let copy = bytes[from.clone()].repeat(rng.random_range(0..=3));
    bytes.splice(from, copy);
}

fn run(bytes: &mut [u8], rng: &mut impl Rng) {
    let value = if rng.random() { 0xFF } else { 0 };
    let at = piece(bytes.len(), rng);
    bytes[at].fill(value);
}

/// A little- or big-endian number of 1, 2, 4 or 8 bytes.
fn field(bytes: &mut [u8], rng: &mut impl Rng) {
    let width = 1 << rng.random_range(0..4);
    if bytes.len() < width {
        return;
    }
    let at = rng.random_range(0..=bytes.len() - width);
    let value = EDGES[rng.random_range(0..EDGES.len())].to_le_bytes();
    let place = &mut bytes[at..at + width];
    place.copy_from_slice(&value[..width]);
    if rng.random() {
        place.reverse();
    }
}

/// A LEB128 number, as protobuf and `.sct` have them.
fn varint(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    let mut value = EDGES[rng.random_range(0..EDGES.len())];
    let mut coded = Vec::new();
    while value >= 0x80 {
        coded.push(value as u8 | 0x80);
        value >>= 7;
    }
    coded.push(value as u8);
    let at = rng.random_range(0..=bytes.len());
    let old = if rng.random() { 1 } else { coded.len() };
    bytes.splice(at..bytes.len().min(at + old), coded);
}
