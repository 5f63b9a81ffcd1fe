//! [`Op`] to ONNX's operator name and attributes, in opset 21's form.

use super::attributes::kind;
use super::dtype;
use super::proto::AttributeProto;
use super::spelling::{
    self, ACTIVATION, ASPECT, COORDINATES, DIRECTION, GRID_MODE, GRID_PADDING, ROUNDING,
};
use secateur_model::ops::{Aspect, ConvTranspose, Interpolation, Recurrent, Resize, RoiAlign};
use secateur_model::{
    Activation, Attention, AutoPad, Binary, Family, Op, PadMode, ScatterReduction, Scores, Window,
};

/// The attributes of a known operator; those at their default are left out,
/// so that the node is valid in as many opsets as can be.
pub(super) fn attributes(op: &Op) -> Vec<AttributeProto> {
    match op {
        Op::Activation { kind, parameters } => activation(*kind, *parameters),
        Op::ArgReduce {
            axis,
            keep_dims,
            select_last_index,
            ..
        } => {
            let mut list = vec![int("axis", *axis)];
            push_unset(&mut list, "keepdims", *keep_dims);
            push_flag(&mut list, "select_last_index", *select_last_index);
            list
        }
        Op::Attention(attributes) => attention(attributes),
        Op::AveragePool {
            window: w,
            count_include_pad,
        } => {
            let mut list = window(w);
            push_flag(&mut list, "count_include_pad", *count_include_pad);
            list
        }
        Op::MaxPool {
            window: w,
            column_major,
        } => {
            let mut list = window(w);
            push_flag(&mut list, "storage_order", *column_major);
            list
        }
        Op::Conv { window: w, groups }
        | Op::ConvInteger { window: w, groups }
        | Op::QLinearConv { window: w, groups } => {
            let mut list = window(w);
            if *groups != 1 {
                list.push(int("group", *groups as i64));
            }
            list
        }
        Op::AffineGrid { align_corners } => {
            vec![int("align_corners", i64::from(*align_corners))]
        }
        Op::BatchNormalization { epsilon } | Op::InstanceNormalization { epsilon } => {
            vec![float("epsilon", *epsilon)]
        }
        Op::Binary(kind) => match kind {
            Binary::BitShiftLeft => vec![string("direction", "LEFT")],
            Binary::BitShiftRight => vec![string("direction", "RIGHT")],
            Binary::Fmod => vec![int("fmod", 1)],
            _ => Vec::new(),
        },
        Op::Col2Im { window: w } | Op::MaxUnpool { window: w } => window(w),
        Op::ConvTranspose(conv) => conv_transpose(conv),
        Op::DeformConv {
            window: w,
            groups,
            offset_groups,
        } => {
            let mut list = window(w);
            list.push(int("group", *groups as i64));
            list.push(int("offset_group", *offset_groups as i64));
            list
        }
        Op::Dft { inverse, onesided } => vec![
            int("inverse", i64::from(*inverse)),
            int("onesided", i64::from(*onesided)),
        ],
        Op::Einsum { equation } => vec![string("equation", equation)],
        Op::GridSample {
            mode,
            padding,
            align_corners,
        } => vec![
            string("mode", spelling::name(mode, GRID_MODE)),
            string("padding_mode", spelling::name(padding, GRID_PADDING)),
            int("align_corners", i64::from(*align_corners)),
        ],
        Op::LpPool { window: w, p } => {
            let mut list = window(w);
            list.push(int("p", i64::from(*p)));
            list
        }
        Op::NonMaxSuppression { center_point_box } => {
            vec![int("center_point_box", i64::from(*center_point_box))]
        }
        Op::Recurrent(layer) => recurrent(layer),
        Op::Resize(r) => resize(r),
        Op::RoiAlign(align) => roi_align(align),
        Op::Cast { to } => vec![int("to", i64::from(dtype::to_code(*to)))],
        Op::CenterCropPad { axes } if axes.is_empty() => Vec::new(),
        Op::CenterCropPad { axes } => vec![ints("axes", axes)],
        Op::Compress { axis } => axis.iter().map(|&axis| int("axis", axis)).collect(),
        Op::Concat { axis }
        | Op::Flatten { axis }
        | Op::Gather { axis }
        | Op::GatherElements { axis }
        | Op::OneHot { axis } => vec![int("axis", *axis)],
        Op::CosineWindow { periodic, to, .. } => vec![
            int("output_datatype", i64::from(dtype::to_code(*to))),
            int("periodic", i64::from(*periodic)),
        ],
        Op::DepthToSpace {
            block,
            channel_first,
        } => {
            let mut list = vec![int("blocksize", *block as i64)];
            list.extend(channel_first.then(|| string("mode", "CRD")));
            list
        }
        Op::EyeLike { k, to } => {
            let mut list = vec![int("k", *k)];
            list.extend(to.map(|to| int("dtype", i64::from(dtype::to_code(to)))));
            list
        }
        Op::GatherND { batch_dims: 0 } => Vec::new(),
        Op::GatherND { batch_dims } => vec![int("batch_dims", *batch_dims as i64)],
        Op::ReverseSequence {
            batch_axis,
            time_axis,
        } => vec![
            int("batch_axis", *batch_axis as i64),
            int("time_axis", *time_axis as i64),
        ],
        Op::ScatterElements { axis, reduction } => {
            let mut list = vec![int("axis", *axis)];
            list.extend(reduction_of(*reduction));
            list
        }
        Op::ScatterND { reduction } => reduction_of(*reduction).into_iter().collect(),
        Op::SpaceToDepth { block } => vec![int("blocksize", *block as i64)],
        Op::Split { axis, num_outputs } => {
            let mut list = vec![int("axis", *axis)];
            list.extend(num_outputs.map(|n| int("num_outputs", n as i64)));
            list
        }
        Op::TensorScatter { axis, circular } => {
            let mut list = vec![int("axis", *axis)];
            list.extend(circular.then(|| string("mode", "circular")));
            list
        }
        Op::Trilu { upper } => vec![int("upper", i64::from(*upper))],
        Op::Unique { axis, sorted } => {
            let mut list = vec![int("sorted", i64::from(*sorted))];
            list.extend(axis.map(|axis| int("axis", axis)));
            list
        }
        Op::Hardmax { axis, .. } | Op::LogSoftmax { axis, .. } | Op::Softmax { axis, .. } => {
            vec![int("axis", *axis)]
        }
        Op::GroupNormalization { groups, epsilon } => vec![
            int("num_groups", *groups as i64),
            float("epsilon", *epsilon),
        ],
        Op::LayerNormalization { axis, epsilon } | Op::RMSNormalization { axis, epsilon } => {
            vec![int("axis", *axis), float("epsilon", *epsilon)]
        }
        Op::LpNormalization { axis, p } => vec![int("axis", *axis), int("p", *p)],
        Op::Lrn {
            alpha,
            beta,
            bias,
            size,
        } => vec![
            float("alpha", *alpha),
            float("beta", *beta),
            float("bias", *bias),
            int("size", *size as i64),
        ],
        Op::MeanVarianceNormalization { axes } => vec![ints("axes", axes)],
        Op::NegativeLogLikelihoodLoss {
            reduction,
            ignore_index,
        }
        | Op::SoftmaxCrossEntropyLoss {
            reduction,
            ignore_index,
        } => {
            let mut list = vec![string("reduction", reduction.name())];
            list.extend(ignore_index.map(|index| int("ignore_index", index)));
            list
        }
        Op::CumSum { exclusive, reverse } => {
            let mut list = Vec::new();
            push_flag(&mut list, "exclusive", *exclusive);
            push_flag(&mut list, "reverse", *reverse);
            list
        }
        Op::DequantizeLinear { axis, block_size } => quantization(*axis, *block_size),
        Op::QuantizeLinear {
            axis,
            block_size,
            to,
        } => {
            let mut list = quantization(*axis, *block_size);
            list.extend(to.map(|to| int("output_dtype", i64::from(dtype::to_code(to)))));
            list
        }
        Op::Gemm {
            alpha,
            beta,
            trans_a,
            trans_b,
        } => {
            let mut list = vec![float("alpha", *alpha), float("beta", *beta)];
            push_flag(&mut list, "transA", *trans_a);
            push_flag(&mut list, "transB", *trans_b);
            list
        }
        Op::IsInf { negative, positive } => {
            let mut list = Vec::new();
            push_unset(&mut list, "detect_negative", *negative);
            push_unset(&mut list, "detect_positive", *positive);
            list
        }
        Op::LeakyRelu { alpha } => vec![float("alpha", *alpha)],
        Op::Pad { mode } => {
            let mode = match mode {
                PadMode::Constant => "constant",
                PadMode::Reflect => "reflect",
                PadMode::Edge => "edge",
                PadMode::Wrap => "wrap",
            };
            vec![string("mode", mode)]
        }
        Op::Reduce {
            keep_dims,
            noop_with_empty_axes,
            ..
        } => {
            let mut list = Vec::new();
            push_unset(&mut list, "keepdims", *keep_dims);
            push_flag(&mut list, "noop_with_empty_axes", *noop_with_empty_axes);
            list
        }
        Op::Reshape { allow_zero } => {
            let mut list = Vec::new();
            push_flag(&mut list, "allowzero", *allow_zero);
            list
        }
        Op::RotaryEmbedding {
            interleaved,
            num_heads,
            dim,
        } => {
            let mut list = Vec::new();
            push_flag(&mut list, "interleaved", *interleaved);
            push_count(&mut list, "num_heads", *num_heads);
            push_count(&mut list, "rotary_embedding_dim", *dim);
            list
        }
        Op::Shape { start, end } => {
            let mut list = Vec::new();
            if *start != 0 {
                list.push(int("start", *start));
            }
            list.extend(end.map(|end| int("end", end)));
            list
        }
        Op::TopK {
            axis,
            largest,
            sorted,
        } => {
            let mut list = vec![int("axis", *axis)];
            push_unset(&mut list, "largest", *largest);
            push_unset(&mut list, "sorted", *sorted);
            list
        }
        Op::Transpose { perm } => perm.iter().map(|perm| extents("perm", perm)).collect(),
        Op::Add
        | Op::CastLike
        | Op::Clip
        | Op::Det
        | Op::Div
        | Op::Dropout
        | Op::DynamicQuantizeLinear
        | Op::Expand
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool
        | Op::Identity
        | Op::MatMul
        | Op::MatMulInteger
        | Op::Math(_)
        | Op::Mul
        | Op::NonZero
        | Op::PRelu
        | Op::QLinearMatMul
        | Op::Range
        | Op::Relu
        | Op::Sigmoid
        | Op::Size
        | Op::Slice
        | Op::Squeeze
        | Op::Sub
        | Op::Tanh
        | Op::Tile
        | Op::Unsqueeze
        | Op::Variadic(_)
        | Op::Where
        | Op::Control(_)
        | Op::Unknown(_) => Vec::new(),
    }
}

