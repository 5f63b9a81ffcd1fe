//! Graph to bytes.

use super::bytes::Writer;
use super::graph::put_graph;
use super::section::Section;
use super::tensor::{MAX_ELEMENTS, put_tensor, volume};
use super::weight::put_weight;
use super::{MAGIC, VERSION, max_elements};
use crate::IoError;
use crate::codec::{CodecError, Store};
use rayon::prelude::*;
use secateur_model::{Constant, Graph, ModelError, Tensor};

/// Writes a graph; nodes stand in the file as after [`Graph::sort`].
///
/// # Errors
/// [`IoError::Model`] when the graph is not well formed or too large for the
/// format: 2²⁸ elements in a tensor, in the file what [`read`](super::read) takes.
pub fn write(graph: &Graph, store: Store) -> Result<Vec<u8>, IoError> {
    let invalid = |e| IoError::model(&graph.name, "graph")(e);
    let graph = &*crate::onnx::spell_out(graph)?;
    let elements = count_elements(graph).map_err(&invalid)?;
    let skeleton = skeleton_of(graph).map_err(&invalid)?;
    let mut w = Writer::default();
    put_graph(&mut w, &skeleton);
    let structure = std::mem::take(&mut w.bytes);

    w.size(graph.constants.len());
    let constants: Vec<_> = graph.constants.iter().collect();
    let bodies: Vec<Result<Vec<u8>, IoError>> = constants
        .par_iter()
        .with_max_len(1)
        .map(|(name, constant)| {
            constant_bytes(constant, store).map_err(|e| {
                IoError::malformed(&graph.name, format!("weight `{name}`"), e.to_string())
            })
        })
        .collect();
    for ((name, _), body) in constants.iter().zip(bodies) {
        w.name(name);
        w.bytes.extend(body?);
    }
    let tensors = std::mem::take(&mut w.bytes);

    w.size(graph.metadata.len());
    for (key, value) in &graph.metadata {
        w.blob(key.as_bytes());
        w.blob(value.as_bytes());
    }
    let metadata = std::mem::take(&mut w.bytes);

    let mut names_and_structure = Vec::new();
    w.names.write(&mut names_and_structure);
    names_and_structure.extend(structure);

    let mut file = MAGIC.to_vec();
    file.push(VERSION);
    Section::Graph.write(&mut file, &names_and_structure);
    Section::Tensors.write(&mut file, &tensors);
    Section::Metadata.write(&mut file, &metadata);
    let most = max_elements(file.len());
    if elements > most {
        return Err(invalid(ModelError::Graph(format!(
            "constants have {elements} elements, a file of {} bytes may have {most}",
            file.len()
        ))));
    }
    Ok(file)
}

/// What stands behind a constant's name.
fn constant_bytes(constant: &Constant, store: Store) -> Result<Vec<u8>, CodecError> {
    let mut w = Writer::default();
    match constant {
        Constant::Tensor(tensor) => {
            w.byte(0);
            put_tensor(&mut w, tensor);
        }
        Constant::Weight(weight) => put_weight(&mut w, weight, store)?,
    }
    Ok(w.bytes)
}

/// The graph without its constants' elements, sorted.
fn skeleton_of(graph: &Graph) -> Result<Graph, ModelError> {
    let mut skeleton = Graph {
        name: graph.name.clone(),
        opset: graph.opset,
        other_opsets: graph.other_opsets.clone(),
        inputs: graph.inputs.clone(),
        outputs: graph.outputs.clone(),
        nodes: graph.nodes.clone(),
        constants: graph
            .constants
            .keys()
            .map(|name| (name.clone(), Constant::Tensor(Tensor::scalar_f32(0.0))))
            .collect(),
        ..Graph::default()
    };
    skeleton.sort()?;
    Ok(skeleton)
}

/// Elements of all constants, extents of zero counted as one.
fn count_elements(graph: &Graph) -> Result<usize, ModelError> {
    graph
        .constants
        .iter()
        .try_fold(0, |sum: usize, (name, constant)| {
            let shape = super::shape(constant);
            let elements = volume(shape.dims()).ok_or_else(|| {
                ModelError::Graph(format!(
                    "constant `{name}` of shape {shape} has more than {MAX_ELEMENTS} elements"
                ))
            })?;
            Ok(sum.saturating_add(elements))
        })
}
