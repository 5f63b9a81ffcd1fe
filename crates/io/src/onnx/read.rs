//! ONNX to [`Graph`].

use super::attributes::Attributes;
use super::names::Names;
use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use super::{
    NEWEST_OPSET, OLDEST_OPSET, contrib, dtype, gemm, import_op, older, parameters, sparse, tensor,
};
use crate::{IoError, file};
use bytes::Bytes;
use prost::Message;
use secateur_model::{Constant, Data, Dim, Graph, Node, Op, Shape, Tensor, UnknownOp, ValueInfo};
use std::collections::HashSet;
use std::path::Path;

/// Reads an ONNX file.
///
/// # Errors
/// As [`read`]; a file that cannot be read.
pub fn load(path: impl AsRef<Path>) -> Result<Graph, IoError> {
    let path = path.as_ref();
    let bytes = file::read(path)?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    read_shared(bytes, Some(folder), &path.display().to_string())
}

/// Reads the bytes of an ONNX file of opset 7 to 24.
///
/// `folder` is where external data lies (`None`: there must be none), `name`
/// is what errors call the file. Operators that are not known are carried.
///
/// # Errors
/// Bytes that are no ONNX model; tensors that contradict their shape, or whose
/// external file is missing, too short or outside the folder; parameters that
/// are not finite; a graph that is not well formed; other opsets, model-local
/// functions, inputs or outputs that are no tensors.
pub fn read(bytes: &[u8], folder: Option<&Path>, name: &str) -> Result<Graph, IoError> {
    read_shared(Bytes::copy_from_slice(bytes), folder, name)
}

/// [`read`], of bytes that the parts of the message may share: tensors are copied
/// once, from the file's pages to their elements.
fn read_shared(bytes: Bytes, folder: Option<&Path>, name: &str) -> Result<Graph, IoError> {
    let length = bytes.len();
    let model = ModelProto::decode(bytes)
        .map_err(|e| IoError::malformed(name, "protobuf", e.to_string()))?;
    let mut graph = Graph {
        metadata: model
            .metadata_props
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect(),
        ..Graph::default()
    };
    for import in model.opset_import {
        if is_default(&import.domain) {
            graph.opset = import.version;
        } else {
            graph.other_opsets.insert(import.domain, import.version);
        }
    }
    let proto = model
        .graph
        .ok_or_else(|| IoError::malformed(name, "model", "it holds no graph"))?;
    if !(OLDEST_OPSET..=NEWEST_OPSET).contains(&graph.opset) {
        let opset = graph.opset;
        return Err(IoError::unsupported(
            name,
            format!("opset {opset}"),
            format!("opsets {OLDEST_OPSET} to {NEWEST_OPSET} are read"),
        ));
    }
    if let Some(function) = model.functions.first() {
        return Err(IoError::unsupported(
            name,
            format!("function `{}`", function.name),
            "functions local to the model are not read; the `onnx` package's \
             `inliner.inline_local_functions` puts them in place",
        ));
    }
    let mut reader = Reader {
        file: name,
        folder,
        names: value_names(&proto),
        node_names: Names::default(),
        sparse: sparse::Budget::of(length),
        graph,
    };
    reader.graph(proto)?;
    let mut graph = reader.graph;
    gemm::turn_weights(&mut graph);
    parameters::fold_dequantized(&mut graph);
    parameters::promote(name, &mut graph)?;
    graph.sort().map_err(IoError::model(name, "graph"))?;
    Ok(graph)
}

/// Reads one serialised `TensorProto` (`.pb`), as ONNX's test data are stored;
/// `name` is what errors call the file.
///
/// # Errors
/// Bytes that are no tensor, or a tensor that contradicts its shape.
pub fn read_tensor(bytes: &[u8], name: &str) -> Result<Tensor, IoError> {
    let proto = TensorProto::decode(bytes)
        .map_err(|e| IoError::malformed(name, "protobuf", e.to_string()))?;
    tensor::read(name, &proto, None)
}

pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) folder: Option<&'a Path>,
    /// Names of all values, so that a new one can differ.
    pub(super) names: Names,
    pub(super) node_names: Names,
    pub(super) sparse: sparse::Budget,
    pub(super) graph: Graph,
}

