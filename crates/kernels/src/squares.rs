//! Squares of elements whose rows and columns change places.

/// Side of a square: of f32, a cache line.
pub(crate) const SIDE: usize = 16;

/// `y[c·to_step + r] = x[r·from_step + c]` of a whole square; `None` where either side is too short.
#[inline(always)]
pub(crate) fn turn_square<T: Copy>(
    x: &[T],
    from_step: usize,
    y: &mut [T],
    to_step: usize,
) -> Option<()> {
    let last = SIDE - 1;
    x.get(last.checked_mul(from_step)?.checked_add(last)?)?;
    y.get(last.checked_mul(to_step)?.checked_add(last)?)?;
    #[cfg(target_arch = "x86_64")]
    {
        let (from, to) = (x.as_ptr(), y.as_mut_ptr());
        match size_of::<T>() {
            // SAFETY: both sides hold a square of elements of one byte.
            1 => unsafe {
                crate::x86_64::squares::turn_bytes(from.cast(), from_step, to.cast(), to_step);
                return Some(());
            },
            // SAFETY: both sides hold a square of elements of four bytes.
            4 => unsafe {
                crate::x86_64::squares::turn_words(from.cast(), from_step, to.cast(), to_step);
                return Some(());
            },
            _ => {}
        }
    }
    for c in 0..SIDE {
        for r in 0..SIDE {
            y[c * to_step + r] = x[r * from_step + c];
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        fn check<T: Copy + Default + PartialEq + std::fmt::Debug>(of: impl Fn(usize) -> T) {
            let x: Vec<T> = (0..20 * 15 + 16).map(of).collect();
            let mut y = vec![T::default(); 17 * 15 + 16];
            turn_square(&x, 20, &mut y, 17).unwrap();
            for r in 0..SIDE {
                for c in 0..SIDE {
                    assert_eq!(y[c * 17 + r], x[r * 20 + c]);
                }
            }
            assert!(turn_square(&x[..315], 20, &mut y, 17).is_none());
            assert!(turn_square(&x, 20, &mut y[..270], 17).is_none());
        }
        check(|i| (i * 37 % 251) as u8);
        check(|i| i as u16);
        check(|i| i as u32);
        check(|i| i as u64);
    }
}
