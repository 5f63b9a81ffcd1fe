//! ONNX's operator name and attributes to [`Op`], whatever opset they are of.

use super::attributes::Attributes;
use super::dtype;
use super::spelling::{
    self, ACTIVATION, ASPECT, COORDINATES, DIRECTION, GRID_MODE, GRID_PADDING, ROUNDING,
};
use crate::IoError;
use secateur_model::ops::{
    Aspect, Cell, ConvTranspose, Coordinates, Interpolation, Recurrent, Resize, RoiAlign, Rounding,
};
use secateur_model::{
    Activation, Attention, AutoPad, Binary, CosineWindow, DType, Extreme, Family, LossReduction,
    Math, Op, PadMode, Reduction, ScatterReduction, Scores, Variadic, Window,
};

/// The operator of a node of the default domain; `None` where the operator, or
/// the form it is used in, is not known and the node is carried as it came.
/// What older opsets say in attributes and newer ones in inputs is left out
/// here.
pub(super) fn operator(a: &Attributes<'_>, opset: i64) -> Result<Option<Op>, IoError> {
    Ok(Some(match a.node.op_type.as_str() {
        "Add" => Op::Add,
        "Sub" => Op::Sub,
        "Mul" => Op::Mul,
        "Div" => Op::Div,
        "AffineGrid" => Op::AffineGrid {
            align_corners: a.flag("align_corners")?,
        },
        "Attention" => Op::Attention(Box::new(attention(a)?)),
        "AveragePool" => Op::AveragePool {
            window: window(a)?,
            count_include_pad: a.flag("count_include_pad")?,
        },
        "MaxPool" => Op::MaxPool {
            window: window(a)?,
            column_major: a.flag("storage_order")?,
        },
        "BatchNormalization" => {
            let trains = a.flag("training_mode")? || a.node.output.len() > 1;
            if trains || a.int("spatial", 1)? == 0 {
                return Ok(None);
            }
            Op::BatchNormalization {
                epsilon: a.float("epsilon", 1e-5)?,
            }
        }
        "BitShift" => Op::Binary(match a.string("direction")? {
            Some("LEFT") => Binary::BitShiftLeft,
            Some("RIGHT") => Binary::BitShiftRight,
            other => return Err(a.malformed(format!("attribute `direction` is {other:?}"))),
        }),
        "BlackmanWindow" => match cosine_window(a, CosineWindow::Blackman)? {
            Some(op) => op,
            None => return Ok(None),
        },
        "Cast" => match element_type(a, "to")? {
            Some(to) if !matches!(to, DType::Opaque(_)) => Op::Cast { to },
            _ => return Ok(None),
        },
        // Attributes that matter to types that are not computed with.
        "CastLike" if a.int("saturate", 1)? == 0 || a.has("round_mode") => return Ok(None),
        "CastLike" => Op::CastLike,
        "CenterCropPad" => Op::CenterCropPad {
            axes: a.ints("axes")?.unwrap_or_default().to_vec(),
        },
        "Clip" => Op::Clip,
        "Col2Im" => Op::Col2Im { window: window(a)? },
        "Compress" => Op::Compress {
            axis: optional(a, "axis")?,
        },
        "Concat" if a.has("axis") => Op::Concat {
            axis: a.int("axis", 0)?,
        },
        "Concat" => return Err(a.malformed("attribute `axis` is missing")),
        "ConstantOfShape" => Op::Expand,
        "Conv" => Op::Conv {
            window: window(a)?,
            groups: groups(a)?,
        },
        "ConvInteger" => Op::ConvInteger {
            window: window(a)?,
            groups: groups(a)?,
        },
        "ConvTranspose" => Op::ConvTranspose(Box::new(ConvTranspose {
            window: window(a)?,
            groups: groups(a)?,
            output_padding: a.extents("output_padding")?,
            output_shape: a.extents("output_shape")?,
        })),
        "QLinearConv" => Op::QLinearConv {
            window: window(a)?,
            groups: groups(a)?,
        },
        "QLinearMatMul" => Op::QLinearMatMul,
        "CumSum" => Op::CumSum {
            exclusive: a.flag("exclusive")?,
            reverse: a.flag("reverse")?,
        },
        "DFT" => {
            let (inverse, onesided) = (a.flag("inverse")?, a.flag("onesided")?);
            if inverse && onesided {
                return Ok(None);
            }
            Op::Dft { inverse, onesided }
        }
        "DeformConv" => Op::DeformConv {
            window: window(a)?,
            groups: groups(a)?,
            offset_groups: extent(a, "offset_group", 1)?,
        },
        "DepthToSpace" => Op::DepthToSpace {
            block: extent(a, "blocksize", 0)?,
            channel_first: match a.string("mode")?.unwrap_or("DCR") {
                "DCR" => false,
                "CRD" => true,
                other => return Err(a.malformed(format!("attribute `mode` is {other:?}"))),
            },
        },
        "Det" => Op::Det,
        "DequantizeLinear" => {
            if a.int("output_dtype", 0)? != 0 {
                return Ok(None);
            }
            Op::DequantizeLinear {
                axis: a.int("axis", 1)?,
                block_size: a.int("block_size", 0)?,
            }
        }
        "QuantizeLinear" => {
            let to = element_type(a, "output_dtype")?;
            if matches!(to, Some(DType::Opaque(_))) || a.int("precision", 0)? != 0 {
                return Ok(None);
            }
            Op::QuantizeLinear {
                axis: a.int("axis", 1)?,
                block_size: a.int("block_size", 0)?,
                to,
            }
        }
        "Dropout" => Op::Dropout,
        "DynamicQuantizeLinear" => Op::DynamicQuantizeLinear,
        "Einsum" => Op::Einsum {
            equation: a.string("equation")?.unwrap_or_default().to_owned(),
        },
        "Expand" => Op::Expand,
        "EyeLike" => {
            let to = element_type(a, "dtype")?;
            if matches!(to, Some(DType::Opaque(_))) {
                return Ok(None);
            }
            Op::EyeLike {
                k: a.int("k", 0)?,
                to,
            }
        }
        "Flatten" => Op::Flatten {
            axis: a.int("axis", 1)?,
        },
        "GRU" | "LSTM" | "RNN" => match recurrent(a)? {
            Some(layer) => Op::Recurrent(Box::new(layer)),
            None => return Ok(None),
        },
        "Gather" => Op::Gather {
            axis: a.int("axis", 0)?,
        },
        "GatherElements" => Op::GatherElements {
            axis: a.int("axis", 0)?,
        },
        "GatherND" => Op::GatherND {
            batch_dims: extent(a, "batch_dims", 0)?,
        },
        "Gemm" => Op::Gemm {
            alpha: a.float("alpha", 1.0)?,
            beta: a.float("beta", 1.0)?,
            trans_a: a.flag("transA")?,
            trans_b: a.flag("transB")?,
        },
        "GlobalAveragePool" => Op::GlobalAveragePool,
        "GlobalMaxPool" => Op::GlobalMaxPool,
        "GridSample" => match (
            spelling::value(a, "mode", GRID_MODE)?,
            spelling::value(a, "padding_mode", GRID_PADDING)?,
        ) {
            (Some(mode), Some(padding)) => Op::GridSample {
                mode,
                padding,
                align_corners: a.flag("align_corners")?,
            },
            _ => return Ok(None),
        },
        "GroupNormalization" if stashes(a)? => return Ok(None),
        "GroupNormalization" => Op::GroupNormalization {
            groups: count(a, "num_groups", None)?,
            epsilon: a.float("epsilon", 1e-5)?,
        },
        "HammingWindow" => match cosine_window(a, CosineWindow::Hamming)? {
            Some(op) => op,
            None => return Ok(None),
        },
        "HannWindow" => match cosine_window(a, CosineWindow::Hann)? {
            Some(op) => op,
            None => return Ok(None),
        },
        "Hardmax" | "LogSoftmax" => {
            let flattened = opset < 13;
            let axis = a.int("axis", if flattened { 1 } else { -1 })?;
            match a.node.op_type.as_str() {
                "Hardmax" => Op::Hardmax { axis, flattened },
                _ => Op::LogSoftmax { axis, flattened },
            }
        }
        "Identity" => Op::Identity,
        "InstanceNormalization" => Op::InstanceNormalization {
            epsilon: a.float("epsilon", 1e-5)?,
        },
        "IsInf" => Op::IsInf {
            negative: a.int("detect_negative", 1)? != 0,
            positive: a.int("detect_positive", 1)? != 0,
        },
        "LayerNormalization" | "RMSNormalization" if stashes(a)? => return Ok(None),
        "LayerNormalization" => Op::LayerNormalization {
            axis: a.int("axis", -1)?,
            epsilon: a.float("epsilon", 1e-5)?,
        },
        "LRN" => Op::Lrn {
            alpha: a.float("alpha", 1e-4)?,
            beta: a.float("beta", 0.75)?,
            bias: a.float("bias", 1.0)?,
            size: count(a, "size", None)?,
        },
        "LpNormalization" => match a.int("p", 2)? {
            p @ 1..=2 => Op::LpNormalization {
                axis: a.int("axis", -1)?,
                p,
            },
            _ => return Ok(None),
        },
        "LeakyRelu" => Op::LeakyRelu {
            alpha: a.float("alpha", 0.01)?,
        },
        "LpPool" => match u32::try_from(a.int("p", 2)?) {
            Ok(p) if p > 0 => Op::LpPool {
                window: window(a)?,
                p,
            },
            _ => return Ok(None),
        },
        "MatMul" => Op::MatMul,
        "MatMulInteger" => Op::MatMulInteger,
        "MaxUnpool" => Op::MaxUnpool { window: window(a)? },
        "MeanVarianceNormalization" => Op::MeanVarianceNormalization {
            axes: a.ints("axes")?.unwrap_or(&[0, 2, 3]).to_vec(),
        },
        "Mod" if a.flag("fmod")? => Op::Binary(Binary::Fmod),
        "Mod" => Op::Binary(Binary::Mod),
        "NegativeLogLikelihoodLoss" => Op::NegativeLogLikelihoodLoss {
            reduction: loss_reduction(a)?,
            ignore_index: optional(a, "ignore_index")?,
        },
        "NonMaxSuppression" => Op::NonMaxSuppression {
            center_point_box: a.flag("center_point_box")?,
        },
        "NonZero" => Op::NonZero,
        "OneHot" => Op::OneHot {
            axis: a.int("axis", -1)?,
        },
        "PRelu" => Op::PRelu,
        "Pad" => Op::Pad {
            mode: match a.string("mode")?.unwrap_or("constant") {
                "constant" => PadMode::Constant,
                "reflect" => PadMode::Reflect,
                "edge" => PadMode::Edge,
                "wrap" => PadMode::Wrap,
                other => return Err(a.malformed(format!("attribute `mode` is {other:?}"))),
            },
        },
        "RMSNormalization" => Op::RMSNormalization {
            axis: a.int("axis", -1)?,
            epsilon: a.float("epsilon", 1e-5)?,
        },
        "Range" => Op::Range,
        "Resize" | "Upsample" => match resize(a, opset)? {
            Some(resize) => Op::Resize(Box::new(resize)),
            None => return Ok(None),
        },
        "Relu" => Op::Relu,
        "Reshape" => Op::Reshape {
            allow_zero: a.flag("allowzero")?,
        },
        "ReverseSequence" => Op::ReverseSequence {
            batch_axis: extent(a, "batch_axis", 1)?,
            time_axis: extent(a, "time_axis", 0)?,
        },
        "RoiAlign" => match roi_align(a, opset)? {
            Some(align) => Op::RoiAlign(Box::new(align)),
            None => return Ok(None),
        },
        "RotaryEmbedding" => Op::RotaryEmbedding {
            interleaved: a.flag("interleaved")?,
            num_heads: extent(a, "num_heads", 0)?,
            dim: extent(a, "rotary_embedding_dim", 0)?,
        },
        "Scatter" | "ScatterElements" => Op::ScatterElements {
            axis: a.int("axis", 0)?,
            reduction: reduction(a)?,
        },
        "ScatterND" => Op::ScatterND {
            reduction: reduction(a)?,
        },
        "Shape" => Op::Shape {
            start: a.int("start", 0)?,
            end: a.has("end").then(|| a.int("end", 0)).transpose()?,
        },
        "Sigmoid" => Op::Sigmoid,
        "Size" => Op::Size,
        "Slice" => Op::Slice,
        "Softmax" if opset < 13 => Op::Softmax {
            axis: a.int("axis", 1)?,
            flattened: true,
        },
        "Softmax" => Op::Softmax {
            axis: a.int("axis", -1)?,
            flattened: false,
        },
        "SoftmaxCrossEntropyLoss" => Op::SoftmaxCrossEntropyLoss {
            reduction: loss_reduction(a)?,
            ignore_index: optional(a, "ignore_index")?,
        },
        "SpaceToDepth" => Op::SpaceToDepth {
            block: extent(a, "blocksize", 0)?,
        },
        "Split" => {
            // Before opset 18, as many parts as there are outputs.
            let given = a.node.input.len() > 1 || a.has("split");
            let default = if given { 0 } else { a.node.output.len() };
            let count = extent(a, "num_outputs", default)?;
            Op::Split {
                axis: a.int("axis", 0)?,
                num_outputs: Some(count).filter(|&n| n > 0),
            }
        }
        "Squeeze" => Op::Squeeze,
        "Tanh" => Op::Tanh,
        "TensorScatter" => Op::TensorScatter {
            axis: a.int("axis", -2)?,
            circular: match a.string("mode")?.unwrap_or("linear") {
                "linear" => false,
                "circular" => true,
                other => return Err(a.malformed(format!("attribute `mode` is {other:?}"))),
            },
        },
        "Tile" => Op::Tile,
        "TopK" => Op::TopK {
            axis: a.int("axis", -1)?,
            largest: a.int("largest", 1)? != 0,
            sorted: a.int("sorted", 1)? != 0,
        },
        "Transpose" => Op::Transpose {
            perm: a.has("perm").then(|| a.extents("perm")).transpose()?,
        },
        "Trilu" => Op::Trilu {
            upper: a.int("upper", 1)? != 0,
        },
        "Unique" => Op::Unique {
            axis: optional(a, "axis")?,
            sorted: a.int("sorted", 1)? != 0,
        },
        "Unsqueeze" => Op::Unsqueeze,
        "Where" => Op::Where,
        name => {
            return if let Some(kind) = Activation::named(name) {
                activation(a, kind).map(Some)
            } else if let Some(kind) = Reduction::named(name) {
                Ok(Some(Op::Reduce {
                    kind,
                    keep_dims: a.int("keepdims", 1)? != 0,
                    noop_with_empty_axes: a.flag("noop_with_empty_axes")?,
                }))
            } else if let Some(kind) = Extreme::named(name) {
                Ok(Some(Op::ArgReduce {
                    kind,
                    axis: a.int("axis", 0)?,
                    keep_dims: a.int("keepdims", 1)? != 0,
                    select_last_index: a.flag("select_last_index")?,
                }))
            } else {
                Ok(plain(name))
            };
        }
    }))
}

