//! A detector learns to find rectangles, and keeps what compression decided.
#![allow(clippy::unwrap_used)]

use secateur_data::{Dataset, Normalize};
use secateur_model::detection::{BBox, Object};
use secateur_model::{Bitmask, Constant, Graph, Support, Values, Weight, zoo};
use secateur_train::{Augment, Distill, FitOptions, Optimiser, Quiet, Score, evaluate, fit};

const SIDE: usize = 48;

/// Pictures with a red and a green rectangle each, apart from each other.
fn rectangles(pictures: usize, seed: u32) -> Dataset {
    let mut state = seed;
    let mut below = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) % n) as usize
    };
    let (mut pixels, mut boxes) = (Vec::new(), Vec::new());
    for _ in 0..pictures {
        let mut planes = vec![40u8; 3 * SIDE * SIDE];
        let mut objects = Vec::new();
        for class in 0..2 {
            let (width, height) = (8 + below(10), 8 + below(10));
            let left = class * SIDE / 2 + below((SIDE / 2 - width) as u32);
            let top = below((SIDE - height) as u32);
            for y in top..top + height {
                for x in left..left + width {
                    planes[(class * SIDE + y) * SIDE + x] = 220;
                }
            }
            let edges = [left, top, left + width, top + height].map(|e| e as f32 / SIDE as f32);
            objects.push(Object {
                class: class as u32,
                bbox: BBox::new(edges[0], edges[1], edges[2], edges[3]),
                difficult: false,
            });
        }
        pixels.extend(planes);
        boxes.push(objects);
    }
    let classes = vec!["red".into(), "green".into()];
    let normalize = Normalize::new(vec![0.2; 3], vec![0.2; 3]).unwrap();
    Dataset::with_boxes(
        "rectangles",
        SIDE,
        SIDE,
        classes,
        pixels,
        boxes,
        normalize,
        vec![],
    )
    .unwrap()
}

fn options(epochs: f32) -> FitOptions {
    FitOptions {
        epochs,
        batch: 8,
        optimiser: Optimiser::adam(),
        learning_rate: 3e-3,
        augment: Augment {
            shift: 4,
            mirror: true,
            ..Augment::default()
        },
        seed: 5,
        ..FitOptions::default()
    }
}

fn network() -> Graph {
    zoo::build("ssd-small", [3, SIDE, SIDE], 2, 1).unwrap()
}

fn trained(graph: &Graph, data: &Dataset, options: &FitOptions) -> Graph {
    let mut graph = graph.clone();
    fit(&mut graph, data, options, &mut Quiet).unwrap();
    graph
}

fn score(graph: &Graph) -> Score {
    evaluate(graph, &rectangles(24, 9)).unwrap()
}

#[test]
fn rectangles_are_found_and_a_seed_gives_the_same_bits() {
    let data = rectangles(96, 1);
    let fresh = network();
    assert!(score(&fresh).error_percent() > 80.0);
    let dense = trained(&fresh, &data, &options(12.0));
    let found = score(&dense);
    assert!(found.error_percent() < 10.0, "{found:?}");
    assert!(found.loss < score(&fresh).loss);
    let short = options(1.0);
    assert_eq!(
        trained(&fresh, &data, &short),
        trained(&fresh, &data, &short)
    );

    // Half of a layer is taken away, and a little retraining with the dense network's help.
    let mut pruned = dense.clone();
    let weight = dense.weight("conv4_2.weight").unwrap();
    let all = weight.to_f32();
    let mask = Bitmask::from_fn(all.len(), |i| i % 2 == 0);
    let kept = mask.ones().map(|i| all[i]).collect();
    let support = Support::Unstructured(mask.clone());
    let half = Weight::new(weight.shape().clone(), support, Values::F32(kept)).unwrap();
    pruned
        .constants
        .insert("conv4_2.weight".into(), Constant::Weight(half));
    let distilled = FitOptions {
        learning_rate: 1e-3,
        distill: Some(Distill::answers(dense, 0.5, 1.0)),
        ..options(4.0)
    };
    let retrained = trained(&pruned, &data, &distilled);
    let weight = retrained.weight("conv4_2.weight").unwrap();
    assert_eq!(weight.support().mask(), Some(&mask));
    let after = score(&retrained);
    assert!(after.error_percent() < 15.0, "{after:?}");
}

#[test]
fn what_does_not_fit_is_named() {
    let data = rectangles(4, 1);
    let message = |graph: &mut Graph| {
        let error = fit(graph, &data, &options(1.0), &mut Quiet).unwrap_err();
        assert!(evaluate(graph, &data).is_err());
        error.to_string()
    };
    let classifier = message(&mut zoo::build("vgg-small", [3, SIDE, SIDE], 2, 1).unwrap());
    assert!(classifier.contains("finds no objects"), "{classifier}");
    let three = message(&mut zoo::build("ssd-small", [3, SIDE, SIDE], 3, 1).unwrap());
    assert!(three.contains("classes must be 3"), "{three}");
    let mut lost = network();
    let text = lost.metadata["detector"].replace("level 8", "level 4");
    lost.metadata.insert("detector".into(), text);
    let lost = message(&mut lost);
    assert!(lost.contains("to find objects"), "{lost}");
}
