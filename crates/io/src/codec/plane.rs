//! What is coded: a weight tensor as rows and columns of small integers.

use super::CodecError;
use secateur_model::Bitmask;

/// Most positions of a plane.
pub const MAX_POSITIONS: usize = 1 << 31;

/// The integers that a plane's symbols are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alphabet {
    /// Two's complement integers: quantized values.
    Signed {
        /// Width, 1 to 32.
        bits: u32,
    },
    /// `0..levels`: indices into a codebook, best sorted by value.
    Indexed {
        /// Number of levels, 1 to 65536.
        levels: u32,
    },
}

impl Alphabet {
    /// Bits of a symbol as it is: 0 where there is only one.
    pub fn bits(self) -> u32 {
        match self {
            Self::Signed { bits } => bits,
            Self::Indexed { levels } => {
                let last = levels.saturating_sub(1);
                last.checked_ilog2().map_or(0, |bit| bit + 1)
            }
        }
    }

    /// Smallest and largest symbol.
    pub fn range(self) -> (i32, i32) {
        match self {
            Self::Signed { bits } => {
                let unused = 32 - bits.clamp(1, 32);
                (i32::MIN >> unused, i32::MAX >> unused)
            }
            Self::Indexed { levels } => (0, levels.saturating_sub(1) as i32),
        }
    }

    /// Whether `symbol` is of this alphabet.
    #[inline]
    pub fn holds(self, symbol: i32) -> bool {
        let (min, max) = self.range();
        (min..=max).contains(&symbol)
    }

    /// A symbol's bits.
    pub(super) fn word_of(self, symbol: i32) -> u32 {
        let mask = u64::MAX >> (64 - self.bits().max(1));
        symbol as u32 & mask as u32
    }

    /// The symbol with these bits; errors are placed at `at`.
    pub(super) fn symbol_of(self, word: u32, at: usize) -> Result<i32, CodecError> {
        let symbol = match self {
            Self::Signed { bits } => {
                let unused = 32 - bits.clamp(1, 32);
                (word << unused) as i32 >> unused
            }
            Self::Indexed { .. } => word as i32,
        };
        // Words can be one bit wider than symbols, where fillers need it.
        if self.holds(symbol) && self.word_of(symbol) == word {
            Ok(symbol)
        } else {
            Err(self.stranger(at))
        }
    }

    /// The complaint about a symbol of another alphabet.
    pub(super) fn stranger(self, at: usize) -> CodecError {
        CodecError::Corrupt {
            at,
            what: "a symbol is outside its alphabet",
        }
    }

    /// Whether all symbols fit `S`.
    ///
    /// # Errors
    /// When they do not.
    pub(super) fn check_fits<S: Symbol>(self) -> Result<(), CodecError> {
        let ((min, max), (least, most)) = (self.range(), S::RANGE);
        if least <= min && max <= most {
            return Ok(());
        }
        Err(CodecError::Alphabet {
            what: "the width of a symbol",
            given: self.bits(),
            min: 0,
            max: 16,
        })
    }

    fn check(self) -> Result<(), CodecError> {
        let (what, given, max) = match self {
            Self::Signed { bits } => ("bits of a signed symbol", bits, 32),
            Self::Indexed { levels } => ("levels of a codebook", levels, 1 << 16),
        };
        if (1..=max).contains(&given) {
            return Ok(());
        }
        Err(CodecError::Alphabet {
            what,
            given,
            min: 1,
            max,
        })
    }
}

/// What a reader must know before it can decode: the caller's header holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Output channels.
    pub rows: usize,
    /// `in/groups · kh · kw`; a vector is one row.
    pub cols: usize,
    /// Whether there is a mask; else every position has a symbol.
    pub masked: bool,
    /// What the symbols are.
    pub alphabet: Alphabet,
}

impl Layout {
    /// Rows times columns.
    ///
    /// # Errors
    /// When there are more than [`MAX_POSITIONS`].
    pub fn positions(&self) -> Result<usize, CodecError> {
        let positions = self.rows.checked_mul(self.cols);
        let too_large = CodecError::TooLarge {
            rows: self.rows,
            cols: self.cols,
            max: MAX_POSITIONS,
        };
        positions.filter(|&n| n <= MAX_POSITIONS).ok_or(too_large)
    }

    /// The words of a mask of so many positions, empty where no mask is coded.
    pub fn no_words(&self, positions: usize) -> Vec<u64> {
        match self.masked {
            true => vec![0; positions.div_ceil(64)],
            false => Vec::new(),
        }
    }

    pub(super) fn check(&self) -> Result<(), CodecError> {
        self.alphabet.check()?;
        self.positions().map(|_| ())
    }
}

