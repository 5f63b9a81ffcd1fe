//! The forms of operators in older opsets, for networks that carry operators of
//! such an opset: what newer opsets say in inputs stands in attributes.

use super::attributes::kind;
use super::export_op;
use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use crate::IoError;
use secateur_model::ops::{Aspect, Coordinates, Interpolation, Resize, Rounding};
use secateur_model::{Data, Family, Graph, Op, Reduction, ScatterReduction};
use std::collections::HashSet;

/// The opset of scales for each channel, of Softmax along one axis, and of Squeeze
/// and ReduceSum with axes as inputs.
pub(super) const NEWER: i64 = 13;
/// The opset in which all reductions take their axes as an input.
pub(super) const AXES_ARE_INPUTS: i64 = 18;
/// The opset in which TopK takes `k` as an input.
pub(super) const K_IS_AN_INPUT: i64 = 10;
/// The opset in which Clip and Pad take inputs.
const BOUNDS_ARE_INPUTS: i64 = 11;
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
/// Operators that came, or took the form that the graph has, after opset 7.
const SINCE: &[(&str, i64)] = &[
    ("Acosh", 9),
    ("AffineGrid", 20),
    ("Asinh", 9),
    ("Atanh", 9),
    ("Attention", 23),
    ("BitShift", 11),
    ("BitwiseAnd", 18),
    ("BitwiseNot", 18),
    ("BitwiseOr", 18),
    ("BitwiseXor", 18),
    ("BlackmanWindow", 17),
    ("CastLike", 15),
    ("Celu", 12),
    ("CenterCropPad", 18),
    ("Col2Im", 18),
    ("Compress", 9),
    ("ConvInteger", 10),
    ("Cosh", 9),
    ("CumSum", 11),
    // With its axis as an attribute, which is read; see `needed`.
    ("DFT", 17),
    ("DeformConv", 19),
    ("DequantizeLinear", 10),
    ("Det", 11),
    ("DynamicQuantizeLinear", 11),
    ("Einsum", 12),
    ("Erf", 9),
    ("Expand", 8),
    ("EyeLike", 9),
    ("GatherElements", 11),
    ("GatherND", 11),
    ("Gelu", 20),
    ("GreaterOrEqual", 12),
    ("GridSample", 16),
    // Before, scale and bias were of the groups.
    ("GroupNormalization", 21),
    ("HammingWindow", 17),
    ("HannWindow", 17),
    ("HardSwish", 14),
    ("IsInf", 10),
    ("IsNaN", 9),
    ("LayerNormalization", 17),
    ("LessOrEqual", 12),
    ("MatMulInteger", 10),
    ("MaxUnpool", 9),
    ("MeanVarianceNormalization", 9),
    ("Mish", 18),
    ("Mod", 10),
    ("NegativeLogLikelihoodLoss", 12),
    ("NonMaxSuppression", 10),
    ("NonZero", 9),
    ("OneHot", 9),
    ("QuantizeLinear", 10),
    ("RMSNormalization", 23),
    ("Range", 11),
    ("ReverseSequence", 10),
    ("RoiAlign", 10),
    ("RotaryEmbedding", 23),
    ("Round", 11),
    // As Scatter.
    ("ScatterElements", 9),
    ("ScatterND", 11),
    ("Shrink", 9),
    ("Sign", 9),
    ("Sinh", 9),
    ("SoftmaxCrossEntropyLoss", 12),
    ("Swish", 24),
    ("TensorScatter", 24),
    ("ThresholdedRelu", 10),
    ("Trilu", 14),
    ("Unique", 11),
    ("Where", 9),
];

/// The opset in which a reduction takes its axes as an input.
pub(super) fn axes_are_inputs(kind: Reduction) -> i64 {
    match kind {
        Reduction::Sum => NEWER,
        _ => AXES_ARE_INPUTS,
    }
}

/// The oldest opset that has a known operator in the graph's form.
pub(super) fn since(op: &Op) -> i64 {
    match op {
        Op::Control(_) | Op::Unknown(_) => 0,
        op => SINCE
            .iter()
            .find(|(name, _)| *name == op.name())
            .map_or(0, |(_, opset)| *opset),
    }
}

/// Refuses what an older opset cannot say.
pub(super) fn check(graph: &Graph, opset: i64) -> Result<(), IoError> {
    for node in &graph.nodes {
        let needed = needed(&node.op);
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

/// The oldest opset that can say what an operator's attributes hold.
fn needed(op: &Op) -> i64 {
    let attributes = match op {
        Op::ArgReduce {
            select_last_index: true,
            ..
        } => 12,
        Op::DepthToSpace {
            channel_first: true,
            ..
        } => 11,
        // Before, the axis is an attribute, which is read and not written.
        Op::Dft { .. } => 20,
        Op::GatherND { batch_dims: 1.. } => 12,
        Op::Hardmax {
            axis,
            flattened: false,
        }
        | Op::LogSoftmax {
            axis,
            flattened: false,
        }
        | Op::Softmax {
            axis,
            flattened: false,
        } if *axis != -1 => NEWER,
        Op::Recurrent(layer) if layer.batch_first => 14,
        Op::Reduce {
            kind,
            noop_with_empty_axes: true,
            ..
        } => axes_are_inputs(*kind),
        Op::Resize(resize) => resizes(resize),
        Op::RoiAlign(align) if align.half_pixel => ALIGNS_CENTERS,
        Op::ScatterElements { reduction, .. } | Op::ScatterND { reduction } => match reduction {
            ScatterReduction::None => 0,
            ScatterReduction::Add | ScatterReduction::Mul => 16,
            ScatterReduction::Max | ScatterReduction::Min => 18,
        },
        Op::TopK {
            largest, sorted, ..
        } if !(*largest && *sorted) => 11,
        _ => 0,
    };
    attributes.max(since(op))
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
            "Split" if opset < NEWER => &["split"],
            "Squeeze" | "Unsqueeze" if opset < NEWER => &["axes"],
            "TopK" if opset < K_IS_AN_INPUT => &["k"],
            "Upsample" if opset < UPSAMPLES_BY_INPUTS => &["scales"],
            name => match Reduction::named(name) {
                Some(kind) if opset < axes_are_inputs(kind) => &["axes"],
                _ => continue,
            },
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
        Data::I64(values) if name == "k" => match values.as_slice() {
            [value] => Some(export_op::int(name, *value)),
            _ => None,
        },
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