fn optional(a: &Attributes<'_>, name: &str) -> Result<Option<i64>, IoError> {
    a.has(name).then(|| a.int(name, 0)).transpose()
}

fn extent(a: &Attributes<'_>, name: &str, default: usize) -> Result<usize, IoError> {
    let value = a.int(name, default as i64)?;
    usize::try_from(value).map_err(|_| {
        a.malformed(format!(
            "attribute `{name}` must not be negative, found {value}"
        ))
    })
}

fn cosine_window(a: &Attributes<'_>, window: CosineWindow) -> Result<Option<Op>, IoError> {
    let to = element_type(a, "output_datatype")?.unwrap_or(DType::F32);
    if matches!(to, DType::Opaque(_)) {
        return Ok(None);
    }
    Ok(Some(Op::CosineWindow {
        window,
        periodic: a.int("periodic", 1)? != 0,
        to,
    }))
}

/// `None` for activations with parameters and coupled gates.
fn recurrent(a: &Attributes<'_>) -> Result<Option<Recurrent>, IoError> {
    let parameters = a.has("activation_alpha") || a.has("activation_beta");
    let activations = a.strings("activations")?;
    let activations = activations
        .iter()
        .map(|text| spelling::find(text, ACTIVATION));
    let (Some(activations), false, Some(direction)) = (
        activations.collect(),
        parameters || a.flag("input_forget")?,
        spelling::value(a, "direction", DIRECTION)?,
    ) else {
        return Ok(None);
    };
    Ok(Some(Recurrent {
        cell: match a.node.op_type.as_str() {
            "GRU" => Cell::Gru,
            "LSTM" => Cell::Lstm,
            _ => Cell::Rnn,
        },
        direction,
        activations,
        clip: a.has("clip").then(|| a.float("clip", 0.0)).transpose()?,
        hidden: Some(extent(a, "hidden_size", 0)?).filter(|&hidden| hidden > 0),
        batch_first: a.flag("layout")?,
        linear_before_reset: a.flag("linear_before_reset")?,
    }))
}

