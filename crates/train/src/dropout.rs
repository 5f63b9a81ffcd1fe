//! Dropout of a pruned network (Han et al. 2015).

use crate::latent::LatentWeights;
use secateur_model::{Graph, Op};
use std::collections::{BTreeSet, HashMap};

/// The layers behind each Dropout node, by the node's place.
///
/// A pruned layer has less to overfit with, so less is dropped before it: the
/// probability becomes `D · √(connections kept / connections)`. The graph keeps its
/// own; the share holds while it is trained.
pub(crate) struct Followers {
    weights: Vec<(usize, BTreeSet<String>)>,
}

impl Followers {
    pub fn new(graph: &Graph) -> Self {
        let consumers = graph.consumers();
        let behind = |start: usize| {
            let mut weights = BTreeSet::new();
            let mut seen = BTreeSet::from([start]);
            let mut open = vec![start];
            while let Some(index) = open.pop() {
                let outputs = graph.nodes[index].outputs.iter();
                let readers = outputs.filter_map(|name| consumers.get(name.as_str()));
                for &reader in readers.flatten() {
                    match graph.kernel_of(&graph.nodes[reader]) {
                        Some((name, _)) => {
                            weights.insert(name.to_owned());
                        }
                        None if seen.insert(reader) => open.push(reader),
                        None => {}
                    }
                }
            }
            weights
        };
        let nodes = graph.nodes.iter().enumerate();
        let dropouts = nodes.filter(|(_, node)| matches!(node.op, Op::Dropout));
        Self {
            weights: dropouts.map(|(index, _)| (index, behind(index))).collect(),
        }
    }

    /// The share of each node's probability that holds now.
    pub fn shares(&self, weights: &LatentWeights) -> HashMap<usize, f32> {
        let share = |names: &BTreeSet<String>| {
            let counts = names.iter().filter_map(|name| weights.connections(name));
            let (kept, all) = counts.fold((0, 0), |(k, a), (kept, of)| (k + kept, a + of));
            match all {
                0 => 1.0,
                all => (kept as f32 / all as f32).sqrt(),
            }
        };
        let nodes = self.weights.iter();
        nodes.map(|(index, names)| (*index, share(names))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Removed;
    use secateur_model::{Bitmask, Node, Support, zoo};

    #[test]
    fn less_is_dropped_before_a_pruned_layer() {
        let mut graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let fc2 = graph.nodes.iter().position(|n| n.name == "fc2").unwrap();
        let value = std::mem::replace(&mut graph.nodes[fc2].inputs[0], "dropped".into());
        let node = Node::new("dropout", Op::Dropout, &[&value], &["dropped"]);
        graph.nodes.insert(fc2, node);
        let mut weights = LatentWeights::new(&graph, None, false);
        let followers = Followers::new(&graph);
        assert_eq!(followers.shares(&weights), HashMap::from([(fc2, 1.0)]));
        let mask = Bitmask::from_fn(30_000, |i| i % 4 == 0);
        weights
            .set_support("fc2.weight", Support::Unstructured(mask), Removed::Cleared)
            .unwrap();
        assert_eq!(followers.shares(&weights), HashMap::from([(fc2, 0.5)]));
    }
}
