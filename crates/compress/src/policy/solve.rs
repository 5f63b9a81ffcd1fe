//! Which choice for each layer: the least loss within a budget, by dynamic programming over the
//! budget cut into equal parts.

/// One choice for one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Item {
    /// What it loses; losses of layers add up.
    pub loss: f64,
    /// What it costs, at least 0.
    pub cost: f64,
}

/// Parts that a budget is cut into.
const PARTS: usize = 4096;

/// The choice for each layer so that the sum of losses is least and the sum of costs is within the
/// budget; `None` where even the cheapest choices cost more.
///
/// Costs are rounded up to parts of what the budget leaves beyond the cheapest choices, so that the
/// budget holds exactly; the loss is at most that of the best solution for a budget smaller by one
/// part for each layer (as SPDY does: Frantar & Alistarh 2022).
///
/// ```
/// use secateur_compress::policy::{Item, solve};
/// let item = |loss, cost| Item { loss, cost };
/// let first = [item(0.0, 10.0), item(1.0, 4.0)];
/// let second = [item(0.0, 10.0), item(0.1, 5.0)];
/// assert_eq!(solve(&[&first, &second], 15.0), Some(vec![0, 1]));
/// assert_eq!(solve(&[&first, &second], 8.0), None);
/// ```
pub fn solve(layers: &[&[Item]], budget: f64) -> Option<Vec<usize>> {
    let cheapest: Vec<f64> = layers
        .iter()
        .map(|items| items.iter().map(|i| i.cost).fold(f64::INFINITY, f64::min))
        .collect();
    let spare = budget - cheapest.iter().sum::<f64>();
    if spare.is_nan() || spare < 0.0 {
        return None;
    }
    let part = spare / PARTS as f64;
    let parts = |item: &Item, least: f64| -> Option<usize> {
        let above = item.cost - least;
        if above <= 0.0 {
            return Some(0);
        }
        let parts = (above / part).ceil();
        (parts <= PARTS as f64).then_some(parts as usize)
    };

    // best[p]: least loss of the layers so far for p parts; taken[layer][p]: the choice there.
    let mut best = vec![0.0f64; PARTS + 1];
    let mut taken: Vec<Vec<u16>> = Vec::with_capacity(layers.len());
    for (items, &least) in layers.iter().zip(&cheapest) {
        let mut next = vec![f64::INFINITY; PARTS + 1];
        let mut choice = vec![0u16; PARTS + 1];
        for (index, item) in items.iter().enumerate().take(usize::from(u16::MAX)) {
            let Some(parts) = parts(item, least) else {
                continue;
            };
            for p in parts..=PARTS {
                let loss = best[p - parts] + item.loss;
                if loss < next[p] {
                    next[p] = loss;
                    choice[p] = index as u16;
                }
            }
        }
        best = next;
        taken.push(choice);
    }

    let mut left = PARTS;
    let mut choices = vec![0; layers.len()];
    for (layer, choice) in taken.iter().enumerate().rev() {
        let index = usize::from(choice[left]);
        choices[layer] = index;
        left -= parts(&layers[layer][index], cheapest[layer]).unwrap_or(0);
    }
    Some(choices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sums(layers: &[Vec<Item>], choices: &[usize]) -> Item {
        let chosen = layers.iter().zip(choices).map(|(items, &i)| items[i]);
        chosen.fold(
            Item {
                loss: 0.0,
                cost: 0.0,
            },
            |sum, item| Item {
                loss: sum.loss + item.loss,
                cost: sum.cost + item.cost,
            },
        )
    }

    /// Every combination. Slow on purpose.
    fn brute_force(layers: &[Vec<Item>], budget: f64) -> Option<f64> {
        let mut all: Vec<Vec<usize>> = vec![Vec::new()];
        for items in layers {
            all = all
                .into_iter()
                .flat_map(|c| (0..items.len()).map(move |i| [&c[..], &[i]].concat()))
                .collect();
        }
        let within = all
            .iter()
            .map(|c| sums(layers, c))
            .filter(|s| s.cost <= budget);
        within.map(|s| s.loss).reduce(f64::min)
    }

    fn table() -> impl Strategy<Value = Vec<Vec<Item>>> {
        let item = (0.0f64..4.0, 0.0f64..100.0).prop_map(|(loss, cost)| Item { loss, cost });
        prop::collection::vec(prop::collection::vec(item, 1..5), 1..5)
    }

    proptest! {
        #[test]
        fn as_good_as_brute_force_but_for_the_rounding(layers in table(), share in 0.0f64..1.2) {
            let budget = share * 100.0 * layers.len() as f64;
            let slices: Vec<&[Item]> = layers.iter().map(Vec::as_slice).collect();
            let best = brute_force(&layers, budget);
            let Some(found) = solve(&slices, budget) else {
                prop_assert_eq!(best, None);
                return Ok(());
            };
            let found = sums(&layers, &found);
            prop_assert!(found.cost <= budget + 1e-9, "{} > {budget}", found.cost);
            prop_assert!(found.loss >= best.unwrap() - 1e-9);
            let tighter = budget - (layers.len() as f64) * budget / PARTS as f64;
            if let Some(bound) = brute_force(&layers, tighter) {
                prop_assert!(found.loss <= bound + 1e-9, "{} > {bound}", found.loss);
            }
        }
    }

    #[test]
    fn exactly_the_cheapest_choices_are_within_their_cost() {
        let item = |loss, cost| Item { loss, cost };
        let layers = [
            [item(0.0, 3.0), item(2.0, 1.0)],
            [item(5.0, 1.0), item(0.0, 9.0)],
        ];
        let slices: Vec<&[Item]> = layers.iter().map(|l| &l[..]).collect();
        assert_eq!(solve(&slices, 2.0), Some(vec![1, 0]));
        assert_eq!(solve(&slices, 100.0), Some(vec![0, 1]));
        assert_eq!(solve(&[], 1.0), Some(vec![]));
    }
}
