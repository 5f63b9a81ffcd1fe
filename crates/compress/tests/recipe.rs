//! Whole recipes on the embedded digits.
#![allow(clippy::unwrap_used)]

use secateur_compress::{Observer, Recipe, run};
use secateur_model::{Constant, Op, Shape, Values, Weight, zoo};
use secateur_train::{FitOptions, Quiet, evaluate, fit};

struct Silent;

impl Observer for Silent {}

const RECIPE: &str = r#"
name = "digits"

[[step]]
kind = "prune"
schedule = { cubic = { updates = 10 } }
allocation = { uniform = 0.1 }
retrain = { epochs = 10, learning_rate = 0.05, batch = 32 }

[[step]]
kind = "share"
levels = 16
retrain = { epochs = 2, learning_rate = 0.01, batch = 32 }

[[step]]
kind = "quantize"
weight_bits = 8
activation_range = "min-max"
"#;

#[test]
fn a_network_is_pruned_shared_and_quantized_with_little_loss() {
    let data = secateur_data::load("digits").unwrap();
    let mut dense = zoo::build("lenet-300-100", [1, 8, 8], 10, 5).unwrap();
    let options = FitOptions {
        epochs: 12.0,
        batch: 32,
        ..FitOptions::default()
    };
    fit(&mut dense, &data.train, &options, &mut Quiet).unwrap();
    let recipe = Recipe::from_toml(RECIPE, "digits.toml").unwrap();
    let go = || {
        run(
            dense.clone(),
            &data.train,
            &data.test,
            &recipe,
            1,
            &mut Silent,
        )
        .unwrap()
    };
    let (small, report) = go();
    assert_eq!(go().0, small);

    let before = evaluate(&dense, &data.test).unwrap().error_percent();
    let after = evaluate(&small, &data.test).unwrap().error_percent();
    assert!(after < before + 2.0, "{before} -> {after}: {report:?}");
    let kinds: Vec<&str> = report.steps.iter().map(|s| s.kind.as_str()).collect();
    assert_eq!(kinds, ["prune", "share", "quantize"]);
    let weight = small.weight("fc1.weight").unwrap();
    // A tenth, less the weights of neurons that were left without an output.
    assert!((1800..=1920).contains(&weight.kept()), "{}", weight.kept());
    assert!(matches!(weight.values(), Values::Shared { codebook, .. } if codebook.len() <= 16));
    let ops: Vec<&str> = small.nodes.iter().map(|n| n.op.name()).collect();
    assert_eq!(ops.iter().filter(|o| **o == "QuantizeLinear").count(), 3);
}

#[test]
fn codebooks_of_output_channels_are_of_their_rows() {
    let data = secateur_data::load("digits").unwrap();
    let mut net = zoo::build("lenet-300-100", [1, 8, 8], 10, 5).unwrap();
    let text =
        "name = \"own\"\n[[step]]\nkind = \"share\"\nlevels = 4\ncodebooks = \"per-channel\"\n";
    let recipe = Recipe::from_toml(text, "own.toml").unwrap();
    let go = |net| run(net, &data.test, &data.test, &recipe, 1, &mut Silent);
    let (shared, _) = go(net.clone()).unwrap();
    let weight = shared.weight("fc3.weight").unwrap();
    assert_eq!(weight.entries_of_a_row(), Some(4));

    // The last layer as [inputs, outputs], whose rows are inputs.
    let turned: Vec<f32> = (0..1000)
        .map(|i| net.weight("fc3.weight").unwrap().to_f32()[i % 10 * 100 + i / 10])
        .collect();
    let turned = Weight::dense(Shape::new(&[100, 10]).unwrap(), turned).unwrap();
    let name = "fc3.weight".to_owned();
    net.constants.insert(name, Constant::Weight(turned));
    let last = net
        .nodes
        .iter_mut()
        .find(|n| n.reads().any(|i| i == "fc3.weight"));
    if let Op::Gemm { trans_b, .. } = &mut last.unwrap().op {
        *trans_b = false;
    }
    let refused = go(net).unwrap_err().to_string();
    assert!(
        refused.contains("`fc3.weight` lies as [inputs, outputs]"),
        "{refused}"
    );
}