impl Reader<'_> {
    pub(super) fn graph(&mut self, proto: GraphProto) -> Result<(), IoError> {
        self.graph.name = proto.name;
        for initializer in proto.initializer {
            let tensor = tensor::read(self.file, &initializer, self.folder)?;
            self.constant(initializer.name, tensor)?;
        }
        for initializer in &proto.sparse_initializer {
            let tensor = sparse::read(self.file, initializer, self.folder, &mut self.sparse)?;
            self.constant(sparse::name(initializer).to_owned(), tensor)?;
        }
        // Before IR version 4, initialisers are listed among the inputs too.
        for input in &proto.input {
            if !self.graph.constants.contains_key(&input.name) {
                let info = value_info(self.file, input)?;
                self.graph.inputs.push(info);
            }
        }
        for output in &proto.output {
            let info = value_info(self.file, output)?;
            self.graph.outputs.push(info);
        }
        // Constants first: operators ask for their values in any order.
        let (constants, nodes): (Vec<_>, Vec<_>) = proto
            .node
            .into_iter()
            .partition(|n| is_default(&n.domain) && n.op_type == "Constant");
        let mut carried = Vec::new();
        for node in constants {
            match self.constant_node(&node)? {
                Some((name, tensor)) => self.constant(name, tensor)?,
                None => carried.push(node),
            }
        }
        for node in carried.into_iter().chain(nodes) {
            for node in contrib::spelt_out(node, &mut self.names) {
                self.node(node)?;
            }
        }
        Ok(())
    }

    fn constant(&mut self, name: String, tensor: Tensor) -> Result<(), IoError> {
        let place = format!("tensor `{name}`");
        match self.graph.constants.insert(name, Constant::Tensor(tensor)) {
            None => Ok(()),
            Some(_) => Err(IoError::malformed(self.file, place, "it is defined twice")),
        }
    }

    /// The name and value of a Constant node; `None` where it holds text.
    fn constant_node(&mut self, node: &NodeProto) -> Result<Option<(String, Tensor)>, IoError> {
        let a = Attributes {
            file: self.file,
            node,
        };
        let Some(name) = node.output.first() else {
            return Err(a.malformed("it has no output"));
        };
        let model = || IoError::model(self.file, format!("constant `{name}`"));
        let tensor = if let Some(value) = a.tensor("value")? {
            tensor::read(self.file, value, self.folder)?
        } else if let Some(value) = a.sparse_tensor("sparse_value")? {
            sparse::read(self.file, value, self.folder, &mut self.sparse)?
        } else if a.has("value_float") {
            Tensor::scalar_f32(a.float("value_float", 0.0)?)
        } else if let Some(values) = a.floats("value_floats")? {
            Tensor::f32(&[values.len()], values.to_vec()).map_err(model())?
        } else if a.has("value_int") {
            let value = a.int("value_int", 0)?;
            Tensor::new(Shape::scalar(), Data::I64(vec![value])).map_err(model())?
        } else if let Some(values) = a.ints("value_ints")? {
            Tensor::i64(&[values.len()], values.to_vec()).map_err(model())?
        } else {
            return Ok(None);
        };
        Ok(Some((name.clone(), tensor)))
    }

    fn node(&mut self, proto: NodeProto) -> Result<(), IoError> {
        let known = if is_default(&proto.domain) {
            let a = Attributes {
                file: self.file,
                node: &proto,
            };
            // What an opset does not have is another's operator of the same name.
            import_op::operator(&a, self.graph.opset)?
                .filter(|op| older::since(op) <= self.graph.opset)
        } else {
            None
        };
        let inputs = match &known {
            Some(op) => self.newest_inputs(op, &proto)?,
            None => None,
        };
        let (op, inputs) = match (known, inputs) {
            (Some(op), Some(inputs)) => (op, inputs),
            _ => {
                let carried = unknown(&proto);
                let control = match carried.domain.is_empty() {
                    true => self.control(&proto, &carried)?,
                    false => None,
                };
                control.unwrap_or_else(|| (Op::Unknown(Box::new(carried)), proto.input.clone()))
            }
        };
        let name = self.node_name(&proto);
        self.graph.nodes.push(Node {
            name,
            op,
            inputs,
            outputs: proto.output,
        });
        Ok(())
    }

    /// A known operator's inputs in the newest form: attributes that became
    /// inputs turn into constants. `None` for a Dropout that trains.
    fn newest_inputs(
        &mut self,
        op: &Op,
        proto: &NodeProto,
    ) -> Result<Option<Vec<String>>, IoError> {
        let a = Attributes {
            file: self.file,
            node: proto,
        };
        let opset = self.graph.opset;
        let stem = proto.output.first().map_or("", String::as_str);
        let mut inputs = proto.input.clone();
        match op {
            Op::Clip if opset < 11 => {
                inputs.truncate(1);
                for bound in ["min", "max"] {
                    let name = if a.has(bound) {
                        let value = Tensor::scalar_f32(a.float(bound, 0.0)?);
                        self.made(stem, bound, value)?
                    } else {
                        String::new()
                    };
                    inputs.push(name);
                }
            }
            Op::Pad { .. } if opset < 11 => {
                inputs.truncate(1);
                let pads = a
                    .ints("pads")?
                    .ok_or_else(|| a.malformed("attribute `pads` is missing"))?;
                let pads = self.integers(pads)?;
                inputs.push(self.made(stem, "pads", pads)?);
                let value = Tensor::scalar_f32(a.float("value", 0.0)?);
                inputs.push(self.made(stem, "value", value)?);
            }
            Op::Expand if proto.op_type == "ConstantOfShape" => {
                let value = match a.tensor("value")? {
                    Some(value) => tensor::read(self.file, value, self.folder)?,
                    None => Tensor::scalar_f32(0.0),
                };
                if matches!(value.data(), Data::Opaque { .. }) {
                    return Ok(None);
                }
                let value = value
                    .reshaped(Shape::scalar())
                    .map_err(|_| a.malformed("attribute `value` must be one value"))?;
                inputs.insert(0, self.made(stem, "value", value)?);
            }
            Op::Resize(_) if opset < 11 || proto.op_type == "Upsample" => {
                let scales = match a.floats("scales")? {
                    Some(scales) => {
                        let scales = Tensor::f32(&[scales.len()], scales.to_vec())
                            .map_err(IoError::model(self.file, "scales"))?;
                        self.made(stem, "scales", scales)?
                    }
                    None => inputs
                        .get(1)
                        .cloned()
                        .ok_or_else(|| a.malformed("scales are missing"))?,
                };
                inputs.truncate(1);
                inputs.extend([String::new(), scales]);
            }
            Op::Dft { .. } if opset < 20 => {
                inputs.resize(2, String::new());
                let axis = a.int("axis", 1)?;
                let axis =
                    Tensor::i64(&[], vec![axis]).map_err(IoError::model(self.file, "axis"))?;
                inputs.push(self.made(stem, "axis", axis)?);
            }
            Op::Slice if opset < 10 => {
                inputs.truncate(1);
                for part in ["starts", "ends", "axes"] {
                    if let Some(values) = a.ints(part)? {
                        let values = self.integers(values)?;
                        inputs.push(self.made(stem, part, values)?);
                    } else if part != "axes" {
                        return Err(a.malformed(format!("attribute `{part}` is missing")));
                    }
                }
            }
            Op::Split { .. } if opset < 13 => {
                inputs.truncate(1);
                if let Some(parts) = a.ints("split")? {
                    let parts = self.integers(parts)?;
                    inputs.push(self.made(stem, "split", parts)?);
                }
            }
            Op::TopK { .. } if opset < older::K_IS_AN_INPUT => {
                if !a.has("k") {
                    return Err(a.malformed("attribute `k` is missing"));
                }
                inputs.truncate(1);
                let k = self.integers(&[a.int("k", 0)?])?;
                inputs.push(self.made(stem, "k", k)?);
            }
            Op::Squeeze | Op::Unsqueeze | Op::Reduce { .. } if opset < axes_are_inputs(op) => {
                inputs.truncate(1);
                if let Some(axes) = a.ints("axes")? {
                    let axes = self.integers(axes)?;
                    inputs.push(self.made(stem, "axes", axes)?);
                }
            }
            Op::Dropout => {
                if inputs.get(2).is_some_and(|mode| !self.is_false(mode)) {
                    return Ok(None);
                }
                // How much is dropped matters to those who train the network further.
                let ratio = inputs
                    .get(1)
                    .is_some_and(|name| self.graph.constants.contains_key(name));
                inputs.truncate(if ratio { 2 } else { 1 });
            }
            _ => {}
        }
        Ok(Some(inputs))
    }

    fn integers(&self, values: &[i64]) -> Result<Tensor, IoError> {
        Tensor::i64(&[values.len()], values.to_vec()).map_err(IoError::model(self.file, "axes"))
    }

    /// Whether an optional input is absent or the constant `false`.
    fn is_false(&self, name: &str) -> bool {
        match self.graph.constants.get(name) {
            Some(Constant::Tensor(tensor)) => {
                matches!(tensor.data(), Data::Bool(v) if v.as_slice() == [false])
            }
            _ => name.is_empty(),
        }
    }

    /// Adds a constant made of an attribute; its name.
    fn made(&mut self, stem: &str, part: &str, value: Tensor) -> Result<String, IoError> {
        let name = self.names.fresh(format!("{stem}.{part}"));
        self.constant(name.clone(), value)?;
        Ok(name)
    }

    fn node_name(&mut self, proto: &NodeProto) -> String {
        let stem = match (proto.name.as_str(), proto.output.first()) {
            ("", Some(output)) => format!("{output}.{}", proto.op_type),
            ("", None) => proto.op_type.clone(),
            (name, _) => name.to_owned(),
        };
        self.node_names.fresh(stem)
    }
}

