use std::ops::Range;

use crate::KernelError;

/// Fails unless `range` lies in `0..outputs` and on multiples of `granule` (or the end).
pub(crate) fn check_outputs(
    range: &Range<usize>,
    granule: usize,
    outputs: usize,
) -> Result<(), KernelError> {
    let on_boundary = |o: usize| o.is_multiple_of(granule) || o == outputs;
    if range.start <= range.end
        && range.end <= outputs
        && on_boundary(range.start)
        && on_boundary(range.end)
    {
        return Ok(());
    }
    Err(KernelError::OutputRange {
        start: range.start,
        end: range.end,
        granule,
        outputs,
    })
}

/// Fails unless `range` lies in `0..pixels`.
pub(crate) fn check_pixels(range: &Range<usize>, pixels: usize) -> Result<(), KernelError> {
    if range.start <= range.end && range.end <= pixels {
        return Ok(());
    }
    Err(KernelError::PixelRange {
        start: range.start,
        end: range.end,
        pixels,
    })
}
