//! [`Graph`] to ONNX.

use super::proto::{
    DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::{dtype, export_op, tensor};
use crate::{IoError, file};
use prost::Message;
use secateur_model::{
    Codebook, Constant, Data, Dim, Graph, Node, Op, Scale, Tensor, ValueInfo, Values, Weight,
};
use std::path::Path;

/// The opset that is written where nothing asks for another.
const OPSET: i64 = 21;

/// The graph as the bytes of an ONNX file: f32 weights with zeros in place;
/// integer weights of up to 8 bits (one scale, or one per output channel) and
/// integer codebooks as int8 initialisers behind `DequantizeLinear`.
///
/// ```
/// let net = secateur_model::zoo::build("lenet-300-100", [1, 28, 28], 10, 1)?;
/// let bytes = secateur_io::onnx::write(&net)?;
/// assert_eq!(secateur_io::onnx::read(&bytes, None, "net.onnx")?, net);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Attributes of a carried operator that are no protobuf; more bytes than
/// protobuf allows (2 GiB).
pub fn write(graph: &Graph) -> Result<Vec<u8>, IoError> {
    let mut proto = GraphProto {
        name: graph.name.clone(),
        input: graph.inputs.iter().map(value_info).collect(),
        output: graph.outputs.iter().map(value_info).collect(),
        ..GraphProto::default()
    };
    for (name, constant) in &graph.constants {
        match constant {
            Constant::Tensor(t) => proto.initializer.push(tensor::write(name, t)),
            Constant::Weight(w) => write_weight(graph, name, w, &mut proto)?,
        }
    }
    for node in &graph.nodes {
        write_node(graph, node, &mut proto)?;
    }
    let opset = opset(graph);
    let model = ModelProto {
        ir_version: Some(ir_version(opset)),
        producer_name: "secateur".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(proto),
        opset_import: std::iter::once((String::new(), opset))
            .chain(graph.other_opsets.iter().map(|(d, v)| (d.clone(), *v)))
            .map(|(domain, version)| OperatorSetIdProto { domain, version })
            .collect(),
        metadata_props: graph
            .metadata
            .iter()
            .map(|(key, value)| StringStringEntryProto {
                key: key.clone(),
                value: value.clone(),
            })
            .collect(),
        ..ModelProto::default()
    };
    let size = model.encoded_len();
    if i32::try_from(size).is_err() {
        return Err(IoError::unsupported(
            &graph.name,
            "an ONNX file of this network",
            format!("protobuf ends at 2 GiB, {size} bytes are needed"),
        ));
    }
    Ok(model.encode_to_vec())
}

/// Writes the graph as an ONNX file, under a temporary name first.
///
/// # Errors
/// As [`write()`]; a file that cannot be written.
pub fn save(graph: &Graph, path: impl AsRef<Path>) -> Result<(), IoError> {
    file::replace(path.as_ref(), &write(graph)?)
}

/// Operators that are carried keep their own opset; from 13 on it has the forms
/// of the known ones.
fn opset(graph: &Graph) -> i64 {
    let carries = graph
        .nodes
        .iter()
        .any(|n| matches!(&n.op, Op::Unknown(op) if op.domain.is_empty()));
    if carries { graph.opset.max(13) } else { OPSET }
}

/// The oldest IR version that goes with an opset (ONNX's table of versions).
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=22 => 10,
        23 => 11,
        _ => 12,
    }
}