/// The opset in which an operator takes its axes as an input.
fn axes_are_inputs(op: &Op) -> i64 {
    match op {
        Op::Reduce { kind, .. } => older::axes_are_inputs(*kind),
        _ => older::NEWER,
    }
}

fn is_default(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

fn value_names(proto: &GraphProto) -> Names {
    let mut graphs = vec![proto];
    let mut names = Vec::new();
    while let Some(graph) = graphs.pop() {
        names.extend(names_of(graph));
        let attributes = graph.node.iter().flat_map(|n| &n.attribute);
        graphs.extend(attributes.flat_map(|a| a.g.iter().chain(&a.graphs)));
    }
    names.into_iter().collect()
}

/// Names of the values of a graph, but for those of its inner graphs.
fn names_of(proto: &GraphProto) -> impl Iterator<Item = String> {
    let initializers = proto.initializer.iter().map(|t| &t.name);
    let sparse = proto.sparse_initializer.iter().map(sparse::name);
    let inputs = proto.input.iter().map(|v| &v.name);
    let outputs = proto.node.iter().flat_map(|n| &n.output);
    let names = initializers.chain(inputs).chain(outputs);
    names.cloned().chain(sparse.map(str::to_owned))
}

fn value_info(file: &str, proto: &ValueInfoProto) -> Result<ValueInfo, IoError> {
    let place = format!("value `{}`", proto.name);
    let Some(tensor) = proto.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
        return Err(IoError::unsupported(file, place, "it is no tensor"));
    };
    let dtype = dtype::from_code(tensor.elem_type).ok_or_else(|| {
        let reason = format!("element type {} does not exist", tensor.elem_type);
        IoError::malformed(file, place, reason)
    })?;
    let dims = tensor.shape.as_ref().map(|shape| {
        shape
            .dim
            .iter()
            .enumerate()
            .map(|(axis, dim)| match (dim.dim_value, &dim.dim_param) {
                // Paddle writes `?` for any extent that it does not know.
                (_, Some(name)) if !name.is_empty() && name != "?" => Dim::Named(name.clone()),
                (Some(n), _) if n >= 0 => Dim::Known(n as usize),
                _ => Dim::Named(format!("{}.{axis}", proto.name)),
            })
            .collect()
    });
    Ok(ValueInfo {
        name: proto.name.clone(),
        dtype,
        dims,
    })
}

