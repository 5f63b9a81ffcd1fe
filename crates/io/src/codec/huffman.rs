//! Canonical Huffman codes on gaps and on values, as Deep Compression stores
//! them: for comparison and for teaching; rANS is smaller and faster.

use super::bits::{BitReader, BitWriter, Cursor, put_count};
use super::token::{self, Assembler, Split, Splits, Tokens};
use super::{CodecError, Cost, Decoded, Layout, Plane, Symbol};

/// Longest code word.
const MAX_LENGTH: usize = 15;

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
    let gap_code = Code::of(&token::histogram(&tokens.gaps));
    let value_code = Code::of(&token::histogram(&tokens.values));
    if plane.mask.is_some() {
        put_count(&mut out, plane.symbols.len() as u64);
        token::put_table(&mut out, &gap_code.lengths);
    }
    token::put_table(&mut out, &value_code.lengths);

    let mut cost = Cost::default();
    let mut fields = BitWriter::default();
    let mut gaps = tokens.gaps.iter();
    for value in &tokens.values {
        if let Some(gap) = gaps.next() {
            cost.support_bits += gap_code.put(&mut fields, gap);
        }
        cost.value_bits += value_code.put(&mut fields, value);
    }
    out.extend(fields.finish());
    (out, cost)
}

/// Reads what [`encode`] wrote.
pub(super) fn decode<S: Symbol>(
    mut cursor: Cursor<'_>,
    layout: &Layout,
) -> Result<Decoded<S>, CodecError> {
    let positions = layout.positions()?;
    let splits = Splits::read(&mut cursor)?;
    let (count, gap_code) = if layout.masked {
        let count = cursor.count("non-zeros", positions)?;
        (count, Some(Code::read(&mut cursor)?))
    } else {
        (positions, None)
    };
    let value_code = Code::read(&mut cursor)?;
    let mut plane = Assembler::new(layout, count, cursor.at())?;
    let mut fields = cursor.bits("Huffman codes");
    for _ in 0..count {
        if let Some(code) = &gap_code {
            plane.skip(code.take(&mut fields, splits.gaps)?)?;
        }
        plane.push_folded(value_code.take(&mut fields, splits.values)?)?;
    }
    fields.finish()?;
    plane.finish()
}

/// A canonical prefix code: words of one length are consecutive numbers in the
/// order of their symbols, shorter words come first.
#[derive(Debug)]
struct Code {
    /// Length of each symbol's word, 0 where it has none.
    lengths: Vec<u32>,
    words: Vec<u32>,
    /// Symbols in the order of their words.
    sorted: Vec<u16>,
    /// Words of each length.
    counts: [u32; MAX_LENGTH + 1],
    /// Offset in the blob, for errors.
    at: usize,
}

impl Code {
    fn of(histogram: &[u32]) -> Self {
        Self::canonical(lengths(histogram), 0)
    }

    /// # Errors
    /// When the lengths make no prefix code.
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, CodecError> {
        let lengths = token::take_table(cursor)?;
        let space = 1u64 << MAX_LENGTH;
        if lengths.iter().any(|&l| l as usize > MAX_LENGTH) {
            return Err(cursor.corrupt("a Huffman code word is too long"));
        }
        let taken: u64 = lengths
            .iter()
            .filter(|&&l| l > 0)
            .map(|&l| space >> l)
            .sum();
        if taken > space {
            return Err(cursor.corrupt("the Huffman code is over-full"));
        }
        Ok(Self::canonical(lengths, cursor.at()))
    }

    fn canonical(lengths: Vec<u32>, at: usize) -> Self {
        let mut sorted: Vec<u16> = (0..lengths.len())
            .filter(|&s| lengths[s] > 0)
            .map(|s| s as u16)
            .collect();
        sorted.sort_by_key(|&s| lengths[usize::from(s)]);
        let mut words = vec![0; lengths.len()];
        let mut counts = [0; MAX_LENGTH + 1];
        let (mut word, mut length) = (0u32, 0);
        for &symbol in &sorted {
            let l = lengths[usize::from(symbol)];
            word <<= l - length;
            length = l;
            words[usize::from(symbol)] = word;
            counts[l as usize] += 1;
            word += 1;
        }
        Self {
            lengths,
            words,
            sorted,
            counts,
            at,
        }
    }

