//! What holds for every operator: unknown ones, extra outputs, multiplications.

use super::{ShapeInput, evaluate, infer, macs};
use crate::{
    Attention, AutoPad, Binary, DType, Data, Family, Math, Node, Op, PadMode, Shape, Tensor,
    UnknownOp, Variadic, Window,
};
use proptest::prelude::*;

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).unwrap()
}

#[test]
fn an_unknown_operator_is_named() {
    let op = Op::Unknown(Box::new(UnknownOp {
        domain: "com.example".into(),
        op_type: "Fancy".into(),
        attributes: Vec::new(),
        captures: Vec::new(),
    }));
    let error = evaluate(&Node::new("n", op, &[], &["y"]), &[]).unwrap_err();
    assert!(error.to_string().contains("Fancy"), "{error}");
}

#[test]
fn more_outputs_than_there_are_is_refused() {
    let node = Node::new("n", Op::Relu, &["x"], &["y", "z"]);
    let x = Tensor::scalar_f32(1.0);
    assert!(evaluate(&node, &[Some(&x)]).is_err());
}

#[test]
fn missing_inputs_are_errors_for_every_operator() {
    let window = || Window::new(&[1]);
    let ops = [
        Op::Add,
        Op::AveragePool {
            window: window(),
            count_include_pad: false,
        },
        Op::BatchNormalization { epsilon: 0.0 },
        Op::Cast { to: DType::F32 },
        Op::Clip,
        Op::Concat { axis: 0 },
        Op::Conv {
            window: window(),
            groups: 1,
        },
        Op::AffineGrid {
            align_corners: false,
        },
        Op::CenterCropPad { axes: vec![] },
        Op::Col2Im { window: window() },
        Op::Compress { axis: None },
        Op::DeformConv {
            window: window(),
            groups: 1,
            offset_groups: 1,
        },
        Op::Det,
        Op::Dft {
            inverse: false,
            onesided: false,
        },
        Op::DynamicQuantizeLinear,
        Op::Einsum {
            equation: "i".into(),
        },
        Op::Expand,
        Op::EyeLike { k: 0, to: None },
        Op::Gather { axis: 0 },
        Op::GatherElements { axis: 0 },
        Op::GatherND { batch_dims: 0 },
        Op::LpPool {
            window: window(),
            p: 2,
        },
        Op::MatMulInteger,
        Op::MaxUnpool { window: window() },
        Op::NonMaxSuppression {
            center_point_box: false,
        },
        Op::NonZero,
        Op::OneHot { axis: 0 },
        Op::Range,
        Op::Size,
        Op::Slice,
        Op::SpaceToDepth { block: 1 },
        Op::Split {
            axis: 0,
            num_outputs: None,
        },
        Op::Tile,
        Op::Trilu { upper: true },
        Op::Unique {
            axis: None,
            sorted: true,
        },
        Op::linear(),
        Op::MatMul,
        Op::QLinearConv {
            window: window(),
            groups: 1,
        },
        Op::QLinearMatMul,
        Op::Reshape { allow_zero: false },
        Op::Transpose { perm: None },
        Op::Unsqueeze,
        Op::Attention(Box::default()),
        Op::Binary(Binary::Equal),
        Op::CastLike,
        Op::Math(Math::Abs),
        Op::PRelu,
        Op::Variadic(Variadic::Max),
        Op::Where,
    ];
    for op in ops {
        let node = Node::new("n", op, &[], &["y"]);
        assert!(evaluate(&node, &[]).is_err(), "{node:?}");
        assert!(infer(&node, &[None, None]).is_err(), "{node:?}");
    }
}

#[test]
fn a_shape_that_hangs_on_an_unknown_value_says_so() {
    let node = Node::new("r", Op::Reshape { allow_zero: false }, &["x", "s"], &["y"]);
    let x = ShapeInput::new(DType::F32, shape(&[2, 3]));
    let s = ShapeInput::new(DType::I64, shape(&[1]));
    let error = infer(&node, &[Some(x), Some(s)]).unwrap_err().to_string();
    assert!(error.contains("not a constant"), "{error}");
}

