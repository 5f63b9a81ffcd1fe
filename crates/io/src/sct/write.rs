//! Graph to bytes.

use super::bytes::Writer;
use super::graph::put_graph;
use super::section::Section;
use super::tensor::{MAX_ELEMENTS, put_tensor, volume};
use super::weight::put_weight;
use super::{MAGIC, PACKED, PLAIN, max_elements, pack};
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
    let graph = &*super::flow::spell_out(graph)?;
    let elements = count_elements(graph).map_err(&invalid)?;
    let skeleton = skeleton_of(graph).map_err(&invalid)?;
    let mut w = Writer::default();
    put_graph(&mut w, &skeleton);
    let structure = std::mem::take(&mut w.bytes);

    let constants: Vec<_> = graph.constants.iter().collect();
    let bodies: Vec<Result<Body, IoError>> = constants
        .par_iter()
        .with_max_len(1)
        .map(|(name, constant)| {
            Body::of(constant, store).map_err(|e| {
                IoError::malformed(&graph.name, format!("weight `{name}`"), e.to_string())
            })
        })
        .collect();
    let mut named = Vec::with_capacity(bodies.len());
    for ((name, _), body) in constants.into_iter().zip(bodies) {
        named.push((w.names.id(name), body?));
    }

    w.size(graph.metadata.len());
    for (key, value) in &graph.metadata {
        w.blob(key.as_bytes());
        w.blob(value.as_bytes());
    }
    let metadata = std::mem::take(&mut w.bytes);

    let mut names_and_structure = Vec::new();
    w.names.write(&mut names_and_structure);
    names_and_structure.extend(structure);

    let packed = match store {
        Store::Smallest => packed(&names_and_structure, &named, &metadata),
        Store::Small | Store::Fast => None,
    };
    let file = packed.unwrap_or_else(|| plain(&names_and_structure, &named, &metadata));
    let most = max_elements(file.len());
    if elements > most {
        return Err(invalid(ModelError::Graph(format!(
            "constants have {elements} elements, a file of {} bytes may have {most}",
            file.len()
        ))));
    }
    Ok(file)
}

/// What stands behind a constant's name; its coded plane, if it has one, between the two.
struct Body {
    before: Vec<u8>,
    plane: Option<Vec<u8>>,
    behind: Vec<u8>,
}

impl Body {
    fn of(constant: &Constant, store: Store) -> Result<Self, CodecError> {
        let mut w = Writer::default();
        match constant {
            Constant::Tensor(tensor) => {
                w.byte(0);
                put_tensor(&mut w, tensor);
            }
            Constant::Weight(weight) => put_weight(&mut w, weight, store)?,
        }
        let mut before = w.bytes;
        let (at, plane) = w.plane.unzip();
        let behind = at.map_or_else(Vec::new, |at| before.split_off(at));
        Ok(Self {
            before,
            plane,
            behind,
        })
    }
}

/// A file of three sections, planes where they belong.
fn plain(structure: &[u8], constants: &[(usize, Body)], metadata: &[u8]) -> Vec<u8> {
    let mut tensors = Writer::default();
    tensors.size(constants.len());
    for (name, body) in constants {
        tensors.size(*name);
        tensors.bytes.extend(&body.before);
        if let Some(plane) = &body.plane {
            tensors.blob(plane);
        }
        tensors.bytes.extend(&body.behind);
    }
    let mut file = MAGIC.to_vec();
    file.push(PLAIN);
    Section::Graph.write(&mut file, structure);
    Section::Tensors.write(&mut file, &tensors.bytes);
    Section::Metadata.write(&mut file, metadata);
    file
}

/// A file whose sections are packed, planes apart; none where they are too long for that, or
/// would be no shorter.
fn packed(structure: &[u8], constants: &[(usize, Body)], metadata: &[u8]) -> Option<Vec<u8>> {
    let mut tensors = Writer::default();
    tensors.size(constants.len());
    let mut planes: Vec<u8> = Vec::new();
    for (name, body) in constants {
        tensors.size(*name);
        tensors.bytes.extend(&body.before);
        if let Some(plane) = &body.plane {
            tensors.size(plane.len());
            planes.extend(plane);
        }
        tensors.bytes.extend(&body.behind);
    }
    let mut sections = Writer::default();
    sections.blob(structure);
    sections.blob(&tensors.bytes);
    sections.bytes.extend(metadata);
    if sections.bytes.len() > pack::MAX_BYTES {
        return None;
    }
    let packed = pack::pack(&sections.bytes);
    if packed.len() > sections.bytes.len() {
        return None;
    }
    let mut file = Writer::default();
    file.bytes.extend(MAGIC);
    file.byte(PACKED);
    file.size(sections.bytes.len());
    file.blob(&packed);
    file.bytes.extend(planes);
    let crc = crc32fast::hash(&file.bytes);
    file.bytes.extend(crc.to_le_bytes());
    Some(file.bytes)
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
