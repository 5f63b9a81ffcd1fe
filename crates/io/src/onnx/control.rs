//! If and Loop: the graphs in their attributes, which are read, and written as they came.

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorTypeProto, TypeProto};
use super::read::{Reader, captured};
use super::{dtype, gemm, parameters, sparse};
use crate::IoError;
use prost::Message;
use secateur_model::{Control, DType, Flow, Graph, Node, Op, UnknownOp};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

impl Reader<'_> {
    /// An If or a Loop whose inner graphs can be read, with all that it reads as its
    /// inputs; `None` where it is carried as it came.
    pub(super) fn control(
        &mut self,
        proto: &NodeProto,
        carried: &UnknownOp,
    ) -> Result<Option<(Op, Vec<String>)>, IoError> {
        let inner = |name: &str| {
            let found = proto.attribute.iter().find(|a| a.name == name);
            found.and_then(|a| a.g.as_ref())
        };
        let known: HashSet<String> = carried.captures.iter().cloned().collect();
        let mut graph = |name| match inner(name) {
            Some(inner) => self.inner(inner, &known),
            None => Ok(None),
        };
        let flow = match proto.op_type.as_str() {
            "If" => match (graph("then_branch")?, graph("else_branch")?) {
                (Some(then), Some(otherwise)) => Flow::If { then, otherwise },
                _ => return Ok(None),
            },
            "Loop" => match graph("body")? {
                Some(body) => Flow::Loop { body },
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let mut inputs = proto.input.clone();
        if inputs.len() > flow.parameters() {
            return Ok(None);
        }
        inputs.resize(flow.parameters(), String::new());
        inputs.extend(carried.captures.iter().cloned());
        let control = Control {
            flow,
            captures: carried.captures.clone(),
            carried: carried.clone(),
        };
        Ok(Some((Op::Control(Box::new(control)), inputs)))
    }

    /// A graph that reads values of those around it; `None` where it holds what is not read.
    fn inner(
        &mut self,
        proto: &GraphProto,
        outer: &HashSet<String>,
    ) -> Result<Option<Graph>, IoError> {
        let mut reader = Reader {
            file: self.file,
            folder: self.folder,
            names: std::mem::take(&mut self.names),
            node_names: std::mem::take(&mut self.node_names),
            sparse: std::mem::replace(&mut self.sparse, sparse::Budget::of(0)),
            graph: Graph {
                opset: self.graph.opset,
                ..Graph::default()
            },
        };
        let mut proto = proto.clone();
        // What an inner graph gives may go without a type; nothing but the type of
        // an empty list of slices hangs on it.
        for output in &mut proto.output {
            let declared = output.r#type.take();
            let declared = declared.filter(|t| *t != TypeProto::default());
            output.r#type = Some(declared.unwrap_or_else(|| TypeProto {
                tensor_type: Some(TensorTypeProto {
                    elem_type: dtype::to_code(DType::F32),
                    shape: None,
                }),
                ..TypeProto::default()
            }));
        }
        let read = reader.graph(proto);
        self.names = reader.names;
        self.node_names = reader.node_names;
        self.sparse = reader.sparse;
        match read {
            Err(IoError::Unsupported { .. }) => return Ok(None),
            other => other?,
        }
        let mut graph = reader.graph;
        gemm::turn_weights(&mut graph);
        parameters::fold_dequantized(&mut graph);
        parameters::promote(self.file, &mut graph)?;
        let place = format!("graph `{}`", graph.name);
        graph
            .sort_within(outer)
            .map_err(IoError::model(self.file, place))?;
        Ok(Some(graph))
    }
}

/// The graph with every If and Loop as ONNX has it: its own inputs, and inner
/// graphs that read the rest by name.
///
/// # Errors
/// Attributes that are no protobuf.
pub(crate) fn spell_out(graph: &Graph) -> Result<Cow<'_, Graph>, IoError> {
    if !graph.nodes.iter().any(|n| matches!(n.op, Op::Control(_))) {
        return Ok(Cow::Borrowed(graph));
    }
    let mut spelled = graph.clone();
    for node in &mut spelled.nodes {
        if let Op::Control(control) = &node.op {
            let (inputs, op) = carried(&graph.name, node, control)?;
            node.inputs = inputs;
            node.op = Op::Unknown(Box::new(op));
        }
    }
    Ok(Cow::Owned(spelled))
}

fn carried(
    file: &str,
    node: &Node,
    control: &Control,
) -> Result<(Vec<String>, UnknownOp), IoError> {
    let own = control.flow.parameters().min(node.inputs.len());
    let (own, outer) = node.inputs.split_at(own);
    let mut own = own.to_vec();
    while own.last().is_some_and(String::is_empty) {
        own.pop();
    }
    let mut op = control.carried.clone();
    let renamed: BTreeMap<&str, &str> = control
        .captures
        .iter()
        .zip(outer)
        .filter(|(inner, outer)| inner != outer)
        .map(|(inner, outer)| (inner.as_str(), outer.as_str()))
        .collect();
    if !renamed.is_empty() {
        let mut proto = NodeProto::decode(op.attributes.as_slice()).map_err(|e| {
            IoError::malformed(file, format!("node `{}`", node.name), e.to_string())
        })?;
        rename(&mut proto.attribute, &renamed);
        op.attributes = proto.encode_to_vec();
    }
    op.captures = outer.to_vec();
    Ok((own, op))
}

/// Gives the values that inner graphs capture other names.
fn rename(attributes: &mut [AttributeProto], names: &BTreeMap<&str, &str>) {
    for graph in attributes
        .iter_mut()
        .flat_map(|a| a.g.iter_mut().chain(&mut a.graphs))
    {
        for node in &mut graph.node {
            for input in &mut node.input {
                if let Some(name) = names.get(input.as_str()) {
                    *input = (*name).to_owned();
                }
            }
            rename(&mut node.attribute, names);
        }
        for output in &mut graph.output {
            if let Some(name) = names.get(output.name.as_str()) {
                output.name = (*name).to_owned();
            }
        }
    }
}

/// Reads the inner graphs of nodes that were written by [`spell_out`].
///
/// # Errors
/// Inner graphs that are not well formed.
pub(crate) fn revive(file: &str, graph: &mut Graph) -> Result<(), IoError> {
    let flows = |op: &UnknownOp| op.domain.is_empty() && matches!(&*op.op_type, "If" | "Loop");
    let mut bytes = 0;
    let mut found = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if let Op::Unknown(op) = &node.op
            && flows(op)
        {
            bytes += op.attributes.len();
            found.push(index);
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let mut reader = Reader {
        file,
        folder: None,
        names: super::names::Names::of(graph),
        node_names: super::names::Names::default(),
        sparse: sparse::Budget::of(bytes),
        graph: Graph {
            opset: graph.opset,
            ..Graph::default()
        },
    };
    for index in found {
        let node = &mut graph.nodes[index];
        let Op::Unknown(op) = &mut node.op else {
            continue;
        };
        let mut proto = NodeProto::decode(op.attributes.as_slice()).map_err(|e| {
            IoError::malformed(file, format!("node `{}`", node.name), e.to_string())
        })?;
        proto.op_type.clone_from(&op.op_type);
        proto.input.clone_from(&node.inputs);
        let mut reads = Vec::new();
        captured(&proto.attribute, &HashSet::new(), &mut reads);
        let mut seen = HashSet::new();
        reads.retain(|name| seen.insert(name.clone()));
        op.captures = reads;
        let carried = op.clone();
        if let Some((op, inputs)) = reader.control(&proto, &carried)? {
            node.op = op;
            node.inputs = inputs;
        }
    }
    Ok(())
}
