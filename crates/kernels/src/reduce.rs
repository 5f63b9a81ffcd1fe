//! Reductions along one axis of `[outer, extent, run]`.

use std::ops::Range;

use crate::{Isa, KernelError, error::check_len, lanes, multiversion};

/// Outputs of a run that are computed side by side.
const COLUMNS: usize = 64;

/// What elements are reduced to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // what the names say
pub enum Reduction {
    Sum,
    Mean,
    /// The largest; NaN if any is.
    Max,
    /// The smallest; NaN if any is.
    Min,
    /// The square root of the sum of squares.
    L2,
    SumSquare,
}

/// An array `[outer, extent, run]`, reduced along `extent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Blocks.
    pub outer: usize,
    /// Elements that become one.
    pub extent: usize,
    /// Elements between neighbours along the axis.
    pub run: usize,
}

impl Reduction {
    /// Outputs `range` of `[outer, run]`; `extent` is at least 1.
    ///
    /// # Errors
    /// When a length does not match.
    pub fn run(
        self,
        isa: Isa,
        axis: Axis,
        x: &[f32],
        range: Range<usize>,
        y: &mut [f32],
    ) -> Result<(), KernelError> {
        let Axis { outer, extent, run } = axis;
        check_len("reduced outputs", range.len(), y.len())?;
        check_len("reduced elements", outer * extent * run, x.len())?;
        if range.end > outer * run || extent == 0 {
            return Err(KernelError::PixelRange {
                start: range.start,
                end: range.end,
                pixels: outer * run,
            });
        }
        let part = Part {
            isa,
            axis,
            x,
            range,
            y,
        };
        let count = extent as f32;
        match self {
            Self::Sum => part.fold(0.0, same, add, same),
            Self::Mean => part.fold(
                0.0,
                same,
                add,
                #[inline(always)]
                |s| s / count,
            ),
            Self::SumSquare => part.fold(0.0, square, add, same),
            Self::L2 => part.fold(
                0.0,
                square,
                add,
                #[inline(always)]
                |s: f32| s.sqrt(),
            ),
            Self::Max => part.fold(
                f32::NEG_INFINITY,
                same,
                #[inline(always)]
                |a, b| if a > b || a.is_nan() { a } else { b },
                same,
            ),
            Self::Min => part.fold(
                f32::INFINITY,
                same,
                #[inline(always)]
                |a, b| if a < b || a.is_nan() { a } else { b },
                same,
            ),
        }
        Ok(())
    }
}

#[inline(always)]
fn same(x: f32) -> f32 {
    x
}

#[inline(always)]
fn square(x: f32) -> f32 {
    x * x
}

#[inline(always)]
fn add(a: f32, b: f32) -> f32 {
    a + b
}

struct Part<'a> {
    isa: Isa,
    axis: Axis,
    x: &'a [f32],
    range: Range<usize>,
    y: &'a mut [f32],
}

impl Part<'_> {
    #[inline(always)]
    fn fold(
        self,
        first: f32,
        f: impl Fn(f32) -> f32,
        join: impl Fn(f32, f32) -> f32,
        last: impl Fn(f32) -> f32,
    ) {
        let Self {
            isa,
            axis,
            x,
            range,
            y,
        } = self;
        let Axis { extent, run, .. } = axis;
        multiversion::run(
            isa,
            #[inline(always)]
            || {
                if run == 1 {
                    let rows = x[range.start * extent..].chunks_exact(extent);
                    for (y, x) in y.iter_mut().zip(rows) {
                        *y = last(lanes::fold(x, first, &f, &join));
                    }
                    return;
                }
                let mut at = range.start;
                let mut y = y;
                while at < range.end {
                    let (block, from) = (at / run, at % run);
                    let count = (range.end - at).min(run - from).min(COLUMNS);
                    let (now, later) = y.split_at_mut(count);
                    let mut sums = [first; COLUMNS];
                    for k in 0..extent {
                        let x = &x[(block * extent + k) * run + from..][..count];
                        for (sum, &x) in sums.iter_mut().zip(x) {
                            *sum = join(*sum, f(x));
                        }
                    }
                    for (y, sum) in now.iter_mut().zip(sums) {
                        *y = last(sum);
                    }
                    y = later;
                    at += count;
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_axis_is_the_definition(outer in 1usize..4, extent in 1usize..80, run in 1usize..80) {
            let axis = Axis { outer, extent, run };
            let x: Vec<f32> = (0..outer * extent * run).map(|i| (i as f32 * 1.7).sin()).collect();
            for kind in [Reduction::Sum, Reduction::Mean, Reduction::Max, Reduction::Min, Reduction::L2, Reduction::SumSquare] {
                let mut first = vec![0.0; outer * run];
                kind.run(Isa::Generic, axis, &x, 0..outer * run, &mut first).unwrap();
                for (i, &y) in first.iter().enumerate() {
                    let values = (0..extent).map(|k| f64::from(x[(i / run * extent + k) * run + i % run]));
                    let exact = match kind {
                        Reduction::Sum => values.sum::<f64>(),
                        Reduction::Mean => values.sum::<f64>() / extent as f64,
                        Reduction::Max => values.fold(f64::MIN, f64::max),
                        Reduction::Min => values.fold(f64::MAX, f64::min),
                        Reduction::L2 => values.map(|v| v * v).sum::<f64>().sqrt(),
                        Reduction::SumSquare => values.map(|v| v * v).sum(),
                    };
                    prop_assert!((f64::from(y) - exact).abs() < 1e-6 * extent as f64 + 1e-6, "{kind:?}");
                }
                for isa in Isa::available() {
                    let mut y = vec![0.0; outer * run];
                    let (left, right) = y.split_at_mut(outer * run / 2);
                    let cut = left.len();
                    kind.run(isa, axis, &x, 0..cut, left).unwrap();
                    kind.run(isa, axis, &x, cut..outer * run, right).unwrap();
                    prop_assert_eq!(&y, &first);
                }
            }
        }
    }

    #[test]
    fn a_nan_is_kept() {
        let axis = Axis {
            outer: 1,
            extent: 3,
            run: 1,
        };
        let mut y = [0.0];
        for kind in [Reduction::Max, Reduction::Min] {
            kind.run(Isa::best(), axis, &[1.0, f32::NAN, 2.0], 0..1, &mut y)
                .unwrap();
            assert!(y[0].is_nan());
        }
    }
}
