//! rANS (Duda 2013) on gaps and values: static order-0 tables of 12-bit
//! probabilities, four interleaved 32-bit states that renormalise by 16 bits,
//! decoded by table look-up.

use super::bits::{BitReader, BitWriter, Cursor, put_count};
use super::token::{self, Assembler, MAX_TOKENS, Split, Splits, Token, Tokens};
use super::{CodecError, Cost, Decoded, Layout, Plane};

const PROB_BITS: u32 = 12;
const TOTAL: u32 = 1 << PROB_BITS;
/// States stay in `LOW..2^32` between tokens, and start at `LOW`.
const LOW: u32 = 1 << 16;
const STATES: usize = 4;

/// Appends `plane` with the token splits that make it smallest.
pub(super) fn encode(plane: &Plane<'_>, out: &mut Vec<u8>) -> Cost {
    let tried = Splits::tried(plane.mask.is_some()).map(|splits| encode_with(plane, splits));
    let Some((bytes, cost)) = tried.min_by_key(|(bytes, _)| bytes.len()) else {
        return Cost::default();
    };
    out.extend(bytes);
    cost
}

fn encode_with(plane: &Plane<'_>, splits: Splits) -> (Vec<u8>, Cost) {
    let tokens = Tokens::of(plane, splits);
    let mut out = vec![splits.to_byte()];
    if plane.mask.is_some() {
        put_count(&mut out, plane.symbols.len() as u64);
    }
    let gap_table = plane.mask.map(|_| Frequencies::put(&mut out, &tokens.gaps));
    let value_table = Frequencies::put(&mut out, &tokens.values);

    // The decoder alternates gap and value; the encoder goes backwards.
    let mut sequence: Vec<(&Frequencies, &Token)> = Vec::new();
    for (i, value) in tokens.values.iter().enumerate() {
        if let Some((table, gap)) = gap_table.as_ref().zip(tokens.gaps.get(i)) {
            sequence.push((table, gap));
        }
        sequence.push((&value_table, value));
    }
    let mut states = [LOW; STATES];
    let mut words: Vec<u16> = Vec::new();
    for (turn, (table, token)) in sequence.iter().enumerate().rev() {
        let state = &mut states[turn % STATES];
        *state = table.push(*state, token.symbol, &mut words);
    }
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
    let cost = Cost {
        support_bits: gap_table.map_or(0, |table| table.bits(&tokens.gaps)),
        value_bits: value_table.bits(&tokens.values),
    };
    (out, cost)
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(mut cursor: Cursor<'_>, layout: &Layout) -> Result<Decoded, CodecError> {
    let positions = layout.positions()?;
    let splits = Splits::read(&mut cursor)?;
    let count = if layout.masked {
        cursor.count("non-zeros", positions)?
    } else {
        positions
    };
    let gap_table = if layout.masked {
        Some(Slots::read(&mut cursor, splits.gaps, count)?)
    } else {
        None
    };
    let value_table = Slots::read(&mut cursor, splits.values, count)?;
    let per_value = 1 + usize::from(layout.masked);
    let words = cursor.count("rANS words", positions.saturating_mul(2))?;
    let mut states = States::read(&mut cursor, count.saturating_mul(per_value), words)?;
    let mut plane = Assembler::new(layout, count, cursor.at())?;
    let mut extra = cursor.bits("low bits");
    match gap_table {
        Some(gap_table) => {
            for _ in 0..count {
                let gap = states.take(&gap_table, &mut extra)?;
                plane.push(gap, states.take(&value_table, &mut extra)?)?;
            }
        }
        None => {
            for _ in 0..count {
                plane.push(0, states.take(&value_table, &mut extra)?)?;
            }
        }
    }
    states.finish()?;
    extra.finish()?;
    Ok(plane.finish())
}

/// Share of the probability space that each token has.
#[derive(Debug)]
struct Frequencies {
    share: Vec<u32>,
    start: Vec<u32>,
}

impl Frequencies {
    /// The shares of `tokens`, appended to `out`.
    fn put(out: &mut Vec<u8>, tokens: &[Token]) -> Self {
        let counts = token::histogram(tokens);
        let share = normalise(&counts);
        // Few tokens have small counts, which are shorter than their shares.
        let stored = if tokens.len() <= TOTAL as usize {
            &counts
        } else {
            &share
        };
        token::put_table(out, stored);
        let start = share
            .iter()
            .scan(0, |sum, &s| {
                *sum += s;
                Some(*sum - s)
            })
            .collect();
        Self { share, start }
    }

    /// Pushes a symbol on a state.
    fn push(&self, mut state: u32, symbol: u16, words: &mut Vec<u16>) -> u32 {
        let (share, start) = (
            self.share[usize::from(symbol)],
            self.start[usize::from(symbol)],
        );
        if u64::from(state) >= u64::from(share) << 20 {
            words.push(state as u16);
            state >>= 16;
        }
        ((state / share) << PROB_BITS) + state % share + start
    }

    /// What tokens cost, low bits included.
    fn bits(&self, tokens: &[Token]) -> u64 {
        let bits: f64 = tokens
            .iter()
            .map(|token| {
                let share = self.share[usize::from(token.symbol)];
                f64::from(PROB_BITS + token.extra_bits) - f64::from(share).log2()
            })
            .sum();
        bits.round() as u64
    }
}

/// Scales counts to shares that sum to [`TOTAL`], none of them lost; all zero
/// when the counts are.
fn normalise(counts: &[u32]) -> Vec<u32> {
    let sum: u64 = counts.iter().map(|&c| u64::from(c)).sum();
    let mut share: Vec<u32> = counts
        .iter()
        .map(|&count| {
            let scaled = u64::from(count) * u64::from(TOTAL) / sum.max(1);
            if count == 0 {
                0
            } else {
                (scaled as u32).max(1)
            }
        })
        .collect();
    // The largest take up the rounding, where it matters least.
    let mut order: Vec<usize> = (0..share.len()).filter(|&s| share[s] > 0).collect();
    order.sort_by_key(|&s| std::cmp::Reverse(share[s]));
    let mut spare = i64::from(TOTAL) - share.iter().map(|&s| i64::from(s)).sum::<i64>();
    for &s in order.iter().cycle().take(order.len() * TOTAL as usize) {
        if spare == 0 {
            break;
        }
        if spare > 0 {
            share[s] += 1;
            spare -= 1;
        } else if share[s] > 1 {
            share[s] -= 1;
            spare += 1;
        }
    }
    share
}

/// What a state's low bits decode to.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    symbol: u16,
    share: u16,
    /// Place within the symbol's share.
    offset: u16,
    extra_bits: u16,
}

