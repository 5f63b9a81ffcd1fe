//! What the table-driven coders (Huffman, rANS) code: gaps and values as
//! *tokens*, a small alphabet, plus the low bits of large numbers as they are.

use super::bits::Cursor;
use super::golomb::Golomb;
use super::range::{BitCoder, RangeDecoder, RangeEncoder};
use super::{Alphabet, CodecError, Decoded, Layout, Plane, Symbol, bits};
use secateur_model::Bitmask;

/// Where numbers stop being their own token: below `2^exponent` they are,
/// above, a token says the bit length and the two bits after the leading one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    exponent: u32,
}

/// One number as a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    /// Symbol of the small alphabet, below [`MAX_TOKENS`].
    pub symbol: u16,
    /// Low bits coded as they are, and how many.
    pub extra: u32,
    pub extra_bits: u32,
}

/// Leading bits (after the first) that a large number's token holds.
const LEAD: u32 = 2;
/// Largest split exponent.
const MAX_EXPONENT: u32 = 8;
/// Tokens there can be at most.
pub(super) const MAX_TOKENS: usize = (1 << MAX_EXPONENT) + (32 - MAX_EXPONENT as usize) * 4;

impl Split {
    /// Splits worth trying.
    pub(super) const TRIED: [Self; 3] = [
        Self { exponent: 3 },
        Self { exponent: 5 },
        Self { exponent: 8 },
    ];

    /// The split with this exponent, if the format has it.
    pub(super) fn from_exponent(exponent: u32) -> Option<Self> {
        (LEAD..=MAX_EXPONENT)
            .contains(&exponent)
            .then_some(Self { exponent })
    }

    pub(super) fn exponent(self) -> u32 {
        self.exponent
    }

    pub(super) fn token(self, number: u32) -> Token {
        let Some(length) = number.checked_ilog2().filter(|&n| n >= self.exponent) else {
            return Token {
                symbol: number as u16,
                extra: 0,
                extra_bits: 0,
            };
        };
        let extra_bits = length - LEAD;
        let lead = number >> extra_bits & ((1 << LEAD) - 1);
        let symbol = (1 << self.exponent) + ((length - self.exponent) << LEAD) + lead;
        Token {
            symbol: symbol as u16,
            extra: number & ((1 << extra_bits) - 1),
            extra_bits,
        }
    }

    /// How many extra bits follow a token, `None` where no number has it.
    pub(super) fn extra_bits(self, symbol: u16) -> Option<u32> {
        let Some(above) = u32::from(symbol).checked_sub(1 << self.exponent) else {
            return Some(0);
        };
        let length = self.exponent + (above >> LEAD);
        (length < 32).then(|| length - LEAD)
    }

    /// The number of a token that has `extra_bits`.
    pub(super) fn number(self, symbol: u16, extra_bits: u32, extra: u32) -> u32 {
        match u32::from(symbol).checked_sub(1 << self.exponent) {
            None => u32::from(symbol),
            Some(above) => {
                let lead = (1 << LEAD) | (above & ((1 << LEAD) - 1));
                lead << extra_bits | extra
            }
        }
    }
}

/// The splits of a tensor's two kinds of number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Splits {
    pub gaps: Split,
    pub values: Split,
}

impl Splits {
    /// Every pair worth trying.
    pub(super) fn tried(masked: bool) -> impl Iterator<Item = Self> {
        let gaps = if masked {
            &Split::TRIED[..2]
        } else {
            &Split::TRIED[..1]
        };
        gaps.iter().flat_map(|&gaps| {
            Split::TRIED
                .iter()
                .map(move |&values| Self { gaps, values })
        })
    }

    pub(super) fn to_byte(self) -> u8 {
        (self.gaps.exponent() << 4 | self.values.exponent()) as u8
    }

