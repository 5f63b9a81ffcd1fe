//! Pruning: what is worth least goes, in a pattern, until an allocation is met.

use crate::allocation::{Allocation, Layer};
use crate::bias::put_bias;
use crate::criterion::{self, Calibration, Criterion, Target, obs};
use crate::{CompressError, Pattern, View};
use secateur_model::{Bitmask, Constant, Graph, Support, Values, Weight};

/// What goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Pruning {
    /// How many weights each layer keeps.
    pub allocation: Allocation,
    /// Where they may lie.
    pub pattern: Pattern,
    /// What they are worth.
    pub criterion: Criterion,
}

impl From<Allocation> for Pruning {
    /// The smallest weights, wherever they lie.
    fn from(allocation: Allocation) -> Self {
        Self {
            allocation,
            pattern: Pattern::default(),
            criterion: Criterion::default(),
        }
    }
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

/// Removes the least of the weights of convolutions and fully connected layers.
///
/// Weights that are gone stay gone, so repeated pruning only removes, save that a block of which any
/// weight is kept is kept whole. Kept weights keep their values, but for [`Criterion::Obs`], which lets
/// them and the layer's bias make up for the others. Biases and normalisation are never pruned.
///
/// ```
/// use secateur_compress::{Allocation, Pruning, prune};
/// let mut net = secateur_compress::prune::doc_network();
/// let smallest = Pruning::from(Allocation::Uniform(0.5));
/// let kept = prune(&mut net, &smallest, None)?;
/// assert_eq!((kept[0].kept, kept[0].of), (2, 4));
///
/// let in_blocks = Pruning { pattern: "2x1".parse()?, ..smallest };
/// let kept = prune(&mut secateur_compress::prune::doc_network(), &in_blocks, None)?;
/// assert_eq!((kept[0].kept, kept[0].of), (2, 4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A density outside `0 < d <= 1`, a name that fits no prunable weight, a weight
/// that is already shared or quantized, a criterion without the samples that it needs.
pub fn prune(
    graph: &mut Graph,
    pruning: &Pruning,
    calibration: Option<&Calibration<'_>>,
) -> Result<Vec<Kept>, CompressError> {
    let Pruning {
        allocation,
        pattern,
        criterion,
    } = pruning;
    let names = prunable(graph);
    allocation.check(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let targets = targets(graph, *pattern, |name| allocation.concerns(name))?;
    let scores = criterion::scores(*criterion, graph, &targets, calibration)?;
    let kept = keep(&targets, &scores, allocation);
    match (criterion, calibration) {
        (Criterion::Obs, Some(calibration)) => {
            let adjusted = obs::adjust(graph, &targets, &kept, calibration)?;
            for (target, adjusted) in targets.iter().zip(adjusted) {
                let weight = target.pruned(adjusted.mask, &adjusted.values)?;
                put(graph, target, weight);
                if let Some((name, values)) = adjusted.bias {
                    put_bias(graph, &name, values)?;
                }
            }
        }
        _ => {
            for (target, kept) in targets.iter().zip(&kept) {
                let mask = target.units.positions(kept);
                let weight = target.pruned(mask, &target.weight.to_f32())?;
                put(graph, target, weight);
            }
        }
    }
    let kept = |name: String| {
        let weight = graph.weight(&name)?;
        Some(Kept {
            kept: weight.kept(),
            of: weight.shape().elements(),
            name,
        })
    };
    Ok(names.into_iter().filter_map(kept).collect())
}

/// Names of the weights that pruning applies to, in network order.
pub fn prunable(graph: &Graph) -> Vec<String> {
    views(graph).into_iter().map(|(name, _)| name).collect()
}

/// Those of them that training may change.
pub(crate) fn trainable(graph: &Graph) -> impl Iterator<Item = String> {
    let frozen = graph.frozen();
    prunable(graph)
        .into_iter()
        .filter(move |name| !frozen.contains(name))
}

/// The weights that pruning applies to, each once, and how they lie.
pub(crate) fn views(graph: &Graph) -> Vec<(String, View)> {
    let mut views: Vec<(String, View)> = Vec::new();
    for (name, view) in graph
        .nodes
        .iter()
        .filter_map(|node| View::of_node(graph, node))
    {
        if !views.iter().any(|(known, _)| known == name) {
            views.push((name.to_owned(), view));
        }
    }
    views
}

/// The weights with a name that fits and that may change, as targets of a pattern.
///
/// # Errors
/// A weight that is shared or quantized.
pub(crate) fn targets(
    graph: &Graph,
    pattern: Pattern,
    fits: impl Fn(&str) -> bool,
) -> Result<Vec<Target>, CompressError> {
    let target = |(name, view): (String, View)| {
        let weight = graph.weight(&name)?.clone();
        if !matches!(weight.values(), Values::F32(_)) {
            return Some(Err(CompressError::Refused {
                step: "prune",
                reason: format!("`{name}` is already shared or quantized; prune before that"),
            }));
        }
        let units = pattern.units(weight.shape(), &view);
        Some(Ok(Target {
            name,
            weight,
            view,
            pattern,
            units,
        }))
    };
    let frozen = graph.frozen();
    let views = views(graph).into_iter();
    let fitting = views.filter(|(name, _)| fits(name) && !frozen.contains(name));
    fitting.filter_map(target).collect()
}

/// A weight that lies so, with the largest magnitudes of this share of all its units.
pub(crate) fn prune_weight(
    weight: &Weight,
    view: View,
    pattern: Pattern,
    density: f64,
) -> Result<Weight, CompressError> {
    let allocation = Allocation::Uniform(density);
    allocation.check(&[])?;
    let units = pattern.units(weight.shape(), &view);
    let target = Target {
        name: String::new(),
        weight: weight.clone(),
        view,
        pattern,
        units,
    };
    let scores = [criterion::magnitude(&target)];
    let kept = keep(std::slice::from_ref(&target), &scores, &allocation).concat();
    target.pruned(target.units.positions(&kept), &weight.to_f32())
}

/// The units that each target keeps.
fn keep(targets: &[Target], scores: &[Vec<f64>], allocation: &Allocation) -> Vec<Vec<bool>> {
    let scored = targets.iter().zip(scores);
    let layers: Vec<Layer<'_>> = scored
        .map(|(target, scores)| target.layer(scores, target.weight.support().mask()))
        .collect();
    allocation.keep(&layers)
}

impl Target {
    /// The target as it competes: with what is left of it, and its pattern allows.
    pub(crate) fn layer<'a>(&'a self, scores: &'a [f64], mask: Option<&Bitmask>) -> Layer<'a> {
        let mut alive = self.units.any(mask);
        self.units.restrict(&mut alive, scores);
        Layer {
            name: &self.name,
            dims: self.weight.shape().dims(),
            units: &self.units,
            scores,
            alive,
        }
    }

    /// The weight with these of its positions and values.
    fn pruned(&self, mask: Bitmask, values: &[f32]) -> Result<Weight, CompressError> {
        let kept = mask.ones().map(|p| values[p]).collect();
        let shape = self.weight.shape().clone();
        Ok(Weight::new(shape, self.support(mask), Values::F32(kept))?)
    }

    /// The mask in the form of the target's pattern; a mask that changes nothing in the form there is.
    pub(crate) fn support(&self, mask: Bitmask) -> Support {
        let same = self.weight.support().mask() == Some(&mask);
        match self.pattern {
            Pattern::Unstructured if same => self.weight.support().clone(),
            pattern => pattern.support(mask, &self.view),
        }
    }
}

fn put(graph: &mut Graph, target: &Target, weight: Weight) {
    let name = target.name.clone();
    graph.constants.insert(name, Constant::Weight(weight));
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
    use std::collections::BTreeMap;

    #[test]
    fn the_largest_stay_with_their_values_and_pruning_only_removes() {
        let mut graph = doc_network();
        let mut prune = |allocation: Allocation| {
            prune(&mut graph, &allocation.into(), None).unwrap();
            graph.weight("w").unwrap().to_f32()
        };
        assert_eq!(prune(Allocation::Uniform(0.5)), [0.0, -2.0, 3.0, 0.0]);
        assert_eq!(prune(Allocation::Uniform(1.0)), [0.0, -2.0, 3.0, 0.0]);
    }

    #[test]
    fn impossible_targets_are_refused() {
        let refusal = |pruning: Pruning| {
            prune(&mut doc_network(), &pruning, None)
                .unwrap_err()
                .to_string()
        };
        for bad in [0.0, -0.5, 1.5, f64::NAN] {
            refusal(Allocation::Global(bad).into());
        }
        let missing = Allocation::PerLayer(BTreeMap::from([("nope*".to_owned(), 0.5)]));
        let error = refusal(missing.into());
        assert!(error.contains("`nope*`"), "{error}");
        let blind = Pruning {
            criterion: Criterion::Obs,
            ..Allocation::Uniform(0.5).into()
        };
        let error = refusal(blind);
        assert!(error.contains("needs samples"), "{error}");
    }

    #[test]
    fn stars_choose_layers() {
        let mut graph = secateur_model::zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let densities = [("fc*", 0.5), ("fc1.weight", 0.1), ("fc3*", 1.0)];
        let densities = densities.map(|(name, d)| (name.to_owned(), d));
        let allocation = Allocation::PerLayer(densities.into());
        let kept = prune(&mut graph, &allocation.into(), None).unwrap();
        let kept: Vec<usize> = kept.iter().map(|k| k.kept).collect();
        assert_eq!(kept, [1920, 15_000, 1000]);
    }
}
