//! Operators and their attributes, in the form of the newest ONNX opset.
//!
//! Older forms are rewritten on import (attributes that became inputs become
//! constants), so that everything behind the importer knows one form only.

use crate::ops::{
    Cell, ConvTranspose, CosineWindow, GridMode, GridPadding, Recurrent, Resize, RoiAlign,
    ScatterReduction,
};
use crate::{
    Activation, Binary, Control, DType, Extreme, Family, LossReduction, Math, Reduction, Variadic,
};

/// How padding follows from the input's extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoPad {
    /// The pads as given.
    #[default]
    NotSet,
    /// `ceil(in / stride)` outputs; the odd pad goes at the end.
    SameUpper,
    /// `ceil(in / stride)` outputs; the odd pad goes at the beginning.
    SameLower,
    /// No padding.
    Valid,
}

/// A window that slides over the spatial axes of `[n, c, spatial…]`.
///
/// An empty list stands for the default: the kernel's own extents (Conv),
/// strides and dilations of 1, pads of 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    /// Extents of the window, one for each spatial axis.
    pub kernel: Vec<usize>,
    /// Steps, one for each spatial axis.
    pub strides: Vec<usize>,
    /// Spacing of the taps, one for each spatial axis.
    pub dilations: Vec<usize>,
    /// Pads: all beginnings, then all ends.
    pub pads: Vec<usize>,
    /// How pads follow from the input.
    pub auto_pad: AutoPad,
    /// Whether the output's extent is rounded up (pooling only).
    pub ceil_mode: bool,
}

impl Window {
    /// A window of the given extents, step 1, no padding.
    pub fn new(kernel: &[usize]) -> Self {
        Self {
            kernel: kernel.to_vec(),
            ..Self::default()
        }
    }

    /// The same with other steps.
    pub fn stride(mut self, strides: &[usize]) -> Self {
        self.strides = strides.to_vec();
        self
    }

    /// The same with pads: all beginnings, then all ends.
    pub fn pad(mut self, pads: &[usize]) -> Self {
        self.pads = pads.to_vec();
        self
    }
}

/// What stands beyond the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PadMode {
    /// One value everywhere.
    #[default]
    Constant,
    /// The tensor mirrored, edge not repeated.
    Reflect,
    /// The edge repeated.
    Edge,
    /// The tensor from its other side.
    Wrap,
}

/// What Attention's last output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scores {
    /// The scaled products of queries and keys.
    #[default]
    Products,
    /// The same with the mask added.
    Masked,
    /// The same after the soft cap.
    Capped,
    /// The weights of the values: the same after Softmax.
    Weights,
}

/// Attributes of Attention.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attention {
    /// Whether a query sees no later keys.
    pub is_causal: bool,
    /// Heads of keys and values; 0 where they are an axis of their own.
    pub kv_num_heads: usize,
    /// Heads of the queries; 0 where they are an axis of their own.
    pub q_num_heads: usize,
    /// Factor of the products; by default one by the root of the head's extent.
    pub scale: Option<f32>,
    /// What the last output holds.
    pub scores: Scores,
    /// Bound of the scores, approached by a hyperbolic tangent; 0 for none.
    pub softcap: f32,
    /// The type that Softmax is asked to be computed in; the reference uses f64.
    pub softmax_precision: Option<DType>,
}

/// An operator that is carried through as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownOp {
    /// ONNX domain; empty for the default one.
    pub domain: String,
    /// The operator's name.
    pub op_type: String,
    /// The node's attributes as they stood in the file (protobuf bytes).
    pub attributes: Vec<u8>,
    /// Outer values that the attributes' subgraphs read.
    pub captures: Vec<String>,
}

