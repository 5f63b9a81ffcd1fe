//! Work dealt to threads by ranges of outputs, so that no result depends on
//! how many threads there are.

use crate::EngineError;
use secateur_plan::{Plan, Step};
use std::ops::Range;

/// What a thread must have to do, as a multiple of what it takes to wake it.
const WORTH_WAKING: f64 = 2.0;

/// How many threads a step is worth.
pub fn threads_for(plan: &Plan, step: &Step, threads: usize) -> usize {
    let shares = step.predicted_us.unwrap_or(0.0) / (WORTH_WAKING * plan.fork_us).max(1.0);
    (shares as usize).clamp(1, threads)
}

/// A step's output as units that threads write: rows, pixels or channels.
pub struct Units<'a> {
    /// The units of `out`.
    pub range: Range<usize>,
    /// Ranges are cut at multiples of this.
    pub granule: usize,
    /// Bytes of a unit.
    pub bytes: usize,
    /// All units.
    pub out: &'a mut [u8],
    /// Working memory, `scratch_each` bytes for every part.
    pub scratch: &'a mut [u8],
    /// Working memory of one part.
    pub scratch_each: usize,
}

impl Units<'_> {
    /// Calls `work(range, out, scratch)` on `parts` parts, in parallel.
    pub fn share<F>(self, parts: usize, work: &F) -> Result<(), EngineError>
    where
        F: Fn(Range<usize>, &mut [u8], &mut [u8]) -> Result<(), EngineError> + Sync,
    {
        let units = self.range.len();
        let parts = parts.min(units.div_ceil(self.granule.max(1)));
        if parts <= 1 {
            let each = self.scratch_each.min(self.scratch.len());
            return work(self.range, self.out, &mut self.scratch[..each]);
        }
        let left_parts = parts / 2;
        let cut = (units * left_parts / parts).next_multiple_of(self.granule.max(1));
        let cut = cut.min(units);
        let middle = self.range.start + cut;
        let (left, right) = self.out.split_at_mut(cut * self.bytes);
        let working = (left_parts * self.scratch_each).min(self.scratch.len());
        let (left_scratch, right_scratch) = self.scratch.split_at_mut(working);
        let part = |range, out, scratch| Units {
            range,
            out,
            scratch,
            ..self
        };
        let left = part(self.range.start..middle, left, left_scratch);
        let right = part(middle..self.range.end, right, right_scratch);
        let (a, b) = rayon::join(
            || left.share(left_parts, work),
            || right.share(parts - left_parts, work),
        );
        a.and(b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_unit_once_and_keep_to_the_granule() {
        for units in [0, 1, 15, 16, 17, 100] {
            for parts in 1..6 {
                let mut out = vec![0; units * 2];
                let all = Units {
                    range: 0..units,
                    granule: 16,
                    bytes: 2,
                    out: &mut out,
                    scratch: &mut [0; 6 * 8],
                    scratch_each: 8,
                };
                all.share(parts, &|range, out, scratch| {
                    assert!(range.start % 16 == 0 && (range.end % 16 == 0 || range.end == units));
                    assert_eq!((out.len(), scratch.len()), (range.len() * 2, 8));
                    for (unit, bytes) in range.zip(out.chunks_exact_mut(2)) {
                        bytes.fill(unit as u8 + 1);
                    }
                    Ok(())
                })
                .unwrap();
                let expected: Vec<u8> = (0..units).flat_map(|u| [u as u8 + 1; 2]).collect();
                assert_eq!(out, expected, "{units} {parts}");
            }
        }
    }
}