    /// # Errors
    /// When the byte ends early or holds an exponent that the format lacks.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, CodecError> {
        let byte = u32::from(cursor.byte("token splits")?);
        let gaps = Split::from_exponent(byte >> 4);
        let values = Split::from_exponent(byte & 0xF);
        gaps.zip(values)
            .map(|(gaps, values)| Self { gaps, values })
            .ok_or_else(|| cursor.corrupt("a token split is out of range"))
    }
}

/// A plane as tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    /// Zeros before each non-zero; empty for a dense plane.
    pub gaps: Vec<Token>,
    pub values: Vec<Token>,
}

impl Tokens {
    pub(super) fn of(plane: &Plane<'_>, splits: Splits) -> Self {
        let gaps = if plane.mask.is_some() {
            plane
                .gaps()
                .map(|gap| splits.gaps.token(gap as u32))
                .collect()
        } else {
            Vec::new()
        };
        let values = plane
            .symbols
            .iter()
            .map(|&symbol| splits.values.token(fold(plane.alphabet, symbol)))
            .collect();
        Self { gaps, values }
    }
}

/// How often each token occurs.
pub(super) fn histogram(tokens: &[Token]) -> Vec<u32> {
    let mut counts = vec![0; MAX_TOKENS];
    for token in tokens {
        counts[usize::from(token.symbol)] += 1;
    }
    counts
}

/// Puts a plane together from gaps and values.
#[derive(Debug)]
pub(super) struct Assembler<'a, S> {
    layout: &'a Layout,
    positions: usize,
    mask: Option<Vec<u64>>,
    symbols: Vec<S>,
    position: usize,
    at: usize,
}

impl<'a, S: Symbol> Assembler<'a, S> {
    /// For a plane of `layout` with `count` symbols; errors are placed at `at`.
    ///
    /// # Errors
    /// When the layout is not valid.
    pub(super) fn new(layout: &'a Layout, count: usize, at: usize) -> Result<Self, CodecError> {
        let positions = layout.positions()?;
        Ok(Self {
            layout,
            positions,
            mask: layout.masked.then(|| vec![0; positions.div_ceil(64)]),
            symbols: Vec::with_capacity(count.min(positions)),
            position: 0,
            at,
        })
    }

    /// Passes over positions without a symbol (nothing in a dense plane).
    ///
    /// # Errors
    /// When they lead beyond the plane.
    #[inline]
    pub(super) fn skip(&mut self, gap: u32) -> Result<(), CodecError> {
        self.position = self.position.saturating_add(gap as usize);
        if self.position < self.positions {
            return Ok(());
        }
        Err(CodecError::Corrupt {
            at: self.at,
            what: "a gap leads beyond the plane",
        })
    }

    /// Leaves the next position without a symbol.
    pub(super) fn leave(&mut self) {
        self.position += 1;
    }

    /// Puts a symbol at the next position.
    ///
    /// # Errors
    /// When it is not of the alphabet.
    #[inline]
    pub(super) fn push(&mut self, symbol: i32) -> Result<(), CodecError> {
        if !self.layout.alphabet.holds(symbol) {
            return Err(self.layout.alphabet.stranger(self.at));
        }
        let position = self.position;
        if let Some(word) = self.mask.as_mut().and_then(|m| m.get_mut(position / 64)) {
            *word |= 1 << (position % 64);
        }
        self.symbols.push(S::of(symbol));
        self.position += 1;
        Ok(())
    }

    /// Puts the symbol that [`Tokens`] fold to `number` there.
    ///
    /// # Errors
    /// When it is not of the alphabet.
    #[inline]
    pub(super) fn push_folded(&mut self, number: u32) -> Result<(), CodecError> {
        self.push(unfold(self.layout.alphabet, number))
    }

    /// # Errors
    /// When a dense plane has positions without a symbol.
    pub(super) fn finish(self) -> Result<Decoded<S>, CodecError> {
        if self.mask.is_none() && self.symbols.len() != self.positions {
            return Err(CodecError::Corrupt {
                at: self.at,
                what: "a dense plane has missing entries",
            });
        }
        Ok(Decoded {
            mask: self
                .mask
                .map(|words| Bitmask::from_words(words, self.positions)),
            symbols: self.symbols,
        })
    }
}

