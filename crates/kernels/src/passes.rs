//! How the non-zeros of a matrix are dealt to vector lanes: bands, groups, windows, passes.
//!
//! Rows are taken in bands of 64; within a band they are permuted into groups of one vector's lanes,
//! so that rows whose non-zeros fall alike share a group.  A group walks the windows of the depth;
//! in each, every row's non-zeros are listed, ascending, in as many passes as the fullest row needs.
//! A slot that no non-zero fills has index 0 and weight 0.

/// Outputs that are permuted among themselves, and so the granule of a range of outputs.
pub(crate) const BAND: usize = 64;

/// The geometry of a packed sparse form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// Depth positions that one pass can select from.
    pub(crate) window: usize,
    /// Rows of a group; divides [`BAND`].
    pub(crate) rows: usize,
    /// Non-zeros of a row that one pass holds.
    pub(crate) slots: usize,
}

/// Consecutive passes over one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) window: u32,
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
    /// Outputs in group order: group `g` has `order[g·rows..]`.
    order: Vec<u32>,
    runs: Vec<Run>,
    /// Pass by pass, the first input of its window.
    origins: Vec<u32>,
    /// First run and first pass of each group, and one past the last.
    starts: Vec<(usize, usize)>,
    nonzeros: Vec<usize>,
}

impl Passes {
    /// Schedules `weights`, `[outputs, depth]` row-major; `outputs·depth` is its length.
    pub(crate) fn plan<T: Copy + Default + PartialEq>(
        form: Form,
        weights: &[T],
        outputs: usize,
        depth: usize,
    ) -> Self {
        let mut passes = Self {
            form,
            order: Vec::with_capacity(outputs),
            runs: Vec::new(),
            origins: Vec::new(),
            starts: vec![(0, 0)],
            nonzeros: Vec::new(),
        };
        for first in (0..outputs).step_by(BAND) {
            let band = first..outputs.min(first + BAND);
            let demands: Vec<Demand> = band
                .map(|o| Demand::of(o, &weights[o * depth..][..depth], form))
                .collect();
            passes.deal(demands);
        }
        passes
    }

    /// Deals a band's rows into groups: the hungriest row first, then those that waste least.
    fn deal(&mut self, mut left: Vec<Demand>) {
        left.sort_by(|a, b| b.total.cmp(&a.total).then(a.row.cmp(&b.row)));
        while !left.is_empty() {
            let seed = left.remove(0);
            let mut need = seed.passes.clone();
            let mut group = vec![seed];
            while group.len() < self.form.rows && !left.is_empty() {
                let waste = |d: &Demand| d.growth(&need) * self.form.rows as i64 - d.total as i64;
                let best = (0..left.len())
                    .min_by_key(|&i| waste(&left[i]))
                    .unwrap_or_default();
                let row = left.remove(best);
                for (need, &own) in need.iter_mut().zip(&row.passes) {
                    *need = own.max(*need);
                }
                group.push(row);
            }
            self.close(&group, &need);
        }
    }

    fn close(&mut self, group: &[Demand], need: &[u32]) {
        self.order.extend(group.iter().map(|d| d.row as u32));
        self.nonzeros.push(group.iter().map(|d| d.nonzeros).sum());
        for (window, &passes) in need.iter().enumerate().filter(|&(_, &passes)| passes > 0) {
            let origin = window * self.form.window;
            self.origins
                .extend(std::iter::repeat_n(origin as u32, passes as usize));
            self.runs.push(Run {
                window: window as u32,
                passes,
            });
        }
        self.starts.push((self.runs.len(), self.origins.len()));
    }

    /// Calls `place` for every non-zero, with its slot.
    pub(crate) fn fill<T: Copy + Default + PartialEq>(
        &self,
        weights: &[T],
        depth: usize,
        mut place: impl FnMut(Slot, T),
    ) {
        let Form { window, slots, .. } = self.form;
        for g in 0..self.groups() {
            let group = self.group(g);
            for (lane, &row) in group.rows.iter().enumerate() {
                let row = &weights[row as usize * depth..][..depth];
                let mut pass = group.first_pass;
                for run in group.runs {
                    let first = run.window as usize * window;
                    let part = &row[first..depth.min(first + window)];
                    let nonzeros = part.iter().enumerate().filter(|&(_, w)| *w != T::default());
                    for (n, (index, &w)) in nonzeros.enumerate() {
                        let at = Slot {
                            pass: pass + n / slots,
                            lane,
                            slot: n % slots,
                            index,
                        };
                        place(at, w);
                    }
                    pass += run.passes as usize;
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
            + size_of_val(&*self.starts)
    }
}

/// The last window of a row where it is partial, padded to its full width, so that a pass need not ask
/// whether its window ends beyond the row.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct LastWindow<T, const W: usize> {
    values: [T; W],
    origin: usize,
}

#[cfg(target_arch = "x86_64")]
impl<T: Copy + Default, const W: usize> LastWindow<T, W> {
    #[inline(always)]
    pub(crate) fn of(row: &[T]) -> Self {
        let origin = row.len() / W * W;
        let mut values = [T::default(); W];
        values[..row.len() - origin].copy_from_slice(&row[origin..]);
        Self { values, origin }
    }

    /// `W` readable inputs from `origin` on; `row` points to the row that this was made of.
    #[inline(always)]
    pub(crate) fn at(&self, row: *const T, origin: u32) -> *const T {
        if origin as usize == self.origin {
            return self.values.as_ptr();
        }
        row.wrapping_add(origin as usize)
    }
}

/// What one row asks of its group.
#[derive(Debug)]
struct Demand {
    row: usize,
    nonzeros: usize,
    /// Passes, window by window.
    passes: Vec<u32>,
    total: u64,
}

impl Demand {
    fn of<T: Copy + Default + PartialEq>(row: usize, weights: &[T], form: Form) -> Self {
        let count = |part: &[T]| part.iter().filter(|&&w| w != T::default()).count();
        let windows = weights.chunks(form.window.max(1)).map(count);
        let passes: Vec<u32> = windows.map(|n| n.div_ceil(form.slots) as u32).collect();
        Self {
            row,
            nonzeros: count(weights),
            total: passes.iter().map(|&p| u64::from(p)).sum(),
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

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form {
        window: 4,
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
        let passes = Passes::plan(FORM, &weights, outputs, depth);
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
        let passes = Passes::plan(FORM, &weights, 64, 8);
        assert_eq!(passes.fill_ratios(), [1.0; 4]);
        assert_eq!(passes.slots(), passes.nonzeros());
        assert!(passes.group(3).runs.is_empty());
    }

    #[test]
    fn empty_matrices_have_no_passes() {
        assert_eq!(Passes::plan::<i8>(FORM, &[], 0, 5).groups(), 0);
        assert_eq!(Passes::plan::<i8>(FORM, &[], 3, 0).passes(), 0);
    }
}