fn unknown(proto: &NodeProto) -> UnknownOp {
    let attributes = NodeProto {
        attribute: proto.attribute.clone(),
        ..NodeProto::default()
    };
    let mut captures = Vec::new();
    captured(&proto.attribute, &HashSet::new(), &mut captures);
    let mut seen = HashSet::new();
    captures.retain(|name| seen.insert(name.clone()));
    let default = is_default(&proto.domain);
    UnknownOp {
        domain: if default {
            String::new()
        } else {
            proto.domain.clone()
        },
        op_type: proto.op_type.clone(),
        attributes: attributes.encode_to_vec(),
        captures,
    }
}

/// Collects what the attributes' subgraphs read but do not define.
pub(super) fn captured(
    attributes: &[AttributeProto],
    outer: &HashSet<&str>,
    found: &mut Vec<String>,
) {
    for graph in attributes.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
        let mut defined = outer.clone();
        defined.extend(graph.input.iter().map(|v| v.name.as_str()));
        defined.extend(graph.initializer.iter().map(|t| t.name.as_str()));
        let sparse = graph.sparse_initializer.iter();
        defined.extend(sparse.filter_map(|s| Some(s.values.as_ref()?.name.as_str())));
        defined.extend(
            graph
                .node
                .iter()
                .flat_map(|n| &n.output)
                .map(String::as_str),
        );
        let reads = graph.node.iter().flat_map(|n| &n.input);
        let outputs = graph.output.iter().map(|v| &v.name);
        for name in reads.chain(outputs) {
            if !name.is_empty() && !defined.contains(name.as_str()) {
                found.push(name.clone());
            }
        }
        for node in &graph.node {
            captured(&node.attribute, &defined, found);
        }
    }
}
