//! Nests of loops over operands that lie anyhow: whatever permutes, cuts, repeats or broadcasts is such a
//! nest with its own strides.

use std::ops::Range;

use crate::KernelError;

/// Most loops of a nest, once neighbours are joined.
const MAX_LOOPS: usize = 8;

/// Loops over `N` operands at once, the first outermost. Loops of one turn are left out, and neighbours
/// that every operand walks as one are joined.
///
/// ```
/// use secateur_kernels::Nest;
/// // [2, 3, 4] read row-major, with a row of 4 broadcast beside it.
/// let nest = Nest::new(&[2, 3, 4], [(0, &[12, 4, 1]), (0, &[0, 0, 1])])?;
/// assert_eq!((nest.outer(), nest.elements()), (6, 24));
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nest<const N: usize> {
    loops: usize,
    turns: [usize; MAX_LOOPS],
    /// Steps of every operand, a loop each.
    steps: [[isize; N]; MAX_LOOPS],
    /// Where every operand begins.
    bases: [usize; N],
    /// Elements that every operand must have.
    reach: [usize; N],
}

impl<const N: usize> Nest<N> {
    /// Loops of the given turns over operands that begin at a place and lie in these steps.
    ///
    /// # Errors
    /// When more loops are left than are supported, a list has another length, or a place is before the
    /// operand's beginning or beyond the address space.
    pub fn new(turns: &[usize], operands: [(usize, &[isize]); N]) -> Result<Self, KernelError> {
        let mut nest = Self {
            loops: 0,
            turns: [1; MAX_LOOPS],
            steps: [[0; N]; MAX_LOOPS],
            bases: operands.map(|(base, _)| base),
            reach: [0; N],
        };
        for (_, steps) in operands {
            if steps.len() != turns.len() {
                return Err(KernelError::Length {
                    what: "loop steps",
                    needed: turns.len(),
                    got: steps.len(),
                });
            }
        }
        if turns.contains(&0) {
            nest.turns[0] = 0;
            nest.loops = 1;
            return Ok(nest);
        }
        for (at, &count) in turns.iter().enumerate() {
            nest.push(count, operands.map(|(_, steps)| steps[at]))?;
        }
        nest.loops = nest.loops.max(1);
        nest.measure()?;
        Ok(nest)
    }

    fn push(&mut self, count: usize, steps: [isize; N]) -> Result<(), KernelError> {
        if count == 1 {
            return Ok(());
        }
        let overflow = || KernelError::Overflow { what: "loops" };
        if let Some(last) = self.loops.checked_sub(1) {
            let whole = |step: isize| step.checked_mul(isize::try_from(count).ok()?);
            if (0..N).all(|n| whole(steps[n]) == Some(self.steps[last][n])) {
                self.turns[last] = self.turns[last].checked_mul(count).ok_or_else(overflow)?;
                self.steps[last] = steps;
                return Ok(());
            }
        }
        if self.loops == MAX_LOOPS {
            return Err(KernelError::Parameter {
                what: "loops",
                reason: "needed at most 8 that cannot be joined",
            });
        }
        self.turns[self.loops] = count;
        self.steps[self.loops] = steps;
        self.loops += 1;
        Ok(())
    }

    /// Finds the farthest place of every operand.
    fn measure(&mut self) -> Result<(), KernelError> {
        let overflow = || KernelError::Overflow { what: "loops" };
        let all = self.turns.iter().try_fold(1usize, |n, &t| n.checked_mul(t));
        if all.ok_or_else(overflow)? == 0 {
            self.reach = [0; N];
            return Ok(());
        }
        for n in 0..N {
            let (mut low, mut high) = (self.bases[n] as i128, self.bases[n] as i128);
            for (&count, steps) in self.turns.iter().zip(&self.steps) {
                let reach = (count as i128 - 1) * steps[n] as i128;
                *(if reach < 0 { &mut low } else { &mut high }) += reach;
            }
            if low < 0 {
                return Err(KernelError::Parameter {
                    what: "loops",
                    reason: "an operand begins before its first element",
                });
            }
            let end = isize::try_from(high + 1).map_err(|_| overflow())?;
            self.reach[n] = end as usize;
        }
        Ok(())
    }

    /// Turns of the first loop: what can be dealt out.
    pub fn outer(&self) -> usize {
        self.turns[0]
    }

    /// Turns of all loops together.
    pub fn elements(&self) -> usize {
        self.turns.iter().product()
    }

    /// Some turns of the first loop.
    ///
    /// # Errors
    /// When there are not so many.
    pub(crate) fn part(&self, turns: &Range<usize>) -> Result<Self, KernelError> {
        if turns.start > turns.end || turns.end > self.outer() {
            return Err(KernelError::PixelRange {
                start: turns.start,
                end: turns.end,
                pixels: self.outer(),
            });
        }
        let mut part = *self;
        part.turns[0] = turns.len();
        for (base, step) in part.bases.iter_mut().zip(self.steps[0]) {
            // Places of turns that there are fit the address space.
            *base = place(*base, step, turns.start);
        }
        part.measure()?;
        Ok(part)
    }

