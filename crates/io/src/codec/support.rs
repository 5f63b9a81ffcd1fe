//! The model of *where*: which positions of a plane are non-zero.
//!
//! Pruned networks are structured: dead inputs empty whole columns, dead neurons
//! whole rows, filters keep neighbouring taps, and input pixels below each other
//! are `period` columns apart. Each of these is one context of a mix.

use super::CodecError;
use super::mixer::{Counter, Mixer, Pace, stretch};
use super::range::BitCoder;

/// Contexts mixed for a position's significance.
const CONTEXTS: usize = 8;
/// Starting weights, in `1 / 256`: the row's and the column's density add up,
/// the others overlap.
const START: [i32; CONTEXTS] = [100, 100, 50, 50, 50, 50, 50, 50];
/// Columns of history kept readable beyond both edges.
const PAD: usize = 1;
/// Buckets of a density relative to the plane's; the last one is "unknown".
const BUCKETS: usize = 12;
/// Weight vectors, chosen by the octave of the row number.
const SETS: usize = 9;

/// Adaptive model of a mask, fed row by row.
#[derive(Debug)]
pub(super) struct SupportModel {
    /// Distance of columns that belong together, 0 for none.
    period: usize,
    mixer: Mixer<CONTEXTS>,
    base: Counter,
    columns: Vec<Counter>,
    /// Non-zeros so far, per column.
    ones: Vec<u32>,
    /// The last 8 rows' bits, newest lowest, with [`PAD`] more on either side.
    above: Vec<u8>,
    /// Non-zeros of this row before each column.
    prefix: Vec<u32>,
    near: Vec<Counter>,
    density: Vec<Counter>,
    around: Vec<Counter>,
    run: Vec<Counter>,
    taps: Vec<Counter>,
    local: Vec<Counter>,
}

/// Indices into the context tables for one position.
struct Place {
    near: usize,
    density: usize,
    around: usize,
    run: usize,
    taps: usize,
    local: usize,
}

/// What is known of the current row.
struct Row {
    number: u32,
    density: Counter,
    /// The bits before, newest lowest.
    left: u32,
    /// Zeros since the last non-zero.
    run: usize,
}

impl SupportModel {
    /// For rows of `cols` positions, of which about `density` (in `2^-16`) are
    /// non-zero.
    pub(super) fn new(cols: usize, period: usize, density: u32, pace: Pace) -> Self {
        Self {
            period,
            mixer: Mixer::new(SETS, START, pace),
            base: Counter::starting(density),
            columns: vec![Counter::NEW; cols],
            ones: vec![0; cols],
            above: vec![0; cols + 2 * PAD],
            prefix: vec![0; cols + 1],
            near: vec![Counter::NEW; 256],
            density: vec![Counter::NEW; BUCKETS * BUCKETS * 4],
            around: vec![Counter::NEW; BUCKETS * BUCKETS],
            run: vec![Counter::NEW; 128],
            taps: vec![Counter::NEW; 128],
            local: vec![Counter::NEW; 16 * BUCKETS],
        }
    }

    /// Non-zeros per column.
    pub(super) fn ones(&self) -> &[u32] {
        &self.ones
    }

    /// Codes row `number`, in place.
    ///
    /// # Errors
    /// When a decoder has run out of input.
    pub(super) fn row<C: BitCoder>(
        &mut self,
        coder: &mut C,
        number: usize,
        bits: &mut [bool],
    ) -> Result<(), CodecError> {
        let mut row = Row {
            number: number as u32,
            density: Counter::NEW,
            left: 0,
            run: 0,
        };
        let set = number
            .checked_ilog2()
            .map_or(0, |octave| octave as usize + 1);
        for c in 0..bits.len() {
            let place = self.place(&row, bits, c);
            let contexts = [
                &mut row.density,
                &mut self.columns[c],
                &mut self.near[place.near],
                &mut self.density[place.density],
                &mut self.around[place.around],
                &mut self.run[place.run],
                &mut self.taps[place.taps],
                &mut self.local[place.local],
            ];
            let bit = self
                .mixer
                .code(coder, bits[c], &mut self.base, contexts, set);
            bits[c] = bit;
            row.left = row.left << 1 | u32::from(bit);
            row.run = if bit { 0 } else { row.run + 1 };
            self.prefix[c + 1] = self.prefix[c] + u32::from(bit);
            self.ones[c] += u32::from(bit);
        }
        for (above, &bit) in self.above[PAD..].iter_mut().zip(bits.iter()) {
            *above = *above << 1 | u8::from(bit);
        }
        coder.check()
    }

    #[inline]
    fn place(&self, row: &Row, bits: &[bool], c: usize) -> Place {
        let (before, here, after) = (self.above[c], self.above[c + PAD], self.above[c + 2 * PAD]);
        let bit = |history: u8, age: u32| usize::from(history >> age & 1);
        let left = row.left as usize;
        let up = bit(here, 0);

        let base = stretch(self.base.p());
        let column = bucket(self.columns[c], base);
        let density = bucket(row.density, base) * BUCKETS + column;
        let any = usize::from(self.prefix[c] > 0);
        let age = (here.count_ones() as usize).min(3);
        Place {
            near: left & 7
                | up << 3
                | bit(before, 0) << 4
                | bit(after, 0) << 5
                | bit(here, 1) << 6
                | bit(here, 2) << 7,
            density: density << 2 | left & 1 | up << 1,
            around: self.around(row.number, c) * BUCKETS + column,
            run: row.run.min(15) << 3 | age << 1 | any,
            taps: self.taps(bits, c, left, up),
            local: self.local(c) * BUCKETS + column,
        }
    }

