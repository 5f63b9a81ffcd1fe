//! Training on the embedded digits: what compression decided is kept.
#![allow(clippy::unwrap_used)]

use secateur_data::load;
use secateur_model::{
    Bitmask, Codebook, Constant, Graph, Node, Op, Support, Tensor, Values, Weight, zoo,
};
use secateur_train::{FitOptions, Optimiser, Quiet, evaluate, fit, whiten};
use std::collections::BTreeSet;

fn options(epochs: f32) -> FitOptions {
    FitOptions {
        epochs,
        batch: 32,
        seed: 3,
        ..FitOptions::default()
    }
}

fn digits_network() -> Graph {
    zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap()
}

fn set(graph: &mut Graph, name: &str, weight: Weight) {
    graph
        .constants
        .insert(name.into(), Constant::Weight(weight));
}

#[test]
fn digits_are_learned_and_the_same_seed_gives_the_same_bits() {
    let data = load("digits").unwrap();
    let mut first = digits_network();
    fit(&mut first, &data.train, &options(12.0), &mut Quiet).unwrap();
    let score = evaluate(&first, &data.test).unwrap();
    assert!(score.error_percent() < 5.0, "{score:?}");
    let mut second = digits_network();
    fit(&mut second, &data.train, &options(12.0), &mut Quiet).unwrap();
    assert_eq!(first, second);
}

#[test]
fn removed_weights_stay_zero_through_every_optimiser() {
    let data = load("digits").unwrap();
    for optimiser in [Optimiser::default(), Optimiser::adam()] {
        let mut graph = digits_network();
        let dense = graph.weight("fc1.weight").unwrap();
        let mask = Bitmask::from_fn(dense.kept(), |i| i % 7 == 0);
        let all = dense.to_f32();
        let kept = mask.ones().map(|i| all[i]).collect();
        let weight = Weight::new(
            dense.shape().clone(),
            Support::Unstructured(mask.clone()),
            Values::F32(kept),
        );
        set(&mut graph, "fc1.weight", weight.unwrap());
        let rate = match optimiser {
            Optimiser::AdamW { .. } => 0.001,
            Optimiser::Sgd { .. } => 0.05,
        };
        let options = FitOptions {
            optimiser,
            learning_rate: rate,
            ..options(2.0)
        };
        let before = graph.weight("fc1.weight").unwrap().kept_f32();
        fit(&mut graph, &data.train, &options, &mut Quiet).unwrap();
        let trained = graph.weight("fc1.weight").unwrap();
        assert_eq!(trained.support().mask(), Some(&mask));
        assert_ne!(trained.kept_f32(), before);
    }
}

#[test]
fn shared_values_train_together_and_a_zero_entry_stays_zero() {
    let data = load("digits").unwrap();
    let mut graph = digits_network();
    let shape = graph.weight("fc1.weight").unwrap().shape().clone();
    let codes = (0..shape.elements()).map(|i| (i % 3) as u16).collect();
    let codebook = Codebook::F32(vec![-0.1, 0.0, 0.1]);
    let weight = Weight::new(shape, Support::All, Values::Shared { codebook, codes }).unwrap();
    set(&mut graph, "fc1.weight", weight);
    fit(&mut graph, &data.train, &options(1.0), &mut Quiet).unwrap();
    let Values::Shared { codebook, .. } = graph.weight("fc1.weight").unwrap().values() else {
        unreachable!("the form is kept");
    };
    assert_eq!(codebook.value(1), 0.0);
    assert_ne!(codebook.value(0), -0.1);
}

#[test]
fn convolutions_and_normalisation_learn() {
    let data = load("digits").unwrap();
    let mut graph = zoo::build("mobilenet-small", [1, 8, 8], 10, 1).unwrap();
    let some: Vec<usize> = (0..320).collect();
    let report = fit(
        &mut graph,
        &data.train.subset(&some),
        &options(3.0),
        &mut Quiet,
    )
    .unwrap();
    assert!(report.final_loss < 1.5, "{report:?}");
    let mean = graph.weight("conv1.norm.mean").unwrap().to_f32();
    assert!(mean.iter().any(|&m| m != 0.0));
}

#[test]
fn a_whitening_layer_stays_and_the_others_learn() {
    let data = load("digits").unwrap();
    let mut net = zoo::build("vgg-small", [1, 8, 8], 10, 3).unwrap();
    let name = whiten(&mut net, &data.train).unwrap().weight;
    assert_eq!(net.frozen(), BTreeSet::from([name.clone()]));
    let before = net.clone();
    let options = FitOptions {
        frozen: net.frozen(),
        average: Some(0.9),
        ..options(0.1)
    };
    fit(&mut net, &data.train, &options, &mut Quiet).unwrap();
    for (other, weight) in net.weights().filter(|(_, w)| w.shape().rank() > 1) {
        assert_eq!(
            before.weight(other) == Some(weight),
            other == name,
            "{other}"
        );
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let data = load("digits").unwrap();
    let mut graph = zoo::build("lenet-300-100", [1, 28, 28], 10, 1).unwrap();
    let error = fit(&mut graph, &data.train, &options(1.0), &mut Quiet).unwrap_err();
    assert!(error.to_string().contains("image shape"), "{error}");
    let mut few = zoo::build("lenet-300-100", [1, 8, 8], 4, 1).unwrap();
    let error = fit(&mut few, &data.train, &options(1.0), &mut Quiet).unwrap_err();
    assert!(error.to_string().contains("label"), "{error}");
    let diverging = FitOptions {
        learning_rate: 1e30,
        ..options(1.0)
    };
    assert!(fit(&mut digits_network(), &data.train, &diverging, &mut Quiet).is_err());
}

#[test]
fn a_network_that_cannot_be_trained_is_refused() {
    let data = load("digits").unwrap();
    let refusal = |graph: &mut Graph| {
        let before = graph.clone();
        let error = fit(graph, &data.train, &options(1.0), &mut Quiet).unwrap_err();
        assert_eq!(*graph, before);
        error.to_string()
    };

    let mut no_weights = digits_network();
    no_weights.nodes.truncate(1);
    no_weights.outputs[0].name = no_weights.nodes[0].outputs[0].clone();
    no_weights.outputs[0].dims = None;
    let error = refusal(&mut no_weights);
    assert!(error.contains("nothing to train"), "{error}");

    // The rows of the output are not those of the batch.
    let mut two_axes = digits_network();
    let last = two_axes.nodes.last_mut().unwrap();
    let logits = std::mem::replace(&mut last.outputs[0], "logits".into());
    let rows = Tensor::i64(&[2], vec![-1, 5]).unwrap();
    two_axes
        .constants
        .insert("rows".into(), Constant::Tensor(rows));
    let halves = Op::Reshape { allow_zero: false };
    let node = Node::new("halves", halves, &["logits", "rows"], &[&logits]);
    two_axes.nodes.push(node);
    two_axes.outputs[0].dims = None;
    let error = refusal(&mut two_axes);
    assert!(error.contains("[32, classes]"), "{error}");
    let error = evaluate(&two_axes, &data.test).unwrap_err().to_string();
    assert!(error.contains("a row for each"), "{error}");
}