    /// Writes a token; returns the bits spent.
    fn put(&self, fields: &mut BitWriter, token: &token::Token) -> u64 {
        let symbol = usize::from(token.symbol);
        let length = self.lengths[symbol];
        // Fields start at the low bit, code words at the high one.
        for place in (0..length).rev() {
            fields.put(self.words[symbol] >> place, 1);
        }
        fields.put(token.extra, token.extra_bits);
        u64::from(length + token.extra_bits)
    }

    /// Reads a token's number.
    fn take(&self, fields: &mut BitReader<'_>, split: Split) -> Result<u32, CodecError> {
        let symbol = self.take_symbol(fields)?;
        let Some(extra_bits) = split.extra_bits(symbol) else {
            return Err(self.corrupt("a token stands for no number"));
        };
        let extra = fields.take(extra_bits)?;
        Ok(split.number(symbol, extra_bits, extra))
    }

    fn take_symbol(&self, fields: &mut BitReader<'_>) -> Result<u16, CodecError> {
        let (mut word, mut first, mut index) = (0u32, 0u32, 0u32);
        for &count in &self.counts[1..] {
            word |= fields.take(1)?;
            if let Some(offset) = word.checked_sub(first).filter(|&offset| offset < count) {
                let symbol = self.sorted.get((index + offset) as usize);
                return symbol
                    .copied()
                    .ok_or_else(|| self.corrupt("no such code word"));
            }
            index += count;
            first = (first + count) << 1;
            word <<= 1;
        }
        Err(self.corrupt("no such code word"))
    }

    fn corrupt(&self, what: &'static str) -> CodecError {
        CodecError::Corrupt { at: self.at, what }
    }
}

/// Optimal code lengths of at most [`MAX_LENGTH`] bits, by package-merge
/// (Larmore and Hirschberg 1990).
fn lengths(histogram: &[u32]) -> Vec<u32> {
    let mut lengths = vec![0; histogram.len()];
    let mut leaves: Vec<(u64, Vec<u16>)> = histogram
        .iter()
        .enumerate()
        .filter(|&(_, &count)| count > 0)
        .map(|(symbol, &count)| (u64::from(count), vec![symbol as u16]))
        .collect();
    if let [(_, only)] = leaves.as_slice() {
        lengths[usize::from(only[0])] = 1;
        return lengths;
    }
    leaves.sort();
    let mut packages: Vec<(u64, Vec<u16>)> = Vec::new();
    for _ in 0..MAX_LENGTH {
        let mut merged = leaves.clone();
        for pair in packages.chunks_exact(2) {
            let symbols = pair.iter().flat_map(|(_, symbols)| symbols).copied();
            merged.push((pair[0].0 + pair[1].0, symbols.collect()));
        }
        merged.sort_by_key(|&(weight, _)| weight);
        packages = merged;
    }
    let chosen = (2 * leaves.len()).saturating_sub(2);
    for (_, symbols) in packages.iter().take(chosen) {
        for &symbol in symbols {
            lengths[usize::from(symbol)] += 1;
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_huffmans_where_the_limit_does_not_bind() {
        assert_eq!(lengths(&[5, 9, 12, 13, 16, 45]), [4, 4, 3, 3, 3, 1]);
        assert_eq!(lengths(&[0, 3, 0]), [0, 1, 0]);
        assert_eq!(lengths(&[0, 0]), [0, 0]);
    }

    #[test]
    fn lengths_fill_the_code_space_under_the_limit() {
        // Fibonacci counts make Huffman's own code as deep as it has symbols.
        let mut histogram = vec![1u32, 1];
        while histogram.len() < 30 {
            histogram.push(histogram[histogram.len() - 1] + histogram[histogram.len() - 2]);
        }
        let lengths = lengths(&histogram);
        assert!(lengths.iter().all(|&l| l as usize <= MAX_LENGTH));
        let space: u64 = lengths
            .iter()
            .map(|&l| 1u64 << (MAX_LENGTH as u32 - l))
            .sum();
        assert_eq!(space, 1 << MAX_LENGTH);
    }
}
