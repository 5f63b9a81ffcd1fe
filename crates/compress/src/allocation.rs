//! How many weights each layer keeps.

use crate::CompressError;
use crate::pattern::Units;
use crate::wildcard::{lookup, matches};
use std::collections::BTreeMap;

/// How many weights each layer keeps, counted in what its pattern keeps or cuts as a whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Allocation {
    /// The same density in every layer.
    Uniform(f64),
    /// A density for each weight by name, in which `*` stands for any run; of several that fit, the
    /// one that says most counts. Weights that none fits stay as they are.
    PerLayer(BTreeMap<String, f64>),
    /// One threshold over all layers, for this density overall.
    Global(f64),
    /// Erdős–Rényi-kernel: `density_l = ε · Σ dims / Π dims`, ε solved for the
    /// overall density, layers that come out above 1 kept dense and the others
    /// solved again (Evci et al. 2020).
    Erk(f64),
}

impl Allocation {
    /// Whether it says anything of a weight.
    pub(crate) fn concerns(&self, name: &str) -> bool {
        match self {
            Self::PerLayer(densities) => lookup(densities, name).is_some(),
            _ => true,
        }
    }

    /// # Errors
    /// A density outside `0 < d <= 1`, a name that fits none of `names`.
    pub(crate) fn check(&self, names: &[&str]) -> Result<(), CompressError> {
        match self {
            Self::Uniform(density) | Self::Global(density) | Self::Erk(density) => {
                check_density(*density)
            }
            Self::PerLayer(densities) => {
                for (pattern, density) in densities {
                    check_density(*density)?;
                    if !names.iter().any(|name| matches(pattern, name)) {
                        return Err(CompressError::Refused {
                            step: "prune",
                            reason: format!(
                                "`{pattern}` is no convolution or fully connected weight"
                            ),
                        });
                    }
                }
                Ok(())
            }
        }
    }

    /// Which units each layer keeps; at least one, because a layer without any weight cuts the
    /// network in two. All layers must be [concerned](Self::concerns).
    pub(crate) fn keep(&self, layers: &[Layer<'_>]) -> Vec<Vec<bool>> {
        let share = |layer: &Layer<'_>, density: f64| {
            layer.best((layer.units.len() as f64 * density).round() as usize)
        };
        match self {
            Self::Uniform(density) => layers.iter().map(|l| share(l, *density)).collect(),
            Self::PerLayer(densities) => layers
                .iter()
                .map(|l| share(l, lookup(densities, l.name).copied().unwrap_or(1.0)))
                .collect(),
            Self::Erk(density) => {
                let dims: Vec<&[usize]> = layers.iter().map(|l| l.dims).collect();
                let densities = erk(&dims, *density);
                layers
                    .iter()
                    .zip(densities)
                    .map(|(l, d)| share(l, d))
                    .collect()
            }
            Self::Global(density) => global(layers, *density),
        }
    }
}

/// A layer whose units compete to be kept.
pub(crate) struct Layer<'a> {
    pub name: &'a str,
    pub dims: &'a [usize],
    pub units: &'a Units,
    /// For each unit what a position of it is worth.
    pub scores: &'a [f64],
    /// The units that may be kept.
    pub alive: Vec<bool>,
}

impl Layer<'_> {
    /// The `count` best of the units that are alive, at least one.
    fn best(&self, count: usize) -> Vec<bool> {
        let candidates: Vec<u32> = self.candidates().collect();
        best(candidates, count.max(1), self.scores).fold(
            vec![false; self.alive.len()],
            |mut kept, unit| {
                kept[unit as usize] = true;
                kept
            },
        )
    }

    fn candidates(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.alive.len() as u32).filter(|&unit| self.alive[unit as usize])
    }
}

/// The `count` best by score; of equal ones the earlier.
pub(crate) fn best(
    mut candidates: Vec<u32>,
    count: usize,
    scores: &[f64],
) -> impl Iterator<Item = u32> {
    if count > 0 && count < candidates.len() {
        candidates.select_nth_unstable_by(count - 1, |&a, &b| {
            scores[b as usize]
                .total_cmp(&scores[a as usize])
                .then(a.cmp(&b))
        });
    }
    candidates.truncate(count);
    candidates.into_iter()
}

/// The best units of all layers together, until the density is reached.
fn global(layers: &[Layer<'_>], density: f64) -> Vec<Vec<bool>> {
    let total: usize = layers.iter().map(|l| l.units.of.len()).sum();
    let budget = (total as f64 * density).round() as usize;
    let mut order: Vec<(usize, u32)> = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        order.extend(layer.candidates().map(|unit| (index, unit)));
    }
    let score = |&(index, unit): &(usize, u32)| layers[index].scores[unit as usize];
    order.sort_unstable_by(|a, b| score(b).total_cmp(&score(a)).then(a.cmp(b)));
    let mut kept: Vec<Vec<bool>> = layers.iter().map(|l| vec![false; l.alive.len()]).collect();
    let mut used = 0;
    for (index, unit) in order {
        let size = layers[index].units.sizes[unit as usize] as usize;
        // The last unit is kept if most of it fits.
        if used + size.div_ceil(2) > budget {
            break;
        }
        used += size;
        kept[index][unit as usize] = true;
    }
    for (kept, layer) in kept.iter_mut().zip(layers) {
        if !kept.contains(&true) {
            *kept = layer.best(1);
        }
    }
    kept
}

