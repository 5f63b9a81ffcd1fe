//! Names that are not taken.

use secateur_model::Graph;
use std::collections::HashSet;

/// The names in use, of values or of nodes.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// All names of a graph: values and nodes.
    pub(super) fn of(graph: &Graph) -> Self {
        let inputs = graph.inputs.iter().map(|v| &v.name);
        let nodes = graph
            .nodes
            .iter()
            .flat_map(|n| n.outputs.iter().chain([&n.name]));
        let names = graph.constants.keys().chain(inputs).chain(nodes);
        names.cloned().collect()
    }

    /// `stem`, or where it is taken `stem_N`, a number that is free; takes it.
    pub(super) fn fresh(&mut self, stem: impl Into<String>) -> String {
        let stem = stem.into();
        let mut name = stem.clone();
        // Starting behind as many names as there are keeps the search short even
        // where a file names everything alike.
        let mut suffix = self.0.len();
        while !self.0.insert(name.clone()) {
            name = format!("{stem}_{suffix}");
            suffix += 1;
        }
        name
    }
}

impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}
