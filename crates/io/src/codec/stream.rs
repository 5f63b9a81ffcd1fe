//! The rANS stream of a run of positions: four interleaved states, the 16-bit
//! words that renormalise them, then the low bits of large numbers as they are.

use super::bits::{BitReader, BitWriter, Cursor, put_count};
use super::frequencies::{Frequencies, Model, PROB_BITS, Slot, Slots, TOTAL, Tables};
use super::token::{Token, Tokens, unfold};
use super::{CodecError, Plane, Symbol};

/// States stay in `LOW..2^32` between tokens, and start at `LOW`.
const LOW: u32 = 1 << 16;
const STATES: usize = 4;

/// The bytes of `plane` under `model`, which knows all its tokens.
pub(super) fn encode(plane: &Plane<'_>, model: &Model) -> Vec<u8> {
    let tokens = Tokens::of(plane, model.splits);
    // The decoder alternates gap and value; the encoder goes backwards.
    let mut sequence: Vec<(&Frequencies, &Token)> =
        Vec::with_capacity(tokens.gaps.len() + tokens.values.len());
    for (i, value) in tokens.values.iter().enumerate() {
        if let Some((table, gap)) = model.gaps.as_ref().zip(tokens.gaps.get(i)) {
            sequence.push((table, gap));
        }
        sequence.push((&model.values, value));
    }
    let mut states = [LOW; STATES];
    let mut words: Vec<u16> = Vec::new();
    for (turn, (table, token)) in sequence.iter().enumerate().rev() {
        let state = &mut states[turn % STATES];
        let (share, start) = table.of_token(token.symbol);
        if u64::from(*state) >= u64::from(share) << (32 - PROB_BITS) {
            words.push(*state as u16);
            *state >>= 16;
        }
        *state = ((*state / share) << PROB_BITS) + *state % share + start;
    }
    let mut out = Vec::new();
    put_count(&mut out, words.len() as u64);
    for state in states.iter().take(sequence.len()) {
        out.extend(state.to_le_bytes());
    }
    out.extend(words.iter().rev().flat_map(|word| word.to_le_bytes()));
    let mut extra = BitWriter::default();
    for (_, token) in &sequence {
        extra.put(token.extra, token.extra_bits);
    }
    out.extend(extra.finish());
    out
}

/// Reads what [`encode`] wrote: as many symbols as `symbols` has places, among
/// `positions` positions whose bits are set in `mask`, where there is one.
///
/// # Errors
/// When the bytes are no such stream.
pub(super) fn decode<S: Symbol>(
    mut cursor: Cursor<'_>,
    tables: &Tables,
    positions: usize,
    mask: &mut [u64],
    symbols: &mut [S],
) -> Result<(), CodecError> {
    let per_symbol = 1 + usize::from(tables.gaps.is_some());
    let words = cursor.count("rANS words", positions.saturating_mul(2))?;
    let mut states = [LOW; STATES];
    for state in states.iter_mut().take(symbols.len() * per_symbol) {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(cursor.slice(4, "rANS state")?);
        *state = u32::from_le_bytes(bytes);
        if *state < LOW {
            return Err(cursor.corrupt("a rANS state is too small"));
        }
    }
    let origin = cursor.at();
    let (words, _) = cursor
        .slice(words.saturating_mul(2), "rANS words")?
        .as_chunks();
    let mut reader = Reader {
        words,
        at: 0,
        extra: cursor.bits("low bits"),
        tables,
        origin,
    };
    let states = match &tables.gaps {
        Some(gaps) => reader.sparse(states, gaps, positions, mask, symbols)?,
        None => reader.dense(states, symbols)?,
    };
    if reader.at > words.len() {
        return Err(CodecError::Truncated {
            at: origin,
            what: "rANS words",
        });
    }
    // Every state must have come back to where the encoder started.
    if reader.at < words.len() || states != [LOW; STATES] {
        return Err(reader.corrupt("the rANS states do not end where they began"));
    }
    reader.extra.finish()
}

