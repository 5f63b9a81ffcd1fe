//! What a session says of inputs and networks that it cannot run.

#![allow(clippy::unwrap_used)] // helpers of tests

mod support;

use secateur_engine::{Session, SessionOptions};
use secateur_model::{Graph, Node, Op, Tensor, UnknownOp, zoo};
use support::images;

fn lenet() -> Session {
    let net = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
    Session::new(&net, &SessionOptions::default()).unwrap()
}

fn message(inputs: &[(&str, &Tensor)]) -> String {
    lenet().run(inputs).unwrap_err().to_string()
}

#[test]
fn wrong_inputs_are_named() {
    let good = images(2, [1, 8, 8], 1);
    assert!(lenet().run(&[("input", &good)]).is_ok());
    let name = message(&[("image", &good)]);
    assert!(
        name.contains("`image`") && name.contains("`input`"),
        "{name}"
    );
    assert!(message(&[]).contains("missing"));
    assert!(message(&[("input", &good), ("input", &good)]).contains("twice"));
    let bytes = Tensor::u8(&[2, 1, 8, 8], vec![0; 128]).unwrap();
    let dtype = message(&[("input", &bytes)]);
    assert!(dtype.contains("f32") && dtype.contains("u8"), "{dtype}");
    let rank = message(&[("input", &Tensor::f32(&[2, 64], vec![0.0; 128]).unwrap())]);
    assert!(
        rank.contains("[batch, 1, 8, 8]") && rank.contains("[2, 64]"),
        "{rank}"
    );
    let shape = message(&[("input", &images(2, [1, 8, 9], 1))]);
    assert!(shape.contains("[2, 1, 8, 9]"), "{shape}");
}

#[test]
fn an_empty_batch_gives_an_empty_answer() {
    let none = images(0, [1, 8, 8], 1);
    let logits = lenet().run(&[("input", &none)]).unwrap();
    assert_eq!(logits[0].shape().dims(), [0, 10]);
}

#[test]
fn unknown_operators_are_named() {
    let mut net = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
    let op = UnknownOp {
        domain: "com.example".into(),
        op_type: "Fancy".into(),
        attributes: Vec::new(),
        captures: Vec::new(),
    };
    let last = net.nodes.len() - 1;
    net.nodes[last].outputs[0] = "before".into();
    let fancy = Node::new("odd", Op::Unknown(Box::new(op)), &["before"], &["logits"]);
    net.nodes.push(fancy);
    let error = run_once(&net);
    assert!(
        error.contains("`odd`") && error.contains("Fancy"),
        "{error}"
    );
}

fn run_once(net: &Graph) -> String {
    let session = match Session::new(net, &SessionOptions::default()) {
        Ok(session) => session,
        Err(error) => return error.to_string(),
    };
    let x = images(1, [1, 8, 8], 1);
    session.run(&[("input", &x)]).unwrap_err().to_string()
}

#[test]
fn settings_without_meaning_are_refused() {
    let options = SessionOptions {
        threads: Some(0),
        ..SessionOptions::default()
    };
    let net = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
    let error = Session::new(&net, &options).unwrap_err().to_string();
    assert!(error.contains("threads") && error.contains('0'), "{error}");
}
