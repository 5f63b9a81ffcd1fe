//! What each operator says about the axes of what it reads and gives.
//!
//! A rule joins what must go together and returns the axes of the outputs, or
//! says why it cannot: then nothing that the node reads is cut.

mod elementwise;
mod layers;
mod movement;
mod regroup;

use super::trace::{Axis, Fixed, Trace};
use secateur_model::{Node, Op};

pub(super) fn apply(
    trace: &mut Trace<'_>,
    index: usize,
    node: &Node,
) -> Result<Vec<Vec<Axis>>, Fixed> {
    let output = match &node.op {
        Op::Relu
        | Op::LeakyRelu { .. }
        | Op::Sigmoid
        | Op::Tanh
        | Op::Clip
        | Op::Activation { .. }
        | Op::Math(_)
        | Op::Cast { .. }
        | Op::IsInf { .. }
        | Op::Identity => trace.axes(node, 0),
        Op::Dropout => match node.output(1) {
            None => trace.axes(node, 0),
            Some(_) => Fixed::because("its mask is read"),
        },
        Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Div
        | Op::PRelu
        | Op::Binary(_)
        | Op::Variadic(_)
        | Op::Where => elementwise::broadcast(trace, node),
        Op::QuantizeLinear {
            axis, block_size, ..
        }
        | Op::DequantizeLinear { axis, block_size } => {
            elementwise::quantize(trace, node, *axis, *block_size)
        }
        Op::BatchNormalization { .. } => elementwise::by_channel(trace, node, 4),
        Op::InstanceNormalization { .. } => {
            let output = elementwise::by_channel(trace, node, 2)?;
            Ok(still_from(trace, output, 2))
        }
        Op::LayerNormalization { axis, .. } | Op::RMSNormalization { axis, .. } => {
            elementwise::fixed_from(trace, node, *axis)
        }
        Op::Softmax { axis, flattened }
        | Op::LogSoftmax { axis, flattened }
        | Op::Hardmax { axis, flattened } => match flattened {
            true => elementwise::fixed_from(trace, node, *axis),
            false => elementwise::fixed_at(trace, node, *axis),
        },
        Op::LpNormalization { axis, .. } => elementwise::fixed_at(trace, node, *axis),
        Op::Lrn { .. } => elementwise::fixed_at(trace, node, 1),
        Op::Conv { groups, .. } => layers::conv(trace, index, node, *groups),
        Op::ConvTranspose(conv) => layers::conv_transpose(trace, index, node, conv.groups),
        Op::Gemm {
            trans_a, trans_b, ..
        } => layers::gemm(trace, node, *trans_a, *trans_b),
        Op::MatMul => layers::matmul(trace, node),
        Op::Recurrent(layer) => return layers::recurrent(trace, node, layer),
        Op::MaxPool { .. }
        | Op::AveragePool { .. }
        | Op::LpPool { .. }
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool => movement::pool(trace, node),
        Op::Pad { .. } => movement::pad(trace, node),
        Op::Resize(resize) => movement::resize(trace, index, node, resize),
        Op::Concat { axis } => movement::concat(trace, node, *axis),
        Op::Split { axis, .. } => return movement::split(trace, index, node, *axis),
        Op::Slice => movement::slice(trace, node),
        Op::Gather { axis } => movement::gather(trace, node, *axis),
        Op::Transpose { perm } => movement::transpose(trace, node, perm.as_deref()),
        Op::Reduce {
            keep_dims,
            noop_with_empty_axes,
            ..
        } => movement::reduce(trace, node, *keep_dims, *noop_with_empty_axes),
        Op::ArgReduce {
            axis, keep_dims, ..
        } => movement::arg_reduce(trace, node, *axis, *keep_dims),
        Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze | Op::Unsqueeze => {
            regroup::apply(trace, index, node)
        }
        Op::Shape { .. } | Op::Size => {
            let shape = node.output(0).and_then(|name| trace.shapes.shape(name));
            shape
                .map(Axis::plain)
                .ok_or_else(|| Fixed("its output is not read".into()))
        }
        _ => Fixed::because("it is not known how it treats channels"),
    };
    output.map(|axes| vec![axes])
}

/// The place of an axis that may count from the end.
fn place(axis: i64, rank: usize) -> Result<usize, Fixed> {
    let at = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(at)
        .ok()
        .filter(|at| *at < rank)
        .ok_or_else(|| Fixed(format!("axis {axis} of {rank}")))
}

/// The axes, those from `first` on fixed.
fn still_from(trace: &mut Trace<'_>, mut axes: Vec<Axis>, first: usize) -> Vec<Axis> {
    let rest = axes.split_off(first.min(axes.len()));
    axes.extend(trace.still_axes(&rest, "a window moves over them"));
    axes
}
