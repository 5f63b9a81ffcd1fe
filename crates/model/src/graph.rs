//! Graphs: named values, the nodes that compute them, and the constants they
//! start from. The meaning is ONNX's.

use crate::{DType, ModelError, Op, Shape, Tensor, Weight};
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

/// One extent of a graph input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A fixed extent.
    Known(usize),
    /// An extent that is given with the input, by name (`batch`).
    Named(String),
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(n) => write!(f, "{n}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// The name, element type and extents of a graph input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueInfo {
    /// The value's name.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The extents; `None` where even the rank is open.
    pub dims: Option<Vec<Dim>>,
}

/// A parameter or any other value that is known before the graph runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Constant {
    /// A plain tensor: shapes, axes, zero points, and whatever is not trained.
    Tensor(Tensor),
    /// A trained parameter; computes as its f32 values.
    Weight(Weight),
}

impl Constant {
    /// The value as the operators see it.
    pub fn to_tensor(&self) -> Tensor {
        match self {
            Self::Tensor(tensor) => tensor.clone(),
            Self::Weight(weight) => weight.to_tensor(),
        }
    }

    /// Its extents.
    pub fn shape(&self) -> &Shape {
        match self {
            Self::Tensor(tensor) => tensor.shape(),
            Self::Weight(weight) => weight.shape(),
        }
    }

    /// The weight, if it is one.
    pub fn weight(&self) -> Option<&Weight> {
        match self {
            Self::Weight(weight) => Some(weight),
            Self::Tensor(_) => None,
        }
    }
}

/// One application of an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// A name unique in the graph.
    pub name: String,
    /// What is computed.
    pub op: Op,
    /// Names of the values read; an empty name is an absent optional input.
    pub inputs: Vec<String>,
    /// Names of the values computed; an empty name is an output nobody reads.
    pub outputs: Vec<String>,
}

impl Node {
    /// A node.
    pub fn new(name: impl Into<String>, op: Op, inputs: &[&str], outputs: &[&str]) -> Self {
        Self {
            name: name.into(),
            op,
            inputs: inputs.iter().map(|&s| s.to_owned()).collect(),
            outputs: outputs.iter().map(|&s| s.to_owned()).collect(),
        }
    }

    /// The name of an input, if it is present.
    pub fn input(&self, index: usize) -> Option<&str> {
        self.inputs
            .get(index)
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }

    /// The name of an output, if somebody may read it.
    pub fn output(&self, index: usize) -> Option<&str> {
        self.outputs
            .get(index)
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }

    /// Whether the operator gives some of the values it is given, and does so by
    /// place or order alone: then it may as well do it to their codes.
    pub fn moves_values(&self) -> bool {
        let values_only = self.outputs.iter().skip(1).all(String::is_empty);
        values_only
            && matches!(
                self.op,
                Op::MaxPool { .. }
                    | Op::GlobalMaxPool
                    | Op::Flatten { .. }
                    | Op::Reshape { .. }
                    | Op::Squeeze
                    | Op::Unsqueeze
                    | Op::Transpose { .. }
            )
    }
}

/// A network.
///
/// Invariant after [`Graph::sort`]: nodes stand in an order in which every
/// value is computed before it is read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// The network's name.
    pub name: String,
    /// The opset of the default domain that the file declared; operators that
    /// Secateur knows are held in the newest form, whatever this says.
    pub opset: i64,
    /// Opsets of other domains, as the file declared them.
    pub other_opsets: BTreeMap<String, i64>,
    /// What must be given to run it.
    pub inputs: Vec<ValueInfo>,
    /// What running it gives.
    pub outputs: Vec<ValueInfo>,
    /// Values known beforehand, by name.
    pub constants: IndexMap<String, Constant>,
    /// The computation.
    pub nodes: Vec<Node>,
    /// Free text kept with the network: recipe, accuracy, provenance, class
    /// names (`classes`, one a line), input normalisation (`mean`, `std`), weights that stay ([`FROZEN`]).
    pub metadata: BTreeMap<String, String>,
}

/// The key of the weights that training leaves as they are, as a first layer that whitens: names, one a line.
pub const FROZEN: &str = "frozen";

impl Graph {
    /// The weights that training leaves as they are.
    pub fn frozen(&self) -> BTreeSet<String> {
        let names = self.metadata.get(FROZEN).map_or("", String::as_str);
        let there = names.lines().filter(|name| self.weight(name).is_some());
        there.map(str::to_owned).collect()
    }

    /// The weight of a name, if there is one.
    pub fn weight(&self, name: &str) -> Option<&Weight> {
        self.constants.get(name).and_then(Constant::weight)
    }

    /// All weights with their names, in the file's order.
    pub fn weights(&self) -> impl Iterator<Item = (&str, &Weight)> {
        self.constants
            .iter()
            .filter_map(|(name, c)| c.weight().map(|w| (name.as_str(), w)))
    }

