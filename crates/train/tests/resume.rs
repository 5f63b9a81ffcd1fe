//! Trainings that are broken off go on to the same bits.
#![allow(clippy::unwrap_used)]

mod support;

use secateur_data::load;
use secateur_model::zoo;
use secateur_train::{
    Augment, Coded, FitOptions, FitState, Hooks, Optimiser, RateOptions, TrainError, fit,
};
use support::goes_on_to_the_same;

/// With everything that a step may change: an average, statistics, orders and shifts by chance.
#[test]
fn in_full_precision() {
    let data = load("digits").unwrap();
    let graph = zoo::build("mobilenet-small", [1, 8, 8], 10, 1).unwrap();
    let some: Vec<usize> = (0..160).collect();
    let options = FitOptions {
        epochs: 3.0,
        batch: 32,
        average: Some(0.9),
        augment: Augment {
            shift: 1,
            mirror: true,
            cutout: 2,
            warp: None,
        },
        seed: 3,
        ..FitOptions::default()
    };
    // In the middle of a pass, and at its end.
    for after in [7, 10] {
        goes_on_to_the_same(&graph, &data.train.subset(&some), &options, after);
    }
}

/// Rows and columns have died by then.
#[test]
fn at_a_price_of_bits() {
    let data = load("digits").unwrap();
    let graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
    let coded = Coded {
        step: 0.05,
        product_bits: 0.5,
        zeros_return: true,
    };
    let names = ["fc1.weight", "fc2.weight", "fc3.weight"];
    let options = FitOptions {
        epochs: 3.0,
        batch: 32,
        optimiser: Optimiser::adam(),
        learning_rate: 0.01,
        rate: Some(RateOptions {
            nats_per_bit: 1e-3,
            weights: names.map(|name| (name.to_owned(), coded)).into(),
            warm_up: 0.2,
        }),
        seed: 3,
        ..FitOptions::default()
    };
    goes_on_to_the_same(&graph, &data.train, &options, 70);
}

#[test]
fn what_is_not_this_training_is_refused() {
    struct Other(Option<FitState>);
    impl Hooks for Other {
        fn resume(&mut self, training: u64) -> Result<Option<FitState>, TrainError> {
            let state = self.0.take();
            assert!(state.as_ref().is_some_and(|s| s.training != training));
            Ok(state)
        }
    }
    let data = load("digits").unwrap();
    let graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
    let options = FitOptions {
        epochs: 1.0,
        batch: 32,
        ..FitOptions::default()
    };
    let bytes = goes_on_to_the_same(&graph, &data.train, &options, 3);
    let state = FitState::from_bytes(&bytes).unwrap();
    let mut other = zoo::build("vgg-small", [1, 8, 8], 10, 1).unwrap();
    let error = fit(&mut other, &data.train, &options, &mut Other(Some(state)));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("another network"), "{error}");

    for end in [0, 5, 7, 8, 9, 20, bytes.len() - 1] {
        assert!(FitState::from_bytes(&bytes[..end]).is_err(), "{end}");
    }
    let mut newer = bytes;
    newer[7] = 9;
    let error = FitState::from_bytes(&newer).unwrap_err().to_string();
    assert!(error.contains("version 1 is needed, found 9"), "{error}");
}
