//! Weights that are exchanged during training: the smallest kept ones for those whose gradients are
//! largest (RigL, Evci et al. 2020).

use crate::allocation::best;
use crate::criterion::Target;
use crate::prune::targets;
use crate::{Allocation, CompressError, Pattern};
use secateur_model::Graph;
use secateur_train::{LatentWeights, Removed, TrainError};
use std::collections::BTreeMap;

/// Exchanges on their way.
pub(super) struct Rigl {
    targets: Vec<Target>,
    updates: usize,
    fraction: f64,
}

/// The share of a training after which the last exchange is made.
const LAST_EXCHANGE: f64 = 0.75;

impl Rigl {
    /// Of those of the weights that an allocation concerns which are pruned.
    ///
    /// # Errors
    /// A weight that is shared or quantized.
    pub fn new(
        graph: &Graph,
        allocation: &Allocation,
        pattern: Pattern,
        updates: usize,
        fraction: f64,
    ) -> Result<Self, CompressError> {
        let pruned = |name: &str| {
            let weight = graph.weight(name);
            allocation.concerns(name) && weight.is_some_and(|w| w.support().mask().is_some())
        };
        Ok(Self {
            targets: targets(graph, pattern, pruned)?,
            updates,
            fraction,
        })
    }

    pub fn gradients(
        &self,
        step: usize,
        total: usize,
        weights: &mut LatentWeights,
        gradients: &BTreeMap<String, Vec<f32>>,
    ) -> Result<(), TrainError> {
        let end = ((total as f64 * LAST_EXCHANGE) as usize).max(1);
        let every = (end / (self.updates + 1)).max(1);
        if step == 0 || step >= end || !step.is_multiple_of(every) {
            return Ok(());
        }
        let done = step as f64 / end as f64;
        let fraction = self.fraction / 2.0 * (1.0 + (std::f64::consts::PI * done).cos());
        for target in &self.targets {
            let (Some(support), Some(values), Some(gradient)) = (
                weights.support(&target.name),
                weights.values(&target.name),
                gradients.get(&target.name),
            ) else {
                continue;
            };
            let kept = target.units.any(support.mask());
            let kept = exchange(target, &kept, values, gradient, fraction);
            let support = target
                .pattern
                .support(target.units.positions(&kept), &target.view);
            weights.set_support(&target.name, support, Removed::Cleared)?;
        }
        Ok(())
    }
}

/// The units that are kept after an exchange; as many as before.
fn exchange(
    target: &Target,
    kept: &[bool],
    values: &[f32],
    gradient: &[f32],
    fraction: f64,
) -> Vec<bool> {
    let squares =
        |values: &[f32]| target.unit_scores(values.iter().map(|&v| f64::from(v) * f64::from(v)));
    let (size, pull) = (squares(values), squares(gradient));
    let held: Vec<u32> = (0..kept.len() as u32)
        .filter(|&u| kept[u as usize])
        .collect();
    let count = held.len();
    let stay = count - (count as f64 * fraction) as usize;
    let mut after = vec![false; kept.len()];
    best(held, stay, &size).for_each(|u| after[u as usize] = true);
    // First those that were out, by their gradients; where windows have no room for as many, those
    // that were dropped come back.
    for (was, scores) in [(false, &pull), (true, &size)] {
        let room = count - after.iter().filter(|&&kept| kept).count();
        let first: Vec<f64> = (0..kept.len())
            .map(|u| if after[u] { f64::INFINITY } else { scores[u] })
            .collect();
        let mut alive: Vec<bool> = (0..kept.len())
            .map(|u| after[u] || kept[u] == was)
            .collect();
        target.units.restrict(&mut alive, &first);
        let candidates = (0..kept.len())
            .filter(|&u| alive[u] && !after[u])
            .map(|u| u as u32)
            .collect();
        best(candidates, room, scores).for_each(|u| after[u as usize] = true);
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pruning, prune};
    use secateur_model::zoo;

    #[test]
    fn exchanges_keep_counts_and_forms_and_take_the_largest_gradients() {
        let mut graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        for pattern in ["unstructured", "2:4", "1x4", "channels"] {
            let pattern: Pattern = pattern.parse().unwrap();
            let pruning = Pruning {
                pattern,
                ..Allocation::Uniform(0.25).into()
            };
            prune(&mut graph, &pruning, None).unwrap();
            let target = &targets(&graph, pattern, |name| name == "fc2.weight").unwrap()[0];
            let values = target.weight.to_f32();
            let kept = target.units.any(target.weight.support().mask());
            let gradient: Vec<f32> = (0..values.len())
                .map(|i| ((i * 7919) % 1009) as f32)
                .collect();
            let after = exchange(target, &kept, &values, &gradient, 0.3);
            let count = |kept: &[bool]| kept.iter().filter(|&&k| k).count();
            assert_eq!(count(&after), count(&kept), "{pattern}");
            let grown = (0..kept.len()).filter(|&u| after[u] && !kept[u]).count();
            assert_eq!(grown, (count(&kept) as f64 * 0.3) as usize, "{pattern}");
            let mut allowed = after.clone();
            target.units.restrict(&mut allowed, &vec![0.0; after.len()]);
            assert_eq!(allowed, after);
            graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        }
    }

    #[test]
    fn full_windows_take_back_what_they_dropped() {
        let mut graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let pattern: Pattern = "4:4".parse().unwrap();
        let pruning = Pruning {
            pattern,
            ..Allocation::Uniform(0.99).into()
        };
        prune(&mut graph, &pruning, None).unwrap();
        let target = &targets(&graph, pattern, |name| name == "fc2.weight").unwrap()[0];
        let kept = target.units.any(target.weight.support().mask());
        let after = exchange(
            target,
            &kept,
            &target.weight.to_f32(),
            &vec![1.0; kept.len()],
            0.5,
        );
        let count = |kept: &[bool]| kept.iter().filter(|&&k| k).count();
        assert_eq!(count(&after), count(&kept));
    }
}