    /// The name of the weight that an operator multiplies its input by (its
    /// second input: convolution kernel or matrix), if it is a constant.
    pub fn kernel_of<'a>(&'a self, node: &'a Node) -> Option<(&'a str, &'a Weight)> {
        if !matches!(node.op, Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul) {
            return None;
        }
        let name = node.input(1)?;
        self.weight(name).map(|weight| (name, weight))
    }

    /// Index of the node that computes each value.
    pub fn producers(&self) -> HashMap<&str, usize> {
        let mut producers = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for output in node.outputs.iter().filter(|o| !o.is_empty()) {
                producers.insert(output.as_str(), index);
            }
        }
        producers
    }

    /// Indices of the nodes that read each value.
    pub fn consumers(&self) -> HashMap<&str, Vec<usize>> {
        let mut consumers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for input in node.reads() {
                consumers.entry(input).or_default().push(index);
            }
        }
        consumers
    }

    /// How often nodes read a value.
    pub fn reads_of(&self, value: &str) -> usize {
        let reads = self.nodes.iter().flat_map(Node::reads);
        reads.filter(|read| *read == value).count()
    }

    /// The node that reads a value, if it does so once, no other does and the value is no output.
    pub fn only_reader(&self, value: &str) -> Option<usize> {
        if self.outputs.iter().any(|o| o.name == value) || self.reads_of(value) != 1 {
            return None;
        }
        let reads = |node: &Node| node.reads().any(|read| read == value);
        self.nodes.iter().position(reads)
    }

    /// Number of parameters: elements of all weights, and of the tensors that recurrent layers multiply
    /// by and add.
    pub fn parameters(&self) -> usize {
        let elements = |constant: &Constant| match constant {
            Constant::Weight(weight) => weight.shape().elements(),
            Constant::Tensor(tensor) => tensor.shape().elements(),
        };
        self.parameter_constants().map(elements).sum()
    }

    /// Of the [parameters](Self::parameters), those that are not zero.
    pub fn nonzeros(&self) -> usize {
        let nonzeros = |constant: &Constant| match constant {
            Constant::Weight(weight) => weight.nonzeros(),
            Constant::Tensor(tensor) => {
                let values = tensor.as_f32().unwrap_or_default();
                values.iter().filter(|v| **v != 0.0).count()
            }
        };
        self.parameter_constants().map(nonzeros).sum()
    }

    fn parameter_constants(&self) -> impl Iterator<Item = &Constant> {
        let recurrent = self.nodes.iter();
        let recurrent = recurrent.filter(|node| matches!(node.op, Op::Recurrent(_)));
        let tensors: HashSet<&str> = recurrent
            .flat_map(|node| [1, 2, 3].map(|at| node.input(at)))
            .flatten()
            .collect();
        let counts = move |(name, constant): &(&String, &Constant)| match constant {
            Constant::Weight(_) => true,
            Constant::Tensor(_) => tensors.contains(name.as_str()),
        };
        self.constants
            .iter()
            .filter(counts)
            .map(|(_, constant)| constant)
    }

    /// A name that no value and no node has yet, made from `stem`.
    pub fn fresh_name(&self, stem: &str) -> String {
        let taken = |name: &str| {
            let has = |node: &Node| node.name == name || node.outputs.iter().any(|o| o == name);
            self.constants.contains_key(name)
                || self.inputs.iter().any(|v| v.name == name)
                || self.nodes.iter().any(has)
        };
        (0..)
            .map(|i| match i {
                0 => stem.to_owned(),
                _ => format!("{stem}_{i}"),
            })
            .find(|name| !taken(name))
            .unwrap_or_default()
    }

    /// Puts the nodes in an order in which values are computed before they are
    /// read (stable: nodes keep their order where they may).
    ///
    /// # Errors
    /// A value computed twice, a value read that nothing computes, a cycle.
    pub fn sort(&mut self) -> Result<(), ModelError> {
        self.sort_within(&HashSet::new())
    }

    /// The same where values of a graph around this one may be read too.
    ///
    /// # Errors
    /// As [`Self::sort`].
    pub fn sort_within(&mut self, outer: &HashSet<String>) -> Result<(), ModelError> {
        let mut known: HashSet<String> = self
            .inputs
            .iter()
            .map(|v| v.name.clone())
            .chain(self.constants.keys().cloned())
            .collect();
        let mut computed: HashSet<&str> = HashSet::new();
        for node in &self.nodes {
            for output in node.outputs.iter().filter(|o| !o.is_empty()) {
                if !computed.insert(output) || known.contains(output) {
                    return Err(ModelError::Graph(format!(
                        "value `{output}` is defined twice (again by node `{}`)",
                        node.name
                    )));
                }
            }
        }
        known.extend(outer.iter().cloned());
        for node in &self.nodes {
            if let Some(input) = node
                .reads()
                .find(|&i| !known.contains(i) && !computed.contains(i))
            {
                return Err(ModelError::Graph(format!(
                    "node `{}` reads `{input}`, which nothing computes",
                    node.name
                )));
            }
        }
        for output in &self.outputs {
            if !known.contains(&output.name) && !computed.contains(output.name.as_str()) {
                return Err(ModelError::Graph(format!(
                    "output `{}` is computed by nothing",
                    output.name
                )));
            }
        }

        // Kahn's algorithm with the lowest index first keeps the given order
        // wherever it is already right.
        let producers = self.producers();
        let mut waits: Vec<usize> = Vec::with_capacity(self.nodes.len());
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            let sources: HashSet<usize> = node
                .reads()
                .filter_map(|i| producers.get(i).copied())
                .collect();
            waits.push(sources.len());
            sources.iter().for_each(|&s| readers[s].push(index));
        }
        let mut ready: std::collections::BTreeSet<usize> =
            (0..waits.len()).filter(|&i| waits[i] == 0).collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(index) = ready.pop_first() {
            order.push(index);
            for &reader in &readers[index] {
                waits[reader] -= 1;
                if waits[reader] == 0 {
                    ready.insert(reader);
                }
            }
        }
        if order.len() < waits.len() {
            let stuck = (0..waits.len()).find(|i| waits[*i] > 0).unwrap_or(0);
            return Err(ModelError::Graph(format!(
                "node `{}` is part of a cycle",
                self.nodes[stuck].name
            )));
        }
        known.clear();
        let mut nodes: Vec<Option<Node>> = std::mem::take(&mut self.nodes)
            .into_iter()
            .map(Some)
            .collect();
        self.nodes = order.iter().filter_map(|&i| nodes[i].take()).collect();
        Ok(())
    }

    /// Drops nodes whose outputs nothing reads, and in turn those that only they read; gives their names.
    pub fn drop_dead_nodes(&mut self) -> Vec<String> {
        let mut dropped = Vec::new();
        loop {
            let read = self.read();
            let is_dead = |node: &mut Node| !node.outputs.iter().any(|o| read.contains(o));
            let dead = self.nodes.extract_if(.., is_dead);
            let before = dropped.len();
            dropped.extend(dead.map(|node| node.name));
            if dropped.len() == before {
                return dropped;
            }
        }
    }

    /// Drops constants that no node reads and no output names.
    pub fn drop_unused_constants(&mut self) {
        let read = self.read();
        self.constants.retain(|name, _| read.contains(name));
    }

    /// Every value that a node reads or that is an output.
    fn read(&self) -> HashSet<String> {
        let outputs = self.outputs.iter().map(|output| output.name.as_str());
        let inputs = self.nodes.iter().flat_map(Node::reads);
        inputs.chain(outputs).map(str::to_owned).collect()
    }
}

