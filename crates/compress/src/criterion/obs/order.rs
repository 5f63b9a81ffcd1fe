//! The order in which an output's weights are given up: always the one whose loss the others can best
//! make up for (Optimal Brain Compression, Frantar & Alistarh 2022).

use crate::linalg::{Cholesky, dot, part};
use secateur_train::{Matrix, add_product};

/// Outputs that keep the same inputs, and so share one inverse.
pub(crate) struct Band {
    /// Inverse of the inputs' second moments, `[n, n]`.
    pub inverse: Vec<f64>,
    /// The weights of each output for the `n` inputs.
    pub outputs: Vec<Vec<f64>>,
    /// Inputs that go together, each in one unit.
    pub units: Vec<Vec<usize>>,
    /// The window of each unit, and how many units a window may keep.
    pub windows: Option<(Vec<usize>, Vec<usize>)>,
}

/// A unit that is given up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Removal {
    pub unit: usize,
    /// What it adds to the mean squared error of the outputs, all weights left making up for it.
    pub loss: f64,
    /// Whether a window holds more than it may.
    pub forced: bool,
}

/// All units, the least needed first; windows are brought to what they may keep before anything else.
pub(crate) fn order(band: Band) -> Vec<Removal> {
    let Band {
        inverse,
        outputs,
        units,
        windows,
    } = band;
    let mut state = Elimination::new(inverse, outputs);
    let mut excess: Vec<isize> = windows
        .iter()
        .flat_map(|(_, quotas)| quotas.iter().map(|&q| -(q as isize)))
        .collect();
    if let Some((of, _)) = &windows {
        of.iter().for_each(|&window| excess[window] += 1);
    }
    let window_of = |unit: usize| windows.as_ref().map(|(of, _)| of[unit]);
    let mut over: isize = excess.iter().map(|&e| e.max(0)).sum();
    let mut left: Vec<usize> = (0..units.len()).collect();
    let mut removals = Vec::with_capacity(units.len());
    while !left.is_empty() {
        let forced = over > 0;
        let may_go = |unit: usize| !forced || window_of(unit).is_some_and(|w| excess[w] > 0);
        let mut best: Option<(usize, f64)> = None;
        for (at, &unit) in left.iter().enumerate() {
            if !may_go(unit) {
                continue;
            }
            let loss = state.loss(&units[unit]) / units[unit].len().max(1) as f64;
            if best.is_none_or(|(_, least)| loss < least) {
                best = Some((at, loss));
            }
        }
        // Losses that are no numbers compare as no less: then any will do.
        let at = best.map_or(0, |(at, _)| at);
        let unit = left.remove(at);
        let loss = units[unit]
            .iter()
            .map(|&input| state.eliminate(input))
            .sum();
        if let Some(window) = window_of(unit) {
            over -= isize::from(excess[window] > 0);
            excess[window] -= 1;
        }
        removals.push(Removal { unit, loss, forced });
    }
    removals
}

/// Eliminations that wait until they are carried out together as one product of matrices.
const PENDING: usize = 32;

/// The inverse of what is left, and the weights as they make up for what is gone.
struct Elimination {
    /// Inputs held, some of them gone since the inverse was last made smaller.
    n: usize,
    inverse: Vec<f64>,
    /// Vectors whose squares are yet to be taken from the inverse.
    pending: Vec<f64>,
    /// Diagonal of the inverse with these taken away.
    diagonal: Vec<f64>,
    outputs: Vec<Vec<f64>>,
    /// Where each input is held.
    at: Vec<usize>,
    alive: Vec<bool>,
}

impl Elimination {
    fn new(inverse: Vec<f64>, outputs: Vec<Vec<f64>>) -> Self {
        let n = outputs.first().map_or(0, Vec::len);
        Self {
            n,
            pending: Vec::with_capacity(PENDING * n),
            diagonal: (0..n).map(|i| inverse[i * n + i]).collect(),
            inverse,
            outputs,
            at: (0..n).collect(),
            alive: vec![true; n],
        }
    }

