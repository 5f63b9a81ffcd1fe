//! Tensors of other extents along one or two neighbouring axes: every element a weighted sum of some.

use std::ops::Range;

use crate::{
    Isa, KernelError,
    error::{check_len, product},
    multiversion,
    range::check_pixels,
};

/// The elements along an axis that make up each one of the output, with their weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Taps {
    /// Extent of the axis that is read.
    input: usize,
    /// Where the taps of each output begin, and those of the last end.
    begin: Vec<usize>,
    at: Vec<usize>,
    weights: Vec<f32>,
    /// How many taps each output has, where all have as many.
    uniform: Option<usize>,
}

impl Taps {
    /// Taps of each output over an axis of `input` elements; an output without any lies outside.
    ///
    /// # Errors
    /// When a tap is beyond the axis.
    pub fn new<T: AsRef<[(usize, f32)]>>(
        input: usize,
        lists: impl IntoIterator<Item = T>,
    ) -> Result<Self, KernelError> {
        let mut taps = Self {
            input,
            begin: vec![0],
            at: Vec::new(),
            weights: Vec::new(),
            uniform: None,
        };
        for list in lists {
            for &(at, weight) in list.as_ref() {
                if at >= input {
                    let index = i64::try_from(at).unwrap_or(i64::MAX);
                    let extent = input;
                    return Err(KernelError::Index { index, extent });
                }
                taps.at.push(at);
                taps.weights.push(weight);
            }
            taps.begin.push(taps.at.len());
        }
        let mut counts = taps.begin.windows(2).map(|ends| ends[1] - ends[0]);
        let first = counts.next();
        taps.uniform = first.filter(|first| counts.all(|count| count == *first));
        Ok(taps)
    }

    /// Extent of the axis that is read.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Extent of the axis that is written.
    pub fn outputs(&self) -> usize {
        self.begin.len() - 1
    }

    #[inline(always)]
    fn of(&self, output: usize) -> (&[usize], &[f32]) {
        let range = self.begin[output]..self.begin[output + 1];
        (&self.at[range.clone()], &self.weights[range])
    }
}

/// `y[o, r, c, i] = Σ down[r, j]·Σ across[c, k]·x[o, j, k, i]` of tensors `[outer, height, width, run]`,
/// the sum over `j` first; `fill` stands where an axis has no taps.
///
/// ```
/// use secateur_kernels::{Isa, Resample, Taps};
/// let twice = Taps::new(2, [[(0, 1.0), (1, 0.0)], [(0, 0.5), (1, 0.5)], [(0, 0.0), (1, 1.0)]])?;
/// let resample = Resample::new(1, twice, None, 1, 0.0)?;
/// let mut y = [0.0; 3];
/// resample.run(Isa::best(), &[1.0, 2.0], 0..3, &mut [], &mut y)?;
/// assert_eq!(y, [1.0, 1.5, 2.0]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Resample {
    outer: usize,
    down: Taps,
    across: Option<Taps>,
    run: usize,
    fill: f32,
    /// Elements of a line that is read, and of one that is written.
    lines: [usize; 2],
}

impl Resample {
    /// Without `across` there is one axis, `[outer, height, run]`.
    ///
    /// # Errors
    /// When a size overflows.
    pub fn new(
        outer: usize,
        down: Taps,
        across: Option<Taps>,
        run: usize,
        fill: f32,
    ) -> Result<Self, KernelError> {
        let widths = across.as_ref().map_or([1; 2], |t| [t.input, t.outputs()]);
        let heights = [down.input, down.outputs()];
        let mut lines = [0; 2];
        for ((line, width), height) in lines.iter_mut().zip(widths).zip(heights) {
            *line = product("resampled", width, run)?;
            product("resampled", product("resampled", outer, height)?, *line)?;
        }
        Ok(Self {
            outer,
            down,
            across,
            run,
            fill,
            lines,
        })
    }

    /// Lines of the output.
    pub fn rows(&self) -> usize {
        self.outer * self.down.outputs()
    }

    /// Elements of a line of the output.
    pub fn line(&self) -> usize {
        self.lines[1]
    }

    /// Elements of a contiguous run that is weighted as a whole.
    pub fn run_len(&self) -> usize {
        self.run
    }

    /// Elements of working memory.
    pub fn scratch(&self) -> usize {
        match self.across {
            Some(_) => self.lines[0],
            None => 0,
        }
    }