/// An operator with its attributes. Inputs and outputs are the node's, in
/// ONNX's order.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // ONNX's own operators and attribute names
pub enum Op {
    /// `parameters`: the values of `kind.parameters()`, 0 where there are fewer.
    Activation {
        kind: Activation,
        parameters: [f32; 2],
    },
    Add,
    AffineGrid {
        align_corners: bool,
    },
    ArgReduce {
        kind: Extreme,
        axis: i64,
        keep_dims: bool,
        select_last_index: bool,
    },
    Attention(Box<Attention>),
    AveragePool {
        window: Window,
        count_include_pad: bool,
    },
    BatchNormalization {
        epsilon: f32,
    },
    Binary(Binary),
    Cast {
        to: DType,
    },
    CastLike,
    /// Extents are input 1; without axes, of all of them.
    CenterCropPad {
        axes: Vec<i64>,
    },
    /// Bounds are inputs 1 and 2.
    Clip,
    /// Extents of the image and of a block are inputs 1 and 2.
    Col2Im {
        window: Window,
    },
    /// Without an axis, of the elements.
    Compress {
        axis: Option<i64>,
    },
    Concat {
        axis: i64,
    },
    /// Weight is `[out, in / groups, k…]`, bias optional.
    Conv {
        window: Window,
        groups: usize,
    },
    /// If, Loop.
    Control(Box<Control>),
    ConvInteger {
        window: Window,
        groups: usize,
    },
    ConvTranspose(Box<ConvTranspose>),
    /// BlackmanWindow, HammingWindow, HannWindow.
    CosineWindow {
        window: CosineWindow,
        periodic: bool,
        to: DType,
    },
    CumSum {
        exclusive: bool,
        reverse: bool,
    },
    DeformConv {
        window: Window,
        groups: usize,
        offset_groups: usize,
    },
    /// `channel_first` is ONNX's mode CRD, otherwise DCR.
    DepthToSpace {
        block: usize,
        channel_first: bool,
    },
    DequantizeLinear {
        axis: i64,
        block_size: i64,
    },
    Det,
    /// Length and axis are inputs 1 and 2.
    Dft {
        inverse: bool,
        onesided: bool,
    },
    Div,
    Dropout,
    DynamicQuantizeLinear,
    Einsum {
        equation: String,
    },
    /// ConstantOfShape too: its value is input 0.
    Expand,
    EyeLike {
        k: i64,
        to: Option<DType>,
    },
    Flatten {
        axis: i64,
    },
    Gather {
        axis: i64,
    },
    GatherElements {
        axis: i64,
    },
    GatherND {
        batch_dims: usize,
    },
    Gemm {
        alpha: f32,
        beta: f32,
        trans_a: bool,
        trans_b: bool,
    },
    GlobalAveragePool,
    GlobalMaxPool,
    GridSample {
        mode: GridMode,
        padding: GridPadding,
        align_corners: bool,
    },
    GroupNormalization {
        groups: usize,
        epsilon: f32,
    },
    /// `flattened`: as of Softmax.
    Hardmax {
        axis: i64,
        flattened: bool,
    },
    Identity,
    InstanceNormalization {
        epsilon: f32,
    },
    IsInf {
        negative: bool,
        positive: bool,
    },
    LayerNormalization {
        axis: i64,
        epsilon: f32,
    },
    LeakyRelu {
        alpha: f32,
    },
    /// `flattened`: as of Softmax.
    LogSoftmax {
        axis: i64,
        flattened: bool,
    },
    /// `p` is 1 or 2.
    LpNormalization {
        axis: i64,
        p: i64,
    },
    LpPool {
        window: Window,
        p: u32,
    },
    /// Over channels.
    Lrn {
        alpha: f32,
        beta: f32,
        bias: f32,
        size: usize,
    },
    MatMul,
    MatMulInteger,
    Math(Math),
    MaxPool {
        window: Window,
        column_major: bool,
    },
    MaxUnpool {
        window: Window,
    },
    MeanVarianceNormalization {
        axes: Vec<i64>,
    },
    Mul,
    NegativeLogLikelihoodLoss {
        reduction: LossReduction,
        ignore_index: Option<i64>,
    },
    NonMaxSuppression {
        center_point_box: bool,
    },
    NonZero,
    OneHot {
        axis: i64,
    },
    PRelu,
    Pad {
        mode: PadMode,
    },
    QLinearConv {
        window: Window,
        groups: usize,
    },
    QLinearMatMul,
    QuantizeLinear {
        axis: i64,
        block_size: i64,
        to: Option<DType>,
    },
    RMSNormalization {
        axis: i64,
        epsilon: f32,
    },
    Range,
    /// GRU, LSTM, RNN.
    Recurrent(Box<Recurrent>),
    /// Axes are input 1.
    Reduce {
        kind: Reduction,
        keep_dims: bool,
        noop_with_empty_axes: bool,
    },
    Relu,
    Reshape {
        allow_zero: bool,
    },
    /// Upsample too.
    Resize(Box<Resize>),
    ReverseSequence {
        batch_axis: usize,
        time_axis: usize,
    },
    RoiAlign(Box<RoiAlign>),
    /// `dim`: elements of a head that turn, 0 for all.
    RotaryEmbedding {
        interleaved: bool,
        num_heads: usize,
        dim: usize,
    },
    ScatterElements {
        axis: i64,
        reduction: ScatterReduction,
    },
    ScatterND {
        reduction: ScatterReduction,
    },
    Shape {
        start: i64,
        end: Option<i64>,
    },
    Sigmoid,
    Size,
    Slice,
    /// `flattened`: the meaning before opset 13, over all axes from `axis` on.
    Softmax {
        axis: i64,
        flattened: bool,
    },
    SoftmaxCrossEntropyLoss {
        reduction: LossReduction,
        ignore_index: Option<i64>,
    },
    SpaceToDepth {
        block: usize,
    },
    /// Extents are input 1; without it, `num_outputs` even ones, of which the
    /// last may be smaller.
    Split {
        axis: i64,
        num_outputs: Option<usize>,
    },
    Squeeze,
    Sub,
    Tanh,
    TensorScatter {
        axis: i64,
        circular: bool,
    },
    Tile,
    /// `k` is input 1.
    TopK {
        axis: i64,
        largest: bool,
        sorted: bool,
    },
    Transpose {
        perm: Option<Vec<usize>>,
    },
    Trilu {
        upper: bool,
    },
    /// Without an axis, of the elements.
    Unique {
        axis: Option<i64>,
        sorted: bool,
    },
    Unsqueeze,
    Variadic(Variadic),
    Where,
    /// Not known: carried, exported, never run.
    Unknown(Box<UnknownOp>),
}

