//! Operators by number: written. Numbers and the order of attributes are part of
//! the format: they never change within a major version.

use super::attributes::{
    GRID_MODES, GRID_PADDINGS, put_attention, put_choice, put_optional, put_recurrent,
    put_reduction, put_resize, put_window,
};
use super::bytes::Writer;
use super::tensor::put_dtype;
use secateur_model::{CosineWindow, Family, Op, PadMode, UnknownOp};

pub(super) fn put_op(w: &mut Writer, op: &Op) {
    w.byte(code(op));
    match op {
        Op::Activation { kind, parameters } => {
            w.byte(kind.number());
            let used = parameters.iter().take(kind.parameters().len());
            used.for_each(|&value| w.f32(value));
        }
        Op::ArgReduce {
            kind,
            axis,
            keep_dims,
            select_last_index,
        } => {
            w.byte(kind.number());
            w.signed(*axis);
            w.byte(u8::from(*keep_dims) | u8::from(*select_last_index) << 1);
        }
        Op::Attention(attention) => put_attention(w, attention),
        Op::AveragePool {
            window,
            count_include_pad: flag,
        }
        | Op::MaxPool {
            window,
            column_major: flag,
        } => {
            put_window(w, window);
            w.byte(u8::from(*flag));
        }
        Op::BatchNormalization { epsilon: v }
        | Op::InstanceNormalization { epsilon: v }
        | Op::LeakyRelu { alpha: v } => w.f32(*v),
        Op::Binary(kind) => w.byte(kind.number()),
        Op::Cast { to } => put_dtype(w, *to),
        Op::CenterCropPad { axes } => {
            w.size(axes.len());
            axes.iter().for_each(|&axis| w.signed(axis));
        }
        Op::Compress { axis } => put_optional(w, *axis, Writer::signed),
        Op::Concat { axis }
        | Op::Flatten { axis }
        | Op::Gather { axis }
        | Op::GatherElements { axis }
        | Op::OneHot { axis } => w.signed(*axis),
        Op::AffineGrid {
            align_corners: flag,
        }
        | Op::NonMaxSuppression {
            center_point_box: flag,
        } => w.byte(u8::from(*flag)),
        Op::Col2Im { window } | Op::MaxUnpool { window } => put_window(w, window),
        Op::DeformConv {
            window,
            groups,
            offset_groups,
        } => {
            put_window(w, window);
            w.size(*groups);
            w.size(*offset_groups);
        }
        Op::Dft { inverse, onesided } => {
            w.byte(u8::from(*inverse));
            w.byte(u8::from(*onesided));
        }
        Op::Einsum { equation } => w.blob(equation.as_bytes()),
        Op::GridSample {
            mode,
            padding,
            align_corners,
        } => {
            put_choice(w, mode, GRID_MODES);
            put_choice(w, padding, GRID_PADDINGS);
            w.byte(u8::from(*align_corners));
        }
        Op::LpPool { window, p } => {
            put_window(w, window);
            w.size(*p as usize);
        }
        Op::RoiAlign(align) => {
            w.byte(u8::from(align.max));
            w.byte(u8::from(align.half_pixel));
            w.size(align.output[0]);
            w.size(align.output[1]);
            w.size(align.samples);
            w.f32(align.scale);
        }
        Op::ConvTranspose(conv) => {
            put_window(w, &conv.window);
            w.size(conv.groups);
            w.sizes(&conv.output_padding);
            w.sizes(&conv.output_shape);
        }
        Op::Recurrent(layer) => put_recurrent(w, layer),
        Op::Resize(resize) => put_resize(w, resize),
        Op::Conv { window, groups }
        | Op::ConvInteger { window, groups }
        | Op::QLinearConv { window, groups } => {
            put_window(w, window);
            w.size(*groups);
        }
        Op::CosineWindow {
            window,
            periodic,
            to,
        } => {
            w.byte(match window {
                CosineWindow::Blackman => 0,
                CosineWindow::Hamming => 1,
                CosineWindow::Hann => 2,
            });
            w.byte(u8::from(*periodic));
            put_dtype(w, *to);
        }
        Op::DepthToSpace {
            block,
            channel_first,
        } => {
            w.size(*block);
            w.byte(u8::from(*channel_first));
        }
        Op::CumSum {
            exclusive: first,
            reverse: second,
        }
        | Op::IsInf {
            negative: first,
            positive: second,
        } => w.byte(u8::from(*first) | u8::from(*second) << 1),
        Op::DequantizeLinear { axis, block_size } => {
            w.signed(*axis);
            w.signed(*block_size);
        }
        Op::EyeLike { k, to } => {
            w.signed(*k);
            put_optional(w, *to, put_dtype);
        }
        Op::GatherND { batch_dims: size } | Op::SpaceToDepth { block: size } => w.size(*size),
        Op::Gemm {
            alpha,
            beta,
            trans_a,
            trans_b,
        } => {
            // Both factors are almost always one.
            let plain = alpha.to_bits() == 1f32.to_bits() && beta.to_bits() == 1f32.to_bits();
            w.byte(u8::from(*trans_a) | u8::from(*trans_b) << 1 | u8::from(!plain) << 2);
            if !plain {
                w.f32(*alpha);
                w.f32(*beta);
            }
        }
        Op::GroupNormalization { groups, epsilon } => {
            w.size(*groups);
            w.f32(*epsilon);
        }
        Op::LayerNormalization { axis, epsilon } | Op::RMSNormalization { axis, epsilon } => {
            w.signed(*axis);
            w.f32(*epsilon);
        }
        Op::LpNormalization { axis, p } => {
            w.signed(*axis);
            w.signed(*p);
        }
        Op::Lrn {
            alpha,
            beta,
            bias,
            size,
        } => {
            [alpha, beta, bias].into_iter().for_each(|&v| w.f32(v));
            w.size(*size);
        }
        Op::Math(kind) => w.byte(kind.number()),
        Op::MeanVarianceNormalization { axes } => {
            w.size(axes.len());
            axes.iter().for_each(|&axis| w.signed(axis));
        }
        Op::NegativeLogLikelihoodLoss {
            reduction,
            ignore_index,
        }
        | Op::SoftmaxCrossEntropyLoss {
            reduction,
            ignore_index,
        } => {
            w.byte(reduction.number());
            put_optional(w, *ignore_index, Writer::signed);
        }
        Op::Pad { mode } => w.byte(match mode {
            PadMode::Constant => 0,
            PadMode::Reflect => 1,
            PadMode::Edge => 2,
            PadMode::Wrap => 3,
        }),
        Op::QuantizeLinear {
            axis,
            block_size,
            to,
        } => {
            w.signed(*axis);
            w.signed(*block_size);
            put_optional(w, *to, put_dtype);
        }
        Op::Reduce {
            kind,
            keep_dims,
            noop_with_empty_axes,
        } => {
            w.byte(kind.number());
            w.byte(u8::from(*keep_dims) | u8::from(*noop_with_empty_axes) << 1);
        }
        Op::Reshape { allow_zero } => w.byte(u8::from(*allow_zero)),
        Op::ReverseSequence {
            batch_axis,
            time_axis,
        } => {
            w.size(*batch_axis);
            w.size(*time_axis);
        }
        Op::RotaryEmbedding {
            interleaved,
            num_heads,
            dim,
        } => {
            w.byte(u8::from(*interleaved));
            w.size(*num_heads);
            w.size(*dim);
        }
        Op::ScatterElements { axis, reduction } => {
            w.signed(*axis);
            put_reduction(w, *reduction);
        }
        Op::ScatterND { reduction } => put_reduction(w, *reduction),
        Op::Shape { start, end } => {
            w.signed(*start);
            put_optional(w, *end, Writer::signed);
        }
        Op::Hardmax { axis, flattened }
        | Op::LogSoftmax { axis, flattened }
        | Op::Softmax { axis, flattened } => {
            w.signed(*axis);
            w.byte(u8::from(*flattened));
        }
        Op::Split { axis, num_outputs } => {
            w.signed(*axis);
            put_optional(w, *num_outputs, Writer::size);
        }
        Op::TensorScatter {
            axis,
            circular: flag,
        } => {
            w.signed(*axis);
            w.byte(u8::from(*flag));
        }
        Op::TopK {
            axis,
            largest,
            sorted,
        } => {
            w.signed(*axis);
            w.byte(u8::from(*largest) | u8::from(*sorted) << 1);
        }
        Op::Trilu { upper } => w.byte(u8::from(*upper)),
        Op::Unique { axis, sorted } => {
            put_optional(w, *axis, Writer::signed);
            w.byte(u8::from(*sorted));
        }
        Op::Variadic(kind) => w.byte(kind.number()),
        Op::Transpose { perm } => {
            w.byte(u8::from(perm.is_some()));
            perm.iter().for_each(|perm| w.sizes(perm));
        }
        // Written as it came: see `flow`.
        Op::Control(control) => put_unknown(w, &control.carried),
        Op::Unknown(op) => put_unknown(w, op),
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
        | Op::Where => {}
    }
}