    /// Mean squared error that giving up these inputs adds.
    fn loss(&self, inputs: &[usize]) -> f64 {
        if let &[input] = inputs {
            let p = self.at[input];
            let squares: f64 = self.outputs.iter().map(|w| w[p] * w[p]).sum();
            return squares / self.diagonal[p];
        }
        let (n, w) = (self.n, inputs.len());
        let at: Vec<usize> = inputs.iter().map(|&i| self.at[i]).collect();
        let mut block = part(&self.inverse, n, &at);
        for v in self.pending.chunks_exact(n) {
            for (row, &i) in block.chunks_exact_mut(w).zip(&at) {
                row.iter_mut()
                    .zip(&at)
                    .for_each(|(b, &j)| *b -= v[i] * v[j]);
            }
        }
        let Some(factor) = Cholesky::new(block, w) else {
            return f64::INFINITY;
        };
        let energy = |output: &Vec<f64>| {
            let weights: Vec<f64> = at.iter().map(|&p| output[p]).collect();
            let mut solved = weights.clone();
            factor.solve(&mut solved);
            dot(&weights, &solved)
        };
        self.outputs.iter().map(energy).sum()
    }

    /// Gives up an input; the others make up for it.
    fn eliminate(&mut self, input: usize) -> f64 {
        let (n, p) = (self.n, self.at[input]);
        let mut column = self.inverse[p * n..(p + 1) * n].to_vec();
        for v in self.pending.chunks_exact(n) {
            let factor = v[p];
            column.iter_mut().zip(v).for_each(|(c, v)| *c -= factor * v);
        }
        let pivot = column[p].max(f64::MIN_POSITIVE);
        let mut loss = 0.0;
        for output in &mut self.outputs {
            let factor = output[p] / pivot;
            loss += output[p] * factor;
            output
                .iter_mut()
                .zip(&column)
                .for_each(|(w, c)| *w -= factor * c);
            output[p] = 0.0;
        }
        let root = 1.0 / pivot.sqrt();
        column.iter_mut().for_each(|c| *c *= root);
        self.diagonal
            .iter_mut()
            .zip(&column)
            .for_each(|(d, v)| *d -= v * v);
        self.alive[p] = false;
        self.pending.extend(column);
        if self.pending.len() == PENDING * n {
            self.shrink();
        }
        loss
    }