impl Op {
    /// ONNX's name of the operator.
    pub fn name(&self) -> &str {
        match self {
            Self::Activation { kind, .. } => kind.name(),
            Self::Add => "Add",
            Self::AffineGrid { .. } => "AffineGrid",
            Self::ArgReduce { kind, .. } => kind.name(),
            Self::Attention(_) => "Attention",
            Self::AveragePool { .. } => "AveragePool",
            Self::BatchNormalization { .. } => "BatchNormalization",
            Self::Binary(kind) => kind.name(),
            Self::Cast { .. } => "Cast",
            Self::CastLike => "CastLike",
            Self::CenterCropPad { .. } => "CenterCropPad",
            Self::Clip => "Clip",
            Self::Col2Im { .. } => "Col2Im",
            Self::Compress { .. } => "Compress",
            Self::Concat { .. } => "Concat",
            Self::Conv { .. } => "Conv",
            Self::Control(control) => &control.carried.op_type,
            Self::ConvInteger { .. } => "ConvInteger",
            Self::ConvTranspose(_) => "ConvTranspose",
            Self::CosineWindow { window, .. } => match window {
                CosineWindow::Blackman => "BlackmanWindow",
                CosineWindow::Hamming => "HammingWindow",
                CosineWindow::Hann => "HannWindow",
            },
            Self::CumSum { .. } => "CumSum",
            Self::DeformConv { .. } => "DeformConv",
            Self::DepthToSpace { .. } => "DepthToSpace",
            Self::DequantizeLinear { .. } => "DequantizeLinear",
            Self::Det => "Det",
            Self::Dft { .. } => "DFT",
            Self::Div => "Div",
            Self::Dropout => "Dropout",
            Self::DynamicQuantizeLinear => "DynamicQuantizeLinear",
            Self::Einsum { .. } => "Einsum",
            Self::Expand => "Expand",
            Self::EyeLike { .. } => "EyeLike",
            Self::Flatten { .. } => "Flatten",
            Self::Gather { .. } => "Gather",
            Self::GatherElements { .. } => "GatherElements",
            Self::GatherND { .. } => "GatherND",
            Self::Gemm { .. } => "Gemm",
            Self::GlobalAveragePool => "GlobalAveragePool",
            Self::GlobalMaxPool => "GlobalMaxPool",
            Self::GridSample { .. } => "GridSample",
            Self::GroupNormalization { .. } => "GroupNormalization",
            Self::Hardmax { .. } => "Hardmax",
            Self::Identity => "Identity",
            Self::InstanceNormalization { .. } => "InstanceNormalization",
            Self::IsInf { .. } => "IsInf",
            Self::LayerNormalization { .. } => "LayerNormalization",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::LogSoftmax { .. } => "LogSoftmax",
            Self::LpNormalization { .. } => "LpNormalization",
            Self::LpPool { .. } => "LpPool",
            Self::Lrn { .. } => "LRN",
            Self::MatMul => "MatMul",
            Self::MatMulInteger => "MatMulInteger",
            Self::Math(kind) => kind.name(),
            Self::MaxPool { .. } => "MaxPool",
            Self::MaxUnpool { .. } => "MaxUnpool",
            Self::MeanVarianceNormalization { .. } => "MeanVarianceNormalization",
            Self::Mul => "Mul",
            Self::NegativeLogLikelihoodLoss { .. } => "NegativeLogLikelihoodLoss",
            Self::NonMaxSuppression { .. } => "NonMaxSuppression",
            Self::NonZero => "NonZero",
            Self::OneHot { .. } => "OneHot",
            Self::PRelu => "PRelu",
            Self::Pad { .. } => "Pad",
            Self::QLinearConv { .. } => "QLinearConv",
            Self::QLinearMatMul => "QLinearMatMul",
            Self::QuantizeLinear { .. } => "QuantizeLinear",
            Self::RMSNormalization { .. } => "RMSNormalization",
            Self::Range => "Range",
            Self::Recurrent(layer) => match layer.cell {
                Cell::Gru => "GRU",
                Cell::Lstm => "LSTM",
                Cell::Rnn => "RNN",
            },
            Self::Reduce { kind, .. } => kind.name(),
            Self::Relu => "Relu",
            Self::Reshape { .. } => "Reshape",
            Self::Resize(_) => "Resize",
            Self::ReverseSequence { .. } => "ReverseSequence",
            Self::RoiAlign(_) => "RoiAlign",
            Self::RotaryEmbedding { .. } => "RotaryEmbedding",
            Self::ScatterElements { .. } => "ScatterElements",
            Self::ScatterND { .. } => "ScatterND",
            Self::Shape { .. } => "Shape",
            Self::Sigmoid => "Sigmoid",
            Self::Size => "Size",
            Self::Slice => "Slice",
            Self::Softmax { .. } => "Softmax",
            Self::SoftmaxCrossEntropyLoss { .. } => "SoftmaxCrossEntropyLoss",
            Self::SpaceToDepth { .. } => "SpaceToDepth",
            Self::Split { .. } => "Split",
            Self::Squeeze => "Squeeze",
            Self::Sub => "Sub",
            Self::Tanh => "Tanh",
            Self::TensorScatter { .. } => "TensorScatter",
            Self::Tile => "Tile",
            Self::TopK { .. } => "TopK",
            Self::Transpose { .. } => "Transpose",
            Self::Trilu { .. } => "Trilu",
            Self::Unique { .. } => "Unique",
            Self::Unsqueeze => "Unsqueeze",
            Self::Variadic(kind) => kind.name(),
            Self::Where => "Where",
            Self::Unknown(op) => &op.op_type,
        }
    }

    /// A plain `y = x · wᵀ + b` with the weight as `[out, in]`.
    pub fn linear() -> Self {
        Self::Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        }
    }
}