    /// Computes some lines of the output.
    ///
    /// # Errors
    /// When a length does not match or there are not so many lines.
    pub fn run(
        &self,
        isa: Isa,
        x: &[f32],
        rows: Range<usize>,
        scratch: &mut [f32],
        y: &mut [f32],
    ) -> Result<(), KernelError> {
        let length = self.outer * self.down.input * self.lines[0];
        check_len("resampled tensor", length, x.len())?;
        check_pixels(&rows, self.rows())?;
        check_len("resampled lines", rows.len() * self.lines[1], y.len())?;
        check_len("working memory", self.scratch(), scratch.len())?;
        if y.is_empty() {
            return Ok(());
        }
        multiversion::run(
            isa,
            #[inline(always)]
            || {
                let height = self.down.outputs();
                for (row, y) in rows.zip(y.chunks_exact_mut(self.lines[1])) {
                    let image = row / height * self.down.input * self.lines[0];
                    let image = &x[image..][..self.down.input * self.lines[0]];
                    self.row(image, row % height, scratch, y);
                }
            },
        );
        Ok(())
    }

    #[inline(always)]
    fn row(&self, image: &[f32], row: usize, scratch: &mut [f32], y: &mut [f32]) {
        let (at, weights) = self.down.of(row);
        let across = match (&self.across, at) {
            (_, []) => return y.fill(self.fill),
            (None, _) => return blend(image, self.lines[0], at, weights, y),
            (Some(across), _) => across,
        };
        let line = match (at, weights) {
            (&[at], [1.0]) => &image[at * self.lines[0]..][..self.lines[0]],
            _ => {
                blend(image, self.lines[0], at, weights, scratch);
                &*scratch
            }
        };
        match (self.run, across.uniform) {
            (1, Some(1)) => elements::<1>(line, across, y),
            (1, Some(2)) => elements::<2>(line, across, y),
            (1, Some(4)) => elements::<4>(line, across, y),
            _ => {
                for (column, y) in y.chunks_exact_mut(self.run).enumerate() {
                    match across.of(column) {
                        ([], _) => y.fill(self.fill),
                        (at, weights) => blend(line, self.run, at, weights, y),
                    }
                }
            }
        }
    }
}

/// `y = Σ weights[t]·x[at[t]]` of pieces as long as `y`, which lie every `stride` elements.
#[inline(always)]
fn blend(x: &[f32], stride: usize, at: &[usize], weights: &[f32], y: &mut [f32]) {
    let piece = |at: usize| &x[at * stride..][..y.len()];
    match (at, weights) {
        (&[a], [1.0]) => y.copy_from_slice(piece(a)),
        (&[a, b], &[wa, wb]) => {
            let (a, b) = (piece(a), piece(b));
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y = wb.mul_add(b, wa * a);
            }
        }
        (&[a, b, c, d], &[wa, wb, wc, wd]) => {
            let (a, b, c, d) = (piece(a), piece(b), piece(c), piece(d));
            for ((((y, &a), &b), &c), &d) in y.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *y = wd.mul_add(d, wc.mul_add(c, wb.mul_add(b, wa * a)));
            }
        }
        _ => {
            let mut is_first = true;
            for (&at, &weight) in at.iter().zip(weights) {
                let piece = &x[at * stride..][..y.len()];
                for (y, &x) in y.iter_mut().zip(piece) {
                    *y = match is_first {
                        true => weight * x,
                        false => weight.mul_add(x, *y),
                    };
                }
                is_first = false;
            }
        }
    }
}

