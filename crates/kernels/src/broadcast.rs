//! Functions of two numbers whose operands broadcast.

use std::ops::Range;

use crate::{Clamp, Isa, KernelError, Nest, error::check_len, multiversion, nest::place};

/// A function of two f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // what the names say
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    /// The larger; NaN if either is.
    Max,
    /// The smaller; NaN if either is.
    Min,
    Pow,
    /// `a` where it is not negative, else `a·b`.
    PRelu,
}

impl Binary {
    /// `y[…] = clamp(f(a[…], b[…]))` for some turns of the first loop of a nest of `[a, b]`; `y` is dense.
    ///
    /// ```
    /// use secateur_kernels::{Binary, Clamp, Isa, Nest};
    /// let nest = Nest::new(&[2, 2], [(0, &[2, 1]), (0, &[0, 1])])?;
    /// let mut y = [0.0; 4];
    /// Binary::Add.run(Isa::best(), &nest, [&[1.0, 2.0, 3.0, 4.0], &[0.0, 9.0]], 0..2, Clamp::NONE, &mut y)?;
    /// assert_eq!(y, [1.0, 11.0, 3.0, 13.0]);
    /// # Ok::<(), secateur_kernels::KernelError>(())
    /// ```
    ///
    /// # Errors
    /// When an operand is too short or `y` has another length.
    pub fn run(
        self,
        isa: Isa,
        nest: &Nest<2>,
        operands: [&[f32]; 2],
        turns: Range<usize>,
        clamp: Clamp,
        y: &mut [f32],
    ) -> Result<(), KernelError> {
        let nest = part(nest, operands.map(<[f32]>::len), turns, y.len())?;
        let to = Target {
            isa,
            nest: &nest,
            y,
        };
        match self {
            Self::Add => to.each(
                operands,
                #[inline(always)]
                |a, b| clamp.apply(a + b),
            ),
            Self::Sub => to.each(
                operands,
                #[inline(always)]
                |a, b| clamp.apply(a - b),
            ),
            Self::Mul => to.each(
                operands,
                #[inline(always)]
                |a, b| clamp.apply(a * b),
            ),
            Self::Div => to.each(
                operands,
                #[inline(always)]
                |a, b| clamp.apply(a / b),
            ),
            Self::Max => to.each(
                operands,
                #[inline(always)]
                |a, b| clamp.apply(larger(a, b)),
            ),
            Self::Min => to.each(
                operands,
                #[inline(always)]
                |a, b| clamp.apply(smaller(a, b)),
            ),
            Self::PRelu => to.each(
                operands,
                #[inline(always)]
                |a, b| clamp.apply(if a < 0.0 { a * b } else { a }),
            ),
            Self::Pow => {
                let root = |b: f32| b == 0.5;
                match *operands[1] {
                    [2.0] => to.each(
                        operands,
                        #[inline(always)]
                        |a, _| clamp.apply(a * a),
                    ),
                    [b] if root(b) => to.each(
                        operands,
                        #[inline(always)]
                        |a, _| clamp.apply(half_power(a)),
                    ),
                    _ => to.each(operands, |a, b| clamp.apply(a.powf(b))),
                }
            }
        }
        Ok(())
    }
}

/// `y[…] = condition[…] ? a[…] : b[…]` for some turns of the first loop of a nest of `[condition, a, b]`;
/// `y` is dense.
///
/// # Errors
/// When an operand is too short or `y` has another length.
pub fn select<T: Copy>(
    isa: Isa,
    nest: &Nest<3>,
    condition: &[u8],
    [a, b]: [&[T]; 2],
    turns: Range<usize>,
    y: &mut [T],
) -> Result<(), KernelError> {
    let nest = part(nest, [condition.len(), a.len(), b.len()], turns, y.len())?;
    let (count, steps) = nest.inner(0).unwrap_or((1, [0; 3]));
    multiversion::run(
        isa,
        #[inline(always)]
        || {
            let mut y = y.chunks_exact_mut(count.max(1));
            nest.each(1, |[c, from_a, from_b]| {
                let y = y.next().unwrap_or_default();
                if steps == [1, 1, 1] {
                    let (c, a, b) = (&condition[c..], &a[from_a..], &b[from_b..]);
                    for (((y, &c), &a), &b) in y.iter_mut().zip(c).zip(a).zip(b) {
                        *y = if c != 0 { a } else { b };
                    }
                    return;
                }
                for (i, y) in y.iter_mut().enumerate() {
                    *y = match condition[place(c, steps[0], i)] {
                        0 => b[place(from_b, steps[2], i)],
                        _ => a[place(from_a, steps[1], i)],
                    };
                }
            });
        },
    );
    Ok(())
}

/// Some turns of the first loop, if the operands are long enough and `y` is those turns.
fn part<const N: usize>(
    nest: &Nest<N>,
    operands: [usize; N],
    turns: Range<usize>,
    y: usize,
) -> Result<Nest<N>, KernelError> {
    let part = nest.part(&turns)?;
    for (n, len) in operands.into_iter().enumerate() {
        part.check(n, "operand that broadcasts", len)?;
    }
    check_len("result", part.elements(), y)?;
    Ok(part)
}

struct Target<'a> {
    isa: Isa,
    nest: &'a Nest<2>,
    y: &'a mut [f32],
}