/// `None` for modes that are not known. Before opset 11 positions are
/// `x / scale`, rounded down.
fn resize(a: &Attributes<'_>, opset: i64) -> Result<Option<Resize>, IoError> {
    let old = opset < 11 || a.node.op_type == "Upsample";
    let (Some(rounding), Some(coordinates), Some(aspect)) = (
        match old {
            true => Some(Rounding::Floor),
            false => spelling::value(a, "nearest_mode", ROUNDING)?,
        },
        match old {
            true => Some(Coordinates::Asymmetric),
            false => spelling::value(a, "coordinate_transformation_mode", COORDINATES)?,
        },
        match old {
            true => Some(Aspect::Stretch),
            false => spelling::value(a, "keep_aspect_ratio_policy", ASPECT)?,
        },
    ) else {
        return Ok(None);
    };
    let interpolation = match a.string("mode")?.unwrap_or("nearest") {
        "nearest" => Interpolation::Nearest(rounding),
        "linear" => Interpolation::Linear,
        "cubic" if !old => Interpolation::Cubic(a.float("cubic_coeff_a", -0.75)?),
        _ => return Ok(None),
    };
    Ok(Some(Resize {
        interpolation,
        coordinates,
        axes: a.ints("axes")?.unwrap_or_default().to_vec(),
        aspect,
        antialias: a.flag("antialias")?,
        exclude_outside: a.flag("exclude_outside")?,
        extrapolation: a.float("extrapolation_value", 0.0)?,
    }))
}

