//! Bit packing: one bit per position, one fixed-width field per symbol.

use super::bits::{BitWriter, Cursor};
use super::{CodecError, Cost, Decoded, Layout, Plane, Symbol};
use secateur_model::Bitmask;

/// Appends the mask, then the symbols.
pub(super) fn encode(plane: &Plane<'_>, out: &mut Vec<u8>) -> Cost {
    let width = plane.alphabet.bits();
    let mut bits = BitWriter::default();
    for &bit in plane.mask.unwrap_or_default() {
        bits.put(u32::from(bit), 1);
    }
    for &symbol in plane.symbols {
        bits.put(symbol as u32, width);
    }
    out.extend(bits.finish());
    Cost {
        support_bits: plane.mask.map_or(0, <[bool]>::len) as u64,
        value_bits: plane.symbols.len() as u64 * u64::from(width),
    }
}

/// Reads what [`encode`] wrote.
pub(super) fn decode<S: Symbol>(
    mut cursor: Cursor<'_>,
    layout: &Layout,
) -> Result<Decoded<S>, CodecError> {
    let positions = layout.positions()?;
    let at = cursor.at();
    let mut bits = cursor.bits("bit-packed tensor");
    let mask = if layout.masked {
        let words = (0..positions).step_by(64).map(|start| {
            let mut word = 0;
            for place in 0..64.min(positions - start) {
                word |= u64::from(bits.take(1)?) << place;
            }
            Ok(word)
        });
        let words = words.collect::<Result<_, _>>()?;
        Some(Bitmask::from_words(words, positions))
    } else {
        None
    };
    let count = mask.as_ref().map_or(positions, Bitmask::count_ones);
    let width = layout.alphabet.bits();
    let symbols: Result<Vec<S>, _> = (0..count)
        .map(|_| {
            let word = bits.take(width)?;
            layout.alphabet.symbol_of(word, at).map(S::of)
        })
        .collect();
    let symbols = symbols?;
    bits.finish()?;
    Ok(Decoded { mask, symbols })
}