/// Symbols as unsigned numbers, small magnitudes first.
pub(super) fn fold(alphabet: Alphabet, symbol: i32) -> u32 {
    match alphabet {
        Alphabet::Signed { .. } => (symbol << 1 ^ symbol >> 31) as u32,
        Alphabet::Indexed { .. } => symbol as u32,
    }
}

/// Inverse of [`fold`].
#[inline]
pub(super) fn unfold(alphabet: Alphabet, number: u32) -> i32 {
    match alphabet {
        Alphabet::Signed { .. } => (number >> 1) as i32 ^ -((number & 1) as i32),
        Alphabet::Indexed { .. } => number as i32,
    }
}

/// Appends a table of small numbers, one per token, with its length in bytes.
pub(super) fn put_table(out: &mut Vec<u8>, table: &[u32]) {
    let used = table
        .iter()
        .rposition(|&x| x != 0)
        .map_or(0, |last| last + 1);
    let mut encoder = RangeEncoder::new();
    code_table(&mut encoder, &mut table[..used].to_vec());
    let coded = encoder.finish();
    bits::put_count(out, used as u64);
    bits::put_count(out, coded.len() as u64);
    out.extend(coded);
}

/// Reads what [`put_table`] wrote, filled up with zeros to [`MAX_TOKENS`].
///
/// # Errors
/// When the bytes end early or hold too long a table.
pub(super) fn take_table(cursor: &mut Cursor<'_>) -> Result<Vec<u32>, CodecError> {
    let used = cursor.count("table length", MAX_TOKENS)?;
    let bytes = cursor.count("table bytes", 16 * MAX_TOKENS)?;
    let mut decoder = RangeDecoder::new(cursor.slice(bytes, "table")?);
    let mut table = vec![0; used];
    code_table(&mut decoder, &mut table);
    decoder
        .finish()
        .map_err(|_| cursor.corrupt("a table and its length disagree"))?;
    table.resize(MAX_TOKENS, 0);
    Ok(table)
}

/// Zeros cluster, so the number before decides the model.
fn code_table<C: BitCoder>(coder: &mut C, table: &mut [u32]) {
    let mut models = [Golomb::new(), Golomb::new()];
    let mut after = 0;
    for entry in table {
        *entry = models[after].code(coder, *entry);
        after = usize::from(*entry != 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_tokens_under_every_split() {
        for exponent in 2..=8 {
            let split = Split::from_exponent(exponent).unwrap();
            for bit in 0..32 {
                for number in [1u32 << bit, (1 << bit) - 1, (1 << bit) | (1 << bit) >> 1] {
                    let token = split.token(number);
                    assert!(usize::from(token.symbol) < MAX_TOKENS);
                    assert_eq!(split.extra_bits(token.symbol), Some(token.extra_bits));
                    let back = split.number(token.symbol, token.extra_bits, token.extra);
                    assert_eq!(back, number);
                }
            }
            let last = split.token(u32::MAX);
            assert_eq!(split.extra_bits(last.symbol + 1), None);
        }
    }

    #[test]
    fn folding_is_its_own_inverse() {
        let signed = Alphabet::Signed { bits: 32 };
        for symbol in [0, 1, -1, 127, -128, i32::MAX, i32::MIN] {
            assert_eq!(unfold(signed, fold(signed, symbol)), symbol);
        }
        assert_eq!(fold(signed, -1), 1);
    }

    #[test]
    fn tables_come_back() {
        let mut table = vec![0; MAX_TOKENS];
        table[3] = 4096;
        table[200] = 7;
        let mut bytes = Vec::new();
        put_table(&mut bytes, &table);
        assert_eq!(take_table(&mut Cursor::new(&bytes)).unwrap(), table);
    }
}