    /// Bucket of the density of columns beside and a period away.
    #[inline]
    fn around(&self, row: u32, c: usize) -> usize {
        let (mut found, mut of) = (0u64, 0u64);
        for distance in [1, 2, self.period, 2 * self.period] {
            if distance == 0 {
                continue;
            }
            if let Some(&ones) = c.checked_sub(distance).and_then(|c| self.ones.get(c)) {
                found += u64::from(ones);
                of += u64::from(row) + 1;
            }
            if let Some(&ones) = self.ones.get(c + distance) {
                found += u64::from(ones);
                of += u64::from(row);
            }
        }
        if of == 0 {
            return 0;
        }
        // One half of a non-zero more on either side keeps few rows moderate.
        let half = 1 << 15;
        let expected = of * u64::from(self.base.p()) + half;
        let ratio = (((found << 16) + half) * 64 / expected).max(1);
        // Half octaves around a ratio of 1 (64).
        let halves = ratio.ilog2() * 2 + (ratio * ratio).ilog2() % 2;
        (halves as usize).saturating_sub(6).min(BUCKETS - 1)
    }

    /// The pattern of this row's bits one and two periods back.
    #[inline]
    fn taps(&self, bits: &[bool], c: usize, left: usize, up: usize) -> usize {
        let p = self.period;
        if p == 0 {
            return left & 63 | up << 6;
        }
        let back = |distance: usize| {
            let bit = c.checked_sub(distance).and_then(|c| bits.get(c));
            usize::from(bit.copied().unwrap_or(false))
        };
        back(p) | back(2 * p) << 1 | back(p + 1) << 2 | back(p - 1) << 3 | (left & 1) << 4 | up << 5
    }

    /// Weighted count of this row's non-zeros close by, 15 at most.
    #[inline]
    fn local(&self, c: usize) -> usize {
        // Non-zeros from `far` to `near` columns back.
        let window = |far: usize, near: usize| {
            let to = (c + 1).saturating_sub(near);
            self.prefix[to] - self.prefix[c.saturating_sub(far)]
        };
        let p = self.period;
        let mut count = 2 * window(2, 1) + window(6, 1);
        if p > 3 {
            count += 2 * window(p + 1, p - 1) + window(p + 3, p - 3) + window(2 * p + 2, 2 * p - 2);
        }
        count.min(15) as usize
    }
}

/// Bucket of a counter's logit against the plane's.
#[inline]
fn bucket(counter: Counter, base: i32) -> usize {
    if counter.is_new() {
        return BUCKETS - 1;
    }
    ((stretch(counter.p()) - base + 160) / 32).clamp(0, BUCKETS as i32 - 2) as usize
}

/// The distance of columns most alike in their number of non-zeros, if any are
/// alike: image rows of a first layer, taps of a convolution.
pub(super) fn find_period(ones: &[u32]) -> Option<usize> {
    let ones = ones.get(..MAX_COLUMNS).unwrap_or(ones);
    let cols = ones.len();
    let sum: i128 = ones.iter().map(|&count| i128::from(count)).sum();
    // Deviations from the mean, times the number of columns.
    let deviation: Vec<i128> = ones
        .iter()
        .map(|&count| i128::from(count) * cols as i128 - sum)
        .collect();
    let likeness: Vec<i128> = (2..=MAX_PERIOD.min(cols / 2))
        .map(|distance| {
            let pairs = deviation.iter().zip(&deviation[distance..]);
            pairs.map(|(a, b)| a * b).sum()
        })
        .collect();
    // A period is a peak: more alike than the distances beside it.
    let peaks = (3..)
        .zip(likeness.windows(3))
        .filter(|(_, w)| w[1] > 0 && w[1] > w[0] && w[1] >= w[2]);
    let (period, _) = peaks.max_by_key(|&(d, w)| (w[1], std::cmp::Reverse(d)))?;
    Some(period)
}

/// Columns looked at to find a period.
const MAX_COLUMNS: usize = 1 << 13;

/// Longest period looked for.
pub(super) const MAX_PERIOD: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn period_of_image_rows_is_found() {
        let ones: Vec<u32> = (0..28u32 * 28)
            .map(|c| {
                let (x, y) = (c % 28, c / 28);
                let distance = x.abs_diff(14).pow(2) + y.abs_diff(14).pow(2);
                60u32.saturating_sub(distance) + (c * 7) % 5
            })
            .collect();
        assert_eq!(find_period(&ones), Some(28));
    }

    #[test]
    fn tiny_and_even_planes_have_no_period() {
        assert_eq!(find_period(&[]), None);
        assert_eq!(find_period(&[1, 2, 3]), None);
        assert_eq!(find_period(&[4; 100]), None);
    }
}
