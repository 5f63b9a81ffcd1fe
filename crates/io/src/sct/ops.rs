//! Operators by number. Numbers and the order of attributes are part of the
//! format: they never change within a major version.

use super::bytes::{Damage, Reader, Writer};
use super::tensor::{put_dtype, read_dtype};
use secateur_model::{
    Activation, Attention, AutoPad, Family, Op, PadMode, Scores, UnknownOp, Window,
};

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
        Op::Concat { axis } | Op::Flatten { axis } | Op::Gather { axis } => w.signed(*axis),
        Op::Conv { window, groups } | Op::QLinearConv { window, groups } => {
            put_window(w, window);
            w.size(*groups);
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
            w.byte(u8::from(ignore_index.is_some()));
            ignore_index.iter().for_each(|&index| w.signed(index));
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
            w.byte(u8::from(to.is_some()));
            to.iter().for_each(|&to| put_dtype(w, to));
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
        Op::RotaryEmbedding {
            interleaved,
            num_heads,
            dim,
        } => {
            w.byte(u8::from(*interleaved));
            w.size(*num_heads);
            w.size(*dim);
        }
        Op::Shape { start, end } => {
            w.signed(*start);
            w.byte(u8::from(end.is_some()));
            end.iter().for_each(|&end| w.signed(end));
        }
        Op::Hardmax { axis, flattened }
        | Op::LogSoftmax { axis, flattened }
        | Op::Softmax { axis, flattened } => {
            w.signed(*axis);
            w.byte(u8::from(*flattened));
        }
        Op::TopK {
            axis,
            largest,
            sorted,
        } => {
            w.signed(*axis);
            w.byte(u8::from(*largest) | u8::from(*sorted) << 1);
        }
        Op::Variadic(kind) => w.byte(kind.number()),
        Op::Transpose { perm } => {
            w.byte(u8::from(perm.is_some()));
            perm.iter().for_each(|perm| w.sizes(perm));
        }
        Op::Unknown(op) => {
            w.name(&op.domain);
            w.name(&op.op_type);
            w.blob(&op.attributes);
            w.names(&op.captures);
        }
        Op::Add
        | Op::CastLike
        | Op::Clip
        | Op::Div
        | Op::Dropout
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool
        | Op::Identity
        | Op::MatMul
        | Op::Mul
        | Op::PRelu
        | Op::QLinearMatMul
        | Op::Relu
        | Op::Sigmoid
        | Op::Squeeze
        | Op::Sub
        | Op::Tanh
        | Op::Unsqueeze
        | Op::Where => {}
    }
}

fn code(op: &Op) -> u8 {
    match op {
        Op::Unknown(_) => 0,
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
    }
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

fn put_attention(w: &mut Writer, attention: &Attention) {
    let scores = match attention.scores {
        Scores::Products => 0,
        Scores::Masked => 1,
        Scores::Capped => 2,
        Scores::Weights => 3,
    };
    w.byte(u8::from(attention.is_causal) | scores << 1);
    w.size(attention.kv_num_heads);
    w.size(attention.q_num_heads);
    w.f32(attention.softcap);
    w.byte(u8::from(attention.scale.is_some()));
    attention.scale.iter().for_each(|&scale| w.f32(scale));
    w.byte(u8::from(attention.softmax_precision.is_some()));
    let precision = attention.softmax_precision.iter();
    precision.for_each(|&dtype| put_dtype(w, dtype));
}

fn read_attention(r: &mut Reader<'_>) -> Result<Attention, Damage> {
    let flags = r.byte()?;
    if flags > 7 {
        return Err(r.damage(format!("flags of Attention are {flags}, at most 7")));
    }
    Ok(Attention {
        is_causal: flags & 1 != 0,
        scores: match flags >> 1 {
            0 => Scores::Products,
            1 => Scores::Masked,
            2 => Scores::Capped,
            _ => Scores::Weights,
        },
        kv_num_heads: r.size()?,
        q_num_heads: r.size()?,
        softcap: r.f32()?,
        scale: optional(r, Reader::f32)?,
        softmax_precision: optional(r, read_dtype)?,
    })
}

fn put_window(w: &mut Writer, window: &Window) {
    let auto_pad = match window.auto_pad {
        AutoPad::NotSet => 0,
        AutoPad::SameUpper => 1,
        AutoPad::SameLower => 2,
        AutoPad::Valid => 3,
    };
    w.byte(auto_pad | u8::from(window.ceil_mode) << 2);
    w.sizes(&window.kernel);
    w.sizes(&window.strides);
    w.sizes(&window.dilations);
    w.sizes(&window.pads);
}

fn read_window(r: &mut Reader<'_>) -> Result<Window, Damage> {
    let flags = r.byte()?;
    if flags > 7 {
        return Err(r.damage(format!("flags of a window are {flags}, at most 7")));
    }
    Ok(Window {
        auto_pad: match flags & 3 {
            0 => AutoPad::NotSet,
            1 => AutoPad::SameUpper,
            2 => AutoPad::SameLower,
            _ => AutoPad::Valid,
        },
        ceil_mode: flags & 4 != 0,
        kernel: r.sizes()?,
        strides: r.sizes()?,
        dilations: r.sizes()?,
        pads: r.sizes()?,
    })
}

fn optional<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Damage>,
) -> Result<Option<T>, Damage> {
    if r.flag()? {
        read(r).map(Some)
    } else {
        Ok(None)
    }
}
