//! Elements from places to places: slices, joins, turns and repetitions of tensors.

use crate::KernelError;

/// Axes of a walk after neighbours are joined.
const MAX_AXES: usize = 8;

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
/// use secateur_kernels::{Rearrange, Walk};
/// // The last column of [2, 3], into the first of [2, 2].
/// let column = Rearrange::new(&[Walk { extent: 2, from: 3, to: 2 }], 2, 0)?;
/// let mut y = [0; 4];
/// column.run(&[1, 2, 3, 4, 5, 6], &mut y)?;
/// assert_eq!(y, [3, 0, 6, 0]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rearrange {
    axes: Vec<Walk>,
    start_from: usize,
    start_to: usize,
    /// Elements that the source and the target must have.
    reach: (usize, usize),
}

impl Rearrange {
    /// A walk over axes in any order.
    ///
    /// # Errors
    /// When it leaves the address space on either side or has too many axes.
    pub fn new(axes: &[Walk], start_from: usize, start_to: usize) -> Result<Self, KernelError> {
        let overflow = KernelError::Overflow { what: "walk" };
        let empty = axes.iter().any(|a| a.extent == 0);
        let mut axes: Vec<Walk> = axes.iter().copied().filter(|a| a.extent != 1).collect();
        axes.sort_by_key(|a| std::cmp::Reverse(a.to));
        let mut joined: Vec<Walk> = Vec::with_capacity(axes.len());
        let mut reach = [start_from as i128, start_from as i128, start_to as i128];
        for axis in axes.into_iter().filter(|_| !empty) {
            let last = axis.extent as i128 - 1;
            reach[usize::from(axis.from > 0)] += last * axis.from as i128;
            reach[2] += last * axis.to as i128;
            let outer = joined.last_mut().filter(|outer| {
                let extent = axis.extent as i128;
                outer.from as i128 == axis.from as i128 * extent
                    && outer.to as i128 == axis.to as i128 * extent
            });
            match outer {
                Some(outer) => {
                    outer.extent = outer
                        .extent
                        .checked_mul(axis.extent)
                        .ok_or(overflow.clone())?;
                    (outer.from, outer.to) = (axis.from, axis.to);
                }
                None => joined.push(axis),
            }
        }
        if joined.len() > MAX_AXES {
            return Err(KernelError::Parameter {
                what: "walk",
                reason: "needed at most 8 axes that cannot be joined",
            });
        }
        let end = |at: i128| usize::try_from(at + 1).ok();
        let ends = match empty {
            true => Some((0, 0)),
            false => end(reach[1]).zip(end(reach[2])).filter(|_| reach[0] >= 0),
        };
        Ok(Self {
            axes: if empty {
                vec![Walk {
                    extent: 0,
                    from: 0,
                    to: 0,
                }]
            } else {
                joined
            },
            start_from,
            start_to,
            reach: ends.ok_or(overflow)?,
        })
    }

    /// Copies the elements; what lies between them is not written.
    ///
    /// # Errors
    /// When a side is too short.
    pub fn run<T: Copy>(&self, x: &[T], y: &mut [T]) -> Result<(), KernelError> {
        for (what, needed, got) in [
            ("rearranged", self.reach.0, x.len()),
            ("rearrangement", self.reach.1, y.len()),
        ] {
            if got < needed {
                return Err(KernelError::Length { what, needed, got });
            }
        }
        walk(&self.axes, x, self.start_from, y, self.start_to);
        Ok(())
    }
}

fn walk<T: Copy>(axes: &[Walk], x: &[T], from: usize, y: &mut [T], to: usize) {
    match axes {
        [] => y[to] = x[from],
        [axis] => line(*axis, x, from, y, to),
        [axis, inner @ ..] => {
            for i in 0..axis.extent {
                let from = from.wrapping_add_signed(i as isize * axis.from);
                walk(inner, x, from, y, to + i * axis.to);
            }
        }
    }
}

/// The innermost axis.
fn line<T: Copy>(axis: Walk, x: &[T], from: usize, y: &mut [T], to: usize) {
    let Walk { extent, .. } = axis;
    match (axis.from, axis.to) {
        _ if extent == 0 => {}
        (1, 1) => y[to..to + extent].copy_from_slice(&x[from..from + extent]),
        (0, 1) => y[to..to + extent].fill(x[from]),
        (step, 1) if step > 0 => {
            let x = x[from..].iter().step_by(step as usize);
            for (y, x) in y[to..to + extent].iter_mut().zip(x) {
                *y = *x;
            }
        }
        _ => {
            for i in 0..extent {
                y[to + i * axis.to] = x[from.wrapping_add_signed(i as isize * axis.from)];
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
            walk.run(&x, &mut y).unwrap();
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
    fn neighbours_are_one_axis() {
        let walk = Rearrange::new(&[axis(4, 15, 15), axis(5, 3, 3), axis(3, 1, 1)], 0, 0).unwrap();
        assert_eq!(walk.axes, [axis(60, 1, 1)]);
    }

    #[test]
    fn walks_beyond_either_end_are_refused() {
        let back = Rearrange::new(&[axis(3, -1, 1)], 1, 0);
        assert!(back.is_err());
        let walk = Rearrange::new(&[axis(3, 2, 1)], 0, 1).unwrap();
        assert!(walk.run(&[0; 4], &mut [0; 4]).is_err());
        assert!(walk.run(&[0; 5], &mut [0; 3]).is_err());
        assert!(walk.run(&[0; 5], &mut [0; 4]).is_ok());
        assert!(Rearrange::new(&[axis(usize::MAX, isize::MAX, 1)], 0, 0).is_err());
    }
}
