//! Every pattern of pruning through everything behind it: sharing, quantization, files, the engine.
#![allow(clippy::unwrap_used)] // helpers of tests

use secateur::compress::{Observer, Pattern, Recipe, run};
use secateur::data::Dataset;
use secateur::engine::{Session, SessionOptions};
use secateur::io::codec::Store;
use secateur::io::{onnx, sct};
use secateur::model::{Data, Graph, Shape, Support, Tensor, eval, zoo};
use std::collections::BTreeMap;

struct Silent;

impl Observer for Silent {}

const PATTERNS: [&str; 8] = [
    "unstructured",
    "2:4",
    "1:4",
    "8:64",
    "1x4",
    "4x1",
    "16x1",
    "channels",
];

/// Where each weight of more than one axis is zero, and in which form.
fn zeros(graph: &Graph) -> BTreeMap<String, (Support, Vec<bool>)> {
    let matrices = graph.weights().filter(|(_, w)| w.shape().rank() > 1);
    matrices
        .map(|(name, w)| {
            let zeros = w.to_f32().iter().map(|&v| v == 0.0).collect();
            (name.to_owned(), (w.support().clone(), zeros))
        })
        .collect()
}

fn compressed(graph: &Graph, data: &Dataset, steps: &str) -> Graph {
    let recipe = Recipe::from_toml(&format!("name = \"test\"\n{steps}"), "test").unwrap();
    let mut observer = Silent;
    run(graph.clone(), data, data, &recipe, 1, &mut observer)
        .unwrap()
        .0
}

fn images(data: &Dataset, count: usize) -> Tensor {
    let mut pixels = vec![0.0; count * data.image_len()];
    data.gather(&(0..count).collect::<Vec<_>>(), &mut pixels);
    let shape = Shape::new(&[count, data.channels, data.height, data.width]).unwrap();
    Tensor::new(shape, Data::F32(pixels)).unwrap()
}

/// What the slow reference gives.
fn output(graph: &Graph, images: &Tensor) -> Vec<f32> {
    let outputs = eval(graph, &[("input", images.clone())]).unwrap();
    outputs[0].as_f32().unwrap().to_vec()
}

/// Largest distance, in parts of the expected range.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let range = expected.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
    let distances = found.iter().zip(expected);
    distances.fold(0.0, |m, (a, b)| m.max((a - b).abs() / range))
}

/// The engine against the slow reference.
fn apart(graph: &Graph, images: &Tensor) -> f32 {
    let session = Session::new(graph, &SessionOptions::default()).unwrap();
    let found = session.run(&[("input", images)]).unwrap();
    distance(found[0].as_f32().unwrap(), &output(graph, images))
}

#[test]
fn zeros_and_forms_outlast_every_step_and_the_engine_runs_them() {
    let data = secateur::data::load("digits").unwrap().train;
    let data = data.subset(&(0..300).collect::<Vec<_>>());
    let images = images(&data, 2);
    for network in ["lenet-300-100", "resnet-20"] {
        let dense = zoo::build(network, [1, 8, 8], 10, 1).unwrap();
        for text in PATTERNS {
            let pattern: Pattern = text.parse().unwrap();
            let prune = format!(
                "[[step]]\nkind = \"prune\"\npattern = \"{text}\"\nallocation = {{ uniform = 0.5 }}\n"
            );
            let pruned = compressed(&dense, &data, &prune);
            let before = zeros(&pruned);
            for (name, (support, zeros)) in &before {
                let kept = zeros.iter().filter(|z| !**z).count() as f64 / zeros.len() as f64;
                let most = if let Pattern::NofM { n, m } = pattern {
                    n as f64 / m as f64
                } else {
                    0.5
                };
                // Each line of windows rounds up, each layer to a unit.
                assert!(
                    kept > 0.0 && kept <= most + 0.25,
                    "{network} {text} {name}: {kept}"
                );
                let as_asked = match (pattern, support) {
                    (Pattern::Unstructured, Support::Unstructured(_)) => true,
                    (Pattern::NofM { n, m }, Support::NofM { n: a, m: b, .. }) => {
                        (n, m) == (*a, *b)
                    }
                    (Pattern::Blocks { h, w }, Support::Blocks { h: a, w: b, .. }) => {
                        (h, w) == (*a, *b)
                    }
                    (Pattern::Channels, Support::Channels(_)) => true,
                    // Narrow layers may keep all.
                    (_, Support::All) => kept == 1.0,
                    _ => false,
                };
                assert!(as_asked, "{network} {text} {name}: {support:?}");
            }
            let steps = |more: &str| compressed(&pruned, &data, more);
            let quantize =
                "[[step]]\nkind = \"quantize\"\nweight_bits = 8\nactivation_range = \"min-max\"\n";
            let share = "[[step]]\nkind = \"share\"\nlevels = 16\n";
            let trained = "[[step]]\nkind = \"train\"\nretrain = { epochs = 0.2, learning_rate = 0.01, batch = 20 }\n";
            // Each with what it was before it was rounded.
            let forms = [
                (pruned.clone(), None),
                (steps(quantize), Some(pruned.clone())),
                (steps(&format!("{share}{quantize}")), Some(steps(share))),
                (steps(&format!("{trained}{quantize}")), Some(steps(trained))),
            ];
            for (index, (graph, unrounded)) in forms.iter().enumerate() {
                let after = zeros(graph);
                for (name, (support, zeros)) in &before {
                    let (now, still) = &after[name];
                    assert_eq!(now, support, "{network} {text} {name} {index}");
                    let lost = zeros
                        .iter()
                        .zip(still)
                        .any(|(before, after)| *before && !*after);
                    assert!(!lost, "{network} {text} {name} {index}: a zero is gone");
                }
                let bytes = sct::write(graph, Store::Small).unwrap();
                assert_eq!(
                    zeros_of(&sct::read(&bytes, "test").unwrap()),
                    zeros_of(graph)
                );
                let exported = onnx::write(graph).unwrap();
                let imported = onnx::read(&exported, None, "test").unwrap();
                let where_zero = |graph: &Graph| -> BTreeMap<String, Vec<bool>> {
                    let zeros = zeros(graph).into_iter();
                    zeros.map(|(name, (_, zeros))| (name, zeros)).collect()
                };
                assert_eq!(
                    where_zero(&imported),
                    where_zero(graph),
                    "{network} {text} {index}"
                );
                // Exported biases of quantized layers are integers, and the engine adds them in steps
                // of the sum's scale; so codes between layers may be one step apart. In a deep network
                // of little training that adds up, to about what rounding itself costs.
                let outputs = output(graph, &images);
                let limit = match unrounded {
                    Some(before) => 2.0 * distance(&outputs, &output(before, &images)).max(5e-3),
                    None => 1e-4,
                };
                let distance = distance(&output(&imported, &images), &outputs);
                assert!(
                    distance < limit,
                    "{network} {text} {index}: {distance} {limit}"
                );
                let apart = apart(graph, &images);
                assert!(apart < limit, "{network} {text} {index}: {apart} {limit}");
            }
        }
    }
}

fn zeros_of(graph: &Graph) -> Vec<(Support, Vec<bool>)> {
    zeros(graph).into_values().collect()
}
