//! What is known about a position before its value is coded: the values before
//! it in its row, the last one above it, and the whole mask.

use super::{Alphabet, Layout};

/// The surroundings of one position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    /// Value before it in the row, and whether that is the next position.
    pub left: Option<i32>,
    pub touching: bool,
    /// Last value above it in the column.
    pub above: Option<i32>,
    /// Value one period before it in the row.
    pub period: Option<i32>,
    /// Weighted sum of the signs of values close by in the row.
    pub vote: i32,
    /// Their mean magnitude, in half octaves; 0 without any.
    pub size: usize,
    /// Non-zeros among the positions beside it, 8 at most.
    pub crowd: usize,
    /// How full its row and its column are, 0 to 3.
    pub row_fill: usize,
    pub column_fill: usize,
}

/// Walks over the positions of a plane whose mask is known.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    layout: &'a Layout,
    mask: Option<&'a [bool]>,
    /// Fullness of every column; none for a dense plane.
    column_fill: Vec<usize>,
    symbols: usize,
    period: usize,
    /// Symbols from here on count as positive.
    middle: i32,
    above: Vec<Option<i32>>,
    this: Vec<Option<i32>>,
    left: Option<(usize, i32)>,
    row_mask: Option<&'a [bool]>,
    row_fill: usize,
}

impl<'a> Surroundings<'a> {
    /// For a plane of `layout` with `symbols` symbols, of whose columns `ones`
    /// says how many each has.
    pub(super) fn new(
        layout: &'a Layout,
        mask: Option<&'a [bool]>,
        ones: &[u32],
        symbols: usize,
        period: usize,
    ) -> Self {
        let middle = match layout.alphabet {
            Alphabet::Signed { .. } => 0,
            Alphabet::Indexed { levels } => (levels / 2) as i32,
        };
        let column_fill = ones
            .iter()
            .map(|&ones| fullness(ones as usize, layout.rows, symbols, layout))
            .collect();
        Self {
            layout,
            mask,
            column_fill,
            symbols,
            period,
            middle,
            above: vec![None; layout.cols],
            this: vec![None; layout.cols],
            left: None,
            row_mask: None,
            row_fill: 0,
        }
    }

    /// Goes to the beginning of a row.
    pub(super) fn start_row(&mut self, row: usize) {
        let cols = self.layout.cols;
        self.row_mask = self
            .mask
            .and_then(|mask| mask.get(row * cols..(row + 1) * cols));
        let ones = self
            .row_mask
            .map_or(cols, |row| row.iter().filter(|&&bit| bit).count());
        self.row_fill = fullness(ones, cols, self.symbols, self.layout);
        self.this.fill(None);
        self.left = None;
    }

    /// Whether the row has a symbol in column `c`.
    #[inline]
    pub(super) fn supports(&self, c: usize) -> bool {
        self.row_mask
            .is_none_or(|row| row.get(c).copied().unwrap_or(false))
    }

    /// What is known about column `c` of the row.
    pub(super) fn at(&self, c: usize) -> Around {
        let (vote, size) = self.poll(c);
        Around {
            left: self.left.map(|(_, symbol)| symbol),
            touching: self.left.is_some_and(|(column, _)| column + 1 == c),
            above: self.above[c],
            period: self.back(c, self.period),
            vote,
            size,
            crowd: self.crowd(c),
            row_fill: self.row_fill,
            column_fill: self.column_fill.get(c).copied().unwrap_or(0),
        }
    }

    /// Notes the symbol of column `c`.
    pub(super) fn push(&mut self, c: usize, symbol: i32) {
        self.left = Some((c, symbol));
        self.above[c] = Some(symbol);
        self.this[c] = Some(symbol);
    }

    /// The value `distance` columns before `c`; none at distance 0.
    #[inline]
    fn back(&self, c: usize, distance: usize) -> Option<i32> {
        c.checked_sub(distance).and_then(|column| self.this[column])
    }

    /// Sum of signs and size class of the values close by.
    fn poll(&self, c: usize) -> (i32, usize) {
        let (mut vote, mut sum, mut count) = (0, 0u32, 0u32);
        let mut ask = |distance: usize, weight: i32| {
            if let Some(symbol) = self.back(c, distance) {
                vote += if symbol >= self.middle {
                    weight
                } else {
                    -weight
                };
                sum += symbol.abs_diff(self.middle).min(1 << 16);
                count += 1;
            }
        };
        ask(1, 2);
        ask(2, 1);
        ask(3, 1);
        let p = self.period;
        if p > 2 {
            for (distance, weight) in [(p, 2), (p - 1, 2), (p + 1, 2), (p - 2, 1), (p + 2, 1)] {
                ask(distance, weight);
            }
            for distance in [2 * p - 1, 2 * p, 2 * p + 1] {
                ask(distance, 1);
            }
        }
        let size = (2 * sum).checked_div(count).map_or(0, |twice| {
            let mean = u64::from(twice) + 1;
            1 + (mean * mean).ilog2() as usize
        });
        (vote, size)
    }

    /// Non-zeros among the positions on either side and a period away.
    fn crowd(&self, c: usize) -> usize {
        let Some(row) = self.row_mask else { return 0 };
        let on = |column: Option<usize>| {
            let bit = column.and_then(|column| row.get(column));
            usize::from(bit.copied().unwrap_or(false))
        };
        let both = |distance: usize| on(c.checked_sub(distance)) + on(c.checked_add(distance));
        let p = self.period;
        if p > 2 {
            both(1) + both(p - 1) + both(p) + both(p + 1)
        } else {
            both(1) + both(2)
        }
    }
}

/// How full a row or column of `of` positions is against the plane: below half
/// the mean, below the mean, above it, above double.
fn fullness(ones: usize, of: usize, symbols: usize, layout: &Layout) -> usize {
    let found = ones as u64 * (layout.rows as u64 * layout.cols as u64);
    let mean = of as u64 * symbols as u64;
    if 2 * found < mean {
        0
    } else if found < mean {
        1
    } else if found < 2 * mean {
        2
    } else {
        3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_of_the_row_the_column_and_the_period() {
        let layout = Layout {
            rows: 2,
            cols: 6,
            masked: true,
            alphabet: Alphabet::Signed { bits: 4 },
        };
        let mask = [
            true, false, false, true, true, false, //
            true, true, false, true, true, true,
        ];
        let ones = [2, 1, 0, 2, 2, 1];
        let mut around = Surroundings::new(&layout, Some(&mask), &ones, 8, 3);
        around.start_row(0);
        around.push(0, -5);
        around.push(3, 4);
        let here = around.at(4);
        assert_eq!((here.left, here.touching), (Some(4), true));
        assert_eq!((here.above, here.period), (None, None));
        // The neighbour counts as such and as period - 2, the -5 as period + 1.
        assert_eq!(here.vote, 2 + 1 - 2);
        around.push(4, 1);
        around.start_row(1);
        assert_eq!(around.at(3).above, Some(4));
        assert_eq!(around.at(3).left, None);
        assert!(around.supports(5) && !around.supports(2));
        assert_eq!(around.at(3).crowd, 4);
    }
}
