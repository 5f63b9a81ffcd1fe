//! A graph with every operator, tensor and weight that a file can hold.

#![allow(clippy::unwrap_used)] // helpers of tests

use super::*;
use half::{bf16, f16};
use secateur_model::{
    Activation, Attention, AutoPad, Bitmask, Codebook, DType, Data, Dim, Family, Graph,
    LossReduction, Node, Op, PadMode, Scale, Scores, Support, Tensor, UnknownOp, ValueInfo, Values,
    Weight, Window,
};

pub(super) fn with_constants(constants: impl IntoIterator<Item = Constant>) -> Graph {
    let named = constants.into_iter().enumerate();
    Graph {
        constants: named.map(|(i, c)| (format!("c{i}"), c)).collect(),
        ..Graph::default()
    }
}

pub(super) fn shape_of(dims: &[usize]) -> Shape {
    Shape::new(dims).unwrap()
}

/// Every support over `[8, 2, 3]`.
fn supports() -> Vec<Support> {
    let cut = |keep: fn(usize, usize) -> bool| Bitmask::from_fn(48, move |i| keep(i / 6, i % 6));
    vec![
        Support::All,
        Support::Unstructured(cut(|r, c| (r * 5 + c * 3) % 4 == 1)),
        Support::Unstructured(cut(|_, _| false)),
        Support::NofM {
            n: 1,
            m: 3,
            mask: cut(|r, c| [0, 1, 3][r % 3] == c || [4, 5, 2][r % 3] == c),
        },
        Support::Blocks {
            h: 2,
            w: 3,
            mask: cut(|r, c| (r / 2 + c / 3) % 2 == 0),
        },
        Support::Channels(cut(|r, _| r % 3 != 0)),
    ]
}

/// Every kind of values, `kept` of them, for a matrix of 8 by 6.
pub(super) fn values(kept: usize) -> Vec<Values> {
    let floats = || (0..kept).map(|i| i as f32 * 0.25 - 3.0);
    let int = |bits: u8, scale| Values::Int {
        bits,
        codes: (0..kept as i16).map(|i| i % 3 - 1).collect(),
        scale,
    };
    let shared = |codebook: Codebook| Values::Shared {
        codes: (0..kept).map(|i| (i % codebook.len()) as u16).collect(),
        codebook,
    };
    vec![
        Values::F32(floats().collect()),
        Values::F16(floats().map(f16::from_f32).collect()),
        Values::BF16(floats().map(bf16::from_f32).collect()),
        int(2, Scale::PerTensor(0.5)),
        int(8, Scale::PerChannel(vec![0.125; 8])),
        int(8, Scale::PerColumn(vec![0.25; 6])),
        int(
            16,
            Scale::PerGroup {
                size: 4,
                scales: (1..17).map(|i| i as f32).collect(),
            },
        ),
        shared(Codebook::F32(vec![-1.5, 0.25, 7.0])),
        shared(Codebook::F32(vec![1.0])),
        shared(Codebook::Int {
            codes: vec![-127, 0, 3, 9, 127],
            scale: 0.01,
        }),
    ]
}

/// Three values for each row of a matrix of 8 by 6.
fn codebooks_of_rows(support: &Support) -> [Values; 2] {
    let positions: Vec<usize> = match support.mask() {
        None => (0..48).collect(),
        Some(mask) => mask.ones().collect(),
    };
    let codes = positions.iter().map(|p| (p / 6 * 3 + p % 3) as u16);
    let codes: Vec<u16> = codes.collect();
    let entries = 1..25i8;
    [
        Codebook::F32(entries.clone().map(f32::from).collect()),
        Codebook::Int {
            codes: entries.collect(),
            scale: 0.5,
        },
    ]
    .map(|codebook| Values::Shared {
        codebook,
        codes: codes.clone(),
    })
}

fn all_weights() -> Vec<Constant> {
    let shape = shape_of(&[8, 2, 3]);
    let mut weights = Vec::new();
    for support in supports() {
        let kept = support.mask().map_or(48, Bitmask::count_ones);
        for values in values(kept) {
            let weight = Weight::new(shape.clone(), support.clone(), values).unwrap();
            weights.push(Constant::Weight(weight));
        }
        for values in codebooks_of_rows(&support) {
            let weight = Weight::new(shape.clone(), support.clone(), values).unwrap();
            assert_eq!(weight.entries_of_a_row(), Some(3));
            weights.push(Constant::Weight(weight));
        }
    }
    weights
}

