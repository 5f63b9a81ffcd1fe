//! The static probabilities of rANS: what an encoder counts and a decoder looks
//! tokens up in.

use super::bits::Cursor;
use super::token::{self, MAX_TOKENS, Split, Splits, unfold};
use super::{Alphabet, CodecError, Cost, Layout, Plane};

/// Probabilities are in units of `1 / TOTAL`.
pub(super) const PROB_BITS: u32 = 12;
pub(super) const TOTAL: u32 = 1 << PROB_BITS;

/// How an encoder writes the tokens of a plane.
#[derive(Debug)]
pub(super) struct Model {
    pub splits: Splits,
    pub gaps: Option<Frequencies>,
    pub values: Frequencies,
    /// What all tokens cost under it.
    pub cost: Cost,
}

impl Model {
    /// The splits and shares that make the runs of a plane smallest; gaps start
    /// anew in each of them.
    pub(super) fn of(runs: &[Plane<'_>], masked: bool) -> Self {
        let gaps = masked.then(|| {
            let gaps = || runs.iter().flat_map(|run| run.gaps().map(|gap| gap as u32));
            Frequencies::smallest(&Split::TRIED[..2], gaps)
        });
        let (value_split, values) = Frequencies::smallest(&Split::TRIED, || {
            runs.iter().flat_map(|run| {
                let symbols = run.symbols.iter();
                symbols.map(|&symbol| token::fold(run.alphabet, symbol))
            })
        });
        let gap_split = gaps.as_ref().map_or(Split::TRIED[0], |&(split, _)| split);
        let gaps = gaps.map(|(_, frequencies)| frequencies);
        Self {
            splits: Splits {
                gaps: gap_split,
                values: value_split,
            },
            cost: Cost {
                support_bits: gaps.as_ref().map_or(0, |gaps| gaps.bits),
                value_bits: values.bits,
            },
            gaps,
            values,
        }
    }

    /// Appends the tables.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        if let Some(gaps) = &self.gaps {
            out.extend(&gaps.stored);
        }
        out.extend(&self.values.stored);
    }
}

/// Share of the probability space that each token has.
#[derive(Debug)]
pub(super) struct Frequencies {
    share: Vec<u32>,
    start: Vec<u32>,
    /// The table as a decoder reads it.
    stored: Vec<u8>,
    /// What the counted tokens cost, low bits included.
    bits: u64,
    /// Counted tokens that have low bits.
    split_tokens: u64,
}

/// So many tokens with low bits are worth a bit more of size: that whether one
/// has some cannot be predicted is most of the time that its decoding takes.
const SPLIT_TOKENS: u64 = 32;

impl Frequencies {
    /// The best of `splits` for `numbers`, with the shares of their tokens.
    fn smallest<I: Iterator<Item = u32>>(
        splits: &[Split],
        numbers: impl Fn() -> I,
    ) -> (Split, Self) {
        let tried = splits.iter().map(|&split| {
            let mut counts = vec![0; MAX_TOKENS];
            numbers().for_each(|n| counts[usize::from(split.token(n).symbol)] += 1);
            (split, Self::of(&counts, split))
        });
        let price = |f: &Self| f.bits + 8 * f.stored.len() as u64 + f.split_tokens / SPLIT_TOKENS;
        let best = tried.min_by_key(|(_, frequencies)| price(frequencies));
        best.unwrap_or_else(|| (Split::TRIED[0], Self::of(&[], Split::TRIED[0])))
    }

    fn of(counts: &[u32], split: Split) -> Self {
        let share = normalise(counts);
        let tokens: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        let mut stored = Vec::new();
        // Few tokens have small counts, which are shorter than their shares.
        let shorter = if tokens <= u64::from(TOTAL) {
            counts
        } else {
            &share
        };
        token::put_table(&mut stored, shorter);
        let start = share
            .iter()
            .scan(0, |sum, &s| {
                *sum += s;
                Some(*sum - s)
            })
            .collect();
        let (mut bits, mut split_tokens) = (0.0, 0);
        for (symbol, (&count, &share)) in (0..).zip(counts.iter().zip(&share)) {
            if count > 0 {
                let extra_bits = split.extra_bits(symbol).unwrap_or(0);
                let each = f64::from(PROB_BITS + extra_bits) - f64::from(share).log2();
                bits += f64::from(count) * each;
                split_tokens += u64::from(extra_bits.min(1) * count);
            }
        }
        Self {
            share,
            start,
            stored,
            bits: bits.round() as u64,
            split_tokens,
        }
    }

