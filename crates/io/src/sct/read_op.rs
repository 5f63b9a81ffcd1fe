//! Operators by number: read, in the order that `put_op` writes.

use super::attributes::{
    GRID_MODES, GRID_PADDINGS, optional, read_attention, read_choice, read_recurrent,
    read_reduction, read_resize, read_window,
};
use super::bytes::{Damage, Reader};
use super::tensor::read_dtype;
use secateur_model::ops::{ConvTranspose, RoiAlign};
use secateur_model::{Activation, CosineWindow, Family, Op, PadMode, UnknownOp};

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