fn value_info(value: &ValueInfo) -> ValueInfoProto {
    let dim = |dim: &Dim| match dim {
        Dim::Known(n) => DimensionProto {
            dim_value: Some(*n as i64),
            dim_param: None,
        },
        Dim::Named(name) => DimensionProto {
            dim_value: None,
            dim_param: Some(name.clone()),
        },
    };
    let shape = value.dims.as_ref().map(|dims| TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    });
    ValueInfoProto {
        name: value.name.clone(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: dtype::to_code(value.dtype),
                shape,
            }),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn write_weight(
    graph: &Graph,
    name: &str,
    weight: &Weight,
    proto: &mut GraphProto,
) -> Result<(), IoError> {
    let Some((codes, scales)) = int8(weight) else {
        proto
            .initializer
            .push(tensor::write(name, &weight.to_tensor()));
        return Ok(());
    };
    let fail = || IoError::model("export", format!("weight `{name}`"));
    let mut all = vec![0i8; weight.shape().elements()];
    for (position, code) in weight.positions().zip(codes) {
        if let Some(slot) = all.get_mut(position) {
            *slot = code;
        }
    }
    let codes = Tensor::new(weight.shape().clone(), Data::I8(all)).map_err(fail())?;
    let (scale, axis) = match scales {
        Scales::One(scale) => (Tensor::scalar_f32(scale), None),
        Scales::Rows(scales) => (
            Tensor::f32(&[scales.len()], scales.to_vec()).map_err(fail())?,
            Some(export_op::int("axis", 0)),
        ),
    };
    let [codes_name, scale_name, node_name] =
        ["int8", "scale", "dequantize"].map(|part| graph.fresh_name(&format!("{name}.{part}")));
    let initializers: [TensorProto; 2] = [
        tensor::write(&codes_name, &codes),
        tensor::write(&scale_name, &scale),
    ];
    proto.initializer.extend(initializers);
    proto.node.push(NodeProto {
        name: node_name,
        op_type: "DequantizeLinear".into(),
        input: vec![codes_name, scale_name],
        output: vec![name.to_owned()],
        attribute: axis.into_iter().collect(),
        ..NodeProto::default()
    });
    Ok(())
}

enum Scales<'a> {
    One(f32),
    Rows(&'a [f32]),
}

/// The codes of the kept positions and their scales, where int8 holds them.
fn int8(weight: &Weight) -> Option<(Vec<i8>, Scales<'_>)> {
    match weight.values() {
        Values::Int { codes, scale, .. } => {
            let scales = match scale {
                Scale::PerTensor(s) => Scales::One(*s),
                Scale::PerChannel(s) => match s.as_slice() {
                    [one] => Scales::One(*one),
                    rows => Scales::Rows(rows),
                },
                Scale::PerGroup { .. } => return None,
            };
            let codes: Option<Vec<i8>> = codes.iter().map(|&c| i8::try_from(c).ok()).collect();
            Some((codes?, scales))
        }
        Values::Shared {
            codebook:
                Codebook::Int {
                    codes: entries,
                    scale,
                },
            codes,
        } => {
            let codes: Option<Vec<i8>> = codes
                .iter()
                .map(|&c| entries.get(usize::from(c)).copied())
                .collect();
            Some((codes?, Scales::One(*scale)))
        }
        _ => None,
    }
}

fn write_node(graph: &Graph, node: &Node, proto: &mut GraphProto) -> Result<(), IoError> {
    let mut written = NodeProto {
        name: node.name.clone(),
        op_type: node.op.name().to_owned(),
        input: node.inputs.clone(),
        output: node.outputs.clone(),
        attribute: export_op::attributes(&node.op),
        ..NodeProto::default()
    };
    match &node.op {
        Op::Unknown(op) => {
            let carried = NodeProto::decode(op.attributes.as_slice()).map_err(|e| {
                IoError::malformed(&graph.name, format!("node `{}`", node.name), e.to_string())
            })?;
            written.domain = op.domain.clone();
            written.attribute = carried.attribute;
            proto.node.push(written);
        }
        Op::Softmax {
            axis,
            flattened: true,
        } => write_flattened_softmax(graph, written, *axis, proto),
        _ => proto.node.push(written),
    }
    Ok(())
}

/// Before opset 13, Softmax runs over a matrix view; newer opsets say so with
/// Flatten before it and Reshape behind.
fn write_flattened_softmax(graph: &Graph, softmax: NodeProto, axis: i64, proto: &mut GraphProto) {
    let stem = softmax.name.clone();
    let [shape, flat, weights] =
        ["shape", "flat", "softmax"].map(|part| graph.fresh_name(&format!("{stem}.{part}")));
    let node = |op_type: &str, input: Vec<String>, output: Vec<String>, attribute| NodeProto {
        name: match op_type {
            "Softmax" => stem.clone(),
            _ => graph.fresh_name(&format!("{stem}.{}", op_type.to_lowercase())),
        },
        op_type: op_type.into(),
        input,
        output,
        attribute,
        ..NodeProto::default()
    };
    let data = softmax.input;
    proto.node.extend([
        node("Shape", data.clone(), vec![shape.clone()], vec![]),
        node(
            "Flatten",
            data,
            vec![flat.clone()],
            vec![export_op::int("axis", axis)],
        ),
        node(
            "Softmax",
            vec![flat],
            vec![weights.clone()],
            vec![export_op::int("axis", 1)],
        ),
        node("Reshape", vec![weights, shape], softmax.output, vec![]),
    ]);
}