/// Decoding table: a slot for each value of a state's low bits.
#[derive(Debug)]
struct Slots {
    slots: Vec<Slot>,
    split: Split,
}

impl Slots {
    /// # Errors
    /// When the bytes hold no table, or an empty one though `count` tokens follow.
    fn read(cursor: &mut Cursor<'_>, split: Split, count: usize) -> Result<Self, CodecError> {
        let stored = token::take_table(cursor)?;
        let sum: u64 = stored.iter().map(|&s| u64::from(s)).sum();
        if sum > u64::from(TOTAL) || (sum == 0 && count > 0) {
            return Err(cursor.corrupt("the rANS frequencies do not add up"));
        }
        let mut slots = Vec::with_capacity(TOTAL as usize);
        for (symbol, &share) in normalise(&stored).iter().enumerate().take(MAX_TOKENS) {
            if share == 0 {
                continue;
            }
            let Some(extra_bits) = split.extra_bits(symbol as u16) else {
                return Err(cursor.corrupt("a token stands for no number"));
            };
            slots.extend((0..share).map(|offset| Slot {
                symbol: symbol as u16,
                share: share as u16,
                offset: offset as u16,
                extra_bits: extra_bits as u16,
            }));
        }
        slots.resize(TOTAL as usize, Slot::default());
        Ok(Self { slots, split })
    }
}

/// The interleaved states of a decoder.
#[derive(Debug)]
struct States<'a> {
    states: [u32; STATES],
    turn: usize,
    words: &'a [u8],
    /// Offset of the words in the blob.
    origin: usize,
}

impl<'a> States<'a> {
    fn read(cursor: &mut Cursor<'a>, tokens: usize, words: usize) -> Result<Self, CodecError> {
        let mut states = [LOW; STATES];
        for state in states.iter_mut().take(tokens) {
            let bytes = cursor.slice(4, "rANS state")?;
            *state = bytes
                .iter()
                .rev()
                .fold(0, |x, &byte| x << 8 | u32::from(byte));
            if *state < LOW {
                return Err(cursor.corrupt("a rANS state is too small"));
            }
        }
        let origin = cursor.at();
        let words = cursor.slice(words.saturating_mul(2), "rANS words")?;
        Ok(Self {
            states,
            turn: 0,
            words,
            origin,
        })
    }

    /// Takes a number from the next state.
    #[inline]
    fn take(&mut self, table: &Slots, extra: &mut BitReader<'_>) -> Result<u32, CodecError> {
        let state = &mut self.states[self.turn % STATES];
        self.turn += 1;
        let slot = table.slots[(*state & (TOTAL - 1)) as usize];
        *state = u32::from(slot.share) * (*state >> PROB_BITS) + u32::from(slot.offset);
        if *state < LOW {
            let Some((word, rest)) = self.words.split_first_chunk::<2>() else {
                return Err(CodecError::Truncated {
                    at: self.origin,
                    what: "rANS words",
                });
            };
            *state = *state << 16 | u32::from(u16::from_le_bytes(*word));
            self.words = rest;
        }
        let extra_bits = u32::from(slot.extra_bits);
        let low = if extra_bits > 0 {
            extra.take(extra_bits)?
        } else {
            0
        };
        Ok(table.split.number(slot.symbol, extra_bits, low))
    }

    /// Every state must have come back to where the encoder started.
    fn finish(self) -> Result<(), CodecError> {
        if !self.words.is_empty() || self.states != [LOW; STATES] {
            return Err(CodecError::Corrupt {
                at: self.origin,
                what: "the rANS states do not end where they began",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_the_total_and_lose_no_symbol() {
        let cases: [Vec<u32>; 4] = [
            vec![1; 300],
            vec![1, 1_000_000, 0, 3],
            vec![u32::MAX; 3],
            vec![0, 0, 9],
        ];
        for counts in cases {
            let share = normalise(&counts);
            assert_eq!(share.iter().sum::<u32>(), TOTAL);
            for (count, share) in counts.iter().zip(&share) {
                assert_eq!(*count > 0, *share > 0);
            }
        }
        assert_eq!(normalise(&[0, 0]), [0, 0]);
    }

    #[test]
    fn normalising_shares_changes_nothing() {
        let share = normalise(&[5, 80, 3, 1, 12]);
        assert_eq!(normalise(&share), share);
    }
}