/// `None` for modes that are not known. Before opset 16 cells have no half.
fn roi_align(a: &Attributes<'_>, opset: i64) -> Result<Option<RoiAlign>, IoError> {
    let max = match a.string("mode")?.unwrap_or("avg") {
        "avg" => false,
        "max" => true,
        _ => return Ok(None),
    };
    let default = match opset {
        ..16 => "output_half_pixel",
        _ => "half_pixel",
    };
    let half_pixel = match a
        .string("coordinate_transformation_mode")?
        .unwrap_or(default)
    {
        "half_pixel" => true,
        "output_half_pixel" => false,
        _ => return Ok(None),
    };
    Ok(Some(RoiAlign {
        max,
        output: [
            extent(a, "output_height", 1)?,
            extent(a, "output_width", 1)?,
        ],
        samples: extent(a, "sampling_ratio", 0)?,
        scale: a.float("spatial_scale", 1.0)?,
        half_pixel,
    }))
}

fn reduction(a: &Attributes<'_>) -> Result<ScatterReduction, IoError> {
    Ok(match a.string("reduction")?.unwrap_or("none") {
        "none" => ScatterReduction::None,
        "add" => ScatterReduction::Add,
        "mul" => ScatterReduction::Mul,
        "max" => ScatterReduction::Max,
        "min" => ScatterReduction::Min,
        other => return Err(a.malformed(format!("attribute `reduction` is {other:?}"))),
    })
}