fn code(op: &Op) -> u8 {
    match op {
        Op::Control(_) | Op::Unknown(_) => 0,
        Op::Add => 1,
        Op::AveragePool { .. } => 2,
        Op::BatchNormalization { .. } => 3,
        Op::Cast { .. } => 4,
        Op::Clip => 5,
        Op::Concat { .. } => 6,
        Op::Conv { .. } => 7,
        Op::DequantizeLinear { .. } => 8,
        Op::Div => 9,
        Op::Dropout => 10,
        Op::Flatten { .. } => 11,
        Op::Gather { .. } => 12,
        Op::Gemm { .. } => 13,
        Op::GlobalAveragePool => 14,
        Op::GlobalMaxPool => 15,
        Op::Identity => 16,
        Op::LeakyRelu { .. } => 17,
        Op::MatMul => 18,
        Op::MaxPool { .. } => 19,
        Op::Mul => 20,
        Op::Pad { .. } => 21,
        Op::QLinearConv { .. } => 22,
        Op::QLinearMatMul => 23,
        Op::QuantizeLinear { .. } => 24,
        Op::Relu => 25,
        Op::Reshape { .. } => 26,
        Op::Shape { .. } => 27,
        Op::Sigmoid => 28,
        Op::Softmax { .. } => 29,
        Op::Squeeze => 30,
        Op::Sub => 31,
        Op::Tanh => 32,
        Op::Transpose { .. } => 33,
        Op::Unsqueeze => 34,
        Op::Math(_) => 40,
        Op::Activation { .. } => 41,
        Op::IsInf { .. } => 42,
        Op::PRelu => 43,
        Op::Binary(_) => 44,
        Op::Variadic(_) => 45,
        Op::Where => 46,
        Op::Reduce { .. } => 47,
        Op::ArgReduce { .. } => 48,
        Op::CumSum { .. } => 49,
        Op::TopK { .. } => 50,
        Op::LogSoftmax { .. } => 51,
        Op::Hardmax { .. } => 52,
        Op::LayerNormalization { .. } => 53,
        Op::RMSNormalization { .. } => 54,
        Op::GroupNormalization { .. } => 55,
        Op::InstanceNormalization { .. } => 56,
        Op::MeanVarianceNormalization { .. } => 57,
        Op::LpNormalization { .. } => 58,
        Op::Lrn { .. } => 59,
        Op::CastLike => 60,
        Op::NegativeLogLikelihoodLoss { .. } => 61,
        Op::SoftmaxCrossEntropyLoss { .. } => 62,
        Op::Attention(_) => 63,
        Op::RotaryEmbedding { .. } => 64,
        Op::CenterCropPad { .. } => 90,
        Op::Compress { .. } => 91,
        Op::CosineWindow { .. } => 92,
        Op::DepthToSpace { .. } => 93,
        Op::Expand => 94,
        Op::EyeLike { .. } => 95,
        Op::GatherElements { .. } => 96,
        Op::GatherND { .. } => 97,
        Op::NonZero => 98,
        Op::OneHot { .. } => 99,
        Op::Range => 100,
        Op::ReverseSequence { .. } => 101,
        Op::ScatterElements { .. } => 102,
        Op::ScatterND { .. } => 103,
        Op::Size => 104,
        Op::Slice => 105,
        Op::SpaceToDepth { .. } => 106,
        Op::Split { .. } => 107,
        Op::TensorScatter { .. } => 108,
        Op::Tile => 109,
        Op::Trilu { .. } => 110,
        Op::Unique { .. } => 111,
        Op::Resize(_) => 112,
        Op::ConvTranspose(_) => 113,
        Op::ConvInteger { .. } => 114,
        Op::MatMulInteger => 115,
        Op::DynamicQuantizeLinear => 116,
        Op::Recurrent(_) => 117,
        Op::Einsum { .. } => 118,
        Op::NonMaxSuppression { .. } => 119,
        Op::GridSample { .. } => 120,
        Op::RoiAlign(_) => 121,
        Op::LpPool { .. } => 122,
        Op::MaxUnpool { .. } => 123,
        Op::Col2Im { .. } => 124,
        Op::DeformConv { .. } => 125,
        Op::Det => 126,
        Op::Dft { .. } => 127,
        Op::AffineGrid { .. } => 128,
    }
}

fn put_unknown(w: &mut Writer, op: &UnknownOp) {
    w.name(&op.domain);
    w.name(&op.op_type);
    w.blob(&op.attributes);
    w.names(&op.captures);
}
