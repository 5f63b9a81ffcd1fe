//! The forms of operators before opset 13, for networks that carry operators of
//! such an opset: what newer opsets say in inputs stands in attributes.

use super::attributes::kind;
use super::export_op;
use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use crate::IoError;
use secateur_model::ops::{Aspect, Coordinates, Interpolation, Resize, Rounding};
use secateur_model::{Data, Graph, Op, ScatterReduction};
use std::collections::HashSet;

/// The opset whose forms the graph's known operators have; older ones differ.
pub(super) const NEWER: i64 = 13;
/// The opset in which Clip and Pad take inputs.
const BOUNDS_ARE_INPUTS: i64 = 11;
/// The opset that has QuantizeLinear and DequantizeLinear.
const QUANTIZES: i64 = 10;

/// The opset in which Slice takes inputs.
const SLICES_BY_INPUTS: i64 = 10;
/// The opset in which Upsample takes inputs.
const UPSAMPLES_BY_INPUTS: i64 = 9;
/// The opset in which Upsample became Resize.
const RESIZES: i64 = 10;
/// The opset whose Resize has modes of positions and rounding.
const RESIZES_SMOOTHLY: i64 = 11;
/// The opset in which Scatter became ScatterElements.
const SCATTERS_ELEMENTS: i64 = 11;
/// The opset in which Split has the number of its parts as an attribute.
pub(super) const COUNTS_PARTS: i64 = 18;

/// The opset in which GridSample names its modes for any number of axes.
pub(super) const SAMPLES_GRIDS: i64 = 20;
/// The opset in which RoiAlign says where the centres of cells are.
pub(super) const ALIGNS_CENTERS: i64 = 16;

/// Refuses what an older opset cannot say.
pub(super) fn check(graph: &Graph, opset: i64) -> Result<(), IoError> {
    for node in &graph.nodes {
        let needed = match node.op {
            Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. } => QUANTIZES,
            Op::Softmax {
                axis,
                flattened: false,
            } if axis != -1 => NEWER,
            _ => since(&node.op),
        };
        if opset < needed {
            return Err(IoError::unsupported(
                &graph.name,
                format!("node `{}` ({})", node.name, node.op.name()),
                format!(
                    "it needs opset {needed}, and the network carries operators of opset {opset}"
                ),
            ));
        }
    }
    Ok(())
}

/// The opset that first has the operator in the form that is written.
fn since(op: &Op) -> i64 {
    match op {
        Op::Expand => 8,
        Op::MaxUnpool { .. }
        | Op::Compress { .. }
        | Op::EyeLike { .. }
        | Op::NonZero
        | Op::OneHot { .. } => 9,
        Op::ConvInteger { .. }
        | Op::MatMulInteger
        | Op::NonMaxSuppression { .. }
        | Op::ReverseSequence { .. } => 10,
        Op::DepthToSpace {
            channel_first: true,
            ..
        }
        | Op::DynamicQuantizeLinear
        | Op::Det
        | Op::GatherElements { .. }
        | Op::GatherND { batch_dims: 0 }
        | Op::Range
        | Op::Unique { .. } => 11,
        Op::ScatterElements { reduction, .. } => match reduction {
            ScatterReduction::None => 9,
            ScatterReduction::Add | ScatterReduction::Mul => 16,
            ScatterReduction::Max | ScatterReduction::Min => 18,
        },
        Op::ScatterND { reduction } => match reduction {
            ScatterReduction::None => 11,
            ScatterReduction::Add | ScatterReduction::Mul => 16,
            ScatterReduction::Max | ScatterReduction::Min => 18,
        },
        Op::RoiAlign(align) if align.half_pixel => 16,
        Op::RoiAlign(_) => 10,
        Op::Einsum { .. } | Op::GatherND { .. } => 12,
        Op::Recurrent(layer) if layer.batch_first => 14,
        Op::Resize(resize) => resizes(resize),
        Op::Trilu { .. } => 14,
        Op::GridSample { .. } => 16,
        Op::CosineWindow { .. } => 17,
        Op::CenterCropPad { .. } | Op::Col2Im { .. } => 18,
        Op::DeformConv { .. } => 19,
        Op::AffineGrid { .. } | Op::Dft { .. } => 20,
        Op::TensorScatter { .. } => 24,
        _ => 0,
    }
}

