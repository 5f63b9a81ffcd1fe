//! How the non-zeros of a matrix are dealt to vector lanes: bands, groups, windows, passes.
//!
//! Rows are taken in bands of 64; within a band they are permuted into groups of one vector's lanes,
//! so that rows whose non-zeros fall alike share a group.  A group walks the windows of the depth in
//! passes: each takes of every row the next few non-zeros that lie in its window.
//! A slot that no non-zero fills has index 0 and weight 0.

use crate::demand::{Demand, alike, by_count, need};
use crate::{Isa, Nonzeros};

/// Outputs that are permuted among themselves, and so the granule of a range of outputs.
pub(crate) const BAND: usize = 64;

/// The geometry of a packed sparse form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// Depth positions that one pass can select from.
    pub(crate) window: usize,
    /// Where the last window of a line ends.
    pub(crate) last: Last,
    /// Rows of a group; divides [`BAND`].
    pub(crate) rows: usize,
    /// Non-zeros of a row that one pass holds.
    pub(crate) slots: usize,
}

/// Where a line's last window ends, if whole windows do not fill the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// Beyond the line, if it begins where the one before it ends.
    Beyond,
    /// With the line, and begins within the one before it; beyond only a line shorter than a window.
    Within,
}

/// Consecutive passes over one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first input of the window.
    pub(crate) origin: u32,
    pub(crate) passes: u32,
}

/// One group's share of the packed form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    /// The outputs of its lanes; fewer than the form's rows at the end.
    pub(crate) rows: &'a [u32],
    pub(crate) runs: &'a [Run],
    /// Index of its first pass.
    pub(crate) first_pass: usize,
    /// Pass by pass, the first input of its window.
    pub(crate) origins: &'a [u32],
    /// Pass by pass, the line of inputs that its window lies in.
    pub(crate) lines: &'a [u32],
}

/// One non-zero's place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) pass: usize,
    pub(crate) lane: usize,
    pub(crate) slot: usize,
    /// Offset in the window.
    pub(crate) index: usize,
}

/// The schedule of all groups.
#[derive(Debug, Clone)]
pub(crate) struct Passes {
    form: Form,
    /// Inputs that lie side by side, of which one pass can select.
    line: usize,
    /// Outputs in group order: group `g` has `order[g·rows..]`.
    order: Vec<u32>,
    runs: Vec<Run>,
    /// Pass by pass, the first input of its window.
    origins: Vec<u32>,
    /// Pass by pass, the line that its window lies in.
    lines: Vec<u32>,
    /// First run and first pass of each group, and one past the last.
    starts: Vec<(usize, usize)>,
    nonzeros: Vec<usize>,
}

impl Passes {
    /// Schedules `weights`; a pass stays within one of the depth's lines of `line` inputs.
    pub(crate) fn plan<T: Copy + Default + PartialEq>(
        isa: Isa,
        form: Form,
        weights: &Nonzeros<T>,
        line: usize,
    ) -> Self {
        let outputs = weights.rows();
        let mut passes = Self {
            form,
            line: line.max(1),
            order: Vec::with_capacity(outputs),
            runs: Vec::new(),
            origins: Vec::new(),
            lines: Vec::new(),
            starts: vec![(0, 0)],
            nonzeros: Vec::new(),
        };
        let windows = passes.windows(weights.cols());
        for first in (0..outputs).step_by(BAND) {
            let band: Vec<Demand> = (first..outputs.min(first + BAND))
                .map(|row| Demand::of(row, weights.row(row).0, &windows, form.slots))
                .collect();
            passes.deal(isa, &band, &windows);
        }
        passes
    }

    /// The windows that part the depth.
    ///
    /// They keep to whole multiples of their size: those that slide to the next non-zero fill three
    /// quarters of the slots instead of half, but a load that spans two cache lines costs twice as much.
    fn windows(&self, depth: usize) -> Vec<Window> {
        let Form { window, last, .. } = self.form;
        let starts = (0..depth).step_by(self.line).flat_map(|line| {
            let end = depth.min(line + self.line);
            (line..end)
                .step_by(window)
                .map(move |start| (line, end, start))
        });
        starts
            .map(|(line, line_end, start)| {
                let origin = match last {
                    Last::Beyond => start,
                    Last::Within => start.min(line.max(line_end.saturating_sub(window))),
                };
                Window {
                    origin: origin as u32,
                    end: line_end.min(start + window) as u32,
                    line: (line / self.line) as u32,
                }
            })
            .collect()
    }