    /// Where operand `n` begins, and its steps from turn to turn of the first loop.
    pub(crate) fn first(&self, n: usize) -> (usize, isize) {
        (self.bases[n], self.steps[0][n])
    }

    /// The same nest with operand `n` beginning elsewhere.
    ///
    /// # Errors
    /// As of [`Nest::new`].
    pub(crate) fn begin(mut self, n: usize, base: usize) -> Result<Self, KernelError> {
        self.bases[n] = base;
        self.measure()?;
        Ok(self)
    }

    /// Elements that operand `n` must have.
    pub(crate) fn reach(&self, n: usize) -> usize {
        self.reach[n]
    }

    /// Turns and steps of the innermost loop but `around`, if there is one.
    pub(crate) fn inner(&self, around: usize) -> Option<(usize, [isize; N])> {
        let at = self.loops.checked_sub(1 + around)?;
        Some((self.turns[at], self.steps[at]))
    }

    /// Fails unless operand `n` has as many elements as are touched.
    pub(crate) fn check(
        &self,
        n: usize,
        what: &'static str,
        got: usize,
    ) -> Result<(), KernelError> {
        let needed = self.reach[n];
        if got < needed {
            return Err(KernelError::Length { what, needed, got });
        }
        Ok(())
    }

    /// Calls `body` with every operand's place at the beginning of each turn of all loops but the
    /// innermost `inner`.
    #[inline(always)]
    pub(crate) fn each(&self, inner: usize, mut body: impl FnMut([usize; N])) {
        let outer = self.loops.saturating_sub(inner);
        if self.turns.contains(&0) {
            return;
        }
        let mut index = [0; MAX_LOOPS];
        let mut at = self.bases;
        loop {
            body(at);
            let mut l = outer;
            loop {
                let Some(now) = l.checked_sub(1) else {
                    return;
                };
                l = now;
                index[l] += 1;
                let turned = index[l] < self.turns[l];
                let steps = if turned { 1 } else { 1 - index[l] as isize };
                for (at, step) in at.iter_mut().zip(self.steps[l]) {
                    *at = at.wrapping_add_signed(steps.wrapping_mul(step));
                }
                if turned {
                    break;
                }
                index[l] = 0;
            }
        }
    }
}

/// The place `step·i` beyond `base`.
#[inline(always)]
pub(crate) fn place(base: usize, step: isize, i: usize) -> usize {
    base.wrapping_add_signed(step.wrapping_mul(i as isize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(nest: &Nest<1>, part: Range<usize>) -> Vec<usize> {
        let mut places = Vec::new();
        let part = nest.part(&part).unwrap();
        let (count, [step]) = part.inner(0).unwrap();
        part.each(1, |[at]| {
            for i in 0..count {
                places.push(place(at, step, i));
            }
        });
        places
    }

    #[test]
    fn loops_are_joined_and_walked_in_order() {
        let whole = Nest::new(&[2, 1, 3, 4], [(0, &[12, 99, 4, 1])]).unwrap();
        assert_eq!((whole.outer(), whole.elements()), (24, 24));
        assert_eq!(places(&whole, 5..8), [5, 6, 7]);
        let turned = Nest::new(&[3, 2], [(0, &[1, 3])]).unwrap();
        assert_eq!(places(&turned, 0..3), [0, 3, 1, 4, 2, 5]);
        assert_eq!(places(&turned, 1..3), [1, 4, 2, 5]);
        let backwards = Nest::new(&[2, 2], [(3, &[-2, -1])]).unwrap();
        assert_eq!(places(&backwards, 0..4), [3, 2, 1, 0]);
        let deep = Nest::new(&[2, 2, 2], [(0, &[1, 8, 2])]).unwrap();
        assert_eq!(places(&deep, 0..2), [0, 2, 8, 10, 1, 3, 9, 11]);
        let one = Nest::new(&[], [(7, &[])]).unwrap();
        assert_eq!(places(&one, 0..1), [7]);
        assert!(places(&deep, 1..1).is_empty());
    }

    #[test]
    fn places_are_bounded() {
        let nest = Nest::new(&[3, 2], [(1, &[0, 5])]).unwrap();
        assert!(nest.check(0, "x", 7).is_ok() && nest.check(0, "x", 6).is_err());
        assert!(nest.part(&(2..4)).is_err());
        assert!(Nest::new(&[3], [(1, &[-1])]).is_err());
        assert!(Nest::new(&[usize::MAX, 4], [(0, &[1, 7])]).is_err());
        assert!(Nest::new(&[3], [(0, &[isize::MAX])]).is_err());
        assert!(Nest::new(&[2, 2], [(0, &[1])]).is_err());
        let none = Nest::new(&[3, 0], [(1, &[-9, 1])]).unwrap();
        assert!(none.check(0, "x", 0).is_ok() && places(&none, 0..0).is_empty());
        let many = [2; 9];
        let steps: Vec<isize> = (0..9).map(|i| 3 << i).collect();
        assert!(Nest::new(&many, [(0, &steps)]).is_err());
    }
}
