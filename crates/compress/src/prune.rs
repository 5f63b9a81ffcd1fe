//! Magnitude pruning: the smallest weights go, the others keep their values.

use crate::CompressError;
use secateur_model::{Bitmask, Constant, Graph, Support, Values, Weight};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// How many weights each layer keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Allocation {
    /// The same density in every layer.
    Uniform(f64),
    /// A density for each weight by name; weights that are not named stay as
    /// they are.
    PerLayer(BTreeMap<String, f64>),
    /// One magnitude threshold over all layers, for this density overall.
    Global(f64),
    /// Erdős–Rényi-kernel: `density_l = ε · Σ dims / Π dims`, ε solved for the
    /// overall density, layers that come out above 1 kept dense and the others
    /// solved again (Evci et al. 2020).
    Erk(f64),
    /// A threshold of `q` standard deviations of the layer's weights (Han et
    /// al. 2015).
    Deviations(f64),
}

/// What was kept of one weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The weight's name.
    pub name: String,
    /// Positions that are kept.
    pub kept: usize,
    /// All positions.
    pub of: usize,
}

/// Removes the smallest weights of every convolution and fully connected layer.
///
/// Weights that are gone stay gone, so repeated pruning only removes; kept
/// weights keep their values. Biases and normalisation are never pruned.
///
/// ```
/// use secateur_compress::{Allocation, prune};
/// let mut net = secateur_compress::prune::doc_network();
/// let kept = prune(&mut net, &Allocation::Uniform(0.5))?;
/// assert_eq!((kept[0].kept, kept[0].of), (2, 4));
/// # Ok::<(), secateur_compress::CompressError>(())
/// ```
///
/// # Errors
/// A density outside `0 < d <= 1`, a name that is no prunable weight, a weight
/// that is already shared or quantized.
pub fn prune(graph: &mut Graph, allocation: &Allocation) -> Result<Vec<Kept>, CompressError> {
    let names = prunable(graph);
    let mut weights = Vec::with_capacity(names.len());
    for name in &names {
        let Some(weight) = graph.weight(name) else {
            continue;
        };
        if !matches!(weight.values(), Values::F32(_)) {
            return Err(CompressError::Refused {
                step: "prune",
                reason: format!("`{name}` is already shared or quantized; prune before that"),
            });
        }
        weights.push((name.as_str(), weight));
    }
    let layers: Vec<Layer<'_>> = weights
        .iter()
        .map(|(name, weight)| Layer {
            name,
            dims: weight.shape().dims(),
            values: weight.kept_f32().into(),
        })
        .collect();

    let counts = counts(&layers, allocation)?;
    let pruned: Vec<(String, Weight)> = weights
        .iter()
        .zip(&counts)
        .filter_map(|((name, weight), &count)| {
            let count = count?.min(weight.kept());
            (count < weight.kept()).then(|| Ok(((*name).to_owned(), keep_largest(weight, count)?)))
        })
        .collect::<Result<_, CompressError>>()?;
    for (name, weight) in pruned {
        graph.constants.insert(name, Constant::Weight(weight));
    }

    Ok(names
        .into_iter()
        .filter_map(|name| {
            let weight = graph.weight(&name)?;
            Some(Kept {
                kept: weight.kept(),
                of: weight.shape().elements(),
                name,
            })
        })
        .collect())
}

/// Names of the weights that pruning applies to, in network order.
pub fn prunable(graph: &Graph) -> Vec<String> {
    let mut seen = BTreeSet::new();
    graph
        .nodes
        .iter()
        .filter_map(|node| graph.kernel_of(node))
        .filter(|(name, _)| seen.insert((*name).to_owned()))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The mask of the `count` largest magnitudes; of equal ones the earlier
/// positions stay.
pub fn largest(magnitudes: &[f32], count: usize) -> Bitmask {
    let mut order: Vec<u32> = (0..magnitudes.len() as u32).collect();
    if count > 0 && count < order.len() {
        order.select_nth_unstable_by(count - 1, |&a, &b| {
            magnitudes[b as usize]
                .abs()
                .total_cmp(&magnitudes[a as usize].abs())
                .then(a.cmp(&b))
        });
    }
    let mut keep = vec![false; magnitudes.len()];
    order
        .iter()
        .take(count)
        .for_each(|&i| keep[i as usize] = true);
    Bitmask::from_bools(&keep)
}

/// The weight with the largest magnitudes of this share of all its positions.
pub(crate) fn prune_weight(weight: &Weight, density: f64) -> Result<Weight, CompressError> {
    check_density(density)?;
    let count = ((weight.shape().elements() as f64 * density).round() as usize).max(1);
    match count < weight.kept() {
        true => keep_largest(weight, count),
        false => Ok(weight.clone()),
    }
}

fn keep_largest(weight: &Weight, count: usize) -> Result<Weight, CompressError> {
    let values = weight.kept_f32();
    let keep = largest(&values, count);
    let positions: Vec<usize> = weight.positions().collect();
    let mut bits = vec![false; weight.shape().elements()];
    keep.ones().for_each(|i| bits[positions[i]] = true);
    Ok(Weight::new(
        weight.shape().clone(),
        Support::Unstructured(Bitmask::from_bools(&bits)),
        Values::F32(keep.ones().map(|i| values[i]).collect()),
    )?)
}

/// A layer whose values compete to be kept.
pub(crate) struct Layer<'a> {
    pub name: &'a str,
    pub dims: &'a [usize],
    pub values: Cow<'a, [f32]>,
}

impl Layer<'_> {
    fn share(&self, density: f64) -> Option<usize> {
        let size: usize = self.dims.iter().product();
        Some(((size as f64 * density).round() as usize).max(1))
    }
}

