//! For every operator its shape rule and a slow reference evaluation, one
//! family a file. The meaning is ONNX's; where ONNX leaves the order of
//! floating-point additions open, the file of the family fixes it.
//!
//! Evaluating first applies the shape rule with every value known, so that a
//! kernel only ever sees what the rule accepts.

mod algebra;
mod args;
mod attention;
mod batch_norm;
mod binary;
mod cast;
mod concat;
mod conv;
mod conv_transpose;
mod deform_conv;
mod detect;
mod einsum;
mod element;
mod elementwise;
mod gather;
mod generate;
mod grid;
mod integer;
mod lanes;
mod loss;
mod math;
mod matmul;
mod norm;
mod pad;
mod pool;
mod qlinear;
mod quantize;
mod rearrange;
mod recurrent;
mod reduce;
mod repeat;
mod reshape;
mod resize;
mod scatter;
mod select;
mod slice;
mod softmax;
mod transpose;
mod unpool;
mod wide;
mod window;

pub use args::ShapeInput;
pub use conv_transpose::{ConvTranspose, transposed_begin};
pub use detect::RoiAlign;
pub use generate::CosineWindow;
pub use grid::{GridMode, GridPadding};
pub use recurrent::{Cell, CellActivation, Direction, Recurrent};
pub(crate) use reshape::{shape_value, size_value};
pub use resize::{Aspect, Coordinates, Interpolation, Resize, ResizeTaps, Rounding, resize_taps};
pub use scatter::ScatterReduction;
pub use window::Placement;

use crate::control::{self, infer_control};
use crate::{DType, ModelError, Node, Op, Shape, Tensor};
use args::{Shapes, Tensors};

/// The largest tensor that [`evaluate`] computes, in bytes (8 GiB): attributes
/// of a hostile file cannot ask for more.
pub const MAX_BYTES: u64 = 1 << 33;

/// A value's element type and extents.
pub type TypedShape = (DType, Shape);

