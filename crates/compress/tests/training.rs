//! Training within recipes, on the embedded digits.
#![allow(clippy::unwrap_used)]

use secateur_compress::{CompressError, Observer, Recipe, run};
use secateur_data::{Split, load};
use secateur_model::{Constant, Graph, Values, zoo};
use secateur_train::{FitOptions, Quiet, evaluate, fit};

struct Silent;

impl Observer for Silent {}

fn trained(name: &str, data: &Split, epochs: f32) -> Graph {
    let mut graph = zoo::build(name, [1, 8, 8], 10, 5).unwrap();
    let options = FitOptions {
        epochs,
        batch: 32,
        ..FitOptions::default()
    };
    fit(&mut graph, &data.train, &options, &mut Quiet).unwrap();
    graph
}

fn follow(graph: &Graph, data: &Split, steps: &str) -> Result<Graph, CompressError> {
    let recipe = Recipe::from_toml(&format!("name = \"test\"\n{steps}"), "test.toml")?;
    let done = run(
        graph.clone(),
        &data.train,
        &data.test,
        &recipe,
        1,
        &mut Silent,
    );
    done.map(|(graph, _)| graph)
}

const PRUNE: &str = "[[step]]\nkind = \"prune\"\nallocation = { uniform = 0.3 }\n";

#[test]
fn ternary_weights_with_learned_steps_keep_masks_and_answers() {
    let data = load("digits").unwrap();
    let dense = trained("lenet-300-100", &data, 8.0);
    let quantize = |retrain: &str| {
        format!(
            "{PRUNE}retrain = {{ epochs = 4, learning_rate = 0.05, batch = 32, rewind = 0.3 }}\n\
             [[step]]\nkind = \"quantize\"\nweight_bits = 2\nfirst_last_bits = 8\n\
             activation_range = \"min-max\"\n{retrain}"
        )
    };
    let learned = "retrain = { epochs = 4, learning_rate = 0.02, batch = 32, learn_steps = true, \
                   distill = { alpha = 0.5, temperature = 2, features = \"auto\" } }";
    let after = follow(&dense, &data, &quantize("")).unwrap();
    let small = follow(&dense, &data, &quantize(learned)).unwrap();
    assert_eq!(small, follow(&dense, &data, &quantize(learned)).unwrap());
    for (name, width) in [("fc1.weight", 8), ("fc2.weight", 2), ("fc3.weight", 8)] {
        let (weight, rounded) = (small.weight(name).unwrap(), after.weight(name).unwrap());
        let Values::Int { bits, codes, .. } = weight.values() else {
            panic!("{name} is rounded");
        };
        assert_eq!(*bits, width);
        assert!(codes.iter().all(|&c| c != 0), "{name}");
        assert_eq!(weight.support(), rounded.support());
    }
    let scale = |graph: &Graph| match &graph.constants["fc1.relu.out.scale"] {
        Constant::Tensor(tensor) => tensor.as_f32().unwrap()[0],
        Constant::Weight(_) => panic!("a scale is a tensor"),
    };
    assert_ne!(scale(&after), scale(&small));
    let error = |graph: &Graph| evaluate(graph, &data.test).unwrap().error_percent();
    let (dense, after, small) = (error(&dense), error(&after), error(&small));
    assert!(
        small < dense + 2.0 && small < after,
        "{dense} {after} {small}"
    );
}

#[test]
fn a_cut_without_retraining_measures_normalisations_anew() {
    let data = load("digits").unwrap();
    let dense = trained("mobilenet-small", &data, 2.0);
    let once = follow(&dense, &data, PRUNE).unwrap();
    let mean = "block1.pointwise.norm.mean";
    assert_ne!(once.weight(mean), dense.weight(mean));
    let again = follow(&once, &data, "[[step]]\nkind = \"norms\"\nimages = 2000\n").unwrap();
    assert_eq!(once.weight(mean), again.weight(mean));
    let none = "[[step]]\nkind = \"norms\"\nimages = 0\n";
    assert!(follow(&dense, &data, none).is_err());
}

#[test]
fn a_training_that_diverges_names_its_step() {
    let data = load("digits").unwrap();
    let dense = trained("lenet-300-100", &data, 1.0);
    let wild = format!("{PRUNE}retrain = {{ epochs = 1, learning_rate = 1e30 }}\n");
    let error = follow(&dense, &data, &wild).unwrap_err().to_string();
    assert!(
        error.starts_with("step 1 (prune): the loss became"),
        "{error}"
    );
    assert!(error.contains("epoch"), "{error}");
}