/// A weight tensor to be coded.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// Output channels.
    pub rows: usize,
    /// `in/groups · kh · kw`; a vector is one row.
    pub cols: usize,
    /// `[rows · cols]`, row-major: where there is a symbol. `None`: everywhere.
    pub mask: Option<&'a [bool]>,
    /// One symbol per supported position, row-major.
    pub symbols: &'a [i32],
    /// What the symbols are drawn from.
    pub alphabet: Alphabet,
}

impl<'a> Plane<'a> {
    /// What the reader must know.
    pub fn layout(&self) -> Layout {
        Layout {
            rows: self.rows,
            cols: self.cols,
            masked: self.mask.is_some(),
            alphabet: self.alphabet,
        }
    }

    pub(super) fn check(&self) -> Result<(), CodecError> {
        let layout = self.layout();
        layout.check()?;
        let positions = layout.positions()?;
        let expect = |what, found: usize, needed: usize| {
            if found == needed {
                return Ok(());
            }
            Err(CodecError::Length {
                what,
                found,
                needed,
            })
        };
        let mut supported = positions;
        if let Some(mask) = self.mask {
            expect("the mask", mask.len(), positions)?;
            supported = count(mask);
        }
        expect("the symbol list", self.symbols.len(), supported)?;
        let (min, max) = self.alphabet.range();
        match (0..)
            .zip(self.symbols)
            .find(|&(_, s)| !(min..=max).contains(s))
        {
            None => Ok(()),
            Some((index, &symbol)) => Err(CodecError::Symbol {
                index,
                symbol,
                min,
                max,
            }),
        }
    }

    /// Positions without a symbol before each position with one.
    pub(super) fn gaps(&self) -> impl Iterator<Item = usize> + 'a {
        let dense = self.mask.is_none();
        let zeros = std::iter::repeat_n(0, if dense { self.symbols.len() } else { 0 });
        let mut next = 0;
        let supported = self.mask.unwrap_or_default().iter().enumerate();
        let gaps = supported
            .filter(|&(_, &bit)| bit)
            .map(move |(position, _)| {
                let gap = position - next;
                next = position + 1;
                gap
            });
        zeros.chain(gaps)
    }

    /// Runs of `positions` positions, each a plane of one row; the last one is
    /// what is left.
    pub(super) fn blocks(self, positions: usize) -> impl Iterator<Item = Self> {
        let end = self.mask.map_or(self.symbols.len(), <[bool]>::len);
        let mut rest = self.symbols;
        (0..end).step_by(positions).map(move |start| {
            let cols = positions.min(end - start);
            let mask = self.mask.and_then(|mask| mask.get(start..start + cols));
            let kept = mask.map_or(cols, count).min(rest.len());
            let (symbols, after) = rest.split_at(kept);
            rest = after;
            Self {
                rows: 1,
                cols,
                mask,
                symbols,
                ..self
            }
        })
    }

    /// The first rows, with about `positions` positions but one row at least.
    pub(super) fn head(&self, positions: usize) -> Self {
        let rows = (positions / self.cols.max(1)).clamp(1, self.rows.max(1));
        if rows >= self.rows {
            return *self;
        }
        let end = rows * self.cols;
        let mask = self.mask.and_then(|mask| mask.get(..end));
        let supported = mask.map_or(end, count);
        Self {
            rows,
            mask,
            symbols: self.symbols.get(..supported).unwrap_or(self.symbols),
            ..*self
        }
    }
}

/// A tensor read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<S = i32> {
    /// `[rows · cols]`, or `None` for a dense plane.
    pub mask: Option<Bitmask>,
    /// One symbol per supported position, row-major.
    pub symbols: Vec<S>,
}

/// The integers that decoded symbols are kept in: as narrow as the caller's
/// alphabets allow, since a network's weights are held in them.
pub trait Symbol: Copy + Default + Send {
    /// Smallest and largest symbol that fits.
    const RANGE: (i32, i32);

    /// A symbol within the range.
    fn of(symbol: i32) -> Self;
}

impl Symbol for i16 {
    const RANGE: (i32, i32) = (i16::MIN as i32, i16::MAX as i32);

    #[inline]
    fn of(symbol: i32) -> Self {
        symbol as i16
    }
}

impl Symbol for u16 {
    const RANGE: (i32, i32) = (0, u16::MAX as i32);

    #[inline]
    fn of(symbol: i32) -> Self {
        symbol as u16
    }
}

impl Symbol for i32 {
    const RANGE: (i32, i32) = (i32::MIN, i32::MAX);

    #[inline]
    fn of(symbol: i32) -> Self {
        symbol
    }
}

fn count(mask: &[bool]) -> usize {
    mask.iter().filter(|&&bit| bit).count()
}