/// What the states draw from. States are handed in and out one by one, so that
/// they stay in registers.
struct Reader<'a> {
    words: &'a [[u8; 2]],
    at: usize,
    extra: BitReader<'a>,
    tables: &'a Tables,
    /// Offset of the words in the blob.
    origin: usize,
}

impl Reader<'_> {
    /// Gaps and values in turn.
    fn sparse<S: Symbol>(
        &mut self,
        states: [u32; STATES],
        gaps: &Slots,
        positions: usize,
        mask: &mut [u64],
        symbols: &mut [S],
    ) -> Result<[u32; STATES], CodecError> {
        let [mut a, mut b, mut c, mut d] = states;
        let mut next = 0usize;
        let mut place = |gap: u32| {
            let position = next.saturating_add(gap as usize);
            next = position.saturating_add(1);
            match mask.get_mut(position / 64) {
                Some(word) if position < positions => {
                    *word |= 1 << (position % 64);
                    true
                }
                _ => false,
            }
        };
        let beyond = self.corrupt("a gap leads beyond the plane");
        let (pairs, last) = symbols.as_chunks_mut();
        for [first, second] in pairs {
            let gap = self.gap(&mut a, gaps)?;
            *first = S::of(self.value(&mut b)?);
            let another = self.gap(&mut c, gaps)?;
            *second = S::of(self.value(&mut d)?);
            if !(place(gap) && place(another)) {
                return Err(beyond);
            }
        }
        if let [only] = last {
            if !place(self.gap(&mut a, gaps)?) {
                return Err(beyond);
            }
            *only = S::of(self.value(&mut b)?);
        }
        Ok([a, b, c, d])
    }

    /// Values alone.
    fn dense<S: Symbol>(
        &mut self,
        states: [u32; STATES],
        symbols: &mut [S],
    ) -> Result<[u32; STATES], CodecError> {
        let [mut a, mut b, mut c, mut d] = states;
        let (fours, rest) = symbols.as_chunks_mut();
        for [first, second, third, fourth] in fours {
            *first = S::of(self.value(&mut a)?);
            *second = S::of(self.value(&mut b)?);
            *third = S::of(self.value(&mut c)?);
            *fourth = S::of(self.value(&mut d)?);
        }
        for (symbol, state) in rest.iter_mut().zip([&mut a, &mut b, &mut c]) {
            *symbol = S::of(self.value(state)?);
        }
        Ok([a, b, c, d])
    }

    /// Takes a gap from a state.
    #[inline(always)]
    fn gap(&mut self, state: &mut u32, gaps: &Slots) -> Result<u32, CodecError> {
        let slot = self.step(state, gaps);
        if slot.extra_bits() == 0 {
            return Ok(slot.number());
        }
        Ok(slot.number() | self.extra.take(slot.extra_bits())?)
    }

    /// Takes a symbol of the alphabet from a state.
    #[inline(always)]
    fn value(&mut self, state: &mut u32) -> Result<i32, CodecError> {
        let slot = self.step(state, &self.tables.values);
        if slot.extra_bits() == 0 {
            return Ok(slot.number() as i32);
        }
        let number = slot.number() | self.extra.take(slot.extra_bits())?;
        let symbol = unfold(self.tables.alphabet, number);
        if self.tables.alphabet.holds(symbol) {
            Ok(symbol)
        } else {
            Err(self.tables.alphabet.stranger(self.origin))
        }
    }

    /// Takes a token from a state. Whether a word is needed is as good as random,
    /// so it is read in any case; that one was missing is seen at the end.
    #[inline(always)]
    fn step(&mut self, state: &mut u32, table: &Slots) -> Slot {
        let slot = table.slots[(*state & (TOTAL - 1)) as usize];
        let taken = slot.share() * (*state >> PROB_BITS) + slot.offset();
        let word = self.words.get(self.at).copied().unwrap_or_default();
        let low = taken < LOW;
        let filled = taken << 16 | u32::from(u16::from_le_bytes(word));
        *state = if low { filled } else { taken };
        self.at += usize::from(low);
        slot
    }

    fn corrupt(&self, what: &'static str) -> CodecError {
        CodecError::Corrupt {
            at: self.origin,
            what,
        }
    }
}