impl Target<'_> {
    #[inline(always)]
    fn each(self, [a, b]: [&[f32]; 2], f: impl Fn(f32, f32) -> f32) {
        let Self { isa, nest, y } = self;
        let (count, steps) = nest.inner(0).unwrap_or((1, [0; 2]));
        multiversion::run(
            isa,
            #[inline(always)]
            || {
                let mut y = y.chunks_exact_mut(count.max(1));
                nest.each(1, |[from_a, from_b]| {
                    let y = y.next().unwrap_or_default();
                    let (a, b) = (&a[from_a..], &b[from_b..]);
                    match steps {
                        [1, 1] => pairs(y, &a[..count], &b[..count], &f),
                        [1, 0] => {
                            let b = b[0];
                            y.iter_mut().zip(a).for_each(|(y, &a)| *y = f(a, b));
                        }
                        [0, 1] => {
                            let a = a[0];
                            y.iter_mut().zip(b).for_each(|(y, &b)| *y = f(a, b));
                        }
                        [sa, sb] => {
                            for (i, y) in y.iter_mut().enumerate() {
                                *y = f(a[place(0, sa, i)], b[place(0, sb, i)]);
                            }
                        }
                    }
                });
            },
        );
    }
}

/// By index: three iterators at once are not vectorised.
#[inline(always)]
fn pairs(y: &mut [f32], a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) {
    let count = y.len();
    let (a, b) = (&a[..count], &b[..count]);
    for i in 0..count {
        y[i] = f(a[i], b[i]);
    }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b || a.is_nan() { a } else { b }
}

/// `√a`, but 0 of a negative zero and infinity of negative infinity, as of a power.
#[inline(always)]
fn half_power(a: f32) -> f32 {
    if a == f32::NEG_INFINITY {
        f32::INFINITY
    } else {
        (a + 0.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Binary; 8] = [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Max,
        Binary::Min,
        Binary::Pow,
        Binary::PRelu,
    ];

    fn scalar(f: Binary, a: f32, b: f32) -> f32 {
        match f {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Max => larger(a, b),
            Binary::Min => smaller(a, b),
            Binary::Pow => a.powf(b),
            Binary::PRelu => {
                if a < 0.0 {
                    a * b
                } else {
                    a
                }
            }
        }
    }

    #[test]
    fn nan_is_kept_and_powers_have_their_limits() {
        let nest = Nest::new(&[1], [(0, &[1]), (0, &[1])]).unwrap();
        let of = |f: Binary, a: f32, b: f32| {
            let mut y = [0.0];
            f.run(Isa::best(), &nest, [&[a], &[b]], 0..1, Clamp::NONE, &mut y)
                .unwrap();
            y[0]
        };
        for f in [Binary::Max, Binary::Min] {
            assert!(of(f, f32::NAN, 1.0).is_nan() && of(f, 1.0, f32::NAN).is_nan());
        }
        for a in [f32::NEG_INFINITY, -1.0, -0.0, 0.0, 2.25, f32::INFINITY] {
            let (found, expected) = (of(Binary::Pow, a, 0.5), a.powf(0.5));
            assert!(
                found == expected || found.is_nan() && expected.is_nan(),
                "{a}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_broadcast_is_the_definition(
            dims in prop::collection::vec(1usize..6, 3),
            kept in prop::collection::vec(any::<bool>(), 6),
            last in 1usize..40,
        ) {
            let dims = [dims[0], dims[1], dims[2], last];
            let strides = |kept: &[bool]| {
                let mut step = 1;
                let mut strides = [0isize; 4];
                for axis in (0..4).rev() {
                    if kept.get(axis).copied().unwrap_or(true) {
                        strides[axis] = step as isize;
                        step *= dims[axis];
                    }
                }
                (strides, step)
            };
            let ((a_steps, a_len), (b_steps, b_len)) = (strides(&kept[..3]), strides(&kept[2..6]));
            let a: Vec<f32> = (0..a_len).map(|i| (i as f32 * 0.7).sin() + 1.5).collect();
            let b: Vec<f32> = (0..b_len).map(|i| (i as f32 * 1.3).cos() + 1.5).collect();
            let nest = Nest::new(&dims, [(0, &a_steps), (0, &b_steps)]).unwrap();
            let clamp = Clamp::new(0.2, 5.0).unwrap();
            for f in ALL {
                let mut expected = Vec::new();
                for i in 0..dims.iter().product() {
                    let (mut rest, mut at) = (i, [0usize; 2]);
                    for axis in (0..4).rev() {
                        at[0] += rest % dims[axis] * a_steps[axis] as usize;
                        at[1] += rest % dims[axis] * b_steps[axis] as usize;
                        rest /= dims[axis];
                    }
                    expected.push(clamp.apply(scalar(f, a[at[0]], b[at[1]])));
                }
                for isa in Isa::available() {
                    let mut y = vec![0.0; expected.len()];
                    let (first, turns) = (nest.outer() / 2, nest.outer());
                    let (left, right) = y.split_at_mut(first * (nest.elements() / turns));
                    f.run(isa, &nest, [&a, &b], 0..first, clamp, left).unwrap();
                    f.run(isa, &nest, [&a, &b], first..turns, clamp, right).unwrap();
                    for (found, expected) in y.iter().zip(&expected) {
                        prop_assert!((found - expected).abs() <= 1e-6 * expected.abs());
                    }
                }
            }
        }
    }
}