/// Densities by Erdős–Rényi-kernel for an overall density.
pub fn erk(dims: &[&[usize]], density: f64) -> Vec<f64> {
    let size = |d: &[usize]| d.iter().product::<usize>() as f64;
    let score = |d: &[usize]| d.iter().sum::<usize>() as f64 / size(d).max(1.0);
    let total: f64 = dims.iter().map(|d| size(d)).sum();
    let mut dense = vec![false; dims.len()];
    loop {
        let (mut fixed, mut weighted) = (0.0, 0.0);
        for (d, &is_dense) in dims.iter().zip(&dense) {
            if is_dense {
                fixed += size(d);
            } else {
                weighted += score(d) * size(d);
            }
        }
        let epsilon = ((density * total - fixed) / weighted.max(f64::MIN_POSITIVE)).max(0.0);
        let mut changed = false;
        for (d, is_dense) in dims.iter().zip(&mut dense) {
            if !*is_dense && epsilon * score(d) > 1.0 {
                *is_dense = true;
                changed = true;
            }
        }
        if !changed {
            return dims
                .iter()
                .zip(&dense)
                .map(|(d, &is_dense)| if is_dense { 1.0 } else { epsilon * score(d) })
                .collect();
        }
    }
}

fn check_density(density: f64) -> Result<(), CompressError> {
    if density > 0.0 && density <= 1.0 {
        return Ok(());
    }
    Err(CompressError::Setting {
        step: "prune",
        setting: "density",
        needed: "above 0 and at most 1",
        found: density.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pattern, View};
    use proptest::prelude::*;
    use secateur_model::{Shape, weight::matrix_view};

    /// Density overall that an allocation leaves of layers with scattered scores.
    fn density(allocation: &Allocation, pattern: Pattern, dims: &[&[usize]]) -> f64 {
        let layers: Vec<(String, Units, Vec<f64>)> = dims
            .iter()
            .enumerate()
            .map(|(index, dims)| {
                let shape = Shape::new(dims).unwrap();
                let (outputs, depth) = matrix_view(&shape);
                let view = View {
                    outputs,
                    depth,
                    groups: 1,
                    columns: false,
                };
                let units = pattern.units(&shape, &view);
                let scores = (0..units.len())
                    .map(|u| ((u * 7919 + 13) % 1009) as f64)
                    .collect();
                (format!("l{index}"), units, scores)
            })
            .collect();
        let candidates: Vec<Layer<'_>> = layers
            .iter()
            .zip(dims)
            .map(|((name, units, scores), dims)| {
                let mut alive = vec![true; units.len()];
                units.restrict(&mut alive, scores);
                Layer {
                    name,
                    dims,
                    units,
                    scores,
                    alive,
                }
            })
            .collect();
        let kept = allocation.keep(&candidates);
        let counts = kept.iter().zip(&layers).map(|(kept, (_, units, _))| {
            let mask = units.positions(kept);
            assert!(mask.count_ones() > 0);
            [mask.count_ones(), mask.len()]
        });
        let [kept, of] = counts.fold([0, 0], |[a, b], [c, d]| [a + c, b + d]);
        kept as f64 / of as f64
    }

    proptest! {
        #[test]
        fn overall_budgets_are_met(wanted in 0.02f64..1.0) {
            let dims: [&[usize]; 3] = [&[32, 40], &[8, 4, 3, 3], &[16, 32]];
            let uniform = Allocation::Uniform(wanted);
            for allocation in [uniform, Allocation::Global(wanted), Allocation::Erk(wanted)] {
                for (pattern, unit) in [("unstructured", 1.0), ("1x4", 4.0), ("8x2", 16.0), ("channels", 40.0)] {
                    let found = density(&allocation, pattern.parse().unwrap(), &dims);
                    // Each layer rounds to a unit.
                    let tolerance = 3.0 * unit / 2080.0 + 1e-9;
                    prop_assert!((found - wanted).abs() < tolerance, "{allocation:?} {pattern} {found}");
                }
                // A pattern with windows cannot keep more than it allows, and may keep less.
                let found = density(&allocation, "2:4".parse().unwrap(), &dims);
                prop_assert!(found <= wanted.min(0.5) + 4.0 / 2080.0, "{allocation:?} {found}");
            }
        }
    }

    #[test]
    fn erk_gives_small_layers_more_and_meets_the_budget() {
        let dims: [&[usize]; 3] = [&[300, 784], &[100, 300], &[10, 100]];
        let densities = erk(&dims, 0.1);
        assert!(densities[0] < densities[1] && densities[1] < densities[2]);
        let size = |d: &[usize]| d.iter().product::<usize>() as f64;
        let kept: f64 = dims.iter().zip(&densities).map(|(d, x)| size(d) * x).sum();
        let total: f64 = dims.iter().map(|d| size(d)).sum();
        assert!((kept / total - 0.1).abs() < 1e-9 && densities[2] <= 1.0);
    }
}
