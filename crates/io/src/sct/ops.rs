//! Operators by number. Numbers and the order of attributes are part of the
//! format: they never change within a major version.

use super::attributes::{
    GRID_MODES, GRID_PADDINGS, optional, put_attention, put_choice, put_optional, put_recurrent,
    put_reduction, put_resize, put_window, read_attention, read_choice, read_recurrent,
    read_reduction, read_resize, read_window,
};
use super::bytes::{Damage, Reader, Writer};
use super::tensor::{put_dtype, read_dtype};
use secateur_model::ops::{ConvTranspose, RoiAlign};
use secateur_model::{Activation, CosineWindow, Family, Op, PadMode, UnknownOp};

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
        // Written as it came: see `onnx::spell_out`.
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

pub(super) fn read_op(r: &mut Reader<'_>) -> Result<Op, Damage> {
    Ok(match r.byte()? {
        0 => Op::Unknown(Box::new(UnknownOp {
            domain: r.name()?,
            op_type: r.name()?,
            attributes: r.blob()?.to_vec(),
            captures: r.names()?,
        })),
        1 => Op::Add,
        2 => Op::AveragePool {
            window: read_window(r)?,
            count_include_pad: r.flag()?,
        },
        3 => Op::BatchNormalization { epsilon: r.f32()? },
        4 => Op::Cast { to: read_dtype(r)? },
        5 => Op::Clip,
        6 => Op::Concat { axis: r.signed()? },
        7 => Op::Conv {
            window: read_window(r)?,
            groups: r.size()?,
        },
        8 => Op::DequantizeLinear {
            axis: r.signed()?,
            block_size: r.signed()?,
        },
        9 => Op::Div,
        10 => Op::Dropout,
        11 => Op::Flatten { axis: r.signed()? },
        12 => Op::Gather { axis: r.signed()? },
        13 => read_gemm(r)?,
        14 => Op::GlobalAveragePool,
        15 => Op::GlobalMaxPool,
        16 => Op::Identity,
        17 => Op::LeakyRelu { alpha: r.f32()? },
        18 => Op::MatMul,
        19 => Op::MaxPool {
            window: read_window(r)?,
            column_major: r.flag()?,
        },
        20 => Op::Mul,
        21 => Op::Pad {
            mode: match r.byte()? {
                0 => PadMode::Constant,
                1 => PadMode::Reflect,
                2 => PadMode::Edge,
                3 => PadMode::Wrap,
                other => return Err(r.damage(format!("no pad mode has number {other}"))),
            },
        },
        22 => Op::QLinearConv {
            window: read_window(r)?,
            groups: r.size()?,
        },
        23 => Op::QLinearMatMul,
        24 => Op::QuantizeLinear {
            axis: r.signed()?,
            block_size: r.signed()?,
            to: optional(r, read_dtype)?,
        },
        25 => Op::Relu,
        26 => Op::Reshape {
            allow_zero: r.flag()?,
        },
        27 => Op::Shape {
            start: r.signed()?,
            end: optional(r, Reader::signed)?,
        },
        28 => Op::Sigmoid,
        29 => Op::Softmax {
            axis: r.signed()?,
            flattened: r.flag()?,
        },
        30 => Op::Squeeze,
        31 => Op::Sub,
        32 => Op::Tanh,
        33 => Op::Transpose {
            perm: optional(r, Reader::sizes)?,
        },
        34 => Op::Unsqueeze,
        40 => Op::Math(member(r)?),
        41 => read_activation(r)?,
        42 => {
            let [negative, positive] = two_flags(r)?;
            Op::IsInf { negative, positive }
        }
        43 => Op::PRelu,
        44 => Op::Binary(member(r)?),
        45 => Op::Variadic(member(r)?),
        46 => Op::Where,
        47 => {
            let kind = member(r)?;
            let [keep_dims, noop_with_empty_axes] = two_flags(r)?;
            Op::Reduce {
                kind,
                keep_dims,
                noop_with_empty_axes,
            }
        }
        48 => {
            let (kind, axis) = (member(r)?, r.signed()?);
            let [keep_dims, select_last_index] = two_flags(r)?;
            Op::ArgReduce {
                kind,
                axis,
                keep_dims,
                select_last_index,
            }
        }
        49 => {
            let [exclusive, reverse] = two_flags(r)?;
            Op::CumSum { exclusive, reverse }
        }
        50 => {
            let axis = r.signed()?;
            let [largest, sorted] = two_flags(r)?;
            Op::TopK {
                axis,
                largest,
                sorted,
            }
        }
        51 => Op::LogSoftmax {
            axis: r.signed()?,
            flattened: r.flag()?,
        },
        52 => Op::Hardmax {
            axis: r.signed()?,
            flattened: r.flag()?,
        },
        53 => Op::LayerNormalization {
            axis: r.signed()?,
            epsilon: r.f32()?,
        },
        54 => Op::RMSNormalization {
            axis: r.signed()?,
            epsilon: r.f32()?,
        },
        55 => Op::GroupNormalization {
            groups: r.size()?,
            epsilon: r.f32()?,
        },
        56 => Op::InstanceNormalization { epsilon: r.f32()? },
        57 => Op::MeanVarianceNormalization {
            axes: r.list(Reader::signed)?,
        },
        58 => Op::LpNormalization {
            axis: r.signed()?,
            p: r.signed()?,
        },
        59 => Op::Lrn {
            alpha: r.f32()?,
            beta: r.f32()?,
            bias: r.f32()?,
            size: r.size()?,
        },
        60 => Op::CastLike,
        61 => Op::NegativeLogLikelihoodLoss {
            reduction: member(r)?,
            ignore_index: optional(r, Reader::signed)?,
        },
        62 => Op::SoftmaxCrossEntropyLoss {
            reduction: member(r)?,
            ignore_index: optional(r, Reader::signed)?,
        },
        63 => Op::Attention(Box::new(read_attention(r)?)),
        64 => Op::RotaryEmbedding {
            interleaved: r.flag()?,
            num_heads: r.size()?,
            dim: r.size()?,
        },
        90 => Op::CenterCropPad {
            axes: r.list(Reader::signed)?,
        },
        91 => Op::Compress {
            axis: optional(r, Reader::signed)?,
        },
        92 => Op::CosineWindow {
            window: match r.byte()? {
                0 => CosineWindow::Blackman,
                1 => CosineWindow::Hamming,
                2 => CosineWindow::Hann,
                other => return Err(r.damage(format!("no window has number {other}"))),
            },
            periodic: r.flag()?,
            to: read_dtype(r)?,
        },
        93 => Op::DepthToSpace {
            block: r.size()?,
            channel_first: r.flag()?,
        },
        94 => Op::Expand,
        95 => Op::EyeLike {
            k: r.signed()?,
            to: optional(r, read_dtype)?,
        },
        96 => Op::GatherElements { axis: r.signed()? },
        97 => Op::GatherND {
            batch_dims: r.size()?,
        },
        98 => Op::NonZero,
        99 => Op::OneHot { axis: r.signed()? },
        100 => Op::Range,
        101 => Op::ReverseSequence {
            batch_axis: r.size()?,
            time_axis: r.size()?,
        },
        102 => Op::ScatterElements {
            axis: r.signed()?,
            reduction: read_reduction(r)?,
        },
        103 => Op::ScatterND {
            reduction: read_reduction(r)?,
        },
        104 => Op::Size,
        105 => Op::Slice,
        106 => Op::SpaceToDepth { block: r.size()? },
        107 => Op::Split {
            axis: r.signed()?,
            num_outputs: optional(r, Reader::size)?,
        },
        108 => Op::TensorScatter {
            axis: r.signed()?,
            circular: r.flag()?,
        },
        109 => Op::Tile,
        110 => Op::Trilu { upper: r.flag()? },
        111 => Op::Unique {
            axis: optional(r, Reader::signed)?,
            sorted: r.flag()?,
        },
        112 => Op::Resize(Box::new(read_resize(r)?)),
        113 => Op::ConvTranspose(Box::new(ConvTranspose {
            window: read_window(r)?,
            groups: r.size()?,
            output_padding: r.sizes()?,
            output_shape: r.sizes()?,
        })),
        114 => Op::ConvInteger {
            window: read_window(r)?,
            groups: r.size()?,
        },
        115 => Op::MatMulInteger,
        116 => Op::DynamicQuantizeLinear,
        117 => Op::Recurrent(Box::new(read_recurrent(r)?)),
        118 => Op::Einsum {
            equation: r.text()?,
        },
        119 => Op::NonMaxSuppression {
            center_point_box: r.flag()?,
        },
        120 => Op::GridSample {
            mode: read_choice(r, GRID_MODES)?,
            padding: read_choice(r, GRID_PADDINGS)?,
            align_corners: r.flag()?,
        },
        121 => Op::RoiAlign(Box::new(RoiAlign {
            max: r.flag()?,
            half_pixel: r.flag()?,
            output: [r.size()?, r.size()?],
            samples: r.size()?,
            scale: r.f32()?,
        })),
        122 => Op::LpPool {
            window: read_window(r)?,
            p: u32::try_from(r.size()?)
                .ok()
                .filter(|&p| p > 0)
                .ok_or_else(|| r.damage("a norm that does not exist"))?,
        },
        123 => Op::MaxUnpool {
            window: read_window(r)?,
        },
        124 => Op::Col2Im {
            window: read_window(r)?,
        },
        125 => Op::DeformConv {
            window: read_window(r)?,
            groups: r.size()?,
            offset_groups: r.size()?,
        },
        126 => Op::Det,
        127 => Op::Dft {
            inverse: r.flag()?,
            onesided: r.flag()?,
        },
        128 => Op::AffineGrid {
            align_corners: r.flag()?,
        },
        other => return Err(r.damage(format!("no operator has number {other}"))),
    })
}