/// Single elements of `N` taps each.
#[inline(always)]
fn elements<const N: usize>(line: &[f32], taps: &Taps, y: &mut [f32]) {
    let (at, weights) = (taps.at.as_chunks::<N>().0, taps.weights.as_chunks::<N>().0);
    for ((y, at), weights) in y.iter_mut().zip(at).zip(weights) {
        let mut sum = weights[0] * line[at[0]];
        for t in 1..N {
            sum = weights[t].mul_add(line[at[t]], sum);
        }
        *y = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Taps of a line that is stretched, `count` each, a few outputs outside.
    fn taps(input: usize, outputs: usize, count: usize, ragged: bool) -> Taps {
        let list = |o: usize| -> Vec<(usize, f32)> {
            let count = if ragged { (o + count) % 5 } else { count };
            let at = |t: usize| (o * input / outputs + t).min(input - 1);
            let weight = |t: usize| ((o * 7 + t * 3) as f32 * 0.3).sin();
            (0..count).map(|t| (at(t), weight(t))).collect()
        };
        Taps::new(input, (0..outputs).map(list)).unwrap()
    }

    fn expected(r: &Resample, x: &[f32], row: usize, column: usize, i: usize) -> f64 {
        let (image, row) = (row / r.down.outputs(), row % r.down.outputs());
        let (at, weights) = r.down.of(row);
        let single = Taps::new(1, [[(0, 1.0)]]).unwrap();
        let across = r.across.as_ref().unwrap_or(&single);
        let (columns, shares) = across.of(column);
        if at.is_empty() || columns.is_empty() {
            return f64::from(r.fill);
        }
        let mut sum = 0.0;
        for (&j, &w) in at.iter().zip(weights) {
            for (&k, &share) in columns.iter().zip(shares) {
                let x = x[((image * r.down.input + j) * across.input + k) * r.run + i];
                sum += f64::from(w) * f64::from(share) * f64::from(x);
            }
        }
        sum
    }

    proptest! {
        #[test]
        fn elements_are_weighted_sums(
            outer in 1usize..3, height in 1usize..6, width in 1usize..9,
            to in [1usize..8, 1usize..20], counts in [1usize..6, 1usize..6],
            run in prop_oneof![Just(1usize), 2usize..40], two: bool, ragged: bool,
        ) {
            let down = taps(height, to[0], counts[0], ragged);
            let across = two.then(|| taps(width, to[1], counts[1], ragged));
            let resample = Resample::new(outer, down, across, run, 9.0).unwrap();
            let columns = resample.line() / run;
            let x: Vec<f32> = (0..outer * height * resample.lines[0])
                .map(|i| (i as f32 * 0.7).cos())
                .collect();
            let rows = resample.rows() / 3..resample.rows();
            let mut first: Option<Vec<f32>> = None;
            for isa in Isa::available() {
                let mut y = vec![f32::NAN; rows.len() * resample.line()];
                let mut scratch = vec![f32::NAN; resample.scratch()];
                resample.run(isa, &x, rows.clone(), &mut scratch, &mut y).unwrap();
                for (at, &found) in y.iter().enumerate() {
                    let row = rows.start + at / resample.line();
                    let exact = expected(&resample, &x, row, at / run % columns, at % run);
                    prop_assert!((f64::from(found) - exact).abs() < 1e-5, "{found} {exact}");
                }
                prop_assert_eq!(first.get_or_insert(y.clone()), &y);
            }
        }
    }

    #[test]
    fn single_taps_move_bits() {
        let taps = || Taps::new(3, [[(2, 1.0)], [(0, 1.0)]]).unwrap();
        let resample = Resample::new(1, taps(), Some(taps()), 1, 0.0).unwrap();
        let x = [-0.0, 1.0, f32::INFINITY, 2.0, 3.0, 4.0, 5.0, 6.0, -7.0];
        let mut y = [0.0; 4];
        resample
            .run(Isa::best(), &x, 0..2, &mut [0.0; 3], &mut y)
            .unwrap();
        let bits = |y: [f32; 4]| y.map(f32::to_bits);
        assert_eq!(bits(y), bits([-7.0, 5.0, f32::INFINITY, -0.0]));
    }

    #[test]
    fn misfits_are_refused() {
        assert!(Taps::new(2, [[(2, 1.0)]]).is_err());
        let taps = || Taps::new(2, [[(0, 1.0)]; 3]).unwrap();
        assert!(Resample::new(usize::MAX, taps(), Some(taps()), 1, 0.0).is_err());
        let resample = Resample::new(1, taps(), Some(taps()), 1, 0.0).unwrap();
        let run = |x: &[f32], rows, scratch: &mut [f32], y: &mut [f32]| {
            resample.run(Isa::Generic, x, rows, scratch, y).is_err()
        };
        assert!(!run(&[0.0; 4], 0..3, &mut [0.0; 2], &mut [0.0; 9]));
        assert!(run(&[0.0; 3], 0..3, &mut [0.0; 2], &mut [0.0; 9]));
        assert!(run(&[0.0; 4], 1..4, &mut [0.0; 2], &mut [0.0; 9]));
        assert!(run(&[0.0; 4], 0..3, &mut [0.0; 1], &mut [0.0; 9]));
        assert!(run(&[0.0; 4], 0..3, &mut [0.0; 2], &mut [0.0; 8]));
    }
}