    /// The share of a token that was counted, and where it begins.
    pub(super) fn of_token(&self, symbol: u16) -> (u32, u32) {
        let symbol = usize::from(symbol);
        (self.share[symbol], self.start[symbol])
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

/// How a decoder reads the tokens of a plane.
#[derive(Debug)]
pub(super) struct Tables {
    pub gaps: Option<Slots>,
    pub values: Slots,
    pub alphabet: Alphabet,
}

impl Tables {
    /// # Errors
    /// When the bytes hold no tables, or empty ones though `count` symbols follow.
    pub(super) fn read(
        cursor: &mut Cursor<'_>,
        splits: Splits,
        layout: &Layout,
        count: usize,
    ) -> Result<Self, CodecError> {
        let alphabet = layout.alphabet;
        let gaps = if layout.masked {
            Some(Slots::read(cursor, splits.gaps, count, Ok)?)
        } else {
            None
        };
        let values = Slots::read(cursor, splits.values, count, |number| {
            let symbol = unfold(alphabet, number);
            if alphabet.holds(symbol) {
                Ok(symbol as u32)
            } else {
                Err("a symbol is outside its alphabet")
            }
        })?;
        Ok(Self {
            gaps,
            values,
            alphabet,
        })
    }
}

/// What a state's low bits decode to, in one word so that a step loads once:
/// from the lowest bit 13 bits of share, 12 of the place within it, 5 for the
/// count of low bits, 32 for the number that these complete.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slot(u64);

impl Slot {
    fn new(share: u32, offset: u32, extra_bits: u32, number: u32) -> Self {
        let [share, offset, extra_bits, number] =
            [share, offset, extra_bits, number].map(u64::from);
        Self(share | offset << 13 | extra_bits << 25 | number << 30)
    }

    #[inline(always)]
    pub(super) fn share(self) -> u32 {
        self.0 as u32 & 0x1FFF
    }

    #[inline(always)]
    pub(super) fn offset(self) -> u32 {
        (self.0 >> 13) as u32 & 0xFFF
    }

    #[inline(always)]
    pub(super) fn extra_bits(self) -> u32 {
        (self.0 >> 25) as u32 & 31
    }

    /// The number without its low bits; of a value that has none, its symbol.
    #[inline(always)]
    pub(super) fn number(self) -> u32 {
        (self.0 >> 30) as u32
    }
}

/// Decoding table: a slot for each value of a state's low bits.
#[derive(Debug)]
pub(super) struct Slots {
    pub slots: Box<[Slot; TOTAL as usize]>,
}

impl Slots {
    /// Numbers without low bits are kept as `whole` says.
    fn read(
        cursor: &mut Cursor<'_>,
        split: Split,
        count: usize,
        whole: impl Fn(u32) -> Result<u32, &'static str>,
    ) -> Result<Self, CodecError> {
        let stored = token::take_table(cursor)?;
        let sum: u64 = stored.iter().map(|&s| u64::from(s)).sum();
        if sum > u64::from(TOTAL) || (sum == 0 && count > 0) {
            return Err(cursor.corrupt("the rANS frequencies do not add up"));
        }
        let mut slots = Box::new([Slot::default(); TOTAL as usize]);
        let mut free = slots.iter_mut();
        for (symbol, share) in (0u16..).zip(normalise(&stored)) {
            if share == 0 {
                continue;
            }
            let Some(extra_bits) = split.extra_bits(symbol) else {
                return Err(cursor.corrupt("a token stands for no number"));
            };
            let mut number = split.number(symbol, extra_bits, 0);
            if extra_bits == 0 {
                number = whole(number).map_err(|what| cursor.corrupt(what))?;
            }
            for (offset, slot) in (0..share).zip(&mut free) {
                *slot = Slot::new(share, offset, extra_bits, number);
            }
        }
        Ok(Self { slots })
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

    #[test]
    fn slots_hold_the_largest_of_everything() {
        let slot = Slot::new(TOTAL, TOTAL - 1, 29, u32::MAX);
        let parts = (
            slot.share(),
            slot.offset(),
            slot.extra_bits(),
            slot.number(),
        );
        assert_eq!(parts, (TOTAL, TOTAL - 1, 29, u32::MAX));
    }
}