/// Kept positions for each layer; `None` leaves a layer as it is.
pub(crate) fn counts(
    layers: &[Layer<'_>],
    allocation: &Allocation,
) -> Result<Vec<Option<usize>>, CompressError> {
    match allocation {
        Allocation::Uniform(density) => {
            check_density(*density)?;
            Ok(layers.iter().map(|l| l.share(*density)).collect())
        }
        Allocation::PerLayer(densities) => {
            for (name, density) in densities {
                check_density(*density)?;
                if !layers.iter().any(|l| l.name == name) {
                    return Err(CompressError::Refused {
                        step: "prune",
                        reason: format!("`{name}` is no convolution or fully connected weight"),
                    });
                }
            }
            Ok(layers
                .iter()
                .map(|l| densities.get(l.name).and_then(|&d| l.share(d)))
                .collect())
        }
        Allocation::Global(density) => {
            check_density(*density)?;
            let all: Vec<f32> = layers
                .iter()
                .flat_map(|l| l.values.iter().copied())
                .collect();
            let total: usize = layers
                .iter()
                .map(|l| l.dims.iter().product::<usize>())
                .sum();
            let count = ((total as f64 * density).round() as usize).clamp(1, all.len().max(1));
            let mask = largest(&all, count);
            let mut start = 0;
            Ok(layers
                .iter()
                .map(|l| {
                    let end = start + l.values.len();
                    let kept = (start..end).filter(|&i| mask.get(i)).count();
                    start = end;
                    // A layer without any weight cuts the network in two.
                    Some(kept.max(1))
                })
                .collect())
        }
        Allocation::Erk(density) => {
            check_density(*density)?;
            let dims: Vec<&[usize]> = layers.iter().map(|l| l.dims).collect();
            let densities = erk(&dims, *density);
            Ok(layers
                .iter()
                .zip(densities)
                .map(|(l, d)| l.share(d))
                .collect())
        }
        Allocation::Deviations(q) => {
            if !q.is_finite() || *q < 0.0 {
                return Err(CompressError::Setting {
                    step: "prune",
                    setting: "q",
                    needed: "a number of standard deviations, at least 0",
                    found: q.to_string(),
                });
            }
            Ok(layers
                .iter()
                .map(|l| {
                    let values = &l.values;
                    let square = |v: &f32| f64::from(*v) * f64::from(*v);
                    let variance =
                        values.iter().map(square).sum::<f64>() / values.len().max(1) as f64;
                    let threshold = q * variance.sqrt();
                    let above = |v: &&f32| f64::from(v.abs()) >= threshold;
                    Some(values.iter().filter(above).count().max(1))
                })
                .collect())
        }
    }
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

/// A network of one layer, for the examples of this crate's documentation.
#[doc(hidden)]
pub fn doc_network() -> Graph {
    let mut graph = Graph::default();
    if let Ok(weight) = secateur_model::Shape::new(&[2, 2])
        .and_then(|shape| Weight::dense(shape, vec![0.1, -2.0, 3.0, 0.2]))
    {
        graph.constants.insert("w".into(), Constant::Weight(weight));
    }
    let node = secateur_model::Node::new("fc", secateur_model::Op::linear(), &["x", "w"], &["y"]);
    graph.nodes.push(node);
    graph
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secateur_model::{Node, Op, Shape};

    fn network(layers: &[(&str, &[usize])]) -> Graph {
        let mut graph = Graph::default();
        for (name, dims) in layers {
            let shape = Shape::new(dims).unwrap();
            let values = (0..shape.elements())
                .map(|i| ((i * 7919 + 13) % 1009) as f32 / 500.0 - 1.0)
                .collect();
            let weight = Weight::dense(shape, values).unwrap();
            graph
                .constants
                .insert((*name).into(), Constant::Weight(weight));
            let node = Node::new(*name, Op::linear(), &["x", name], &[&format!("{name}.y")]);
            graph.nodes.push(node);
        }
        graph
    }

    #[test]
    fn the_largest_stay_with_their_values_and_pruning_only_removes() {
        let mut graph = doc_network();
        prune(&mut graph, &Allocation::Uniform(0.5)).unwrap();
        assert_eq!(graph.weight("w").unwrap().to_f32(), [0.0, -2.0, 3.0, 0.0]);
        prune(&mut graph, &Allocation::Uniform(1.0)).unwrap();
        assert_eq!(graph.weight("w").unwrap().kept(), 2);
        prune(&mut graph, &Allocation::Deviations(1.1)).unwrap();
        assert_eq!(graph.weight("w").unwrap().to_f32(), [0.0, 0.0, 3.0, 0.0]);
    }

    #[test]
    fn impossible_targets_are_refused() {
        for bad in [0.0, -0.5, 1.5, f64::NAN] {
            assert!(prune(&mut doc_network(), &Allocation::Global(bad)).is_err());
        }
        let missing = Allocation::PerLayer(BTreeMap::from([("nope".to_owned(), 0.5)]));
        let error = prune(&mut doc_network(), &missing).unwrap_err().to_string();
        assert!(error.contains("`nope`"), "{error}");
    }

    proptest! {
        #[test]
        fn overall_budgets_are_met(density in 0.02f64..1.0) {
            let layers: [(&str, &[usize]); 3] = [("a", &[30, 40]), ("b", &[8, 3, 3, 3]), ("c", &[10, 30])];
            let total: usize = layers.iter().map(|(_, d)| d.iter().product::<usize>()).sum();
            for allocation in [Allocation::Uniform(density), Allocation::Global(density), Allocation::Erk(density)] {
                let kept = prune(&mut network(&layers), &allocation).unwrap();
                let sum: usize = kept.iter().map(|k| k.kept).sum();
                prop_assert!((sum as f64 - total as f64 * density).abs() <= 3.0, "{allocation:?}: {sum}");
            }
        }
    }
}
