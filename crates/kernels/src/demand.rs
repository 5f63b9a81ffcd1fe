//! Which rows share a group: those that ask for passes over like windows.

use crate::{Isa, multiversion, passes::Window};

/// What one row asks of its group.
#[derive(Debug)]
pub(crate) struct Demand {
    pub(crate) row: usize,
    pub(crate) nonzeros: usize,
    /// Passes, window by window.
    passes: Vec<u32>,
    total: u32,
}

impl Demand {
    pub(crate) fn of(row: usize, columns: &[u32], windows: &[Window], slots: usize) -> Self {
        let mut left = columns;
        let passes: Vec<u32> = windows
            .iter()
            .map(|window| {
                let own = left.iter().take_while(|&&at| at < window.end).count();
                left = &left[own..];
                own.div_ceil(slots) as u32
            })
            .collect();
        Self {
            row,
            nonzeros: columns.len(),
            total: passes.iter().sum(),
            passes,
        }
    }

    /// Passes that a group which needs `need` gains with this row.
    #[inline(always)]
    fn growth(&self, need: &[u32]) -> u32 {
        let more = self.passes.iter().zip(need);
        more.map(|(&own, &need)| own.saturating_sub(need)).sum()
    }
}

/// Passes that a group which needs `need` gains with each row that is left: most of the work of packing.
fn growths(isa: Isa, band: &[Demand], left: &[usize], need: &[u32]) -> Vec<u32> {
    let mut growths = vec![0; left.len()];
    multiversion::run(
        isa,
        #[inline(always)]
        || {
            for (growth, &row) in growths.iter_mut().zip(left) {
                *growth = band[row].growth(need);
            }
        },
    );
    growths
}

/// Passes of a group of a band's rows, window by window: what its hungriest row asks for.
pub(crate) fn need(band: &[Demand], group: &[usize]) -> Vec<u32> {
    let mut need = Vec::new();
    for &row in group {
        need.resize(band[row].passes.len(), 0);
        widen(&mut need, &band[row]);
    }
    need
}

fn widen(need: &mut [u32], row: &Demand) {
    for (need, &own) in need.iter_mut().zip(&row.passes) {
        *need = own.max(*need);
    }
}

/// An order in which rows of like windows stand together: the hungriest first, then those that waste least.
pub(crate) fn alike(isa: Isa, band: &[Demand], rows: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..band.len()).collect();
    left.sort_by_key(|&i| (std::cmp::Reverse(band[i].total), i));
    let mut order = Vec::with_capacity(band.len());
    while !left.is_empty() {
        let seed = left.remove(0);
        let mut need = band[seed].passes.clone();
        order.push(seed);
        for _ in 1..rows.min(left.len() + 1) {
            let growths = growths(isa, band, &left, &need);
            let waste =
                |at: usize| i64::from(growths[at]) * rows as i64 - i64::from(band[left[at]].total);
            let best = (0..left.len()).min_by_key(|&at| waste(at));
            let row = left.remove(best.unwrap_or_default());
            widen(&mut need, &band[row]);
            order.push(row);
        }
    }
    order
}

/// An order in which rows of as many non-zeros stand together.
pub(crate) fn by_count(band: &[Demand]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..band.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(band[i].nonzeros), i));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(row: usize, passes: &[u32]) -> Demand {
        Demand {
            row,
            nonzeros: passes.iter().sum::<u32>() as usize,
            passes: passes.to_vec(),
            total: passes.iter().sum(),
        }
    }

    #[test]
    fn a_row_asks_window_by_window() {
        let window = |end| Window {
            origin: end - 4,
            end,
            line: 0,
        };
        let demand = Demand::of(7, &[0, 1, 2, 9, 11], &[4, 8, 12].map(window), 2);
        assert_eq!(demand.passes, [2, 0, 1]);
        assert_eq!((demand.row, demand.nonzeros, demand.total), (7, 5, 3));
    }

    #[test]
    fn a_group_needs_what_its_hungriest_rows_ask_for() {
        let band = [
            demand(0, &[3, 0]),
            demand(1, &[0, 2]),
            demand(2, &[3, 1]),
            demand(3, &[0, 2]),
        ];
        assert_eq!(need(&band, &[0, 1]), [3, 2]);
        assert_eq!(need(&band, &[]), [0u32; 0]);
        for isa in Isa::available() {
            assert_eq!(growths(isa, &band, &[0, 1], &[1, 1]), [2, 1]);
            assert_eq!(alike(isa, &band, 2), [2, 0, 1, 3], "{isa}");
        }
        assert_eq!(by_count(&band), [2, 0, 1, 3]);
    }
}