impl Node {
    /// Every value the node reads: its inputs, and whatever the subgraphs of an
    /// unknown operator capture.
    pub fn reads(&self) -> impl Iterator<Item = &str> {
        let captured: &[String] = match &self.op {
            Op::Unknown(unknown) => &unknown.captures,
            _ => &[],
        };
        self.inputs
            .iter()
            .chain(captured)
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relu(name: &str, input: &str, output: &str) -> Node {
        Node::new(name, Op::Relu, &[input], &[output])
    }

    fn graph(nodes: Vec<Node>, output: &str) -> Graph {
        let value = |name: &str| ValueInfo {
            name: name.into(),
            dtype: DType::F32,
            dims: None,
        };
        Graph {
            inputs: vec![value("x")],
            outputs: vec![value(output)],
            nodes,
            ..Graph::default()
        }
    }

    #[test]
    fn sorting_orders_by_data_flow() {
        let mut g = graph(vec![relu("b", "y", "z"), relu("a", "x", "y")], "z");
        g.sort().unwrap();
        assert_eq!(g.nodes[0].name, "a");
    }

    #[test]
    fn what_nothing_reads_is_dropped_with_what_only_it_reads() {
        let nodes = vec![
            relu("a", "x", "y"),
            relu("b", "y", "unread"),
            relu("c", "x", "w"),
            relu("d", "w", "unread too"),
        ];
        let mut g = graph(nodes, "y");
        assert_eq!(g.drop_dead_nodes(), ["b", "d", "c"]);
        assert_eq!(g.nodes.len(), 1);
        assert_eq!(g.drop_dead_nodes(), [""; 0]);
    }

    #[test]
    fn malformed_graphs_are_named() {
        let message = |nodes, output| graph(nodes, output).sort().unwrap_err().to_string();
        let cycle = message(vec![relu("a", "z", "y"), relu("b", "y", "z")], "z");
        assert!(cycle.contains("cycle"), "{cycle}");
        let missing = message(vec![relu("a", "nope", "y")], "y");
        assert!(missing.contains("`nope`"), "{missing}");
        let twice = message(vec![relu("a", "x", "y"), relu("b", "x", "y")], "y");
        assert!(twice.contains("twice"), "{twice}");
        let output = message(vec![relu("a", "x", "y")], "w");
        assert!(output.contains("`w`"), "{output}");
    }
}