fn all_tensors() -> Vec<Constant> {
    let data = [
        Data::F32(vec![1.0, f32::INFINITY]),
        Data::F64(vec![1e300, -0.0]),
        Data::F16(vec![f16::ONE, f16::MAX]),
        Data::BF16(vec![bf16::ONE, bf16::MIN]),
        Data::I8(vec![-128, 127]),
        Data::U8(vec![0, 255]),
        Data::I16(vec![i16::MIN, 1]),
        Data::U16(vec![u16::MAX, 1]),
        Data::I32(vec![i32::MIN, 1]),
        Data::U32(vec![u32::MAX, 1]),
        Data::I64(vec![i64::MIN, 1]),
        Data::U64(vec![u64::MAX, 1]),
        Data::Bool(vec![true, false]),
        Data::Opaque {
            onnx_type: 17,
            bytes: vec![1, 2, 3],
        },
    ];
    let tensor = |data| Constant::Tensor(Tensor::new(shape_of(&[2]), data).unwrap());
    let mut tensors: Vec<_> = data.into_iter().map(tensor).collect();
    tensors.push(Constant::Tensor(Tensor::scalar_f32(2.5)));
    tensors.push(Constant::Tensor(Tensor::i64(&[0, 3], vec![]).unwrap()));
    tensors
}

fn members<F: Family>() -> impl Iterator<Item = F> {
    F::MEMBERS.iter().map(|(member, _)| *member)
}