fn resizes(resize: &Resize) -> i64 {
    let plain = matches!(
        resize.interpolation,
        Interpolation::Nearest(Rounding::Floor) | Interpolation::Linear
    );
    match resize {
        r if r.coordinates == Coordinates::HalfPixelSymmetric => 19,
        r if r.antialias || r.aspect != Aspect::Stretch || !r.axes.is_empty() => 18,
        r if plain && r.coordinates == Coordinates::Asymmetric && !r.exclude_outside => 7,
        _ => RESIZES_SMOOTHLY,
    }
}

/// Resize as Resize of opset 10 or Upsample, scaled by input 1.
fn upsample(node: &mut NodeProto, opset: i64) -> bool {
    if opset < RESIZES {
        node.op_type = "Upsample".into();
    }
    node.attribute.retain(|a| a.name == "mode");
    // Neither a region nor sizes can be said.
    let said = |input: Option<&String>| input.is_some_and(|name| !name.is_empty());
    if said(node.input.get(1)) || said(node.input.get(3)) || node.input.len() < 3 {
        return false;
    }
    node.input.truncate(3);
    node.input.remove(1);
    true
}

/// Puts inputs back into attributes, and drops the constants that they were.
pub(super) fn rewrite(graph: &Graph, proto: &mut GraphProto, opset: i64) -> Result<(), IoError> {
    let file = graph.name.as_str();
    let mut moved = HashSet::new();
    for node in &mut proto.node {
        if !node.domain.is_empty() {
            continue;
        }
        if node.op_type == "ScatterElements" && opset < SCATTERS_ELEMENTS {
            node.op_type = "Scatter".into();
        }
        let resizes = node.op_type == "Resize" && opset < RESIZES_SMOOTHLY;
        if resizes && !upsample(node, opset) {
            return Err(no_form(file, node, opset));
        }
        let parts: &[&str] = match node.op_type.as_str() {
            "Clip" if opset < BOUNDS_ARE_INPUTS => &["min", "max"],
            "Pad" if opset < BOUNDS_ARE_INPUTS => &["pads", "value"],
            "Slice" if opset < SLICES_BY_INPUTS => &["starts", "ends", "axes"],
            "Split" => &["split"],
            "Squeeze" | "Unsqueeze" => &["axes"],
            "Upsample" if opset < UPSAMPLES_BY_INPUTS => &["scales"],
            _ => continue,
        };
        if node.input.len() > 1 + parts.len() {
            return Err(no_form(file, node, opset));
        }
        let inputs = node.input.split_off(node.input.len().min(1));
        for (part, input) in parts.iter().zip(inputs).filter(|(_, i)| !i.is_empty()) {
            let constant = proto.initializer.iter().find(|t| t.name == input);
            let attribute = constant
                .and_then(|tensor| attribute(file, part, tensor))
                .ok_or_else(|| no_form(file, node, opset))?;
            node.attribute.push(attribute);
            moved.insert(input);
        }
    }
    for name in proto.node.iter().flat_map(|n| &n.input) {
        moved.remove(name);
    }
    for output in &proto.output {
        moved.remove(&output.name);
    }
    // Subgraphs of carried operators read constants by name alone.
    for node in &graph.nodes {
        if let Op::Unknown(unknown) = &node.op {
            unknown.captures.iter().for_each(|name| {
                moved.remove(name);
            });
        }
    }
    proto.initializer.retain(|t| !moved.contains(&t.name));
    Ok(())
}

fn no_form(file: &str, node: &NodeProto, opset: i64) -> IoError {
    IoError::unsupported(
        file,
        format!("node `{}` ({})", node.name, node.op_type),
        format!("its inputs are not constant, as opset {opset} needs them"),
    )
}

/// A constant as an attribute: integers as a list, one f32 as a number.
fn attribute(file: &str, name: &str, tensor: &TensorProto) -> Option<AttributeProto> {
    match super::tensor::read(file, tensor, None).ok()?.data() {
        Data::I64(values) => Some(AttributeProto {
            name: name.into(),
            r#type: kind::INTS,
            ints: values.clone(),
            ..AttributeProto::default()
        }),
        Data::F32(values) if name == "scales" => Some(AttributeProto {
            name: name.into(),
            r#type: kind::FLOATS,
            floats: values.clone(),
            ..AttributeProto::default()
        }),
        Data::F32(values) => match values.as_slice() {
            [value] => Some(export_op::float(name, *value)),
            _ => None,
        },
        _ => None,
    }
}
