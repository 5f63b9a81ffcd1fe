//! Deep Compression's relative index (Han, Mao, Dally 2016): for each non-zero
//! the zeros before it in `b` bits, then its value. Where more than `2^b - 1`
//! zeros come first, a filler entry stands in between: a full gap, and a value
//! word that no symbol uses (word 0 where no symbol is zero, as in the paper).

use super::bits::{BitWriter, Cursor, put_count};
use super::token::Assembler;
use super::{CodecError, Cost, Decoded, Layout, Plane, Symbol};

/// Widest gap field.
pub(super) const MAX_GAP_BITS: u32 = 16;

/// Appends `plane` with the gap width that makes it smallest.
pub(super) fn encode(plane: &Plane<'_>, out: &mut Vec<u8>) -> Cost {
    let filler = Filler::of(plane);
    let gaps: Vec<usize> = plane.gaps().collect();
    let entry = |bits: u32| {
        let fillers: u64 = gaps.iter().map(|gap| (gap >> bits) as u64).sum();
        let width = filler.width(fillers > 0);
        (plane.symbols.len() as u64 + fillers) * u64::from(bits + width)
    };
    let best = (0..=MAX_GAP_BITS).min_by_key(|&bits| entry(bits));
    encode_with(plane, best.unwrap_or(0), out)
}

/// Appends `plane` with gaps of `bits` bits (16 at most).
pub(super) fn encode_with(plane: &Plane<'_>, bits: u32, out: &mut Vec<u8>) -> Cost {
    let fillers = fillers(plane, bits);
    let filler = Filler::of(plane);
    let width = filler.width(fillers > 0);
    let entries = plane.symbols.len() as u64 + fillers;
    out.push(bits as u8);
    out.push(width as u8);
    put_count(out, u64::from(filler.word));
    put_count(out, entries);

    let full = (1usize << bits) - 1;
    let mut fields = BitWriter::default();
    for (mut gap, &symbol) in plane.gaps().zip(plane.symbols) {
        while gap > full {
            fields.put(full as u32, bits);
            fields.put(filler.word, width);
            gap -= full + 1;
        }
        fields.put(gap as u32, bits);
        fields.put(plane.alphabet.word_of(symbol), width);
    }
    out.extend(fields.finish());
    Cost {
        support_bits: entries * u64::from(bits),
        value_bits: entries * u64::from(width),
    }
}

/// Reads what [`encode`] wrote.
pub(super) fn decode<S: Symbol>(
    mut cursor: Cursor<'_>,
    layout: &Layout,
) -> Result<Decoded<S>, CodecError> {
    let positions = layout.positions()?;
    let bits = u32::from(cursor.byte("gap width")?);
    let width = u32::from(cursor.byte("value width")?);
    let natural = layout.alphabet.bits();
    if bits > MAX_GAP_BITS || width > 32 || width < natural || width > natural + 1 {
        return Err(cursor.corrupt("the gap or value width is out of range"));
    }
    let filler = cursor.count("filler word", u32::MAX as usize)? as u32;
    let entries = cursor.count("entries", positions)?;
    let at = cursor.at();
    let mut fields = cursor.bits("gap entries");

    let mut plane = Assembler::new(layout, 0, at)?;
    for _ in 0..entries {
        plane.skip(fields.take(bits)?)?;
        let word = fields.take(width)?;
        if word == filler {
            plane.leave();
        } else {
            plane.push(layout.alphabet.symbol_of(word, at)?)?;
        }
    }
    fields.finish()?;
    plane.finish()
}

fn fillers(plane: &Plane<'_>, bits: u32) -> u64 {
    plane.gaps().map(|gap| (gap >> bits) as u64).sum()
}

/// The word that marks a filler.
struct Filler {
    word: u32,
    natural: u32,
}

impl Filler {
    /// The smallest word that no symbol of the plane uses.
    fn of(plane: &Plane<'_>) -> Self {
        let mut used: Vec<u32> = plane
            .symbols
            .iter()
            .map(|&symbol| plane.alphabet.word_of(symbol))
            .collect();
        used.sort_unstable();
        used.dedup();
        let free = used.iter().zip(0u32..).position(|(&word, i)| word != i);
        Self {
            word: free.unwrap_or(used.len()) as u32,
            natural: plane.alphabet.bits(),
        }
    }

    /// Bits of a value word, where fillers occur or do not.
    fn width(&self, needed: bool) -> u32 {
        let needs = self.word.checked_ilog2().map_or(0, |bit| bit + 1);
        if needed {
            self.natural.max(needs)
        } else {
            self.natural
        }
    }
}