    /// Deals a band's rows into groups, in the better of two ways.
    fn deal(&mut self, isa: Isa, band: &[Demand], windows: &[Window]) {
        let rows = self.form.rows;
        let ways = [alike(isa, band, rows), by_count(band)].map(|order| {
            let groups = order.chunks(rows);
            let needs: Vec<Vec<u32>> = groups.map(|group| need(band, group)).collect();
            (order, needs)
        });
        let passes =
            |(_, needs): &(Vec<usize>, Vec<Vec<u32>>)| -> u32 { needs.iter().flatten().sum() };
        let best = ways.into_iter().min_by_key(passes);
        let (order, needs) = best.unwrap_or_default();
        for (group, need) in order.chunks(rows).zip(needs) {
            self.close(group.iter().map(|&i| &band[i]), &need, windows);
        }
    }

    /// Adds a group that needs so many passes of each window.
    fn close<'d>(
        &mut self,
        group: impl Iterator<Item = &'d Demand>,
        need: &[u32],
        windows: &[Window],
    ) {
        let mut nonzeros = 0;
        for demand in group {
            self.order.push(demand.row as u32);
            nonzeros += demand.nonzeros;
        }
        self.nonzeros.push(nonzeros);
        for (&Window { origin, line, .. }, &passes) in windows.iter().zip(need) {
            if passes > 0 {
                self.runs.push(Run { origin, passes });
                let end = self.origins.len() + passes as usize;
                self.origins.resize(end, origin);
                self.lines.resize(end, line);
            }
        }
        self.starts.push((self.runs.len(), self.origins.len()));
    }

    /// Calls `place` for every non-zero, with its slot.
    pub(crate) fn fill<T: Copy + Default + PartialEq>(
        &self,
        weights: &Nonzeros<T>,
        mut place: impl FnMut(Slot, T),
    ) {
        let windows = self.windows(weights.cols());
        for g in 0..self.groups() {
            let group = self.group(g);
            // The windows of the runs, each with its first pass.
            let mut pass = group.first_pass;
            let mut rest = windows.iter();
            let runs: Vec<(&Window, usize)> = group
                .runs
                .iter()
                .filter_map(|run| {
                    let first = pass;
                    pass += run.passes as usize;
                    rest.find(|window| window.origin == run.origin)
                        .map(|window| (window, first))
                })
                .collect();
            for (lane, &row) in group.rows.iter().enumerate() {
                let (columns, values) = weights.row(row as usize);
                let mut at = 0;
                for &(window, first) in &runs {
                    let (mut pass, mut slot) = (first, 0);
                    while let Some(&column) = columns.get(at).filter(|c| **c < window.end) {
                        let index = (column - window.origin) as usize;
                        place(
                            Slot {
                                pass,
                                lane,
                                slot,
                                index,
                            },
                            values[at],
                        );
                        at += 1;
                        slot += 1;
                        if slot == self.form.slots {
                            (pass, slot) = (pass + 1, 0);
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn groups(&self) -> usize {
        self.starts.len() - 1
    }

    #[inline(always)]
    pub(crate) fn group(&self, g: usize) -> Group<'_> {
        let (first_run, first_pass) = self.starts[g];
        let first = g * self.form.rows;
        Group {
            rows: &self.order[first..self.order.len().min(first + self.form.rows)],
            runs: &self.runs[first_run..self.starts[g + 1].0],
            first_pass,
            origins: &self.origins[first_pass..self.starts[g + 1].1],
            lines: &self.lines[first_pass..self.starts[g + 1].1],
        }
    }

    /// The outputs of `count` groups of one band, from `g` on, lane by lane.
    #[inline(always)]
    #[cfg(any(target_arch = "x86_64", target_arch = "wasm32"))]
    pub(crate) fn rows_of(&self, g: usize, count: usize) -> &[u32] {
        let first = g * self.form.rows;
        &self.order[first..self.order.len().min(first + count * self.form.rows)]
    }

    /// The groups of a range of outputs that lies on bands.
    #[inline(always)]
    pub(crate) fn groups_of(&self, outputs: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        outputs.start.div_ceil(self.form.rows)..outputs.end.div_ceil(self.form.rows)
    }

    pub(crate) fn passes(&self) -> usize {
        self.origins.len()
    }

    /// Passes of a range of outputs that lies on bands.
    #[inline(always)]
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn passes_of(&self, outputs: &std::ops::Range<usize>) -> usize {
        let groups = self.groups_of(outputs);
        self.starts[groups.end].1 - self.starts[groups.start].1
    }

    pub(crate) fn nonzeros(&self) -> usize {
        self.nonzeros.iter().sum()
    }

    pub(crate) fn slots(&self) -> usize {
        self.passes() * self.form.rows * self.form.slots
    }

    /// Non-zeros over slots, group by group; 1 for a group without slots.
    pub(crate) fn fill_ratios(&self) -> Vec<f32> {
        (0..self.groups())
            .map(|g| {
                let passes = self.starts[g + 1].1 - self.starts[g].1;
                match passes * self.form.rows * self.form.slots {
                    0 => 1.0,
                    slots => self.nonzeros[g] as f32 / slots as f32,
                }
            })
            .collect()
    }

    /// Bytes of the schedule, without the slots.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.order)
            + size_of_val(&*self.runs)
            + size_of_val(&*self.origins)
            + size_of_val(&*self.lines)
            + size_of_val(&*self.starts)
    }
}

/// Inputs that one pass can select from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Where it is read from.
    pub(crate) origin: u32,
    /// Where the inputs end that are its own: they begin where those of the window before it end.
    pub(crate) end: u32,
    /// The line of inputs that it lies in.
    pub(crate) line: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form {
        window: 4,
        last: Last::Beyond,
        rows: 16,
        slots: 2,
    };

    #[test]
    fn every_nonzero_has_its_own_slot_and_rows_ascend() {
        let (outputs, depth) = (70, 13);
        let weights: Vec<i8> = (0..outputs * depth)
            .map(|i| {
                if i * 7 % 5 < 2 {
                    (i % 100) as i8 + 1
                } else {
                    0
                }
            })
            .collect();
        let nonzeros = Nonzeros::of(&weights, outputs, depth).unwrap();
        let passes = Passes::plan(Isa::best(), FORM, &nonzeros, depth);
        let mut taken = std::collections::BTreeSet::new();
        let mut sum = 0;
        passes.fill(&nonzeros, |s, w| {
            assert!(taken.insert((s.pass, s.lane, s.slot)));
            assert!(s.pass < passes.passes() && s.index < 4 && s.slot < 2);
            sum += i32::from(w);
        });
        assert_eq!(taken.len(), passes.nonzeros());
        assert_eq!(sum, weights.iter().map(|&w| i32::from(w)).sum::<i32>());
        assert_eq!(passes.groups(), 5);
        let mut rows: Vec<u32> = (0..5).flat_map(|g| passes.group(g).rows.to_vec()).collect();
        assert!(rows[..64].iter().all(|&r| r < 64));
        rows.sort_unstable();
        assert_eq!(rows, (0..70).collect::<Vec<u32>>());
    }

    #[test]
    fn like_rows_share_a_group() {
        // Odd rows are full, even rows empty: two groups of full rows, two of empty ones.
        let weights: Vec<i8> = (0..64 * 8).map(|i| i8::from(i / 8 % 2 == 1)).collect();
        let weights = Nonzeros::of(&weights, 64, 8).unwrap();
        let passes = Passes::plan(Isa::best(), FORM, &weights, 8);
        assert_eq!(passes.fill_ratios(), [1.0; 4]);
        assert_eq!(passes.slots(), passes.nonzeros());
        assert!(passes.group(3).runs.is_empty());
    }

    #[test]
    fn the_last_window_of_a_line_may_end_with_it() {
        let row = Nonzeros::of(&[1i8; 18], 1, 18).unwrap();
        let origins = |last, line| {
            let passes = Passes::plan(Isa::best(), Form { last, ..FORM }, &row, line);
            let mut origins = passes.group(0).origins.to_vec();
            origins.dedup();
            origins
        };
        assert_eq!(origins(Last::Beyond, 18), [0, 4, 8, 12, 16]);
        assert_eq!(origins(Last::Within, 18), [0, 4, 8, 12, 14]);
        assert_eq!(origins(Last::Within, 9), [0, 4, 5, 9, 13, 14]);
        assert_eq!(origins(Last::Within, 3), [0, 3, 6, 9, 12, 15]);
    }

    #[test]
    fn empty_matrices_have_no_passes() {
        let plan = |rows, cols| {
            Passes::plan::<i8>(
                Isa::best(),
                FORM,
                &Nonzeros::of(&[], rows, cols).unwrap(),
                cols,
            )
        };
        assert_eq!(plan(0, 5).groups(), 0);
        assert_eq!(plan(3, 0).passes(), 0);
    }
}