/// The element types and extents of a node's outputs, as many as it names.
///
/// ```
/// # use secateur_model::{DType, Node, Op, Shape, ops::{self, ShapeInput}};
/// let node = Node::new("flat", Op::Flatten { axis: 1 }, &["x"], &["y"]);
/// let x = ShapeInput::new(DType::F32, Shape::new(&[2, 3, 4])?);
/// assert_eq!(ops::infer(&node, &[Some(x)])?, [(DType::F32, Shape::new(&[2, 12])?)]);
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
///
/// # Errors
/// Inputs of a rank, type or extent that the operator does not take;
/// attributes that contradict them; an unknown operator; an input whose value
/// decides the shape (as of Reshape) and is not known.
pub fn infer(
    node: &Node,
    inputs: &[Option<ShapeInput<'_>>],
) -> Result<Vec<TypedShape>, ModelError> {
    let args = Shapes { node, inputs };
    let mut outputs = match &node.op {
        Op::Add | Op::Sub | Op::Mul | Op::Div => elementwise::infer_binary(&args),
        Op::Relu | Op::LeakyRelu { .. } | Op::Sigmoid | Op::Tanh | Op::Clip => {
            elementwise::infer_unary(&args)
        }
        Op::Activation { kind, .. } => math::infer_activation(&args, *kind),
        Op::IsInf { .. } => math::infer_is_inf(&args),
        Op::Math(kind) => math::infer_math(&args, *kind),
        Op::PRelu => math::infer_prelu(&args),
        Op::Binary(kind) => binary::infer_binary(&args, *kind),
        Op::Variadic(kind) => binary::infer_variadic(&args, *kind),
        Op::Where => binary::infer_where(&args),
        Op::ArgReduce {
            axis, keep_dims, ..
        } => reduce::infer_arg(&args, *axis, *keep_dims),
        Op::Attention(attributes) => attention::infer(&args, attributes),
        Op::RotaryEmbedding { num_heads, dim, .. } => {
            attention::infer_rotary(&args, *num_heads, *dim)
        }
        Op::CumSum { .. } => reduce::infer_cum_sum(&args),
        Op::Reduce {
            kind,
            keep_dims,
            noop_with_empty_axes,
        } => reduce::infer_reduce(&args, *kind, *keep_dims, *noop_with_empty_axes),
        Op::TopK { axis, .. } => reduce::infer_top_k(&args, *axis),
        Op::AveragePool { window, .. } | Op::LpPool { window, .. } | Op::MaxPool { window, .. } => {
            pool::infer(&args, window)
        }
        Op::GlobalAveragePool | Op::GlobalMaxPool => pool::infer_global(&args),
        Op::BatchNormalization { .. } => batch_norm::infer(&args),
        Op::Cast { to } => cast::infer(&args, *to),
        Op::CastLike => cast::infer_like(&args),
        Op::Concat { axis } => concat::infer_concat(&args, *axis),
        Op::Gather { axis } => concat::infer_gather(&args, *axis),
        Op::Conv { window, groups } => conv::infer(&args, window, *groups),
        Op::Gemm {
            trans_a, trans_b, ..
        } => matmul::infer_gemm(&args, *trans_a, *trans_b),
        Op::MatMul => matmul::infer_matmul(&args),
        Op::QLinearConv { window, groups } => qlinear::infer_conv(&args, window, *groups),
        Op::QLinearMatMul => qlinear::infer_matmul(&args),
        Op::QuantizeLinear {
            axis,
            block_size,
            to,
        } => quantize::infer_quantize(&args, *axis, *block_size, *to),
        Op::DequantizeLinear { axis, block_size } => {
            quantize::infer_dequantize(&args, *axis, *block_size)
        }
        Op::AffineGrid { align_corners } => grid::infer_affine(&args, *align_corners),
        Op::GridSample { .. } => grid::infer_sample(&args),
        Op::Col2Im { window } => unpool::infer_col2im(&args, window),
        Op::MaxUnpool { window } => unpool::infer_max(&args, window),
        Op::DeformConv {
            window,
            groups,
            offset_groups,
        } => deform_conv::infer(&args, window, *groups, *offset_groups),
        Op::Det => algebra::infer_det(&args),
        Op::Dft { onesided, .. } => algebra::infer_dft(&args, *onesided),
        Op::Einsum { equation } => einsum::infer(&args, equation),
        Op::NonMaxSuppression { center_point_box } => detect::infer_nms(&args, *center_point_box),
        Op::RoiAlign(align) => detect::infer_align(&args, align),
        Op::ConvInteger { window, groups } => integer::infer_conv(&args, window, *groups),
        Op::MatMulInteger => integer::infer_matmul(&args),
        Op::DynamicQuantizeLinear => integer::infer_dynamic(&args),
        Op::ConvTranspose(conv) => conv_transpose::infer(&args, conv),
        Op::Recurrent(layer) => recurrent::infer(&args, layer),
        Op::Resize(resize) => resize::infer(&args, resize),
        Op::CosineWindow { to, .. } => generate::infer_window(&args, *to),
        Op::EyeLike { to, .. } => generate::infer_eye(&args, *to),
        Op::OneHot { axis } => generate::infer_one_hot(&args, *axis),
        Op::Range => generate::infer_range(&args),
        Op::GatherElements { axis } => gather::infer_elements(&args, *axis),
        Op::GatherND { batch_dims } => gather::infer_nd(&args, *batch_dims),
        Op::ScatterElements { axis, reduction } => {
            scatter::infer_elements(&args, *axis, *reduction)
        }
        Op::ScatterND { reduction } => scatter::infer_nd(&args, *reduction),
        Op::TensorScatter { axis, .. } => scatter::infer_cache(&args, *axis),
        Op::DepthToSpace { block, .. } | Op::SpaceToDepth { block } => {
            rearrange::infer_blocks(&args, *block)
        }
        Op::ReverseSequence {
            batch_axis,
            time_axis,
        } => rearrange::infer_reverse(&args, *batch_axis, *time_axis),
        Op::Trilu { .. } => rearrange::infer_triangle(&args),
        Op::Compress { axis } => select::infer_compress(&args, *axis),
        Op::NonZero => select::infer_nonzero(&args),
        Op::Unique { axis, sorted } => select::infer_unique(&args, *axis, *sorted),
        Op::CenterCropPad { axes } => slice::infer_center(&args, axes),
        Op::Slice => slice::infer_slice(&args),
        Op::Split { axis, num_outputs } => slice::infer_split(&args, *axis, *num_outputs),
        Op::Expand | Op::Tile => repeat::infer(&args),
        Op::Pad { mode } => pad::infer(&args, *mode),
        Op::Transpose { perm } => transpose::infer(&args, perm.as_deref()),
        Op::Dropout
        | Op::Flatten { .. }
        | Op::Identity
        | Op::Reshape { .. }
        | Op::Shape { .. }
        | Op::Size
        | Op::Squeeze
        | Op::Unsqueeze => reshape::infer(&args),
        Op::Hardmax { axis, .. } | Op::LogSoftmax { axis, .. } | Op::Softmax { axis, .. } => {
            softmax::infer(&args, *axis)
        }
        Op::GroupNormalization { groups, .. } => norm::infer_group(&args, Some(*groups)),
        Op::InstanceNormalization { .. } => norm::infer_group(&args, None),
        Op::LayerNormalization { axis, .. } => norm::infer_layer(&args, *axis),
        Op::RMSNormalization { axis, .. } => norm::infer_root_mean_square(&args, *axis),
        Op::LpNormalization { axis, p } => norm::infer_lp(&args, *axis, *p),
        Op::Lrn { size, .. } => norm::infer_local(&args, *size),
        Op::MeanVarianceNormalization { axes } => norm::infer_mean_variance(&args, axes),
        Op::NegativeLogLikelihoodLoss { reduction, .. } => {
            loss::infer_negative_log_likelihood(&args, *reduction)
        }
        Op::SoftmaxCrossEntropyLoss { reduction, .. } => {
            loss::infer_softmax_cross_entropy(&args, *reduction)
        }
        Op::Control(control) => infer_control(node, control, inputs),
        Op::Unknown(op) => Err(ModelError::unsupported(
            node,
            format!("operator of domain `{}` is not known", op.domain),
        )),
    }?;
    if node.outputs.len() > outputs.len() {
        return Err(ModelError::unsupported(
            node,
            format!(
                "{} outputs are named, {} can be computed",
                node.outputs.len(),
                outputs.len()
            ),
        ));
    }
    outputs.truncate(node.outputs.len().max(1));
    Ok(outputs)
}

/// Computes a node's outputs, as many as it names.
///
/// ```
/// # use secateur_model::{Node, Op, Tensor, ops};
/// let node = Node::new("relu", Op::Relu, &["x"], &["y"]);
/// let x = Tensor::f32(&[2], vec![-1.0, 2.0])?;
/// assert_eq!(ops::evaluate(&node, &[Some(&x)])?, [Tensor::f32(&[2], vec![0.0, 2.0])?]);
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
///
/// # Errors
/// As [`infer`]; an output beyond [`MAX_BYTES`]; element types that are not
/// computed with; values that have no result (an index beyond the end, an
/// integer divided by zero).
pub fn evaluate(node: &Node, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, ModelError> {
    // What a graph gives is only known when it has run.
    if let Op::Control(control) = &node.op {
        return control::evaluate(node, control, inputs);
    }
    let known: Vec<Option<ShapeInput<'_>>> = inputs
        .iter()
        .map(|input| input.map(ShapeInput::of))
        .collect();
    let outputs = infer(node, &known)?;
    for (dtype, shape) in &outputs {
        let size = dtype.size_bytes().unwrap_or(1) as u64;
        if (shape.elements() as u64).saturating_mul(size) > MAX_BYTES {
            return Err(ModelError::unsupported(
                node,
                format!("an output {dtype}{shape} is larger than {MAX_BYTES} bytes"),
            ));
        }
    }
    let args = Tensors {
        node,
        inputs,
        outputs: &outputs,
    };
    match &node.op {
        Op::Add | Op::Sub | Op::Mul | Op::Div => elementwise::binary(&args),
        Op::Relu | Op::LeakyRelu { .. } | Op::Sigmoid | Op::Tanh | Op::Clip => {
            elementwise::unary(&args)
        }
        Op::Activation { kind, parameters } => math::activation(&args, *kind, *parameters),
        Op::IsInf { negative, positive } => math::is_inf(&args, *negative, *positive),
        Op::Math(kind) => math::math(&args, *kind),
        Op::PRelu => math::prelu(&args),
        Op::Binary(kind) => binary::binary(&args, *kind),
        Op::Variadic(kind) => binary::variadic(&args, *kind),
        Op::Where => binary::where_(&args),
        Op::ArgReduce {
            kind,
            axis,
            select_last_index,
            ..
        } => reduce::arg(&args, *kind, *axis, *select_last_index),
        Op::Attention(attributes) => attention::evaluate(&args, attributes),
        Op::RotaryEmbedding {
            interleaved,
            num_heads,
            dim,
        } => attention::rotary(&args, *num_heads, *dim, *interleaved),
        Op::CumSum { exclusive, reverse } => reduce::cum_sum(&args, *exclusive, *reverse),
        Op::Reduce {
            kind,
            noop_with_empty_axes,
            ..
        } => reduce::reduce(&args, *kind, *noop_with_empty_axes),
        Op::TopK { axis, largest, .. } => reduce::top_k(&args, *axis, *largest),
        Op::AveragePool {
            window,
            count_include_pad,
        } => pool::average(&args, window, *count_include_pad),
        Op::MaxPool {
            window,
            column_major,
        } => pool::max(&args, window, *column_major),
        Op::GlobalAveragePool => pool::global_average(&args),
        Op::GlobalMaxPool => pool::global_max(&args),
        Op::BatchNormalization { epsilon } => batch_norm::evaluate(&args, *epsilon),
        Op::Cast { to } => cast::evaluate(&args, *to),
        Op::CastLike => cast::evaluate(&args, args.output()?.0),
        Op::Concat { axis } => concat::concat(&args, *axis),
        Op::Gather { axis } => concat::gather(&args, *axis),
        Op::Conv { window, groups } => conv::evaluate(&args, window, *groups),
        Op::Gemm {
            alpha,
            beta,
            trans_a,
            trans_b,
        } => matmul::gemm(&args, (*alpha, *beta), (*trans_a, *trans_b)),
        Op::MatMul => matmul::matmul(&args),
        Op::QLinearConv { window, groups } => qlinear::conv(&args, window, *groups),
        Op::QLinearMatMul => qlinear::matmul(&args),
        Op::QuantizeLinear {
            axis, block_size, ..
        } => quantize::quantize(&args, *axis, *block_size),
        Op::DequantizeLinear { axis, block_size } => {
            quantize::dequantize(&args, *axis, *block_size)
        }
        Op::AffineGrid { align_corners } => grid::affine(&args, *align_corners),
        Op::GridSample {
            mode,
            padding,
            align_corners,
        } => grid::sample(&args, *mode, *padding, *align_corners),
        Op::Col2Im { window } => unpool::col2im(&args, window),
        Op::MaxUnpool { window } => unpool::max(&args, window),
        Op::DeformConv {
            window,
            groups,
            offset_groups,
        } => deform_conv::evaluate(&args, window, *groups, *offset_groups),
        Op::Det => algebra::det(&args),
        Op::Dft { inverse, onesided } => algebra::dft(&args, *inverse, *onesided),
        Op::Einsum { equation } => einsum::evaluate(&args, equation),
        Op::LpPool { window, p } => pool::lp(&args, window, *p),
        Op::NonMaxSuppression { center_point_box } => detect::nms(&args, *center_point_box),
        Op::RoiAlign(align) => detect::align(&args, align),
        Op::ConvInteger { window, groups } => integer::conv(&args, window, *groups),
        Op::MatMulInteger => integer::matmul(&args),
        Op::DynamicQuantizeLinear => integer::dynamic(&args),
        Op::ConvTranspose(conv) => conv_transpose::evaluate(&args, conv),
        Op::Recurrent(layer) => recurrent::evaluate(&args, layer),
        Op::Resize(resize) => resize::evaluate(&args, resize),
        Op::CosineWindow {
            window, periodic, ..
        } => generate::window(&args, *window, *periodic),
        Op::EyeLike { k, .. } => generate::eye(&args, *k),
        Op::OneHot { axis } => generate::one_hot(&args, *axis),
        Op::Range => generate::range(&args),
        Op::GatherElements { axis } => gather::elements(&args, *axis),
        Op::GatherND { batch_dims } => gather::nd(&args, *batch_dims),
        Op::ScatterElements { axis, reduction } => scatter::elements(&args, *axis, *reduction),
        Op::ScatterND { reduction } => scatter::nd(&args, *reduction),
        Op::TensorScatter { axis, circular } => scatter::cache(&args, *axis, *circular),
        Op::DepthToSpace {
            block,
            channel_first,
        } => rearrange::depth_to_space(&args, *block, *channel_first),
        Op::SpaceToDepth { block } => rearrange::space_to_depth(&args, *block),
        Op::ReverseSequence {
            batch_axis,
            time_axis,
        } => rearrange::reverse(&args, *batch_axis, *time_axis),
        Op::Trilu { upper } => rearrange::triangle(&args, *upper),
        Op::Compress { axis } => select::compress(&args, *axis),
        Op::NonZero => select::nonzero(&args),
        Op::Unique { axis, sorted } => select::unique(&args, *axis, *sorted),
        Op::CenterCropPad { .. } => slice::center(&args),
        Op::Slice => slice::slice(&args),
        Op::Split { axis, .. } => slice::split(&args, *axis),
        Op::Expand | Op::Tile => repeat::evaluate(&args),
        Op::Pad { mode } => pad::evaluate(&args, *mode),
        Op::Transpose { perm } => transpose::evaluate(&args, perm.as_deref()),
        Op::Dropout
        | Op::Flatten { .. }
        | Op::Identity
        | Op::Reshape { .. }
        | Op::Shape { .. }
        | Op::Size
        | Op::Squeeze
        | Op::Unsqueeze => reshape::evaluate(&args),
        Op::Hardmax { axis, flattened } => softmax::evaluate_hard(&args, *axis, *flattened),
        Op::LogSoftmax { axis, flattened } => softmax::evaluate_log(&args, *axis, *flattened),
        Op::Softmax { axis, flattened } => softmax::evaluate(&args, *axis, *flattened),
        Op::GroupNormalization { groups, epsilon } => norm::group(&args, Some(*groups), *epsilon),
        Op::InstanceNormalization { epsilon } => norm::group(&args, None, *epsilon),
        Op::LayerNormalization { axis, epsilon } => norm::layer(&args, *axis, *epsilon),
        Op::RMSNormalization { axis, epsilon } => norm::root_mean_square(&args, *axis, *epsilon),
        Op::LpNormalization { axis, p } => norm::lp(&args, *axis, *p),
        Op::Lrn {
            alpha,
            beta,
            bias,
            size,
        } => norm::local(&args, *size, [*alpha, *beta, *bias]),
        Op::MeanVarianceNormalization { axes } => norm::mean_variance(&args, axes),
        Op::NegativeLogLikelihoodLoss {
            reduction,
            ignore_index,
        } => loss::negative_log_likelihood(&args, *reduction, *ignore_index),
        Op::SoftmaxCrossEntropyLoss {
            reduction,
            ignore_index,
        } => loss::softmax_cross_entropy(&args, *reduction, *ignore_index),
        Op::Control(_) | Op::Unknown(_) => {
            Err(ModelError::unsupported(node, "operator is not known"))
        }
    }
}

/// Multiply-accumulates of a node: products of an output element times output
/// elements, padding counted as if it were multiplied. 0 for operators other
/// than Conv, Gemm, MatMul and their QLinear forms, and for inputs that the
/// operator does not take.
pub fn macs(node: &Node, inputs: &[Option<&Shape>]) -> u64 {
    let shape = |index: usize| inputs.get(index).copied().flatten();
    let known: Vec<Option<ShapeInput<'_>>> = inputs
        .iter()
        .enumerate()
        .map(|(i, s)| s.map(|s| ShapeInput::new(assumed_type(&node.op, i), s.clone())))
        .collect();
    let depth = match &node.op {
        Op::Conv { .. } => shape(1).map(|w| w.iter().skip(1).product()),
        Op::QLinearConv { .. } => shape(3).map(|w| w.iter().skip(1).product()),
        Op::Gemm { trans_a, .. } => shape(0).and_then(|a| a.get(usize::from(!trans_a)).copied()),
        Op::MatMul | Op::QLinearMatMul => shape(0).and_then(|a| a.last().copied()),
        _ => None,
    };
    let outputs = infer(node, &known).ok();
    match (depth, outputs.as_deref()) {
        (Some(depth), Some([(_, shape), ..])) => {
            (shape.elements() as u64).saturating_mul(depth as u64)
        }
        _ => 0,
    }
}

/// An element type that input `index` of a multiplying operator takes.
fn assumed_type(op: &Op, index: usize) -> DType {
    match (op, index) {
        (Op::QLinearConv { .. } | Op::QLinearMatMul, 0 | 2 | 3 | 5 | 7) => DType::U8,
        (Op::QLinearConv { .. }, 8) => DType::I32,
        _ => DType::F32,
    }
}

#[cfg(test)]
mod tests;
