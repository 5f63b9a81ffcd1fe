//! Slices of a tensor, chosen by indices.

use std::ops::Range;

use crate::{KernelError, error::check_len};

/// `y[o, i] = x[o, indices[i]]`: slices of `bytes` bytes, `extent` of them in each of the outer ones; a
/// negative index counts from the end. `y` is the range `part` of all slices that are written, whichever
/// outer one they are of.
///
/// ```
/// use secateur_kernels::gather;
/// let mut y = [0; 4];
/// gather(&[1, 2, 3, 4, 5, 6, 7, 8], 4, 1, &[3, -4], 0..4, &mut y)?;
/// assert_eq!(y, [4, 1, 8, 5]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
///
/// # Errors
/// When an operand is too short or an index points beyond the extent.
pub fn gather<I: Copy + Into<i64>>(
    x: &[u8],
    extent: usize,
    bytes: usize,
    indices: &[I],
    part: Range<usize>,
    y: &mut [u8],
) -> Result<(), KernelError> {
    check_len("gathered slices", part.len() * bytes, y.len())?;
    if bytes == 0 || indices.is_empty() {
        return Ok(());
    }
    for (slice, y) in part.zip(y.chunks_exact_mut(bytes)) {
        let (outer, i) = (slice / indices.len(), slice % indices.len());
        let index = indices[i].into();
        let beyond = || KernelError::Index { index, extent };
        let wrapped = match index {
            ..0 => index.saturating_add_unsigned(extent as u64),
            _ => index,
        };
        let at = usize::try_from(wrapped).ok().filter(|&at| at < extent);
        let at = outer * extent + at.ok_or_else(beyond)?;
        let x = x.get(at * bytes..(at + 1) * bytes);
        y.copy_from_slice(x.ok_or(KernelError::Length {
            what: "slices",
            needed: at + 1,
            got: 0,
        })?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_gathered_in_parts() {
        let x = [1, 2, 3, 4, 5, 6, 7, 8];
        for cut in 0..=6 {
            let mut y = [0; 6];
            let (left, right) = y.split_at_mut(cut);
            gather(&x, 4, 1, &[3i64, -4, 1], 0..cut, left).unwrap();
            gather(&x, 4, 1, &[3i64, -4, 1], cut..6, right).unwrap();
            assert_eq!(y, [4, 1, 2, 8, 5, 6]);
        }
        assert!(gather(&x, 4, 2, &[4i32], 0..1, &mut [0; 2]).is_err());
        assert!(gather(&x, 4, 2, &[i64::MIN], 0..1, &mut [0; 2]).is_err());
        assert!(gather(&x, 4, 4, &[3i32], 0..1, &mut [0; 4]).is_err());
        assert!(gather(&x, 4, 1, &[0i32], 0..1, &mut [0; 2]).is_err());
    }
}
