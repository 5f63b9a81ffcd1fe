//! The model of *what*: the symbol at each supported position.
//!
//! Signed symbols are coded as zero flag, sign, greater-than-k flags and an
//! Exp-Golomb tail (as DeepCABAC does), indices as the path through a binary
//! tree; every decision mixes what neighbours, row and column suggest.

use super::around::Around;
use super::golomb::Golomb;
use super::mixer::{Counter, Mixer, Pace};
use super::range::{BitCoder, bits};

/// Contexts mixed for every decision about a value.
const CONTEXTS: usize = 7;
/// Starting weights, in `1 / 256`.
const START: [i32; CONTEXTS] = [60; CONTEXTS];
/// Classes that neighbouring values are put in.
const CLASSES: usize = 32;
/// Most bits of an index whose whole path is a context.
const PATH_BITS: u32 = 8;

/// Contexts of one family of decisions, each `nodes` wide.
#[derive(Debug)]
struct Family {
    nodes: usize,
    base: Vec<Counter>,
    row: Vec<Counter>,
    tables: [Vec<Counter>; CONTEXTS - 1],
    mixer: Mixer<CONTEXTS>,
}

impl Family {
    fn new(nodes: usize, pace: Pace) -> Self {
        Self {
            nodes,
            base: vec![Counter::NEW; nodes],
            row: vec![Counter::NEW; nodes],
            tables: std::array::from_fn(|_| vec![Counter::NEW; nodes * CLASSES]),
            mixer: Mixer::new(1, START, pace),
        }
    }

    fn start_row(&mut self) {
        self.row.fill(Counter::NEW);
    }

    /// Codes decision `node` where the neighbours fall in `classes`.
    fn code<C: BitCoder>(
        &mut self,
        coder: &mut C,
        bit: bool,
        node: usize,
        classes: [usize; CONTEXTS - 1],
    ) -> bool {
        let node = node.min(self.nodes - 1);
        let at = Self::places(node, classes);
        let [a, b, c, d, e, f] = &mut self.tables;
        let contexts = [
            &mut self.row[node],
            &mut a[at[0]],
            &mut b[at[1]],
            &mut c[at[2]],
            &mut d[at[3]],
            &mut e[at[4]],
            &mut f[at[5]],
        ];
        self.mixer
            .code(coder, bit, &mut self.base[node], contexts, 0)
    }

    /// What either way of the decision would cost now, in bits.
    fn quote(&self, node: usize, classes: [usize; CONTEXTS - 1]) -> [f32; 2] {
        let node = node.min(self.nodes - 1);
        let at = Self::places(node, classes);
        let contexts = std::array::from_fn(|i| match i.checked_sub(1) {
            None => self.row[node],
            Some(table) => self.tables[table][at[table]],
        });
        bits(self.mixer.predict(self.base[node], contexts, 0))
    }

    /// Where in their tables the counters of a decision are.
    #[inline]
    fn places(node: usize, classes: [usize; CONTEXTS - 1]) -> [usize; CONTEXTS - 1] {
        classes.map(|class| node * CLASSES + class.min(CLASSES - 1))
    }
}

/// Adaptive model of symbols.
#[derive(Debug)]
pub(super) enum ValueModel {
    /// Signed codes.
    Signed(Box<SignedModel>),
    /// Indices into a codebook.
    Indexed(Box<IndexModel>),
}

impl ValueModel {
    pub(super) fn start_row(&mut self) {
        match self {
            Self::Signed(model) => model.start_row(),
            Self::Indexed(model) => model.path.start_row(),
        }
    }

    /// Codes one symbol; returns what was coded (for hostile bytes any `i32`).
    pub(super) fn code<C: BitCoder>(&mut self, coder: &mut C, symbol: i32, around: &Around) -> i32 {
        match self {
            Self::Signed(model) => model.code(coder, symbol, around),
            Self::Indexed(model) => model.code(coder, symbol, around),
        }
    }
}

/// Zero flag, sign and magnitude.
#[derive(Debug)]
pub(super) struct SignedModel {
    sign: Family,
    magnitude: Family,
    /// Smallest magnitude that occurs: 0, or 1 where no symbol is zero.
    least: u32,
    /// Flags "greater than k" before the tail.
    flags: u32,
    tail: Golomb,
}

impl SignedModel {
    pub(super) fn new(least: u32, flags: u32, pace: Pace) -> Self {
        Self {
            sign: Family::new(1, pace),
            magnitude: Family::new(flags as usize + 1, pace),
            least,
            flags,
            tail: Golomb::new(),
        }
    }

    pub(super) fn start_row(&mut self) {
        self.sign.start_row();
        self.magnitude.start_row();
    }

    pub(super) fn code<C: BitCoder>(&mut self, coder: &mut C, symbol: i32, around: &Around) -> i32 {
        let magnitude = self.magnitude(coder, symbol.unsigned_abs(), around);
        if magnitude == 0 {
            return 0;
        }
        if self.sign.code(coder, symbol < 0, 0, sign_classes(around)) {
            0i32.saturating_sub_unsigned(magnitude)
        } else {
            i32::try_from(magnitude).unwrap_or(i32::MAX)
        }
    }