fn all_ops() -> Vec<Op> {
    let window = Window {
        kernel: vec![3, 300],
        strides: vec![2, 1],
        dilations: vec![],
        pads: vec![0, 1, 2, 3],
        auto_pad: AutoPad::SameLower,
        ceil_mode: true,
    };
    let mut ops = vec![
        Op::AveragePool {
            window: window.clone(),
            count_include_pad: true,
        },
        Op::BatchNormalization { epsilon: 1e-5 },
        Op::Cast { to: DType::BF16 },
        Op::Cast {
            to: DType::Opaque(-3),
        },
        Op::Concat { axis: -1 },
        Op::Conv {
            window: Window::default(),
            groups: 1000,
        },
        Op::DequantizeLinear {
            axis: 1,
            block_size: i64::MIN,
        },
        Op::Flatten { axis: i64::MAX },
        Op::Gather { axis: 0 },
        Op::linear(),
        Op::Gemm {
            alpha: 0.5,
            beta: -0.0,
            trans_a: true,
            trans_b: false,
        },
        Op::LeakyRelu { alpha: 0.1 },
        Op::MaxPool {
            window: window.clone(),
            column_major: false,
        },
        Op::QLinearConv { window, groups: 1 },
        Op::QuantizeLinear {
            axis: 1,
            block_size: 0,
            to: Some(DType::U8),
        },
        Op::QuantizeLinear {
            axis: 1,
            block_size: 32,
            to: None,
        },
        Op::Reshape { allow_zero: true },
        Op::Shape {
            start: -2,
            end: Some(4),
        },
        Op::Shape {
            start: 0,
            end: None,
        },
        Op::Softmax {
            axis: 1,
            flattened: true,
        },
        Op::Transpose {
            perm: Some(vec![2, 0, 1]),
        },
        Op::Transpose { perm: None },
        Op::Unknown(Box::new(UnknownOp {
            domain: "com.example".into(),
            op_type: "Mystery".into(),
            attributes: vec![8, 1, 255],
            captures: vec!["x".into()],
        })),
    ];
    let modes = [
        PadMode::Constant,
        PadMode::Reflect,
        PadMode::Edge,
        PadMode::Wrap,
    ];
    ops.extend(modes.map(|mode| Op::Pad { mode }));
    ops.extend(moving_ops());
    ops.extend(layers());
    ops.extend(members().map(Op::Math));
    ops.extend(members().map(Op::Binary));
    ops.extend(members().map(Op::Variadic));
    ops.extend(members().map(|kind| Op::Reduce {
        kind,
        keep_dims: true,
        noop_with_empty_axes: false,
    }));
    ops.extend(members().map(|kind| Op::ArgReduce {
        kind,
        axis: -2,
        keep_dims: false,
        select_last_index: true,
    }));
    ops.extend(members().map(|kind: Activation| {
        let mut parameters = [0.0; 2];
        parameters[..kind.parameters().len()].fill(1.5);
        Op::Activation { kind, parameters }
    }));
    ops.extend([
        Op::IsInf {
            negative: true,
            positive: false,
        },
        Op::PRelu,
        Op::Where,
        Op::CastLike,
        Op::Attention(Box::default()),
        Op::Attention(Box::new(Attention {
            is_causal: true,
            kv_num_heads: 2,
            q_num_heads: 300,
            scale: Some(0.5),
            scores: Scores::Weights,
            softcap: 2.0,
            softmax_precision: Some(DType::F32),
        })),
        Op::RotaryEmbedding {
            interleaved: true,
            num_heads: 8,
            dim: 0,
        },
        Op::LogSoftmax {
            axis: -1,
            flattened: false,
        },
        Op::Hardmax {
            axis: 1,
            flattened: true,
        },
        Op::LayerNormalization {
            axis: -2,
            epsilon: 1e-5,
        },
        Op::RMSNormalization {
            axis: 2,
            epsilon: 1e-6,
        },
        Op::GroupNormalization {
            groups: 300,
            epsilon: 0.0,
        },
        Op::InstanceNormalization { epsilon: 1e-5 },
        Op::MeanVarianceNormalization { axes: vec![0, -1] },
        Op::LpNormalization { axis: -1, p: 2 },
        Op::Lrn {
            alpha: 1e-4,
            beta: 0.75,
            bias: 1.0,
            size: 5,
        },
        Op::NegativeLogLikelihoodLoss {
            reduction: LossReduction::Sum,
            ignore_index: Some(-1),
        },
        Op::SoftmaxCrossEntropyLoss {
            reduction: LossReduction::None,
            ignore_index: None,
        },
        Op::CumSum {
            exclusive: false,
            reverse: true,
        },
        Op::TopK {
            axis: -1,
            largest: true,
            sorted: false,
        },
    ]);
    ops.extend([
        Op::Add,
        Op::Clip,
        Op::Div,
        Op::Dropout,
        Op::GlobalAveragePool,
        Op::GlobalMaxPool,
        Op::Identity,
        Op::MatMul,
        Op::Mul,
        Op::QLinearMatMul,
        Op::Relu,
        Op::Sigmoid,
        Op::Squeeze,
        Op::Sub,
        Op::Tanh,
        Op::Unsqueeze,
    ]);
    ops
}

/// A chain of one node for each operator.
fn layers() -> Vec<Op> {
    use secateur_model::ops::{
        Aspect, Cell, CellActivation, ConvTranspose, Coordinates, Direction, GridMode, GridPadding,
        Interpolation, Recurrent, Resize, RoiAlign, Rounding,
    };
    let resize = |interpolation| Resize {
        interpolation,
        coordinates: Coordinates::CropAndResize,
        axes: vec![-1, 2],
        aspect: Aspect::NotSmaller,
        antialias: true,
        exclude_outside: true,
        extrapolation: 0.5,
    };
    let modes = [
        Interpolation::Nearest(Rounding::Ceil),
        Interpolation::Linear,
        Interpolation::Cubic(-0.5),
    ];
    let layer = |cell| Recurrent {
        cell,
        direction: Direction::Bidirectional,
        activations: vec![CellActivation::Relu, CellActivation::Tanh],
        clip: Some(1.5),
        hidden: Some(7),
        batch_first: true,
        linear_before_reset: true,
    };
    let resizes = modes.map(|mode| Op::Resize(Box::new(resize(mode))));
    let layers = [Cell::Gru, Cell::Lstm, Cell::Rnn].map(|c| Op::Recurrent(Box::new(layer(c))));
    let rest = [
        Op::AffineGrid {
            align_corners: true,
        },
        Op::Col2Im {
            window: Window::default().pad(&[1, 1]),
        },
        Op::DeformConv {
            window: Window::new(&[3, 3]),
            groups: 2,
            offset_groups: 3,
        },
        Op::Det,
        Op::Dft {
            inverse: false,
            onesided: true,
        },
        Op::Einsum {
            equation: "ij,jk->ik".into(),
        },
        Op::GridSample {
            mode: GridMode::Cubic,
            padding: GridPadding::Reflection,
            align_corners: true,
        },
        Op::LpPool {
            window: Window::new(&[2]),
            p: 3,
        },
        Op::MaxUnpool {
            window: Window::new(&[2]),
        },
        Op::NonMaxSuppression {
            center_point_box: true,
        },
        Op::RoiAlign(Box::new(RoiAlign {
            max: true,
            output: [2, 3],
            samples: 4,
            scale: 0.5,
            half_pixel: false,
        })),
        Op::ConvInteger {
            window: Window::new(&[3]),
            groups: 2,
        },
        Op::ConvTranspose(Box::new(ConvTranspose {
            window: Window::new(&[3]).stride(&[2]),
            groups: 2,
            output_padding: vec![1],
            output_shape: vec![8],
        })),
        Op::DynamicQuantizeLinear,
        Op::MatMulInteger,
    ];
    rest.into_iter().chain(resizes).chain(layers).collect()
}