#[test]
fn multiplications_are_counted() {
    let conv = Op::Conv {
        window: Window::default().pad(&[1; 4]),
        groups: 2,
    };
    let node = Node::new("c", conv, &["x", "w"], &["y"]);
    let (x, w) = (shape(&[1, 4, 8, 8]), shape(&[6, 2, 3, 3]));
    assert_eq!(macs(&node, &[Some(&x), Some(&w)]), 6 * 64 * 18);

    let node = Node::new("g", Op::linear(), &["x", "w"], &["y"]);
    let (x, w) = (shape(&[5, 7]), shape(&[3, 7]));
    assert_eq!(macs(&node, &[Some(&x), Some(&w)]), 5 * 7 * 3);
    assert_eq!(macs(&node, &[Some(&x), None]), 0);

    let quantized = Op::QLinearConv {
        window: Window::default(),
        groups: 1,
    };
    let node = Node::new("q", quantized, &["x"; 8], &["y"]);
    let (x, w, one) = (shape(&[1, 2, 4]), shape(&[3, 2, 1]), Shape::scalar());
    let inputs = [&x, &one, &one, &w, &one, &one, &one, &one].map(Some);
    assert_eq!(macs(&node, &inputs), 3 * 4 * 2);

    let node = Node::new("r", Op::Relu, &["x"], &["y"]);
    assert_eq!(macs(&node, &[Some(&x)]), 0);
}

/// Extents and attributes as a hostile file has them: mostly small, now and
/// then at the end of the range.
fn extent() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..5usize, 1 => Just(usize::MAX), 1 => Just(1 << 40)]
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -4..5i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

fn window() -> impl Strategy<Value = Window> {
    let list = |n| prop::collection::vec(extent(), 0..n);
    let auto_pad = prop_oneof![
        Just(AutoPad::NotSet),
        Just(AutoPad::SameUpper),
        Just(AutoPad::SameLower),
        Just(AutoPad::Valid),
    ];
    (list(3), list(3), list(3), list(5), auto_pad, any::<bool>()).prop_map(
        |(kernel, strides, dilations, pads, auto_pad, ceil_mode)| Window {
            kernel,
            strides,
            dilations,
            pads,
            auto_pad,
            ceil_mode,
        },
    )
}

fn operator() -> impl Strategy<Value = Op> {
    let types = prop_oneof![Just(DType::F32), Just(DType::I8), Just(DType::Opaque(17))];
    let modes = prop_oneof![
        Just(PadMode::Constant),
        Just(PadMode::Reflect),
        Just(PadMode::Edge),
        Just(PadMode::Wrap),
    ];
    let parts = (window(), extent(), integer(), integer(), types, modes);
    let perm = prop::collection::vec(extent(), 0..4);
    (0..26usize, any::<bool>(), parts, perm).prop_map(
        |(which, flag, (window, groups, axis, other, to, mode), perm)| match which {
            0 => Op::Add,
            1 => Op::AveragePool {
                window,
                count_include_pad: flag,
            },
            2 => Op::BatchNormalization { epsilon: 0.0 },
            3 => Op::Cast { to },
            4 => Op::Clip,
            5 => Op::Concat { axis },
            6 | 7 => Op::Conv { window, groups },
            8 => Op::DequantizeLinear {
                axis,
                block_size: other,
            },
            9 => Op::Div,
            10 => Op::Flatten { axis },
            11 => Op::Gather { axis },
            12 => Op::Gemm {
                alpha: 2.0,
                beta: 1.0,
                trans_a: flag,
                trans_b: !flag,
            },
            13 => Op::GlobalAveragePool,
            14 => Op::MatMul,
            15 => Op::MaxPool {
                window,
                column_major: flag,
            },
            16 => Op::Pad { mode },
            17 => Op::QLinearConv { window, groups },
            18 => Op::QLinearMatMul,
            19 => Op::QuantizeLinear {
                axis,
                block_size: other,
                to: flag.then_some(to),
            },
            20 => Op::Reshape { allow_zero: flag },
            21 => Op::Shape {
                start: axis,
                end: flag.then_some(other),
            },
            22 => Op::Softmax {
                axis,
                flattened: flag,
            },
            23 => Op::Squeeze,
            24 => Op::Transpose {
                perm: flag.then_some(perm),
            },
            _ => Op::Unsqueeze,
        },
    )
}