fn two_flags(r: &mut Reader<'_>) -> Result<[bool; 2], Damage> {
    match r.byte()? {
        flags @ 0..=3 => Ok([flags & 1 != 0, flags & 2 != 0]),
        flags => Err(r.damage(format!("two flags are {flags}, at most 3"))),
    }
}

/// A member of a family, by its number.
fn member<F: Family>(r: &mut Reader<'_>) -> Result<F, Damage> {
    let number = r.byte()?;
    F::numbered(number)
        .ok_or_else(|| r.damage(format!("no member of the family has number {number}")))
}

fn read_activation(r: &mut Reader<'_>) -> Result<Op, Damage> {
    let kind: Activation = member(r)?;
    let mut parameters = [0.0; 2];
    for value in parameters.iter_mut().take(kind.parameters().len()) {
        *value = r.f32()?;
    }
    Ok(Op::Activation { kind, parameters })
}

fn read_gemm(r: &mut Reader<'_>) -> Result<Op, Damage> {
    let flags = r.byte()?;
    if flags > 7 {
        return Err(r.damage(format!("flags of Gemm are {flags}, at most 7")));
    }
    let scaled = flags & 4 != 0;
    Ok(Op::Gemm {
        alpha: if scaled { r.f32()? } else { 1.0 },
        beta: if scaled { r.f32()? } else { 1.0 },
        trans_a: flags & 1 != 0,
        trans_b: flags & 2 != 0,
    })
}
