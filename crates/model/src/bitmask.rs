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
        let mut words = vec![0u64; len.div_ceil(64)];
        for i in 0..len {
            words[i / 64] |= u64::from(bit(i)) << (i % 64);
        }
        Self { words, len }
    }

    /// A mask from one bool per position.
    pub fn from_bools(bits: &[bool]) -> Self {
        Self::from_fn(bits.len(), |i| bits[i])
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
        self.words.iter().enumerate().flat_map(|(w, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(w * 64 + bit)
            })
        })
    }

    /// One bool per position.
    pub fn to_bools(&self) -> Vec<bool> {
        (0..self.len).map(|i| self.get(i)).collect()
    }
}
