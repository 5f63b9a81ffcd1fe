//! A solution made better by measuring whole networks: losses of layers do not quite add up.

use super::{Item, Table, solve};
use crate::CompressError;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Solves a table within a budget, then looks for weights of the layers' losses whose solution measures
/// better as a whole (Frantar & Alistarh, SPDY, 2022): first any weights, then the best ones with fewer
/// and fewer of them changed. Gives the best choices and what they measured; `None` where even the
/// cheapest choices cost more than the budget. The same seed gives the same choices.
///
/// `costs` are the cost of each choice of each layer; `measure` gives the loss of a solution.
///
/// # Errors
/// Whatever `measure` says.
pub fn refine(
    table: &Table,
    costs: &[Vec<f64>],
    budget: f64,
    tries: usize,
    seed: u64,
    measure: &mut dyn FnMut(&[usize]) -> Result<f64, CompressError>,
) -> Result<Option<(Vec<usize>, f64)>, CompressError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let layers = table.layers.len();
    let solution = |weights: &[f64]| {
        let items = items(table, costs, weights);
        let slices: Vec<&[Item]> = items.iter().map(Vec::as_slice).collect();
        solve(&slices, budget)
    };
    let mut weights = vec![1.0; layers];
    let Some(mut best) = solution(&weights) else {
        return Ok(None);
    };
    let mut loss = measure(&best)?;
    let mut seen = vec![best.clone()];
    for attempt in 0..tries {
        let left = 1.0 - attempt as f64 / tries as f64;
        // The first third draws all weights, the others change ever fewer of the best.
        let changed = ((layers as f64 * (1.5 * left).min(1.0)).ceil() as usize).max(1);
        let mut candidate = weights.clone();
        for _ in 0..changed {
            let layer = rng.random_range(0..layers);
            candidate[layer] = 4f64.powf(rng.random_range(-1.0..1.0));
        }
        let Some(choices) = solution(&candidate) else {
            continue;
        };
        if seen.contains(&choices) {
            continue;
        }
        seen.push(choices.clone());
        let found = measure(&choices)?;
        if found < loss {
            (best, loss, weights) = (choices, found, candidate);
        }
    }
    Ok(Some((best, loss)))
}

fn items(table: &Table, costs: &[Vec<f64>], weights: &[f64]) -> Vec<Vec<Item>> {
    let layers = table.layers.iter().zip(costs).zip(weights);
    layers
        .map(|((layer, costs), weight)| {
            let choices = layer.choices.iter().zip(costs);
            choices
                .map(|(choice, &cost)| Item {
                    loss: weight * choice.loss_increase,
                    cost,
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Choice, ChoiceCost, LayerSensitivity};

    fn table(losses: &[[f64; 3]]) -> Table {
        let choice = |&loss_increase: &f64| ChoiceCost {
            choice: Choice {
                density: 1.0,
                pattern: "unstructured".into(),
                bits: 8,
            },
            loss_increase,
            bytes: 0,
            microseconds: None,
            picojoules: None,
        };
        let layer = |losses: &[f64; 3]| LayerSensitivity {
            layer: "x".into(),
            parameters: 1,
            choices: losses.iter().map(choice).collect(),
        };
        Table {
            measure: crate::policy::Measure::default(),
            version: 1,
            network: "n".into(),
            data: "d".into(),
            samples: 1,
            layers: losses.iter().map(layer).collect(),
        }
    }

    #[test]
    fn what_the_table_gets_wrong_is_found_and_repeats() {
        // The table takes all layers for alike; in truth the first matters ten times as much.
        let table = table(&[[0.0, 1.0, 2.0]; 3]);
        let costs = vec![vec![3.0, 2.0, 1.0]; 3];
        let truth = |choices: &[usize]| 10 * choices[0] + choices[1] + choices[2];
        let go = |tries| {
            let mut measure = |choices: &[usize]| Ok(truth(choices) as f64);
            refine(&table, &costs, 6.01, tries, 5, &mut measure)
                .unwrap()
                .unwrap()
        };
        let (choices, loss) = go(40);
        assert_eq!((choices[0], loss), (0, 3.0));
        assert_eq!(go(40), (choices, loss));
        assert!(go(0).1 >= loss);
        let mut never = |_: &[usize]| Ok(0.0);
        assert!(
            refine(&table, &costs, 2.9, 9, 5, &mut never)
                .unwrap()
                .is_none()
        );
    }
}
