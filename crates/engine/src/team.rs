//! Work shared among threads by ranges of outputs, so that no result depends on how many there are.

use crate::EngineError;
use secateur_kernels::{Crew, RowsMut};
use secateur_plan::{Plan, Step};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a thread must have to do, as a multiple of what it takes to give it work: operands and results
/// go from cache to cache besides.
const WORTH_SHARING: f64 = 10.0;
/// Threads that have a share of their own; there may be more, which help.
const MAX_SHARES: usize = 16;
/// Pieces of a share: the longer a thread is held up, the more of them others take.
const PIECES: usize = 4;

/// The threads that run the steps of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Team<'c> {
    /// More than the caller, if there are.
    crew: Option<&'c Crew>,
    /// How many of them take part.
    threads: usize,
}

impl<'c> Team<'c> {
    /// The caller alone.
    pub const ALONE: Self = Team {
        crew: None,
        threads: 1,
    };

    /// All of a crew.
    pub fn of(crew: &'c Crew) -> Self {
        Self {
            crew: Some(crew),
            threads: crew.members(),
        }
    }

    /// How many take part.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// As many as a step is worth.
    pub fn for_step(self, plan: &Plan, step: &Step) -> Self {
        let threads = shares(plan, step).clamp(1, self.threads);
        Self { threads, ..self }
    }
}

/// How many threads a step has work for.
pub fn shares(plan: &Plan, step: &Step) -> usize {
    (step.predicted_us.unwrap_or(0.0) / (WORTH_SHARING * plan.fork_us).max(0.1)) as usize
}

/// What threads write, parted by units: rows, columns, or images.
pub trait Cut: Sized + Send {
    /// The first units, and the others.
    fn cut(self, units: usize) -> (Self, Self);
}

/// Bytes, so many a unit.
pub struct Flat<'a> {
    /// All bytes.
    pub bytes: &'a mut [u8],
    /// Bytes of a unit.
    pub each: usize,
}

impl Cut for Flat<'_> {
    fn cut(self, units: usize) -> (Self, Self) {
        let (now, later) = self.bytes.split_at_mut(units * self.each);
        let each = self.each;
        (Self { bytes: now, each }, Self { bytes: later, each })
    }
}

/// Rows of bytes, so many a unit.
pub struct ByRows<'a> {
    /// All rows.
    pub out: RowsMut<'a, u8>,
    /// Rows of a unit.
    pub each: usize,
}

impl Cut for ByRows<'_> {
    fn cut(self, units: usize) -> (Self, Self) {
        let (now, later) = self.out.split_rows(units * self.each);
        let each = self.each;
        (Self { out: now, each }, Self { out: later, each })
    }
}

/// Columns of rows of bytes.
pub struct ByColumns<'a> {
    /// All columns.
    pub out: RowsMut<'a, u8>,
    /// Bytes of a column.
    pub each: usize,
}

impl Cut for ByColumns<'_> {
    fn cut(self, units: usize) -> (Self, Self) {
        let (now, later) = self.out.split_columns(units * self.each);
        let each = self.each;
        (Self { out: now, each }, Self { out: later, each })
    }
}

/// Units of a step's output, to be shared.
pub struct Units<'a, O> {
    /// The units of `out`.
    pub range: Range<usize>,
    /// Ranges are cut at multiples of this.
    pub granule: usize,
    /// All units.
    pub out: O,
    /// Working memory, `scratch_each` bytes for every thread.
    pub scratch: &'a mut [u8],
    /// Working memory of one thread.
    pub scratch_each: usize,
}