/// The operator of a family without attributes.
fn plain(name: &str) -> Option<Op> {
    Math::named(name)
        .map(Op::Math)
        .or_else(|| Binary::named(name).map(Op::Binary))
        .or_else(|| Variadic::named(name).map(Op::Variadic))
}

fn activation(a: &Attributes<'_>, kind: Activation) -> Result<Op, IoError> {
    let kind = match a.string("approximate")?.unwrap_or("none") {
        "tanh" if kind == Activation::Gelu => Activation::GeluTanh,
        "none" => kind,
        other => return Err(a.malformed(format!("attribute `approximate` is {other:?}"))),
    };
    let mut parameters = [0.0; 2];
    for (value, (name, default)) in parameters.iter_mut().zip(kind.parameters()) {
        *value = a.float(name, *default)?;
    }
    Ok(Op::Activation { kind, parameters })
}

fn attention(a: &Attributes<'_>) -> Result<Attention, IoError> {
    Ok(Attention {
        is_causal: a.flag("is_causal")?,
        kv_num_heads: extent(a, "kv_num_heads", 0)?,
        q_num_heads: extent(a, "q_num_heads", 0)?,
        scale: a.has("scale").then(|| a.float("scale", 1.0)).transpose()?,
        scores: match a.int("qk_matmul_output_mode", 0)? {
            0 => Scores::Products,
            1 => Scores::Masked,
            2 => Scores::Capped,
            3 => Scores::Weights,
            other => {
                return Err(a.malformed(format!("attribute `qk_matmul_output_mode` is {other}")));
            }
        },
        softcap: a.float("softcap", 0.0)?,
        softmax_precision: element_type(a, "softmax_precision")?,
    })
}