    /// Carries out what is pending, and lets go of inputs that are gone.
    fn shrink(&mut self) {
        let n = self.n;
        let held: Vec<usize> = (0..n).filter(|&p| self.alive[p]).collect();
        let kept = |values: &[f64]| held.iter().map(|&p| values[p]).collect::<Vec<f64>>();
        let mut inverse = part(&self.inverse, n, &held);
        let pending: Vec<f64> = self.pending.chunks_exact(n).flat_map(&kept).collect();
        let pending = Matrix::new(&pending, PENDING, held.len());
        add_product(&mut inverse, -1.0, pending.transposed(), pending);
        let mut places = vec![usize::MAX; n];
        held.iter()
            .enumerate()
            .for_each(|(new, &old)| places[old] = new);
        for at in &mut self.at {
            *at = places.get(*at).copied().unwrap_or(usize::MAX);
        }
        self.outputs = self.outputs.iter().map(|w| kept(w)).collect();
        self.n = held.len();
        self.diagonal = (0..self.n).map(|i| inverse[i * self.n + i]).collect();
        self.inverse = inverse;
        self.pending.clear();
        self.alive = vec![true; self.n];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::inverse;
    use crate::linalg::tests::positive;
    use proptest::prelude::*;

    /// Least `(w − w0)ᵀ M (w − w0)` with only the inputs of `kept`, and the weights that have it: by
    /// the normal equations.
    fn least(moments: &[f64], n: usize, w0: &[f64], kept: &[usize]) -> (f64, Vec<f64>) {
        let target: Vec<f64> = kept
            .iter()
            .map(|&i| (0..n).map(|j| moments[i * n + j] * w0[j]).sum())
            .collect();
        let mut solved = target;
        let factor = Cholesky::new(part(moments, n, kept), kept.len());
        factor.unwrap().solve(&mut solved);
        let mut w = vec![0.0; n];
        kept.iter().zip(solved).for_each(|(&i, v)| w[i] = v);
        let d: Vec<f64> = w.iter().zip(w0).map(|(a, b)| a - b).collect();
        let error = (0..n)
            .map(|i| {
                (0..n)
                    .map(|j| d[i] * moments[i * n + j] * d[j])
                    .sum::<f64>()
            })
            .sum();
        (error, w)
    }

    fn weights(n: usize, seed: u64) -> Vec<f64> {
        (0..n as u64)
            .map(|i| ((i * 2_654_435_761 + seed * 40_503) % 2003) as f64 / 1000.0 - 1.0)
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// At each step, of all units that may go the one goes without which the error that is left by
        /// the best weights is least: found here by trying all.
        #[test]
        fn removals_are_those_of_brute_force(
            n in 1usize..11,
            width in 1usize..4,
            outputs in 1usize..3,
            windows in any::<bool>(),
            seed in 1u64..500,
        ) {
            let moments = positive(n, seed);
            let rows: Vec<Vec<f64>> = (0..outputs).map(|o| weights(n, seed + o as u64)).collect();
            let units: Vec<Vec<usize>> = (0..n).collect::<Vec<_>>().chunks(width).map(<[usize]>::to_vec).collect();
            let windows = windows.then(|| {
                let of: Vec<usize> = (0..units.len()).map(|u| u / 4).collect();
                (of, vec![2; units.len().div_ceil(4)])
            });
            let found = order(Band {
                inverse: inverse(&moments, n).unwrap(),
                outputs: rows.clone(),
                units: units.clone(),
                windows: windows.clone(),
            });
            prop_assert_eq!(found.len(), units.len());

            let mut left: Vec<usize> = (0..units.len()).collect();
            let mut error = 0.0;
            for removal in found {
                let in_window = |unit: &usize| windows.as_ref().is_none_or(|(of, quotas)| {
                    let here = left.iter().filter(|&&u| of[u] == of[*unit]).count();
                    here > quotas[of[*unit]]
                });
                let forced = windows.is_some() && left.iter().any(in_window);
                prop_assert_eq!(removal.forced, forced);
                let tried = left.iter().filter(|u| !forced || in_window(u)).map(|&unit| {
                    let kept: Vec<usize> = left.iter().filter(|&&u| u != unit).flat_map(|&u| units[u].clone()).collect();
                    let after: f64 = rows.iter().map(|w0| least(&moments, n, w0, &kept).0).sum();
                    ((after - error) / units[unit].len() as f64, unit, after)
                });
                let tried: Vec<(f64, usize, f64)> = tried.collect();
                let best = tried.iter().map(|t| t.0).fold(f64::INFINITY, f64::min);
                let &(own, _, after) = tried.iter().find(|t| t.1 == removal.unit).unwrap();
                prop_assert!(own <= best + 1e-7 * (1.0 + best.abs()), "{own} {best}");
                prop_assert!((removal.loss - (after - error)).abs() < 1e-7 * (1.0 + after));
                error = after;
                left.retain(|&u| u != removal.unit);
            }
        }
    }

    #[test]
    fn many_eliminations_in_parts_are_exact() {
        let n = 110;
        let moments = positive(n, 5);
        let w0 = weights(n, 9);
        let removals = order(Band {
            inverse: inverse(&moments, n).unwrap(),
            outputs: vec![w0.clone()],
            units: (0..n).map(|i| vec![i]).collect(),
            windows: None,
        });
        let gone: Vec<usize> = removals[..90].iter().map(|r| r.unit).collect();
        let kept: Vec<usize> = (0..n).filter(|i| !gone.contains(i)).collect();
        let (error, _) = least(&moments, n, &w0, &kept);
        let summed: f64 = removals[..90].iter().map(|r| r.loss).sum();
        assert!((error - summed).abs() < 1e-6 * error, "{error} {summed}");
    }
}