impl<O: Cut> Units<'_, O> {
    /// Calls `work(range, out, scratch)` on all units, piece by piece, in parallel.
    pub fn share<F>(self, team: Team<'_>, work: &F) -> Result<(), EngineError>
    where
        F: Fn(Range<usize>, O, &mut [u8]) -> Result<(), EngineError> + Sync,
    {
        let granule = self.granule.max(1);
        let threads = team.threads.min(self.range.len().div_ceil(granule));
        let Some(crew) = team.crew.filter(|_| threads > 1) else {
            let each = self.scratch_each.min(self.scratch.len());
            return work(self.range, self.out, &mut self.scratch[..each]);
        };
        let each = self.scratch_each;
        let rest = Mutex::new(Rest::new(self, threads));
        let result = Mutex::new(Ok(()));
        crew.work(threads, &|member| {
            let scratch = lock(&rest).working(each);
            loop {
                // In a statement of its own, which lets go of the rest before the work.
                let piece = lock(&rest).piece(member);
                let Some((range, out)) = piece else {
                    return;
                };
                if let Err(e) = work(range, out, scratch) {
                    *lock(&result) = Err(e);
                    return;
                }
            }
        });
        result.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What no thread has taken. Every thread has a share of its own, the same part of every step, whose
/// operands it has computed itself and holds in its cache; from the end of another's share it takes
/// only when its own is done.
struct Rest<'a, O> {
    shares: [Share<O>; MAX_SHARES],
    granule: usize,
    /// Units of a piece, some granules.
    piece: usize,
    scratch: &'a mut [u8],
}

impl<'a, O: Cut> Rest<'a, O> {
    fn new(units: Units<'a, O>, threads: usize) -> Self {
        let granule = units.granule.max(1);
        let granules = units.range.len().div_ceil(granule);
        let count = threads.min(MAX_SHARES);
        let mut all = Share {
            units: units.range,
            out: Some(units.out),
        };
        Self {
            shares: std::array::from_fn(|n| {
                let to = |n: usize| granules * n.min(count) / count;
                all.first(granule * (to(n + 1) - to(n)))
            }),
            granule,
            piece: granule * granules.div_ceil(count * PIECES),
            scratch: units.scratch,
        }
    }

    /// The next units of a thread, and where they are written.
    fn piece(&mut self, member: usize) -> Option<(Range<usize>, O)> {
        let piece = self.piece;
        let mine = self.shares.get_mut(member).map(|s| s.first(piece));
        if let Some(piece) = mine.and_then(Share::taken) {
            return Some(piece);
        }
        let longest = self.shares.iter_mut().max_by_key(|s| s.units.len())?;
        longest.last(piece, self.granule).taken()
    }

    /// Working memory that no other thread has.
    fn working(&mut self, bytes: usize) -> &'a mut [u8] {
        let scratch = std::mem::take(&mut self.scratch);
        let (now, later) = scratch.split_at_mut(bytes.min(scratch.len()));
        self.scratch = later;
        now
    }
}

/// Units that lie side by side, and where they are written; without units, perhaps nowhere.
struct Share<O> {
    units: Range<usize>,
    out: Option<O>,
}

impl<O: Cut> Share<O> {
    /// Takes the first units, as many as there are.
    fn first(&mut self, units: usize) -> Self {
        let middle = self.units.end.min(self.units.start + units);
        let (first, last) = self.cut(middle);
        *self = last;
        first
    }

    /// Takes the last units, as many as there are, from a multiple of the granule on.
    fn last(&mut self, units: usize, granule: usize) -> Self {
        let rest = self.units.len().saturating_sub(units);
        let middle = self.units.start + rest.next_multiple_of(granule);
        let (first, last) = self.cut(middle);
        *self = first;
        last
    }

    fn cut(&mut self, middle: usize) -> (Self, Self) {
        let Range { start, end } = self.units;
        let (first, last) = self.out.take().map(|o| o.cut(middle - start)).unzip();
        let share = |units, out| Self { units, out };
        (share(start..middle, first), share(middle..end, last))
    }

    fn taken(self) -> Option<(Range<usize>, O)> {
        let out = self.out?;
        (!self.units.is_empty()).then_some((self.units, out))
    }
}

