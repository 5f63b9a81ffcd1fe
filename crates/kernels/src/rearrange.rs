//! Elements from places to places: slices, joins, turns and repetitions of tensors.

use std::ops::Range;

use crate::{
    Isa, KernelError, Nest,
    error::check_len,
    multiversion,
    nest::place,
    squares::{SIDE, turn_square},
};

/// One axis of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// Steps along it.
    pub extent: usize,
    /// Elements of the source from step to step; 0 repeats, negative goes back.
    pub from: isize,
    /// Elements of the target from step to step.
    pub to: usize,
}

/// `y[start_to + Σ i·to] = x[start_from + Σ i·from]` for all `i` within the extents of the axes.
///
/// ```
/// use secateur_kernels::{Isa, Rearrange, Walk};
/// // The last column of [2, 3], into the first of [2, 2].
/// let column = Rearrange::new(&[Walk { extent: 2, from: 3, to: 2 }], 2, 0)?;
/// let mut y = [0; 4];
/// column.run(Isa::best(), &[1, 2, 3, 4, 5, 6], &mut y)?;
/// assert_eq!(y, [3, 0, 6, 0]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rearrange {
    /// Places in the source and in the target, the target's longest steps outermost.
    nest: Nest<2>,
}

impl Rearrange {
    /// A walk over axes in any order.
    ///
    /// # Errors
    /// When it leaves the address space on either side or has too many axes.
    pub fn new(axes: &[Walk], start_from: usize, start_to: usize) -> Result<Self, KernelError> {
        let overflow = |_| KernelError::Overflow { what: "walk" };
        let mut axes = axes.to_vec();
        axes.sort_by_key(|a| std::cmp::Reverse(a.to));
        let turns: Vec<usize> = axes.iter().map(|a| a.extent).collect();
        let from: Vec<isize> = axes.iter().map(|a| a.from).collect();
        let to = axes.iter().map(|a| isize::try_from(a.to).map_err(overflow));
        let to: Vec<isize> = to.collect::<Result<_, _>>()?;
        Ok(Self {
            nest: Nest::new(&turns, [(start_from, &from), (start_to, &to)])?,
        })
    }

    /// Into how many parts a target of `len` elements falls that can be written apart; at least one.
    pub fn parts(&self, len: usize) -> usize {
        let (turns, step) = (self.nest.outer(), self.nest.first(1).1 as usize);
        let apart = turns > 1 && step > 0 && turns.checked_mul(step) == Some(len);
        // The first turn stays within its step, and so does every other.
        let within = || {
            self.nest
                .part(&(0..1))
                .is_ok_and(|first| first.reach(1) <= step)
        };
        if apart && within() { turns } else { 1 }
    }

    /// Copies the elements; what lies between them is not written.
    ///
    /// # Errors
    /// When a side is too short.
    pub fn run<T: Copy>(&self, isa: Isa, x: &[T], y: &mut [T]) -> Result<(), KernelError> {
        run(isa, &self.nest, x, y)
    }

    /// As [`run`](Self::run), of some of the [`parts`](Self::parts) of the target, which `y` is.
    ///
    /// # Errors
    /// When a side is too short or there are not so many parts.
    pub fn run_part<T: Copy>(
        &self,
        isa: Isa,
        x: &[T],
        part: Range<usize>,
        y: &mut [T],
    ) -> Result<(), KernelError> {
        let (base, step) = self.nest.first(1);
        check_len("part", part.len().saturating_mul(step as usize), y.len())?;
        run(isa, &self.nest.part(&part)?.begin(1, base)?, x, y)
    }
}

fn run<T: Copy>(isa: Isa, nest: &Nest<2>, x: &[T], y: &mut [T]) -> Result<(), KernelError> {
    nest.check(0, "rearranged", x.len())?;
    nest.check(1, "rearrangement", y.len())?;
    multiversion::run(
        isa,
        #[inline(always)]
        || walk(nest, x, y),
    );
    Ok(())
}

#[inline(always)]
fn walk<T: Copy>(nest: &Nest<2>, x: &[T], y: &mut [T]) {
    let Some((count, steps)) = nest.inner(0) else {
        return;
    };
    match (steps, nest.inner(1)) {
        ([1, 1], _) => nest.each(1, |[from, to]| {
            y[to..to + count].copy_from_slice(&x[from..from + count]);
        }),
        ([from_step, 1], Some((lines, [1, to_step]))) => nest.each(2, |[from, to]| {
            let y = &mut y[to..];
            turn([lines, count], &x[from..], from_step, y, to_step as usize);
        }),
        ([0, 1], _) => nest.each(1, |[from, to]| y[to..to + count].fill(x[from])),
        ([from_step, 1], _) if from_step > 0 => nest.each(1, |[from, to]| {
            let x = x[from..].iter().step_by(from_step as usize);
            for (y, x) in y[to..to + count].iter_mut().zip(x) {
                *y = *x;
            }
        }),
        ([from_step, to_step], _) => nest.each(1, |[from, to]| {
            for i in 0..count {
                y[place(to, to_step, i)] = x[place(from, from_step, i)];
            }
        }),
    }
}

