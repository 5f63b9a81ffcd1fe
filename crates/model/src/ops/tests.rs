//! What holds for every operator: unknown ones, extra outputs, multiplications.

use super::{ShapeInput, evaluate, infer, macs};
use crate::{DType, Node, Op, Shape, Tensor, UnknownOp, Window};

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
        Op::Gather { axis: 0 },
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