/// The parts of a range that lie in one block of `each` units and have at most `most`: the block,
/// and the units within it.
pub fn blocks(
    range: Range<usize>,
    each: usize,
    most: usize,
) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let (block, first) = (at / each, at % each);
        let count = (range.end - at).min(each - first).min(most.max(1));
        at += count;
        Some((block, first..first + count))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_write_every_unit_once_and_keep_to_the_granule() {
        for threads in 1..6 {
            let crew = Crew::new(threads).unwrap();
            for units in [0, 1, 15, 16, 17, 100] {
                let mut out = vec![0; units * 2];
                let all = Units {
                    range: 0..units,
                    granule: 16,
                    out: Flat {
                        bytes: &mut out,
                        each: 2,
                    },
                    scratch: &mut [0; 6 * 8],
                    scratch_each: 8,
                };
                all.share(Team::of(&crew), &|range, out, scratch| {
                    assert!(range.start % 16 == 0 && (range.end % 16 == 0 || range.end == units));
                    let out = out.bytes;
                    assert_eq!((out.len(), scratch.len()), (range.len() * 2, 8));
                    for (unit, bytes) in range.zip(out.chunks_exact_mut(2)) {
                        bytes.iter_mut().for_each(|b| *b += unit as u8 + 1);
                    }
                    Ok(())
                })
                .unwrap();
                let expected: Vec<u8> = (0..units).flat_map(|u| [u as u8 + 1; 2]).collect();
                assert_eq!(out, expected, "{units} {threads}");
            }
        }
    }

    #[test]
    fn an_error_of_any_piece_is_the_result() {
        let crew = Crew::new(2).unwrap();
        let all = Units {
            range: 0..64,
            granule: 1,
            out: Flat {
                bytes: &mut [0; 64],
                each: 1,
            },
            scratch: &mut [],
            scratch_each: 0,
        };
        let failing = |range: Range<usize>, _: Flat<'_>, _: &mut [u8]| match range.contains(&50) {
            true => Err(EngineError::Buffers {
                step: "here".into(),
            }),
            false => Ok(()),
        };
        assert!(all.share(Team::of(&crew), &failing).is_err());
    }

    #[test]
    fn matrices_are_parted_by_rows_and_by_columns() {
        let crew = Crew::new(3).unwrap();
        let mut y = vec![0; 8 * 6];
        let rows = Units {
            range: 0..4,
            granule: 1,
            out: ByRows {
                out: RowsMut::new(&mut y, 8, 6).unwrap(),
                each: 2,
            },
            scratch: &mut [],
            scratch_each: 0,
        };
        rows.share(Team::of(&crew), &|range, mut part, _| {
            for (row, unit) in (0..part.out.rows()).zip(range.flat_map(|u| [u; 2])) {
                part.out.row_mut(row).fill(unit as u8);
            }
            Ok(())
        })
        .unwrap();
        let columns = Units {
            range: 0..6,
            granule: 2,
            out: ByColumns {
                out: RowsMut::new(&mut y, 8, 6).unwrap(),
                each: 1,
            },
            scratch: &mut [],
            scratch_each: 0,
        };
        columns
            .share(Team::of(&crew), &|range, mut part, _| {
                for row in 0..8 {
                    let to = part.out.row_mut(row).iter_mut();
                    to.zip(range.clone()).for_each(|(y, c)| *y += 10 * c as u8);
                }
                Ok(())
            })
            .unwrap();
        let expected: Vec<u8> = (0..48).map(|i| i / 12 + 10 * (i % 6)).collect();
        assert_eq!(y, expected);
    }

    #[test]
    fn blocks_end_with_their_units() {
        let parts: Vec<_> = blocks(3..11, 5, 3).collect();
        assert_eq!(parts, [(0, 3..5), (1, 0..3), (1, 3..5), (2, 0..1)]);
        assert_eq!(blocks(4..4, 5, 3).count(), 0);
    }
}