/// `y[l·to_step + c] = x[l + c·from_step]`, in squares that stay in the first cache.
#[inline(always)]
pub(crate) fn turn<T: Copy>(
    [lines, count]: [usize; 2],
    x: &[T],
    from_step: isize,
    y: &mut [T],
    to_step: usize,
) {
    for l0 in (0..lines).step_by(SIDE) {
        let lines = l0..lines.min(l0 + SIDE);
        for c0 in (0..count).step_by(SIDE) {
            let c1 = count.min(c0 + SIDE);
            let is_whole = lines.len() == SIDE && c1 - c0 == SIDE;
            if let (true, Ok(step)) = (is_whole, usize::try_from(from_step)) {
                let (from, to) = (lines.start + c0 * step, lines.start * to_step + c0);
                if turn_square(&x[from..], step, &mut y[to..], to_step).is_some() {
                    continue;
                }
            }
            for l in lines.clone() {
                let y = &mut y[l * to_step + c0..l * to_step + c1];
                for (c, y) in y.iter_mut().enumerate() {
                    *y = x[place(l, from_step, c0 + c)];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(extent: usize, from: isize, to: usize) -> Walk {
        Walk { extent, from, to }
    }

    #[test]
    fn turned_back_and_repeated() {
        let x: Vec<u32> = (0..6).collect();
        let run = |axes: &[Walk], start, len: usize| {
            let mut y = vec![9; len];
            let walk = Rearrange::new(axes, start, 0).unwrap();
            walk.run(Isa::best(), &x, &mut y).unwrap();
            y
        };
        assert_eq!(
            run(&[axis(3, 1, 2), axis(2, 3, 1)], 0, 6),
            [0, 3, 1, 4, 2, 5]
        );
        assert_eq!(run(&[axis(6, -1, 1)], 5, 6), [5, 4, 3, 2, 1, 0]);
        assert_eq!(
            run(&[axis(2, 1, 3), axis(3, 0, 1)], 2, 6),
            [2, 2, 2, 3, 3, 3]
        );
        assert_eq!(run(&[axis(3, 2, 1)], 1, 3), [1, 3, 5]);
        assert_eq!(run(&[], 4, 1), [4]);
        assert_eq!(run(&[axis(0, 1, 1), axis(3, 1, 1)], 0, 2), [9, 9]);
    }

    #[test]
    fn parts_of_a_turn_are_the_whole() {
        let x: Vec<u32> = (0..20 * 6 * 40).collect();
        // [20, 6, 40] to [6, 20, 40] and to [6, 40, 20].
        for axes in [
            [axis(20, 240, 40), axis(6, 40, 800), axis(40, 1, 1)],
            [axis(20, 240, 1), axis(6, 40, 800), axis(40, 1, 20)],
        ] {
            let expected = |at: usize| {
                let step = axes[2].to;
                let (i, j, k) = (at / axes[0].to % 20, at / 800, at / step % 40);
                (i * 240 + j * 40 + k) as u32
            };
            let walk = Rearrange::new(&axes, 0, 0).unwrap();
            // Neighbours that both sides walk as one are parts too.
            let parts = walk.parts(x.len());
            assert!(parts == 6 || parts == 240);
            assert_eq!(walk.parts(x.len() + 800), 1);
            for isa in Isa::available() {
                let mut y = vec![0; x.len()];
                let (left, right) = y.split_at_mut(2 * 800);
                walk.run_part(isa, &x, 0..parts / 3, left).unwrap();
                walk.run_part(isa, &x, parts / 3..parts, right).unwrap();
                assert!(y.iter().enumerate().all(|(at, &y)| y == expected(at)));
            }
        }
        // Neighbours that cross have one part.
        let crossed = Rearrange::new(&[axis(3, 2, 3), axis(2, 1, 5)], 0, 0).unwrap();
        assert_eq!(crossed.parts(10), 1);
    }

    #[test]
    fn walks_beyond_either_end_are_refused() {
        let back = Rearrange::new(&[axis(3, -1, 1)], 1, 0);
        assert!(back.is_err());
        let walk = Rearrange::new(&[axis(3, 2, 1)], 0, 1).unwrap();
        assert!(walk.run(Isa::Generic, &[0; 4], &mut [0; 4]).is_err());
        assert!(walk.run(Isa::Generic, &[0; 5], &mut [0; 3]).is_err());
        assert!(walk.run(Isa::Generic, &[0; 5], &mut [0; 4]).is_ok());
        assert!(Rearrange::new(&[axis(usize::MAX, isize::MAX, 1)], 0, 0).is_err());
    }
}