    fn magnitude<C: BitCoder>(&mut self, coder: &mut C, magnitude: u32, around: &Around) -> u32 {
        let classes = magnitude_classes(around);
        let rest = magnitude.wrapping_sub(self.least);
        for k in 0..self.flags {
            if !self.magnitude.code(coder, rest > k, k as usize, classes) {
                return self.least + k;
            }
        }
        let tail = self.tail.code(coder, rest.wrapping_sub(self.flags));
        tail.saturating_add(self.flags + self.least)
    }

    /// What either sign would cost now, in bits: `+`, `-`.
    pub(super) fn quote_signs(&self, around: &Around) -> [f32; 2] {
        self.sign.quote(0, sign_classes(around))
    }

    /// What each magnitude from 0 on would cost now, in bits, without its sign; the least one where it is below that.
    pub(super) fn quote_magnitudes(&self, around: &Around, quotes: &mut [f32]) {
        let classes = magnitude_classes(around);
        let (below, rungs) = quotes.split_at_mut((self.least as usize).min(quotes.len()));
        let mut passed = 0.0;
        for (rest, quote) in (0u32..).zip(&mut *rungs) {
            *quote = passed;
            *quote += match rest.checked_sub(self.flags) {
                Some(beyond) => self.tail.bits(beyond),
                None => {
                    let [ends, goes_on] = self.magnitude.quote(rest as usize, classes);
                    passed += goes_on;
                    ends
                }
            };
        }
        below.fill(rungs.first().copied().unwrap_or_default());
    }
}

/// Classes of what is around a sign.
#[inline]
fn sign_classes(around: &Around) -> [usize; CONTEXTS - 1] {
    let side = |value: Option<i32>| value.map_or(0, |v| if v > 0 { 1 } else { 2 });
    let touching = usize::from(around.touching);
    [
        side(around.left) * 2 + touching,
        side(around.above),
        side(around.period) * 9 + side(around.above) * 3 + side(around.left),
        around.column_fill * 3 + side(around.above),
        (around.vote + 12).clamp(0, 24) as usize,
        (around.vote / 3 + 4).clamp(0, 8) as usize * 3 + side(around.above),
    ]
}

/// Classes of what is around a magnitude.
#[inline]
fn magnitude_classes(around: &Around) -> [usize; CONTEXTS - 1] {
    let size = |value: Option<i32>| value.map_or(0, |v| 1 + size_class(v.unsigned_abs()));
    [
        size(around.left) * 2 + usize::from(around.touching),
        size(around.above),
        size(around.period),
        around.row_fill * 4 + around.column_fill,
        around.crowd.min(7) * 4 + around.column_fill,
        around.size,
    ]
}

/// Path through the binary tree of indices, most significant bit first.
#[derive(Debug)]
pub(super) struct IndexModel {
    path: Family,
    low: Vec<Counter>,
    bits: u32,
}

impl IndexModel {
    /// For indices below `levels`.
    pub(super) fn new(levels: u32, pace: Pace) -> Self {
        let bits = levels
            .saturating_sub(1)
            .checked_ilog2()
            .map_or(0, |b| b + 1);
        Self {
            path: Family::new(1 << bits.min(PATH_BITS), pace),
            low: vec![Counter::NEW; 32],
            bits,
        }
    }

    fn code<C: BitCoder>(&mut self, coder: &mut C, symbol: i32, around: &Around) -> i32 {
        // Neighbours by their leading 4 bits: codebooks are sorted.
        let shift = self.bits.saturating_sub(4);
        let class = |value: Option<i32>| value.map_or(0, |v| 1 + (v as u32 >> shift) as usize);
        let coarse = |value: Option<i32>| {
            value.map_or(0, |v| {
                1 + (v as u32 >> self.bits.saturating_sub(1)) as usize
            })
        };
        let classes = [
            if around.touching {
                class(around.left)
            } else {
                CLASSES - 3 + coarse(around.left)
            },
            class(around.above),
            coarse(around.period) * 9 + coarse(around.above) * 3 + coarse(around.left),
            around.row_fill * 4 + around.column_fill,
            (around.vote + 12).clamp(0, 24) as usize,
            around.crowd.min(7) * 4 + around.column_fill,
        ];
        let mut node = 1u32;
        for below in (0..self.bits).rev() {
            let bit = symbol >> below & 1 == 1;
            let depth = self.bits - 1 - below;
            let bit = if depth < PATH_BITS {
                self.path.code(coder, bit, node as usize, classes)
            } else {
                self.low[below as usize & 31].code(coder, bit)
            };
            node = node << 1 | u32::from(bit);
        }
        (node - (1 << self.bits)) as i32
    }
}

/// Magnitudes in classes of half an octave, 0 to 14.
fn size_class(magnitude: u32) -> usize {
    let half = |m: u32| 2 * m.ilog2() as usize + (m >> (m.ilog2().max(1) - 1) & 1) as usize;
    match magnitude {
        0..=2 => magnitude as usize,
        _ => half(magnitude).min(14),
    }
}
