//! [`Graph`] to ONNX.

use super::names::Names;
use super::proto::{
    DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::{OLDEST_OPSET, control, dtype, export_op, older, qdq, tensor};
use crate::{IoError, file};
use prost::Message;
use secateur_model::ops::GridMode;
use secateur_model::{Constant, Dim, Graph, Node, Op, ValueInfo};
use std::path::Path;

/// The oldest opset that a network of known operators is written in.
const OPSET: i64 = 21;

/// The graph as the bytes of an ONNX file, zeros of pruned weights in place.
///
/// Integer weights of up to 8 bits (one scale, or one per output channel) and
/// integer codebooks are int8 behind `DequantizeLinear`; the bias of a layer
/// whose input is quantized is int32, scaled by `scale_x · scale_w`; operators
/// that only move codes are followed by a QuantizeLinear and DequantizeLinear
/// pair. All other weights are f32, and so are all of a network that carries
/// operators of an opset before 13, which has no scales for each channel.
///
/// ```
/// let net = secateur_model::zoo::build("lenet-300-100", [1, 28, 28], 10, 1)?;
/// let bytes = secateur_io::onnx::write(&net)?;
/// assert_eq!(secateur_io::onnx::read(&bytes, None, "net.onnx")?, net);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A graph that is not well formed; attributes of a carried operator that are
/// no protobuf; a known operator in a form that the opset of the carried ones
/// does not have; more bytes than
/// protobuf allows (2 GiB).
pub fn write(graph: &Graph) -> Result<Vec<u8>, IoError> {
    let graph = &*control::spell_out(graph)?;
    let opset = opset(graph);
    older::check(graph, opset)?;
    let integers = opset >= older::NEWER;
    let graph = &qdq::spell_out(graph, integers).map_err(IoError::model(&graph.name, "graph"))?;
    let mut names = Names::of(graph);
    let mut proto = GraphProto {
        name: graph.name.clone(),
        input: graph.inputs.iter().map(value_info).collect(),
        output: graph.outputs.iter().map(value_info).collect(),
        ..GraphProto::default()
    };
    for (name, constant) in &graph.constants {
        proto.initializer.push(match constant {
            Constant::Tensor(tensor) => tensor::write(name, tensor),
            Constant::Weight(weight) => tensor::write(name, &weight.to_tensor()),
        });
    }
    for node in &graph.nodes {
        write_node(graph, node, opset, &mut names, &mut proto)?;
    }
    if opset < older::AXES_ARE_INPUTS {
        older::rewrite(graph, &mut proto, opset)?;
    }
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

/// Operators that are carried keep their own opset: what they mean in another
/// is not known here.
fn opset(graph: &Graph) -> i64 {
    let carries = graph
        .nodes
        .iter()
        .any(|n| matches!(&n.op, Op::Unknown(op) if op.domain.is_empty()));
    if carries && graph.opset >= OLDEST_OPSET {
        graph.opset
    } else {
        let needed = graph.nodes.iter().map(|n| older::since(&n.op)).max();
        graph.opset.max(OPSET).max(needed.unwrap_or(0))
    }
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

fn write_node(
    graph: &Graph,
    node: &Node,
    opset: i64,
    names: &mut Names,
    proto: &mut GraphProto,
) -> Result<(), IoError> {
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
        Op::Hardmax {
            axis,
            flattened: true,
        }
        | Op::LogSoftmax {
            axis,
            flattened: true,
        }
        | Op::Softmax {
            axis,
            flattened: true,
        } if opset >= older::NEWER => write_flattened_softmax(names, written, *axis, proto),
        Op::Split { .. } if opset < older::COUNTS_PARTS => {
            written.attribute.retain(|a| a.name != "num_outputs");
            proto.node.push(written);
        }
        Op::RoiAlign(_) if opset < older::ALIGNS_CENTERS => {
            let name = "coordinate_transformation_mode";
            written.attribute.retain(|a| a.name != name);
            proto.node.push(written);
        }
        Op::GridSample { mode, .. } if opset < older::SAMPLES_GRIDS => {
            written.attribute.retain(|a| a.name != "mode");
            written.attribute.push(export_op::string(
                "mode",
                match mode {
                    GridMode::Linear => "bilinear",
                    GridMode::Nearest => "nearest",
                    GridMode::Cubic => "bicubic",
                },
            ));
            proto.node.push(written);
        }
        _ => proto.node.push(written),
    }
    Ok(())
}

/// Before opset 13, Softmax and its like run over a matrix view; newer opsets say so with
/// Flatten before it and Reshape behind.
fn write_flattened_softmax(
    names: &mut Names,
    softmax: NodeProto,
    axis: i64,
    proto: &mut GraphProto,
) {
    let (stem, kind) = (softmax.name.clone(), softmax.op_type);
    let [shape, flat, weights] =
        ["shape", "flat", "softmax"].map(|part| names.fresh(format!("{stem}.{part}")));
    let mut node = |op_type: &str, input: Vec<String>, output: Vec<String>, attribute| NodeProto {
        name: match op_type {
            name if name == kind => stem.clone(),
            _ => names.fresh(format!("{stem}.{}", op_type.to_lowercase())),
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
            &kind,
            vec![flat],
            vec![weights.clone()],
            vec![export_op::int("axis", 1)],
        ),
        node("Reshape", vec![weights, shape], softmax.output, vec![]),
    ]);
}