fn conv_transpose(conv: &ConvTranspose) -> Vec<AttributeProto> {
    let mut list = window(&conv.window);
    if conv.groups != 1 {
        list.push(int("group", conv.groups as i64));
    }
    for (name, values) in [
        ("output_padding", &conv.output_padding),
        ("output_shape", &conv.output_shape),
    ] {
        if !values.is_empty() {
            list.push(extents(name, values));
        }
    }
    list
}

fn recurrent(layer: &Recurrent) -> Vec<AttributeProto> {
    let mut list = vec![string(
        "direction",
        spelling::name(&layer.direction, DIRECTION),
    )];
    if !layer.activations.is_empty() {
        let names = layer.activations.iter();
        let names = names.map(|activation| spelling::name(activation, ACTIVATION).into());
        list.push(AttributeProto {
            name: "activations".into(),
            r#type: kind::STRINGS,
            strings: names.collect(),
            ..AttributeProto::default()
        });
    }
    list.extend(layer.clip.map(|clip| float("clip", clip)));
    list.extend(layer.hidden.map(|n| int("hidden_size", n as i64)));
    push_flag(&mut list, "layout", layer.batch_first);
    push_flag(&mut list, "linear_before_reset", layer.linear_before_reset);
    list
}

fn resize(resize: &Resize) -> Vec<AttributeProto> {
    let coordinates = spelling::name(&resize.coordinates, COORDINATES);
    let mut list = vec![string("coordinate_transformation_mode", coordinates)];
    match resize.interpolation {
        Interpolation::Nearest(rounding) => {
            list.push(string("mode", "nearest"));
            list.push(string("nearest_mode", spelling::name(&rounding, ROUNDING)));
        }
        Interpolation::Linear => list.push(string("mode", "linear")),
        Interpolation::Cubic(a) => {
            list.push(string("mode", "cubic"));
            list.push(float("cubic_coeff_a", a));
        }
    }
    if resize.aspect != Aspect::Stretch {
        let aspect = spelling::name(&resize.aspect, ASPECT);
        list.push(string("keep_aspect_ratio_policy", aspect));
    }
    if !resize.axes.is_empty() {
        list.push(ints("axes", &resize.axes));
    }
    push_flag(&mut list, "antialias", resize.antialias);
    push_flag(&mut list, "exclude_outside", resize.exclude_outside);
    if resize.extrapolation != 0.0 {
        list.push(float("extrapolation_value", resize.extrapolation));
    }
    list
}

