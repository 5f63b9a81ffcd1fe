//! Pruning of networks trained on the embedded digits.
#![allow(clippy::unwrap_used)] // helpers of tests

use secateur_compress::{
    Allocation, Calibration, Criterion, Observer, Pattern, Pruning, Recipe, prune, run,
};
use secateur_data::Dataset;
use secateur_model::{Graph, zoo};
use secateur_train::{FitOptions, Quiet, evaluate, fit};

struct Silent;

impl Observer for Silent {}

fn digits() -> (Dataset, Dataset) {
    let data = secateur_data::load("digits").unwrap();
    (data.train, data.test)
}

fn trained(name: &str, data: &Dataset, epochs: f32) -> Graph {
    let mut graph = zoo::build(name, [1, 8, 8], 10, 5).unwrap();
    let options = FitOptions {
        epochs,
        batch: 32,
        ..FitOptions::default()
    };
    fit(&mut graph, data, &options, &mut Quiet).unwrap();
    graph
}

#[test]
fn surgery_loses_less_than_magnitude_and_activations_in_every_pattern() {
    let (train, validation) = digits();
    let calibration = Calibration {
        data: &train,
        images: 500,
    };
    for (network, density) in [("lenet-300-100", 0.1), ("resnet-20", 0.3)] {
        let dense = match network {
            "resnet-20" => trained(network, &train.subset(&(0..400).collect::<Vec<_>>()), 3.0),
            _ => trained(network, &train, 12.0),
        };
        let patterns: &[&str] = match network {
            "resnet-20" => &["unstructured", "1x4"],
            _ => &["unstructured", "2:4", "1x4", "2x1"],
        };
        for pattern in patterns {
            let pattern: Pattern = pattern.parse().unwrap();
            let density = if pattern == Pattern::Unstructured {
                density
            } else {
                0.5
            };
            let loss = |criterion| {
                let mut graph = dense.clone();
                let pruning = Pruning {
                    allocation: Allocation::Uniform(density),
                    pattern,
                    criterion,
                };
                let kept = prune(&mut graph, &pruning, Some(&calibration)).unwrap();
                let counts: Vec<usize> = kept.iter().map(|k| k.kept).collect();
                (evaluate(&graph, &validation).unwrap().loss, counts)
            };
            let (surgery, kept) = loss(Criterion::Obs);
            let (magnitude, as_many) = loss(Criterion::Magnitude);
            let (activation, _) = loss(Criterion::Activation);
            println!(
                "{network} {pattern}: obs {surgery:.4}, activation {activation:.4}, magnitude {magnitude:.4}"
            );
            assert_eq!(kept, as_many);
            assert!(
                surgery < magnitude && surgery < activation,
                "{network} {pattern}"
            );
        }
    }
}

#[test]
fn every_criterion_finds_a_global_allocation() {
    let (train, validation) = digits();
    let dense = trained("lenet-300-100", &train, 12.0);
    let calibration = Calibration {
        data: &train,
        images: 500,
    };
    for criterion in [
        Criterion::Magnitude,
        Criterion::Taylor,
        Criterion::Activation,
        Criterion::Obs,
    ] {
        let mut graph = dense.clone();
        let pruning = Pruning {
            criterion,
            ..Allocation::Global(0.2).into()
        };
        let kept = prune(&mut graph, &pruning, Some(&calibration)).unwrap();
        let [sum, of] = kept.iter().fold([0, 0], |[a, b], k| [a + k.kept, b + k.of]);
        assert!((sum as f64 / of as f64 - 0.2).abs() < 1e-3);
        // The last layer, a fiftieth of the weights, matters most.
        let densities: Vec<f64> = kept.iter().map(|k| k.kept as f64 / k.of as f64).collect();
        assert!(densities[2] > densities[1], "{criterion:?} {densities:?}");
        let error = evaluate(&graph, &validation).unwrap().error_percent();
        println!("{criterion:?}: {densities:.3?}, {error:.2} %");
        assert!(error < 15.0, "{criterion:?}: {error}");
    }
}

fn recipe(step: &str) -> Recipe {
    let text = format!(
        "name = \"t\"\n[[step]]\nkind = \"prune\"\nallocation = {{ uniform = 0.1 }}\nretrain = {{ epochs = 6, learning_rate = 0.05, batch = 32 }}\n{step}"
    );
    Recipe::from_toml(&text, "t").unwrap()
}

fn positions(graph: &Graph, name: &str) -> Vec<usize> {
    graph.weight(name).unwrap().positions().collect()
}

#[test]
fn weights_return_from_the_shadows_and_by_exchange_but_not_from_cuts() {
    let (train, validation) = digits();
    let dense = trained("lenet-300-100", &train, 6.0);
    let go = |step: &str| {
        let run = || {
            run(
                dense.clone(),
                &train,
                &validation,
                &recipe(step),
                1,
                &mut Silent,
            )
            .unwrap()
            .0
        };
        let graph = run();
        assert_eq!(run(), graph, "{step}");
        let error = evaluate(&graph, &validation).unwrap().error_percent();
        println!("{step}: {error:.2} %");
        // Movement is made for networks that are tuned to another task; of one that knows its task it
        // sees little but noise.
        let limit = if step.contains("movement") { 40.0 } else { 8.0 };
        assert!(error < limit, "{step}: {error}");
        graph
    };
    let cut = go("schedule = { cubic = { updates = 10 } }");
    let shadow = go("schedule = { cubic = { updates = 10 } }\nshadow = true");
    let movement =
        go("schedule = { cubic = { updates = 10 } }\nshadow = true\ncriterion = \"movement\"");
    let taylor = go("schedule = { cubic = { updates = 10 } }\ncriterion = \"taylor\"");
    let rigl = go("schedule = { rigl = { updates = 8, fraction = 0.3 } }");
    let once = go("");
    let weight = |graph: &Graph| graph.weight("fc1.weight").unwrap().kept();
    // Dead neurons go afterwards, so that fewer may be left; never more.
    for graph in [&cut, &shadow, &movement, &taylor, &rigl, &once] {
        assert!(
            weight(graph) <= 1920 && weight(graph) > 1700,
            "{}",
            weight(graph)
        );
    }
    assert_ne!(
        positions(&cut, "fc1.weight"),
        positions(&shadow, "fc1.weight")
    );
    let first: Vec<usize> = positions(&once, "fc1.weight");
    let exchanged = positions(&rigl, "fc1.weight")
        .iter()
        .filter(|p| !first.contains(p))
        .count();
    assert!(exchanged > 100, "{exchanged}");
}
