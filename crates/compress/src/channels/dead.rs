//! Channels that do nothing: whose value is known beforehand, or that nobody reads.

use super::atoms::Atom;
use super::groups::{Channels, Guard};
use super::levels::{self, Level, Reader};
use super::select::Pick;
use crate::CompressError;
use secateur_model::{Constant, Graph, Node, Op, Shape, Weight};
use std::collections::{BTreeMap, HashSet};

/// Removes the channels that do nothing from the graph's shapes, until there are
/// none; how many there were.
///
/// A channel whose filter is all zero has the value that its bias comes to behind
/// activations and normalization. That goes into the biases of the layers that
/// read it: exactly, but where zeros are padded around it the value must be zero.
/// Every axis keeps one position. Outputs stay the same within rounding.
///
/// Extents that an input of the graph leaves open are those of `inputs`, or 1.
///
/// # Errors
/// A graph whose extents would contradict each other.
pub fn remove_dead(graph: &mut Graph, inputs: &[(&str, Shape)]) -> Result<usize, CompressError> {
    let mut removed = 0;
    loop {
        let mut channels = Channels::of(graph, inputs);
        let levels = levels::levels(graph, inputs);
        let useless = Uses::of(graph, &channels, &levels).useless();
        let mut guard = Guard::new(&channels);
        let made = channels.groups().iter().flat_map(|g| &g.channels);
        let pick = Pick {
            gone: made
                .map(|channel| channel.atom)
                .filter(|atom| useless.contains(atom) && guard.remove(*atom))
                .collect(),
            ..Pick::default()
        };
        if pick.gone.is_empty() {
            return Ok(removed);
        }
        let mut folded = graph.clone();
        fold(&mut folded, &mut channels, &levels, &pick.gone)?;
        *graph = channels.select(&folded, &pick)?;
        removed += pick.gone.len();
    }
}

/// Which atoms are made, and which are needed.
struct Uses {
    made: HashSet<Atom>,
    needed: HashSet<Atom>,
}

impl Uses {
    fn of(graph: &Graph, channels: &Channels, levels: &BTreeMap<String, Level>) -> Self {
        let mut uses = Self {
            made: HashSet::new(),
            needed: HashSet::new(),
        };
        for group in channels.groups() {
            uses.made.extend(group.channels.iter().map(|c| c.atom));
        }
        for node in &graph.nodes {
            uses.read(graph, channels, levels, node);
        }
        uses
    }

    /// Where a node sums channels away, those that its sums hang on are needed.
    fn read(
        &mut self,
        graph: &Graph,
        channels: &Channels,
        levels: &BTreeMap<String, Level>,
        node: &Node,
    ) {
        let Some(name) = node.input(0) else { return };
        let rank = channels.values.get(name).map_or(0, Vec::len);
        let (axis, reader) = match &node.op {
            Op::Conv { groups: 1, .. } => (1, Reader::of(graph, node)),
            // Channels of a group stay together, so none is summed away by itself.
            Op::Conv { .. } => return,
            Op::ConvTranspose(conv) if conv.groups == 1 => (1, None),
            Op::Gemm { trans_a, .. } => (usize::from(!trans_a), Reader::of(graph, node)),
            // Of two computed factors the first one's channels are the second one's.
            Op::MatMul => (rank.saturating_sub(1), Reader::of(graph, node)),
            Op::Recurrent(_) => (2, None),
            _ => return,
        };
        let Some(roots) = channels.roots(name, axis) else {
            return;
        };
        let reader = reader.filter(|reader| reader.inputs() == roots.len());
        let level = levels.get(name).filter(|level| level.axis == axis);
        let folds_any =
            !matches!(node.op, Op::MatMul) && reader.as_ref().is_some_and(|r| r.folds(graph, node));
        for (position, atom) in roots.into_iter().enumerate() {
            let value = level.and_then(|level| level.value(position));
            let unread = reader.as_ref().is_some_and(|r| !r.reads(position));
            let folds = value.is_some_and(|v| v == 0.0 || folds_any);
            if !unread && !folds {
                self.needed.insert(atom);
            }
        }
    }

    fn useless(&self) -> HashSet<Atom> {
        self.made.difference(&self.needed).copied().collect()
    }
}

/// Adds what channels that go give to the layers that read them to their biases.
fn fold(
    graph: &mut Graph,
    channels: &mut Channels,
    levels: &BTreeMap<String, Level>,
    gone: &HashSet<Atom>,
) -> Result<(), CompressError> {
    let mut gains: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let axis = match &node.op {
            Op::Conv { groups: 1, .. } | Op::Gemm { .. } => 1,
            _ => continue,
        };
        let (Some(name), Some(reader)) = (node.input(0), Reader::of(graph, node)) else {
            continue;
        };
        let level = levels.get(name).filter(|level| level.axis == axis);
        let roots = channels.roots(name, axis).unwrap_or_default();
        if reader.inputs() != roots.len() {
            continue;
        }
        for (position, atom) in roots.into_iter().enumerate() {
            let value = level.and_then(|level| level.value(position)).unwrap_or(0.0);
            if !gone.contains(&atom) || value == 0.0 || !reader.reads(position) {
                continue;
            }
            let share = reader.share(position, value);
            let gain = gains.entry(index).or_insert_with(|| vec![0.0; share.len()]);
            gain.iter_mut().zip(share).for_each(|(g, s)| *g += s);
        }
    }
    for (index, gain) in gains {
        raise_bias(graph, channels, index, &gain)?;
    }
    Ok(())
}

/// Adds to the bias of a layer, which has one from now on.
fn raise_bias(
    graph: &mut Graph,
    channels: &mut Channels,
    index: usize,
    gain: &[f64],
) -> Result<(), CompressError> {
    let node = &graph.nodes[index];
    let Some(bias) = levels::bias(graph, node, gain.len()) else {
        return Ok(());
    };
    let raised = bias
        .iter()
        .zip(gain)
        .map(|(&b, g)| (f64::from(b) + g) as f32);
    let raised = Weight::dense(Shape::new(&[gain.len()])?, raised.collect())?;
    let alone = |name: &str| {
        let reads = |n: &&Node| n.reads().any(|read| read == name);
        let given = graph.outputs.iter().any(|output| output.name == name);
        !given && graph.nodes.iter().filter(reads).count() == 1
    };
    let name = match node.input(2) {
        Some(own) if alone(own) => own.to_owned(),
        Some(shared) => graph.fresh_name(shared),
        None => graph.fresh_name(&format!("{}.bias", node.name)),
    };
    // It is cut like the outputs that it is added to.
    if let Some(axis) = node.output(0).and_then(|o| channels.values.get(o)?.get(1)) {
        let axis = axis.clone();
        channels.values.insert(name.clone(), vec![axis]);
    }
    let inputs = &mut graph.nodes[index].inputs;
    inputs.resize(inputs.len().max(3), String::new());
    inputs[2].clone_from(&name);
    graph.constants.insert(name, Constant::Weight(raised));
    Ok(())
}
