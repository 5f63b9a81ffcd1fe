//! The channels step on the embedded digits.
#![allow(clippy::unwrap_used)]

use secateur_compress::{Observer, Recipe, run};
use secateur_data::Split;
use secateur_model::{Graph, zoo};
use secateur_train::{FitOptions, Quiet, evaluate, fit};

struct Silent;

impl Observer for Silent {}

const RECIPE: &str = r#"
name = "narrow"

[[step]]
kind = "channels"
keep = 0.2
groups = { "fc2*" = 0.5 }
round_to = 4
schedule = { rounds = 2 }
retrain = { epochs = 4, learning_rate = 0.02, batch = 32 }

[[step]]
kind = "quantize"
weight_bits = 8
activation_range = "min-max"
"#;

fn trained() -> (Graph, Split) {
    let data = secateur_data::load("digits").unwrap();
    let mut dense = zoo::build("lenet-300-100", [1, 8, 8], 10, 5).unwrap();
    let options = FitOptions {
        epochs: 8.0,
        batch: 32,
        ..FitOptions::default()
    };
    fit(&mut dense, &data.train, &options, &mut Quiet).unwrap();
    (dense, data)
}

#[test]
fn a_network_becomes_narrow_with_little_loss_and_goes_on() {
    let (dense, data) = trained();
    let recipe = Recipe::from_toml(RECIPE, "narrow.toml").unwrap();
    let go = || {
        let (train, test) = (&data.train, &data.test);
        run(dense.clone(), train, test, &recipe, 1, &mut Silent).unwrap()
    };
    let (small, report) = go();
    assert_eq!(go().0, small);
    let dims = |name: &str| small.weight(name).unwrap().shape().dims().to_vec();
    assert_eq!(dims("fc1.weight"), [60, 64]);
    assert_eq!(dims("fc2.weight"), [52, 60]);
    assert_eq!(dims("fc3.weight"), [10, 52]);
    let before = evaluate(&dense, &data.test).unwrap().error_percent();
    let after = evaluate(&small, &data.test).unwrap().error_percent();
    assert!(after < before + 2.0, "{before} -> {after}: {report:?}");
}

#[test]
fn channels_go_by_what_the_loss_says_of_them() {
    let (dense, data) = trained();
    let recipe = |criterion: &str| {
        let text = format!(
            "name = \"t\"\n[[step]]\nkind = \"channels\"\nkeep = 0.3\nimages = 300\n\
             criterion = \"{criterion}\"\n"
        );
        Recipe::from_toml(&text, "t")
    };
    let cut = |criterion: &str| {
        let (train, test) = (&data.train, &data.test);
        let recipe = recipe(criterion).unwrap();
        run(dense.clone(), train, test, &recipe, 1, &mut Silent)
            .unwrap()
            .0
    };
    let loss = |graph: &Graph| evaluate(graph, &data.test).unwrap().loss;
    let (magnitude, taylor, activation) = (cut("magnitude"), cut("taylor"), cut("activation"));
    assert_eq!(magnitude.parameters(), taylor.parameters());
    assert!(magnitude != taylor && taylor != activation);
    let losses = [&magnitude, &taylor, &activation].map(loss);
    assert!(losses[1] < 1.1 * losses[0], "{losses:?}");
    assert!(recipe("obs").unwrap_err().to_string().contains("taylor"));
}