/// The families of alike operators, and what came with them.
fn family_operator() -> impl Strategy<Value = Op> {
    let parts = (integer(), integer(), any::<bool>(), any::<bool>());
    (0..25usize, any::<usize>(), parts).prop_map(|(which, at, (axis, other, flag, second))| {
        match which {
            0 => Op::Math(member(at)),
            1 => Op::Activation {
                kind: member(at),
                parameters: [0.5, 1.0],
            },
            2 => Op::IsInf {
                negative: flag,
                positive: second,
            },
            3 => Op::Binary(member(at)),
            4 => Op::Variadic(member(at)),
            5 => Op::Where,
            6 => Op::Reduce {
                kind: member(at),
                keep_dims: flag,
                noop_with_empty_axes: second,
            },
            7 => Op::ArgReduce {
                kind: member(at),
                axis,
                keep_dims: flag,
                select_last_index: second,
            },
            8 => Op::CumSum {
                exclusive: flag,
                reverse: second,
            },
            9 => Op::TopK {
                axis,
                largest: flag,
                sorted: second,
            },
            10 => Op::CastLike,
            11 => Op::LogSoftmax {
                axis,
                flattened: flag,
            },
            12 => Op::Hardmax {
                axis,
                flattened: flag,
            },
            13 => Op::LayerNormalization { axis, epsilon: 0.5 },
            14 => Op::RMSNormalization { axis, epsilon: 0.5 },
            15 => Op::GroupNormalization {
                groups: at % 4,
                epsilon: 0.5,
            },
            16 => Op::InstanceNormalization { epsilon: 0.5 },
            17 => Op::MeanVarianceNormalization {
                axes: vec![axis, other],
            },
            18 => Op::LpNormalization { axis, p: other },
            19 => Op::Lrn {
                alpha: 0.5,
                beta: 1.0,
                bias: 1.0,
                size: if flag { at } else { at % 4 },
            },
            20 => Op::NegativeLogLikelihoodLoss {
                reduction: member(at),
                ignore_index: flag.then_some(axis),
            },
            21 => Op::SoftmaxCrossEntropyLoss {
                reduction: member(at),
                ignore_index: flag.then_some(axis),
            },
            22 => Op::Attention(Box::new(Attention {
                is_causal: flag,
                kv_num_heads: at % 3,
                q_num_heads: at % 4,
                ..Attention::default()
            })),
            23 => Op::RotaryEmbedding {
                interleaved: flag,
                num_heads: at % 3,
                dim: at % 5,
            },
            _ => Op::PRelu,
        }
    })
}

fn member<F: Family>(at: usize) -> F {
    F::MEMBERS[at % F::MEMBERS.len()].0
}

fn tensor() -> impl Strategy<Value = Tensor> {
    (
        prop::collection::vec(0..4usize, 0..4),
        0..5,
        prop::collection::vec(integer(), 64),
    )
        .prop_map(|(dims, dtype, values)| {
            let shape = shape(&dims);
            let values = &values[..shape.elements()];
            let data = match dtype {
                0 => Data::F32(values.iter().map(|&v| v as f32).collect()),
                1 => Data::I8(values.iter().map(|&v| v as i8).collect()),
                2 => Data::I32(values.iter().map(|&v| v as i32).collect()),
                3 => Data::Bool(values.iter().map(|&v| v > 0).collect()),
                _ => Data::I64(values.to_vec()),
            };
            Tensor::new(shape, data).unwrap()
        })
}

/// The tensor's elements as another type, so that many inputs fit together.
fn like(tensor: &Tensor, first: &Tensor) -> Tensor {
    let node = Node::new("c", Op::Cast { to: first.dtype() }, &["x"], &["y"]);
    evaluate(&node, &[Some(tensor)]).unwrap().remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn hostile_nodes_are_errors_and_rules_keep_their_word(
        op in prop_oneof![operator(), family_operator()],
        tensors in prop::collection::vec(tensor(), 0..9),
        unify in any::<bool>(),
    ) {
        let tensors: Vec<Tensor> = match tensors.first() {
            Some(first) if unify => tensors.iter().map(|t| like(t, first)).collect(),
            _ => tensors,
        };
        let inputs: Vec<Option<&Tensor>> = tensors.iter().map(Some).collect();
        let node = Node::new("n", op, &[], &["y"]);
        let known: Vec<_> = tensors.iter().map(|t| Some(ShapeInput::of(t))).collect();
        if let Ok(computed) = evaluate(&node, &inputs) {
            let promised = infer(&node, &known).unwrap();
            let found: Vec<_> = computed.iter().map(|t| (t.dtype(), t.shape().clone())).collect();
            prop_assert_eq!(promised, found);
        }
    }
}