fn window(a: &Attributes<'_>) -> Result<Window, IoError> {
    let auto_pad = match a.string("auto_pad")?.unwrap_or_default() {
        "" | "NOTSET" => AutoPad::NotSet,
        "SAME_UPPER" => AutoPad::SameUpper,
        "SAME_LOWER" => AutoPad::SameLower,
        "VALID" => AutoPad::Valid,
        other => return Err(a.malformed(format!("attribute `auto_pad` is {other:?}"))),
    };
    Ok(Window {
        kernel: a.extents("kernel_shape")?,
        strides: a.extents("strides")?,
        dilations: a.extents("dilations")?,
        pads: a.extents("pads")?,
        auto_pad,
        ceil_mode: a.flag("ceil_mode")?,
    })
}

fn groups(a: &Attributes<'_>) -> Result<usize, IoError> {
    count(a, "group", Some(1))
}

/// A positive number.
fn count(a: &Attributes<'_>, name: &str, default: Option<i64>) -> Result<usize, IoError> {
    let found = a.int(name, default.unwrap_or(0))?;
    usize::try_from(found)
        .ok()
        .filter(|&count| count > 0)
        .ok_or_else(|| {
            a.malformed(format!(
                "attribute `{name}` must be positive, found {found}"
            ))
        })
}

/// Whether a normalization is asked to compute in another type than f32.
fn stashes(a: &Attributes<'_>) -> Result<bool, IoError> {
    Ok(a.int("stash_type", 1)? != 1)
}

fn loss_reduction(a: &Attributes<'_>) -> Result<LossReduction, IoError> {
    let name = a.string("reduction")?.unwrap_or("mean");
    LossReduction::named(name)
        .ok_or_else(|| a.malformed(format!("attribute `reduction` is {name:?}")))
}

/// An element type by its number; `None` when absent or 0.
fn element_type(a: &Attributes<'_>, name: &str) -> Result<Option<DType>, IoError> {
    let code = a.int(name, 0)?;
    if code == 0 {
        return Ok(None);
    }
    i32::try_from(code)
        .ok()
        .and_then(dtype::from_code)
        .map(Some)
        .ok_or_else(|| {
            a.malformed(format!(
                "attribute `{name}`: element type {code} does not exist"
            ))
        })
}
