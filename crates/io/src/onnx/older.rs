//! The forms of operators in older opsets, for networks that carry operators of
//! such an opset: what newer opsets say in inputs stands in attributes.

use super::attributes::kind;
use super::export_op;
use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use crate::IoError;
use secateur_model::{Data, Family, Graph, Op, Reduction};
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
/// Operators that came, or took the form that the graph has, after opset 7.
const SINCE: &[(&str, i64)] = &[
    ("Acosh", 9),
    ("Asinh", 9),
    ("Atanh", 9),
    ("Attention", 23),
    ("BitShift", 11),
    ("BitwiseAnd", 18),
    ("BitwiseNot", 18),
    ("BitwiseOr", 18),
    ("BitwiseXor", 18),
    ("CastLike", 15),
    ("Celu", 12),
    ("Cosh", 9),
    ("CumSum", 11),
    ("DequantizeLinear", 10),
    ("Erf", 9),
    ("Gelu", 20),
    ("GreaterOrEqual", 12),
    // Before, scale and bias were of the groups.
    ("GroupNormalization", 21),
    ("HardSwish", 14),
    ("IsInf", 10),
    ("IsNaN", 9),
    ("LayerNormalization", 17),
    ("LessOrEqual", 12),
    ("MeanVarianceNormalization", 9),
    ("Mish", 18),
    ("Mod", 10),
    ("NegativeLogLikelihoodLoss", 12),
    ("QuantizeLinear", 10),
    ("RMSNormalization", 23),
    ("RotaryEmbedding", 23),
    ("Round", 11),
    ("Shrink", 9),
    ("Sign", 9),
    ("Sinh", 9),
    ("SoftmaxCrossEntropyLoss", 12),
    ("Swish", 24),
    ("ThresholdedRelu", 10),
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
        Op::Unknown(_) => 0,
        op => SINCE
            .iter()
            .find(|(name, _)| *name == op.name())
            .map_or(0, |(_, opset)| *opset),
    }
}

/// Refuses what an older opset cannot say.
pub(super) fn check(graph: &Graph, opset: i64) -> Result<(), IoError> {
    for node in &graph.nodes {
        let needed = match node.op {
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
            } if axis != -1 => NEWER,
            Op::ArgReduce {
                select_last_index: true,
                ..
            } => 12,
            Op::TopK {
                largest, sorted, ..
            } if !(largest && sorted) => 11,
            Op::Reduce {
                kind,
                noop_with_empty_axes: true,
                ..
            } => axes_are_inputs(kind),
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

/// Puts inputs back into attributes, and drops the constants that they were.
pub(super) fn rewrite(graph: &Graph, proto: &mut GraphProto, opset: i64) -> Result<(), IoError> {
    let file = graph.name.as_str();
    let mut moved = HashSet::new();
    for node in &mut proto.node {
        if !node.domain.is_empty() {
            continue;
        }
        let parts: &[&str] = match node.op_type.as_str() {
            "Clip" if opset < BOUNDS_ARE_INPUTS => &["min", "max"],
            "Pad" if opset < BOUNDS_ARE_INPUTS => &["pads", "value"],
            "Squeeze" | "Unsqueeze" if opset < NEWER => &["axes"],
            "TopK" if opset < K_IS_AN_INPUT => &["k"],
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
        Data::F32(values) => match values.as_slice() {
            [value] => Some(export_op::float(name, *value)),
            _ => None,
        },
        _ => None,
    }
}
