//! One bit per position.

/// One bit per position, in row-major order; set bits are the positions that
/// are kept.
///
/// ```
/// # use secateur_model::Bitmask;
/// let mask = Bitmask::from_fn(10, |i| i % 3 == 0);
/// assert_eq!(mask.count_ones(), 4);
/// assert_eq!(mask.ones().collect::<Vec<_>>(), [0, 3, 6, 9]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bitmask {
    words: Vec<u64>,
    len: usize,
}

impl Bitmask {
    /// A mask of `len` bits, each from its position.
    pub fn from_fn(len: usize, mut bit: impl FnMut(usize) -> bool) -> Self {
        let word = |start: usize| {
            let bits = (start..len.min(start + 64)).enumerate();
            bits.fold(0, |word, (place, i)| word | u64::from(bit(i)) << place)
        };
        let words = (0..len).step_by(64).map(word).collect();
        Self { words, len }
    }

    /// The mask of the elements that are not zero.
    pub fn of_nonzeros<T: Default + PartialEq>(elements: &[T]) -> Self {
        let zero = T::default();
        let word = |elements: &[T]| {
            let bits = elements.iter().enumerate();
            bits.fold(0, |word, (bit, x)| word | u64::from(*x != zero) << bit)
        };
        Self {
            words: elements.chunks(64).map(word).collect(),
            len: elements.len(),
        }
    }

    /// A mask from one bool per position.
    pub fn from_bools(bits: &[bool]) -> Self {
        Self::from_fn(bits.len(), |i| bits[i])
    }

    /// A mask of `len` bits from words of 64, lowest bit first; missing words are
    /// zero, bits beyond the end are dropped.
    pub fn from_words(mut words: Vec<u64>, len: usize) -> Self {
        words.resize(len.div_ceil(64), 0);
        if let Some(last) = words.last_mut().filter(|_| !len.is_multiple_of(64)) {
            *last &= (1 << (len % 64)) - 1;
        }
        Self { words, len }
    }

    /// The bits in words of 64, lowest first; those beyond the end are zero.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no positions.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bit at a position; `false` beyond the end.
    pub fn get(&self, position: usize) -> bool {
        position < self.len && self.words[position / 64] >> (position % 64) & 1 == 1
    }

    /// Number of kept positions.
    pub fn count_ones(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// The kept positions, ascending.
    pub fn ones(&self) -> impl Iterator<Item = usize> + '_ {
        let mut words = (0..).step_by(64).zip(&self.words);
        let (mut start, mut rest) = (0, 0u64);
        std::iter::from_fn(move || {
            while rest == 0 {
                let (at, &word) = words.next()?;
                (start, rest) = (at, word);
            }
            let bit = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            Some(start + bit)
        })
    }

    /// One bool per position.
    pub fn to_bools(&self) -> Vec<bool> {
        (0..self.len).map(|i| self.get(i)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bits_are_the_same_mask() {
        for len in [0, 1, 63, 64, 65, 130] {
            let bit = |i: usize| i.is_multiple_of(3) || i > 100;
            let mask = Bitmask::from_fn(len, bit);
            assert!((0..len + 70).all(|i| mask.get(i) == (i < len && bit(i))));
            let mut words = vec![0; 3];
            (0..192).for_each(|i| words[i / 64] |= u64::from(bit(i)) << (i % 64));
            assert_eq!(Bitmask::from_words(words, len), mask);
            assert_eq!(Bitmask::from_bools(&mask.to_bools()), mask);
            assert_eq!(Bitmask::of_nonzeros(&mask.to_bools()), mask);
        }
        assert_eq!(
            Bitmask::from_words(vec![], 70),
            Bitmask::from_fn(70, |_| false)
        );
    }
}
