//! What a network is, for the page to show.

use crate::network::Network;
use secateur_model::{Op, Weight};
use serde::Serialize;
use std::collections::BTreeMap;

/// A network, as the page is told of it.
#[derive(Serialize)]
pub struct Description<'n> {
    name: &'n str,
    bytes: usize,
    parameters: usize,
    nonzeros: usize,
    /// Extents of its input, if it can be run.
    input: Option<&'n [usize]>,
    /// Why it cannot be run.
    problem: Option<&'n str>,
    /// Whether outputs are probabilities already.
    ends_in_softmax: bool,
    kernels: &'static str,
    metadata: &'n BTreeMap<String, String>,
    weights: Vec<Layer<'n>>,
}

/// A weight.
#[derive(Serialize)]
struct Layer<'n> {
    name: &'n str,
    shape: &'n [usize],
    nonzeros: usize,
    bits: u32,
    /// In the file, where that is known.
    bytes: Option<usize>,
}

pub fn of(network: &Network) -> Description<'_> {
    let graph = &network.graph;
    let ready = network.ready.as_ref();
    Description {
        name: &graph.name,
        bytes: network.bytes,
        parameters: graph.parameters(),
        nonzeros: graph.nonzeros(),
        input: ready.ok().map(|ready| ready.shape.dims()),
        problem: ready.err().map(String::as_str),
        ends_in_softmax: ends_in_softmax(network),
        kernels: secateur_kernels::Isa::best().token(),
        metadata: &graph.metadata,
        weights: graph
            .weights()
            .map(|(name, weight)| layer(network, name, weight))
            .collect(),
    }
}

fn layer<'n>(network: &'n Network, name: &'n str, weight: &'n Weight) -> Layer<'n> {
    Layer {
        name,
        shape: weight.shape().dims(),
        nonzeros: weight.nonzeros(),
        bits: weight.bits(),
        bytes: network.weight_bytes.get(name).copied(),
    }
}

fn ends_in_softmax(network: &Network) -> bool {
    let graph = &network.graph;
    let output = graph.outputs.first().map(|output| output.name.as_str());
    let last = output.and_then(|name| graph.producers().get(name).copied());
    last.is_some_and(|index| matches!(graph.nodes[index].op, Op::Softmax { .. }))
}