fn moving_ops() -> Vec<Op> {
    use secateur_model::{CosineWindow, ScatterReduction};
    let reductions = [
        ScatterReduction::None,
        ScatterReduction::Add,
        ScatterReduction::Mul,
        ScatterReduction::Max,
        ScatterReduction::Min,
    ];
    let windows = [
        CosineWindow::Blackman,
        CosineWindow::Hamming,
        CosineWindow::Hann,
    ];
    let scatters = reductions.map(|reduction| Op::ScatterElements {
        axis: -1,
        reduction,
    });
    let windows = windows.map(|window| Op::CosineWindow {
        window,
        periodic: true,
        to: DType::F64,
    });
    let rest = [
        Op::CenterCropPad { axes: vec![-1, 2] },
        Op::Compress { axis: None },
        Op::Compress { axis: Some(-1) },
        Op::DepthToSpace {
            block: 2,
            channel_first: true,
        },
        Op::Expand,
        Op::EyeLike {
            k: -3,
            to: Some(DType::Bool),
        },
        Op::EyeLike { k: 3, to: None },
        Op::GatherElements { axis: 1 },
        Op::GatherND { batch_dims: 2 },
        Op::NonZero,
        Op::OneHot { axis: -1 },
        Op::Range,
        Op::ReverseSequence {
            batch_axis: 1,
            time_axis: 0,
        },
        Op::ScatterND {
            reduction: ScatterReduction::Max,
        },
        Op::Size,
        Op::Slice,
        Op::SpaceToDepth { block: 3 },
        Op::Split {
            axis: 1,
            num_outputs: Some(2),
        },
        Op::Split {
            axis: -1,
            num_outputs: None,
        },
        Op::TensorScatter {
            axis: -2,
            circular: true,
        },
        Op::Tile,
        Op::Trilu { upper: false },
        Op::Unique {
            axis: Some(1),
            sorted: true,
        },
    ];
    rest.into_iter().chain(scatters).chain(windows).collect()
}

pub(super) fn all_kinds() -> Graph {
    let nodes: Vec<Node> = (0..)
        .zip(all_ops())
        .map(|(i, op)| {
            let input = if i == 0 { "x".into() } else { format!("v{i}") };
            let output = format!("v{}", i + 1);
            Node::new(format!("n{i}"), op, &[&input, "", "c0"], &[&output, ""])
        })
        .collect();
    let value = |name: &str, dims| ValueInfo {
        name: name.into(),
        dtype: DType::F32,
        dims,
    };
    let last = format!("v{}", nodes.len());
    let batch = vec![Dim::Named("batch".into()), Dim::Known(0), Dim::Known(784)];
    Graph {
        name: "Größe".into(),
        opset: 21,
        other_opsets: [("com.example".to_owned(), 2)].into(),
        inputs: vec![value("x", Some(batch))],
        outputs: vec![value(&last, None), value("v1", Some(vec![]))],
        nodes,
        metadata: [
            ("classes".to_owned(), "a\nb".to_owned()),
            ("std".into(), String::new()),
        ]
        .into(),
        ..with_constants(all_tensors().into_iter().chain(all_weights()))
    }
}