fn roi_align(align: &RoiAlign) -> Vec<AttributeProto> {
    let centers = match align.half_pixel {
        true => "half_pixel",
        false => "output_half_pixel",
    };
    vec![
        string("coordinate_transformation_mode", centers),
        string("mode", if align.max { "max" } else { "avg" }),
        int("output_height", align.output[0] as i64),
        int("output_width", align.output[1] as i64),
        int("sampling_ratio", align.samples as i64),
        float("spatial_scale", align.scale),
    ]
}

fn reduction_of(reduction: ScatterReduction) -> Option<AttributeProto> {
    let name = match reduction {
        ScatterReduction::None => return None,
        ScatterReduction::Add => "add",
        ScatterReduction::Mul => "mul",
        ScatterReduction::Max => "max",
        ScatterReduction::Min => "min",
    };
    Some(string("reduction", name))
}

fn activation(kind: Activation, parameters: [f32; 2]) -> Vec<AttributeProto> {
    let names = kind.parameters().iter().map(|(name, _)| *name);
    let mut list: Vec<AttributeProto> = names
        .zip(parameters)
        .map(|(name, value)| float(name, value))
        .collect();
    if kind == Activation::GeluTanh {
        list.push(string("approximate", "tanh"));
    }
    list
}

fn attention(attention: &Attention) -> Vec<AttributeProto> {
    let mut list = Vec::new();
    push_flag(&mut list, "is_causal", attention.is_causal);
    push_count(&mut list, "kv_num_heads", attention.kv_num_heads);
    push_count(&mut list, "q_num_heads", attention.q_num_heads);
    list.extend(attention.scale.map(|scale| float("scale", scale)));
    let mode = match attention.scores {
        Scores::Products => 0,
        Scores::Masked => 1,
        Scores::Capped => 2,
        Scores::Weights => 3,
    };
    push_count(&mut list, "qk_matmul_output_mode", mode);
    list.push(float("softcap", attention.softcap));
    let precision = attention.softmax_precision.map(dtype::to_code);
    list.extend(precision.map(|code| int("softmax_precision", code.into())));
    list
}

