//! First order: how the loss changes with a weight.

use super::{Calibration, Target};
use crate::CompressError;
use secateur_model::Graph;
use secateur_train::loss_gradients;
use std::collections::BTreeMap;

/// Images of one gradient.
const BATCH: usize = 32;

/// Products of weights and their gradients, gathered over batches.
#[derive(Debug, Clone)]
pub struct Saliency {
    kind: Kind,
    sums: BTreeMap<String, Vec<f64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `Σ |w · g|`.
    Taylor,
    /// `Σ −w · g`.
    Movement,
}

impl Saliency {
    /// What the loss is expected to change by without a weight: `Σ |w · g|` (Molchanov et al. 2019).
    pub fn taylor() -> Self {
        Self {
            kind: Kind::Taylor,
            sums: BTreeMap::new(),
        }
    }

    /// How far a weight has moved away from zero: `Σ −w · g` (Sanh et al. 2020).
    pub fn movement() -> Self {
        Self {
            kind: Kind::Movement,
            sums: BTreeMap::new(),
        }
    }

    /// Adds one batch for one weight.
    pub fn add(&mut self, name: &str, values: &[f32], gradient: &[f32]) {
        let sums = self
            .sums
            .entry(name.to_owned())
            .or_insert_with(|| vec![0.0; values.len()]);
        for ((sum, &w), &g) in sums.iter_mut().zip(values).zip(gradient) {
            let product = f64::from(w) * f64::from(g);
            *sum += match self.kind {
                Kind::Taylor => product.abs(),
                Kind::Movement => -product,
            };
        }
    }

    /// The sums for every position of a weight; none before the first batch.
    pub fn of(&self, name: &str) -> Option<&[f64]> {
        self.sums.get(name).map(Vec::as_slice)
    }

    /// Forgets what was gathered.
    pub fn clear(&mut self) {
        self.sums.clear();
    }
}

/// Scores by [`Saliency::taylor`] of the network as it stands. They are changes of the loss, and so
/// compare between layers.
pub(super) fn taylor(
    graph: &Graph,
    targets: &[Target],
    calibration: &Calibration<'_>,
) -> Result<Vec<Vec<f64>>, CompressError> {
    let mut saliency = Saliency::taylor();
    let values: Vec<Vec<f32>> = targets.iter().map(|t| t.weight.to_f32()).collect();
    let Calibration { data, images } = *calibration;
    loss_gradients(graph, data, images, BATCH, &mut |gradients| {
        for (target, values) in targets.iter().zip(&values) {
            if let Some(gradient) = gradients.get(&target.name) {
                saliency.add(&target.name, values, gradient);
            }
        }
    })
    .map_err(|error| CompressError::Train {
        step: "prune (taylor)".into(),
        error,
    })?;
    let of = |target: &Target| {
        let sums = saliency.of(&target.name).unwrap_or_default();
        target.unit_scores(sums.iter().copied())
    };
    Ok(targets.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pattern;
    use crate::prune::targets;
    use secateur_model::{Constant, Weight, zoo};
    use secateur_train::evaluate;

    #[test]
    fn taylor_foresees_what_the_loss_changes_by() {
        let data = secateur_data::load("digits")
            .unwrap()
            .train
            .subset(&(0..32).collect::<Vec<_>>());
        let graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let targets = targets(&graph, Pattern::Unstructured, |name| name == "fc3.weight").unwrap();
        let calibration = Calibration {
            data: &data,
            images: 32,
        };
        let scores = &taylor(&graph, &targets, &calibration).unwrap()[0];
        let weight = graph.weight("fc3.weight").unwrap();
        let loss = evaluate(&graph, &data).unwrap().loss;
        for position in [3, 77, 512, 999] {
            // A thousandth of the weight, so that the second order does not matter.
            let change = |factor: f32| {
                let mut values = weight.to_f32();
                values[position] *= factor;
                let mut other = graph.clone();
                let weight = Weight::dense(weight.shape().clone(), values).unwrap();
                other
                    .constants
                    .insert("fc3.weight".into(), Constant::Weight(weight));
                evaluate(&other, &data).unwrap().loss - loss
            };
            let slope = (change(1.05) - change(0.95)) / 0.1;
            assert!(
                (slope.abs() - scores[position]).abs() < 2e-3 * scores[position] + 1e-5,
                "{slope} {}",
                scores[position]
            );
        }
    }

    #[test]
    fn movement_is_signed() {
        let mut movement = Saliency::movement();
        movement.add("w", &[2.0, -1.0], &[-0.5, -0.25]);
        movement.add("w", &[2.0, -1.0], &[-0.5, -0.25]);
        assert_eq!(movement.of("w"), Some(&[2.0, -0.5][..]));
        movement.clear();
        assert_eq!(movement.of("w"), None);
    }
}
