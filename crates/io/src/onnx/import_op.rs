//! ONNX's operator name and attributes to [`Op`], whatever opset they are of.

use super::attributes::Attributes;
use super::dtype;
use crate::IoError;
use secateur_model::{
    Activation, Attention, AutoPad, Binary, DType, Extreme, Family, LossReduction, Math, Op,
    PadMode, Reduction, Scores, Variadic, Window,
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
        "Cast" => match element_type(a, "to")? {
            Some(to) if !matches!(to, DType::Opaque(_)) => Op::Cast { to },
            _ => return Ok(None),
        },
        // Attributes that matter to types that are not computed with.
        "CastLike" if a.int("saturate", 1)? == 0 || a.has("round_mode") => return Ok(None),
        "CastLike" => Op::CastLike,
        "Clip" => Op::Clip,
        "Concat" if a.has("axis") => Op::Concat {
            axis: a.int("axis", 0)?,
        },
        "Concat" => return Err(a.malformed("attribute `axis` is missing")),
        "Conv" => Op::Conv {
            window: window(a)?,
            groups: groups(a)?,
        },
        "QLinearConv" => Op::QLinearConv {
            window: window(a)?,
            groups: groups(a)?,
        },
        "QLinearMatMul" => Op::QLinearMatMul,
        "CumSum" => Op::CumSum {
            exclusive: a.flag("exclusive")?,
            reverse: a.flag("reverse")?,
        },
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
        "Flatten" => Op::Flatten {
            axis: a.int("axis", 1)?,
        },
        "Gather" => Op::Gather {
            axis: a.int("axis", 0)?,
        },
        "Gemm" => Op::Gemm {
            alpha: a.float("alpha", 1.0)?,
            beta: a.float("beta", 1.0)?,
            trans_a: a.flag("transA")?,
            trans_b: a.flag("transB")?,
        },
        "GlobalAveragePool" => Op::GlobalAveragePool,
        "GlobalMaxPool" => Op::GlobalMaxPool,
        "GroupNormalization" if stashes(a)? => return Ok(None),
        "GroupNormalization" => Op::GroupNormalization {
            groups: count(a, "num_groups", None)?,
            epsilon: a.float("epsilon", 1e-5)?,
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
        "MatMul" => Op::MatMul,
        "MeanVarianceNormalization" => Op::MeanVarianceNormalization {
            axes: a.ints("axes")?.unwrap_or(&[0, 2, 3]).to_vec(),
        },
        "NegativeLogLikelihoodLoss" => Op::NegativeLogLikelihoodLoss {
            reduction: loss_reduction(a)?,
            ignore_index: ignore_index(a)?,
        },
        "SoftmaxCrossEntropyLoss" => Op::SoftmaxCrossEntropyLoss {
            reduction: loss_reduction(a)?,
            ignore_index: ignore_index(a)?,
        },
        "Mod" if a.flag("fmod")? => Op::Binary(Binary::Fmod),
        "Mod" => Op::Binary(Binary::Mod),
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
        "Relu" => Op::Relu,
        "Reshape" => Op::Reshape {
            allow_zero: a.flag("allowzero")?,
        },
        "RotaryEmbedding" => Op::RotaryEmbedding {
            interleaved: a.flag("interleaved")?,
            num_heads: count_or_zero(a, "num_heads")?,
            dim: count_or_zero(a, "rotary_embedding_dim")?,
        },
        "Shape" => Op::Shape {
            start: a.int("start", 0)?,
            end: a.has("end").then(|| a.int("end", 0)).transpose()?,
        },
        "Sigmoid" => Op::Sigmoid,
        "Softmax" if opset < 13 => Op::Softmax {
            axis: a.int("axis", 1)?,
            flattened: true,
        },
        "Softmax" => Op::Softmax {
            axis: a.int("axis", -1)?,
            flattened: false,
        },
        "Squeeze" => Op::Squeeze,
        "Tanh" => Op::Tanh,
        "TopK" => Op::TopK {
            axis: a.int("axis", -1)?,
            largest: a.int("largest", 1)? != 0,
            sorted: a.int("sorted", 1)? != 0,
        },
        "Transpose" => Op::Transpose {
            perm: a.has("perm").then(|| a.extents("perm")).transpose()?,
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
        kv_num_heads: count_or_zero(a, "kv_num_heads")?,
        q_num_heads: count_or_zero(a, "q_num_heads")?,
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

/// A number that is 0 by default.
fn count_or_zero(a: &Attributes<'_>, name: &str) -> Result<usize, IoError> {
    match a.int(name, 0)? {
        0 => Ok(0),
        _ => count(a, name, None),
    }
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

fn ignore_index(a: &Attributes<'_>) -> Result<Option<i64>, IoError> {
    a.has("ignore_index")
        .then(|| a.int("ignore_index", 0))
        .transpose()
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