fn window(window: &Window) -> Vec<AttributeProto> {
    let mut list: Vec<AttributeProto> = [
        ("kernel_shape", &window.kernel),
        ("strides", &window.strides),
        ("dilations", &window.dilations),
        ("pads", &window.pads),
    ]
    .into_iter()
    .filter(|(_, values)| !values.is_empty())
    .map(|(name, values)| extents(name, values))
    .collect();
    let auto_pad = match window.auto_pad {
        AutoPad::NotSet => None,
        AutoPad::SameUpper => Some("SAME_UPPER"),
        AutoPad::SameLower => Some("SAME_LOWER"),
        AutoPad::Valid => Some("VALID"),
    };
    list.extend(auto_pad.map(|mode| string("auto_pad", mode)));
    push_flag(&mut list, "ceil_mode", window.ceil_mode);
    list
}

fn quantization(axis: i64, block_size: i64) -> Vec<AttributeProto> {
    let mut list = Vec::new();
    if axis != 1 {
        list.push(int("axis", axis));
    }
    if block_size != 0 {
        list.push(int("block_size", block_size));
    }
    list
}

fn push_flag(list: &mut Vec<AttributeProto>, name: &str, value: bool) {
    if value {
        list.push(int(name, 1));
    }
}

/// A number that is 0 by default.
fn push_count(list: &mut Vec<AttributeProto>, name: &str, value: usize) {
    if value != 0 {
        list.push(int(name, value as i64));
    }
}

/// A flag that is set by default.
fn push_unset(list: &mut Vec<AttributeProto>, name: &str, value: bool) {
    if !value {
        list.push(int(name, 0));
    }
}

/// An integer attribute.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: kind::INT,
        i: Some(value),
        ..AttributeProto::default()
    }
}

/// A number as an attribute.
pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: kind::FLOAT,
        f: Some(value),
        ..AttributeProto::default()
    }
}

/// A text as an attribute.
pub(super) fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: kind::STRING,
        s: Some(value.into()),
        ..AttributeProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: kind::INTS,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

fn extents(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: kind::INTS,
        ints: values.iter().map(|&v| v as i64).collect(),
        ..AttributeProto::default()
    }
}
