//! The gradient that a step follows is the slope of the loss that is scored.

#![allow(clippy::unwrap_used)]

use secateur_data::{Dataset, Normalize, Pixels};
use secateur_model::{Constant, Graph, Support, Values, Weight, zoo};
use secateur_train::{Curve, FitOptions, Optimiser, Quiet, evaluate, fit};

fn with(graph: &Graph, name: &str, values: Vec<f32>) -> Graph {
    let shape = graph.weight(name).unwrap().shape().clone();
    let weight = Weight::new(shape, Support::All, Values::F32(values)).unwrap();
    let mut other = graph.clone();
    let constant = Constant::Weight(weight);
    other.constants.insert(name.to_owned(), constant);
    other
}

#[test]
fn one_step_of_plain_descent_is_the_slope() {
    let pixels = (0..8 * 6).map(|i| (i * 37 % 251) as u8).collect();
    let classes = (0..4).map(|i| i.to_string()).collect();
    let labels = vec![0, 1, 2, 3, 0, 1, 2, 3];
    let normalize = Normalize::unit(1);
    let pixels = Pixels::U8(pixels);
    let data = Dataset::new("ramp", 1, 2, 3, classes, pixels, labels, normalize).unwrap();
    let net = zoo::build("lenet-300-100", [1, 2, 3], 4, 1).unwrap();
    let options = FitOptions {
        epochs: 1.0,
        batch: 8,
        optimiser: Optimiser::Sgd {
            momentum: 0.0,
            nesterov: false,
        },
        learning_rate: 1.0,
        schedule: Curve::Constant.into(),
        weight_decay: 0.0,
        ..FitOptions::default()
    };
    let mut stepped = net.clone();
    fit(&mut stepped, &data, &options, &mut Quiet).unwrap();
    for name in ["fc1.weight", "fc2.bias", "fc3.weight", "fc3.bias"] {
        let old = net.weight(name).unwrap().to_f32();
        let new = stepped.weight(name).unwrap().to_f32();
        for at in (0..old.len()).step_by(old.len().div_ceil(12)) {
            let loss = |step: f32| {
                let mut values = old.clone();
                values[at] += step;
                evaluate(&with(&net, name, values), &data).unwrap().loss
            };
            let slope = (loss(5e-3) - loss(-5e-3)) / 1e-2;
            let gradient = f64::from(old[at] - new[at]);
            let close = (gradient - slope).abs() < 1e-3 * (1.0 + slope.abs());
            assert!(close, "{name} {at}: {gradient} for {slope}");
        }
    }
}
