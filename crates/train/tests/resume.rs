//! Trainings that are broken off go on to the same bits.
#![allow(clippy::unwrap_used)]

mod support;

use secateur_data::{Dataset, load};
use secateur_model::{Graph, zoo};
use secateur_train::{
    Augment, Coded, FitOptions, FitState, Hooks, Keeper, Optimiser, RateOptions, TrainError, fit,
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

/// Gives a state back, whatever training begins.
struct Other(Option<FitState>);

impl Hooks for Other {
    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        Some(self)
    }
}

impl Keeper for Other {
    fn resume(&mut self, _: &[u8; 32]) -> Result<Option<FitState>, TrainError> {
        Ok(self.0.take())
    }

    fn wants(&mut self, _: bool) -> bool {
        false
    }

    fn keep(&mut self, _: &FitState) {}

    fn forget(&mut self) {}
}

#[test]
fn what_is_not_this_training_is_refused() {
    let data = load("digits").unwrap().train;
    let graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
    let options = FitOptions {
        epochs: 1.0,
        batch: 32,
        ..FitOptions::default()
    };
    let bytes = goes_on_to_the_same(&graph, &data, &options, 3);
    let state = FitState::from_bytes(&bytes).unwrap();
    let refused = |mut graph: Graph, data: &Dataset, options: &FitOptions| {
        let mut hooks = Other(Some(state.clone()));
        let error = fit(&mut graph, data, options, &mut hooks).unwrap_err();
        assert!(error.to_string().contains("of another training"), "{error}");
    };
    let other = zoo::build("lenet-300-100", [1, 8, 8], 10, 2).unwrap();
    refused(other, &data, &options);
    let mut scaled = data.clone();
    scaled.normalize.std = vec![0.3];
    refused(graph.clone(), &scaled, &options);
    let fewer: Vec<usize> = (1..data.len()).chain([1]).collect();
    refused(graph.clone(), &data.subset(&fewer), &options);
    let faster = FitOptions {
        learning_rate: 0.06,
        ..options.clone()
    };
    refused(graph, &data, &faster);

    for end in [0, 5, 7, 8, 9, 20, 60, bytes.len() - 1] {
        assert!(FitState::from_bytes(&bytes[..end]).is_err(), "{end}");
    }
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    let error = FitState::from_bytes(&flipped).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
    let mut newer = bytes;
    newer[7] = 9;
    let error = FitState::from_bytes(&newer).unwrap_err().to_string();
    assert!(error.contains("version 1 is needed, found 9"), "{error}");
}

/// What leads nowhere is forgotten.
#[test]
fn a_training_that_diverges_is_not_gone_on_with() {
    #[derive(Default)]
    struct Forgets(bool);
    impl Hooks for Forgets {
        fn keeper(&mut self) -> Option<&mut dyn Keeper> {
            Some(self)
        }
    }
    impl Keeper for Forgets {
        fn resume(&mut self, _: &[u8; 32]) -> Result<Option<FitState>, TrainError> {
            Ok(None)
        }

        fn wants(&mut self, _: bool) -> bool {
            true
        }

        fn keep(&mut self, _: &FitState) {}

        fn forget(&mut self) {
            self.0 = true;
        }
    }
    let data = load("digits").unwrap();
    let mut graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
    let options = FitOptions {
        learning_rate: 1e6,
        batch: 32,
        ..FitOptions::default()
    };
    let mut hooks = Forgets::default();
    let error = fit(&mut graph, &data.train, &options, &mut hooks).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    assert!(hooks.0);
}
