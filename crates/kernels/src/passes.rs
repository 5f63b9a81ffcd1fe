//! How the non-zeros of a matrix are dealt to vector lanes: bands, groups, windows, passes.
//!
//! Rows are taken in bands of 64; within a band they are permuted into groups of one vector's lanes,
//! so that rows whose non-zeros fall alike share a group.  A group walks the windows of the depth in
//! passes: each takes of every row the next few non-zeros that lie in its window.
//! A slot that no non-zero fills has index 0 and weight 0.

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
    /// Schedules `weights`, `[outputs, depth]` row-major; a pass stays within one of the depth's lines of
    /// `line` inputs.
    pub(crate) fn plan<T: Copy + Default + PartialEq>(
        form: Form,
        weights: &[T],
        outputs: usize,
        depth: usize,
        line: usize,
    ) -> Self {
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
        for first in (0..outputs).step_by(BAND) {
            let band = first..outputs.min(first + BAND);
            let demands: Vec<Demand> = band
                .map(|o| Demand::of(o, &weights[o * depth..][..depth], form))
                .collect();
            passes.deal(&demands);
        }
        passes
    }

    /// Deals a band's rows into groups, in the better of two ways.
    fn deal(&mut self, band: &[Demand]) {
        let schedules = [alike(band, self.form.rows), by_count(band)].map(|order| {
            order
                .chunks(self.form.rows)
                .map(|rows| {
                    let rows: Vec<&Demand> = rows.iter().map(|&i| &band[i]).collect();
                    let origins = self.schedule(&rows);
                    (rows, origins)
                })
                .collect::<Vec<_>>()
        });
        let passes = |groups: &Vec<(Vec<&Demand>, Vec<u32>)>| -> usize {
            groups.iter().map(|(_, origins)| origins.len()).sum()
        };
        let best = schedules.into_iter().min_by_key(passes);
        for (rows, origins) in best.unwrap_or_default() {
            self.close(&rows, origins);
        }
    }

    /// The origins of the passes that serve a group: each looks where the first non-zero is that is left, and
    /// takes of every row what it has slots for.
    fn schedule(&self, rows: &[&Demand]) -> Vec<u32> {
        let mut left: Vec<&[u32]> = rows.iter().map(|row| row.positions.as_slice()).collect();
        let mut origins = Vec::new();
        while let Some(first) = left.iter().filter_map(|row| row.first()).min() {
            let origin = self.origin(*first as usize);
            let end = self.end(origin) as u32;
            for row in &mut left {
                let taken = row.iter().take(self.form.slots);
                *row = &row[taken.take_while(|&&at| at < end).count()..];
            }
            origins.push(origin as u32);
        }
        origins
    }

    /// Where the window that input `input` lies in begins.
    ///
    /// Windows keep to whole multiples of their size: those that slide to the next non-zero fill three
    /// quarters of the slots instead of half, but a load that spans two cache lines costs twice as much.
    fn origin(&self, input: usize) -> usize {
        let Form { window, last, .. } = self.form;
        let line = input / self.line * self.line;
        let origin = (input - line) / window * window;
        let most = match last {
            Last::Beyond => origin,
            Last::Within => self.line.saturating_sub(window),
        };
        line + origin.min(most)
    }

    /// Where the inputs that a pass can select from end.
    fn end(&self, origin: usize) -> usize {
        let line_end = (origin / self.line + 1) * self.line;
        line_end.min(origin + self.form.window)
    }

    fn close(&mut self, group: &[&Demand], origins: Vec<u32>) {
        self.order.extend(group.iter().map(|d| d.row as u32));
        self.nonzeros
            .push(group.iter().map(|d| d.positions.len()).sum());
        for passes in origins.chunk_by(|a, b| a == b) {
            self.runs.push(Run {
                origin: passes[0],
                passes: passes.len() as u32,
            });
        }
        let line = self.line as u32;
        self.lines
            .extend(origins.iter().map(|&origin| origin / line));
        self.origins.extend(origins);
        self.starts.push((self.runs.len(), self.origins.len()));
    }

    /// Calls `place` for every non-zero, with its slot.
    pub(crate) fn fill<T: Copy + Default + PartialEq>(
        &self,
        weights: &[T],
        depth: usize,
        mut place: impl FnMut(Slot, T),
    ) {
        for g in 0..self.groups() {
            let group = self.group(g);
            for (lane, &row) in group.rows.iter().enumerate() {
                let row = &weights[row as usize * depth..][..depth];
                let mut left = row
                    .iter()
                    .enumerate()
                    .filter(|&(_, w)| *w != T::default())
                    .peekable();
                for (n, &origin) in group.origins.iter().enumerate() {
                    let origin = origin as usize;
                    let end = self.end(origin);
                    for slot in 0..self.form.slots {
                        let Some((at, &w)) = left.next_if(|&(at, _)| at < end) else {
                            break;
                        };
                        let slot = Slot {
                            pass: group.first_pass + n,
                            lane,
                            slot,
                            index: at - origin,
                        };
                        place(slot, w);
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

/// What one row asks of its group.
#[derive(Debug)]
struct Demand {
    row: usize,
    /// Its non-zeros.
    positions: Vec<u32>,
    /// Passes, window by window.
    passes: Vec<u32>,
    total: u64,
}

impl Demand {
    fn of<T: Copy + Default + PartialEq>(row: usize, weights: &[T], form: Form) -> Self {
        let positions: Vec<u32> = (0u32..)
            .zip(weights)
            .filter(|(_, w)| **w != T::default())
            .map(|(at, _)| at)
            .collect();
        let mut counts = vec![0u32; weights.len().div_ceil(form.window)];
        for &at in &positions {
            counts[at as usize / form.window] += 1;
        }
        let passes: Vec<u32> = counts
            .iter()
            .map(|n| n.div_ceil(form.slots as u32))
            .collect();
        Self {
            row,
            total: passes.iter().map(|&p| u64::from(p)).sum(),
            positions,
            passes,
        }
    }

    /// Passes that a group which needs `need` gains with this row.
    fn growth(&self, need: &[u32]) -> i64 {
        let more = self.passes.iter().zip(need);
        more.map(|(&own, &need)| i64::from(own.saturating_sub(need)))
            .sum()
    }
}

/// An order in which rows of like windows stand together: the hungriest first, then those that waste least.
fn alike(band: &[Demand], rows: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..band.len()).collect();
    left.sort_by_key(|&i| (std::cmp::Reverse(band[i].total), i));
    let mut order = Vec::with_capacity(band.len());
    while !left.is_empty() {
        let seed = left.remove(0);
        let mut need = band[seed].passes.clone();
        order.push(seed);
        for _ in 1..rows.min(left.len() + 1) {
            let waste = |&i: &usize| band[i].growth(&need) * rows as i64 - band[i].total as i64;
            let best = (0..left.len()).min_by_key(|&at| waste(&left[at]));
            let row = left.remove(best.unwrap_or_default());
            for (need, &own) in need.iter_mut().zip(&band[row].passes) {
                *need = own.max(*need);
            }
            order.push(row);
        }
    }
    order
}

/// An order in which rows of as many non-zeros stand together.
fn by_count(band: &[Demand]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..band.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(band[i].positions.len()), i));
    order
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
        let passes = Passes::plan(FORM, &weights, outputs, depth, depth);
        let mut taken = std::collections::BTreeSet::new();
        let mut sum = 0;
        passes.fill(&weights, depth, |s, w| {
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
        let passes = Passes::plan(FORM, &weights, 64, 8, 8);
        assert_eq!(passes.fill_ratios(), [1.0; 4]);
        assert_eq!(passes.slots(), passes.nonzeros());
        assert!(passes.group(3).runs.is_empty());
    }

    #[test]
    fn the_last_window_of_a_line_may_end_with_it() {
        let origins = |last, line| {
            let passes = Passes::plan::<i8>(Form { last, ..FORM }, &[1; 18], 1, 18, line);
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
        assert_eq!(Passes::plan::<i8>(FORM, &[], 0, 5, 5).groups(), 0);
        assert_eq!(Passes::plan::<i8>(FORM, &[], 3, 0, 0).passes(), 0);
    }
}
