//! The twin of a compressed network: the same weights as f32, every zero in place and multiplied by,
//! activations as they are computed. What it takes is what the network would without compression.

use crate::network::Network;
use secateur_model::{Constant, Graph, Node, Op, Weight};
use std::collections::{BTreeMap, HashMap};

pub fn of(network: &Network) -> Result<Network, String> {
    let mut graph = network.graph.clone();
    leave_activations(&mut graph);
    for constant in graph.constants.values_mut() {
        if let Constant::Weight(weight) = constant {
            let dense = Weight::dense(weight.shape().clone(), weight.to_f32());
            *weight = dense.map_err(|e| e.to_string())?;
        }
    }
    let bytes = size_of::<f32>() * graph.parameters();
    let twin = Network::new(graph, bytes, BTreeMap::new(), true);
    match &twin.ready {
        Ok(_) => Ok(twin),
        Err(reason) => Err(reason.clone()),
    }
}

/// Takes out what rounds activations: every pair of a quantizer and what undoes it.
fn leave_activations(graph: &mut Graph) {
    let origins = origins(graph);
    for input in graph.nodes.iter_mut().flat_map(|node| &mut node.inputs) {
        // Pairs may follow each other.
        while let Some(origin) = origins.get(input) {
            input.clone_from(origin);
        }
    }
    graph.drop_dead_nodes();
    graph.drop_unused_constants();
}

/// What each value was before a quantizer and what undoes it.
fn origins(graph: &Graph) -> HashMap<String, String> {
    let producers = graph.producers();
    let origin = |undo: &Node| {
        let from = producers.get(undo.input(0)?)?;
        let from = graph.nodes.get(*from)?;
        let pair = matches!(undo.op, Op::DequantizeLinear { .. })
            && matches!(from.op, Op::QuantizeLinear { .. });
        pair.then_some(())?;
        Some((undo.output(0)?.to_owned(), from.input(0)?.to_owned()))
    };
    graph.nodes.iter().filter_map(origin).collect()
}
