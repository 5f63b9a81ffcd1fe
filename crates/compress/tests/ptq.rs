//! Quantization without training, on networks trained on the embedded digits.
#![allow(clippy::unwrap_used, clippy::panic)]

use secateur_compress::ptq::{Each, Images, Probe, Samples};
use secateur_compress::recipe::Step;
use secateur_compress::{
    Checkpoint, CompressError, Observer, Recipe, on_reals, quantize_network, resume_unlabelled,
};
use secateur_data::{Dataset, Normalize, Pixels};
use secateur_model::{Constant, Graph, Support, Values, Weight, zoo};
use secateur_train::{FitOptions, Quiet, evaluate, fit};
use std::error::Error;
use std::ops::ControlFlow;
use std::sync::OnceLock;

struct Silent;

impl Observer for Silent {}

/// A depthwise network and a fully connected one, and the set.
fn trained() -> &'static (Graph, Graph, secateur_data::Split) {
    static TRAINED: OnceLock<(Graph, Graph, secateur_data::Split)> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let data = secateur_data::load("digits").unwrap();
        let train = |name: &str, epochs| {
            let mut net = zoo::build(name, [1, 8, 8], 10, 5).unwrap();
            let options = FitOptions {
                epochs,
                batch: 32,
                ..FitOptions::default()
            };
            fit(&mut net, &data.train, &options, &mut Quiet).unwrap();
            net
        };
        (
            train("mobilenet-small", 6.0),
            train("lenet-300-100", 10.0),
            data,
        )
    })
}

fn quantized(dense: &Graph, data: &Dataset, settings: &str) -> Graph {
    let text = format!("name = \"x\"\n[[step]]\nkind = \"quantize\"\nsamples = 300\n{settings}");
    let recipe = Recipe::from_toml(&text, "x.toml").unwrap();
    let Step::Quantize(step) = &recipe.steps[0] else {
        panic!("one step");
    };
    let mut graph = dense.clone();
    let samples = Images {
        data,
        limit: step.samples,
    };
    let mut go_on = |_, _| ControlFlow::Continue(());
    quantize_network(&mut graph, step, &samples, &mut go_on).unwrap();
    graph
}

fn error(graph: &Graph, data: &Dataset) -> f64 {
    evaluate(graph, data).unwrap().error_percent()
}

fn loss(graph: &Graph, data: &Dataset) -> f64 {
    evaluate(graph, data).unwrap().loss
}

const SECOND: &str = "rounding = { second-order = {} }";

#[test]
fn eight_bits_cost_nothing_in_a_depthwise_network() {
    let (dense, _, data) = trained();
    let settings =
        format!("weight_bits = 8\nactivation_range = \"mse\"\nequalize = true\n{SECOND}");
    let small = quantized(dense, &data.train, &settings);
    let (before, after) = (error(dense, &data.test), error(&small, &data.test));
    assert!(after <= before + 1.0, "{before} -> {after}");
    let norms = small
        .nodes
        .iter()
        .filter(|n| n.op.name() == "BatchNormalization");
    assert_eq!(norms.count(), 0);
}

#[test]
fn few_bits_hold_where_rounding_to_the_nearest_collapses() {
    let (depthwise, linear, data) = trained();
    for (net, bits) in [(depthwise, 3), (linear, 2)] {
        let nearest = format!("weight_bits = {bits}\nweight_range = \"mse\"");
        let nearest = quantized(net, &data.train, &nearest);
        let second = format!("weight_bits = {bits}\nweight_range = \"mse\"\n{SECOND}");
        let second = quantized(net, &data.train, &second);
        let before = loss(net, &data.test);
        let [nearest, second] = [nearest, second].map(|g| loss(&g, &data.test) - before);
        println!(
            "{}: loss {before}, rises by {nearest} and {second}",
            net.name
        );
        assert!(
            second < 0.5 * nearest,
            "{}: {nearest} -> {second}",
            net.name
        );
    }
}

#[test]
fn two_bits_are_ternary_and_the_ends_may_be_wider() {
    let (_, linear, data) = trained();
    let small = quantized(
        linear,
        &data.train,
        &format!("weight_bits = 2\nfirst_last_bits = 8\n{SECOND}"),
    );
    let codes = |name: &str| match small.weight(name).unwrap().values() {
        Values::Int { bits, codes, .. } => (*bits, codes.iter().all(|c| (-1..=1).contains(c))),
        _ => panic!("integers"),
    };
    assert_eq!(
        [
            codes("fc1.weight"),
            codes("fc2.weight"),
            codes("fc3.weight")
        ],
        [(8, false), (2, true), (8, false)]
    );
}

#[test]
fn half_of_the_weights_go_in_the_same_sweep_and_zeros_stay() {
    let (depthwise, linear, data) = trained();
    for net in [depthwise, linear] {
        let rounding = "rounding = { second-order = { density = 0.5 } }";
        let settings = format!("weight_bits = 8\nactivation_range = \"mse\"\n{rounding}");
        let small = quantized(net, &data.train, &settings);
        let rise = error(&small, &data.test) - error(net, &data.test);
        assert!(rise <= 3.0, "{}: {rise}", net.name);
        let halved = small
            .weights()
            .filter(|(_, w)| w.support().mask().is_some());
        let (mut left, mut of) = (0, 0);
        for (_, weight) in halved {
            left += weight.nonzeros();
            of += weight.shape().elements();
            assert_eq!(weight.nonzeros(), weight.kept());
        }
        let share = left as f64 / of as f64;
        assert!((0.3..=0.51).contains(&share), "{}: {share}", net.name);
        // Once more, with what is left: a zero stays a zero.
        let again = |w: &secateur_model::Weight| {
            let (shape, support, _) = w.clone().into_parts();
            secateur_model::Weight::new(shape, support, Values::F32(w.kept_f32())).unwrap()
        };
        let mut loose = small.clone();
        for (name, weight) in small.weights().map(|(n, w)| (n.to_owned(), w.clone())) {
            loose
                .constants
                .insert(name, secateur_model::Constant::Weight(again(&weight)));
        }
        let four = quantized(&loose, &data.train, &format!("weight_bits = 4\n{SECOND}"));
        for (name, weight) in four.weights() {
            let before = small.weight(name).map(|w| w.to_f32()).unwrap_or_default();
            if weight.support().mask().is_some() {
                let mut pairs = weight.to_f32().into_iter().zip(before);
                assert!(
                    pairs.all(|(after, before)| before != 0.0 || after == 0.0),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn patterns_keep_their_form() {
    let (_, linear, data) = trained();
    let rounding = "rounding = { second-order = { pattern = \"2:4\" } }";
    let small = quantized(linear, &data.train, &format!("weight_bits = 8\n{rounding}"));
    let weight = small.weight("fc2.weight").unwrap();
    assert!(matches!(weight.support(), Support::NofM { n: 2, m: 4, .. }));
    let rise = error(&small, &data.test) - error(linear, &data.test);
    assert!(rise <= 3.0, "{rise}");
}

#[test]
fn sixteen_bits_of_activations_are_nearer_than_eight() {
    let (depthwise, _, data) = trained();
    // Those that it is calibrated on: nothing is out of range.
    let seen = data.train.subset(&(0..300).collect::<Vec<_>>());
    let reference = secateur_train::logits(depthwise, &seen).unwrap();
    let distance = |bits| {
        let settings = format!(
            "weight_bits = 16\nactivation_range = \"min-max\"\nactivation_bits = {bits}\nbiases = \"f32\""
        );
        let small = quantized(depthwise, &data.train, &settings);
        let found = secateur_train::logits(&small, &seen).unwrap();
        found
            .iter()
            .zip(&reference)
            .map(|(a, b)| f64::from((a - b).powi(2)))
            .sum::<f64>()
    };
    let (eight, sixteen) = (distance(8), distance(16));
    assert!(sixteen < 0.01 * eight, "{eight} {sixteen}");
}

#[test]
fn a_dead_neuron_leaves_steps_as_coarse() {
    let (_, linear, data) = trained();
    let mut dead = linear.clone();
    for (name, row) in [("fc1.weight", 64), ("fc1.bias", 1)] {
        let weight = dead.weight(name).unwrap();
        let mut values = weight.to_f32();
        values[..row].fill(0.0);
        let weight = Weight::dense(weight.shape().clone(), values).unwrap();
        dead.constants.insert(name.into(), Constant::Weight(weight));
    }
    let settings = "weight_bits = 8\nrounding = { second-order = { error = 0.02 } }";
    let largest = |graph: &Graph| {
        let quantized = quantized(graph, &data.train, settings);
        match quantized.weight("fc1.weight").unwrap().values() {
            Values::Int { codes, .. } => codes.iter().map(|c| c.unsigned_abs()).max().unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let coarse = largest(&dead);
    assert!(
        coarse < 64 && coarse.abs_diff(largest(linear)) < 8,
        "{coarse}"
    );

    // Nor does it make bits dear, where they are weighed against errors.
    let traded = |graph: &Graph| {
        let kept = |trade: &str| {
            let error = "weight_bits = 8\nrounding = { second-order = { error = 0.02";
            let graph = quantized(graph, &data.train, &format!("{error}{trade} }} }}"));
            let kept: usize = graph.weights().map(|(_, weight)| weight.nonzeros()).sum();
            (kept as f64, loss(&graph, &data.test))
        };
        let ((all, plain), (fewer, loss)) = (kept(""), kept(", trade = 1.0"));
        assert!(loss < plain + 0.05, "{loss} {plain}");
        fewer / all
    };
    let [alive, dead] = [linear, &dead].map(traded);
    assert!(dead < 1.0 && (dead - alive).abs() < 0.1, "{dead} {alive}");
}

#[test]
fn activations_that_cost_too_much_stay_reals() {
    let (_, linear, data) = trained();
    // An input that nothing reads is so large that a step takes all others with it.
    let mut deaf = linear.clone();
    let weight = deaf.weight("fc1.weight").unwrap();
    let mut values = weight.to_f32();
    values.iter_mut().step_by(64).for_each(|v| *v = 0.0);
    let weight = Weight::dense(weight.shape().clone(), values).unwrap();
    deaf.constants
        .insert("fc1.weight".into(), Constant::Weight(weight));
    let first: Vec<usize> = (0..300).collect();
    let mut pixels = vec![0.0; first.len() * data.train.image_len()];
    data.train.gather(&first, &mut pixels);
    pixels[0] = 1e4;
    let loud = Dataset::new(
        "loud",
        1,
        8,
        8,
        data.train.classes.clone(),
        Pixels::F32(pixels),
        data.train.labels()[..first.len()].to_vec(),
        Normalize::unit(1),
    )
    .unwrap();
    let quantized = |more: &str| {
        let settings = format!("weight_bits = 8\nactivation_range = \"min-max\"\n{more}");
        quantized(&deaf, &loud, &settings)
    };
    let (all, some) = (quantized(""), quantized("activation_error = 0.01"));
    assert!(on_reals(&all).is_empty());
    assert_eq!(on_reals(&some), ["fc1.weight"]);
    assert!(error(&some, &data.test) < error(&all, &data.test));
}

#[test]
fn a_recipe_without_labels_repeats_and_refuses_to_train() {
    let (_, linear, data) = trained();
    let samples = Images {
        data: &data.train,
        limit: 200,
    };
    let recipe = Recipe::builtin("one-shot").unwrap();
    let go = |from| resume_unlabelled(linear, from, &samples, &recipe, 1, &mut Silent).unwrap();
    let start = || Checkpoint::start(linear);
    let (small, report) = go(start());
    assert_eq!(go(start()).0, small);
    let layers = &report.steps[0].layers;
    assert_eq!(layers.len(), 3);
    // On from where the first step ended.
    let mut kept = Kept(None);
    let _ = resume_unlabelled(linear, start(), &samples, &recipe, 1, &mut kept);
    let (resumed, again) = go(kept.0.unwrap());
    assert_eq!((&resumed, &again.steps[0].layers), (&small, layers));
    // The recipe's part of the outputs' variance, and what quantized activations add.
    let [before, after] =
        [linear, &small].map(|net| secateur_train::logits(net, &data.test).unwrap());
    let mean = before.iter().sum::<f32>() / before.len() as f32;
    let squares = |f: &dyn Fn(usize) -> f32| (0..before.len()).map(|i| f(i).powi(2)).sum::<f32>();
    let part = squares(&|i| after[i] - before[i]) / squares(&|i| before[i] - mean);
    assert!(part < 0.01, "{part} {layers:?}");
    assert!(error(&small, &data.test) <= error(linear, &data.test) + 0.6);
    let trains = Recipe::builtin("deep-compression").unwrap();
    let refused =
        resume_unlabelled(linear, start(), &samples, &trains, 1, &mut Silent).unwrap_err();
    assert!(refused.to_string().contains("labels"), "{refused}");

    /// Stops after the first step, and keeps what it made.
    struct Kept(Option<Checkpoint>);
    impl Observer for Kept {
        fn keep(&mut self, checkpoint: &Checkpoint) -> Result<(), Box<dyn Error + Send + Sync>> {
            self.0 = Some(checkpoint.clone());
            Err("enough".into())
        }
    }

    struct Impatient;
    impl Observer for Impatient {
        fn progress(&mut self, done: usize, _: usize, _: f32) -> ControlFlow<()> {
            if done < 2 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        }
    }
    let stopped =
        resume_unlabelled(linear, start(), &samples, &recipe, 1, &mut Impatient).unwrap_err();
    assert_eq!(stopped.to_string(), "calibration: stopped");
}

#[test]
fn a_network_learns_from_its_own_answers_without_labels() {
    let (_, linear, data) = trained();
    let count = data.train.len();
    let mut pixels = vec![0.0; count * data.train.image_len()];
    data.train
        .gather(&(0..count).collect::<Vec<_>>(), &mut pixels);
    let nameless = Dataset::new(
        "nameless",
        1,
        8,
        8,
        vec!["unlabelled".into()],
        Pixels::F32(pixels),
        vec![0; count],
        Normalize::unit(1),
    )
    .unwrap();
    let samples = Images {
        data: &nameless,
        limit: 200,
    };
    let only = |step: &str| {
        let text = format!("name = \"t\"\n[[step]]\n{step}");
        Recipe::from_toml(&text, "t").unwrap()
    };
    let recipe = |more: &str| {
        only(&format!(
            "kind = \"quantize\"\nweight_bits = 2\nsamples = 200\n{more}"
        ))
    };
    let small = |more| {
        let from = Checkpoint::start(linear);
        let (small, _) =
            resume_unlabelled(linear, from, &samples, &recipe(more), 1, &mut Silent).unwrap();
        error(&small, &data.test)
    };
    let learned = "[step.retrain]\nepochs = 5\nlearning_rate = 0.001\noptimiser = \"adamw\"\n\
                   distill = { alpha = 0.0, temperature = 2.0 }\n";
    let (plain, taught) = (small(""), small(learned));
    assert!(taught < 0.7 * plain, "{taught} % of {plain} %");
    assert_eq!(small(learned), taught, "the same seed learns the same");

    let refused = |recipe: &Recipe, samples: &dyn Samples| {
        let from = Checkpoint::start(linear);
        let refused = resume_unlabelled(linear, from, samples, recipe, 1, &mut Silent);
        refused.unwrap_err().to_string()
    };
    let labels = recipe(&learned.replace("alpha = 0.0", "alpha = 0.5"));
    let why = refused(&labels, &samples);
    assert!(why.contains("alpha is 0.5"), "{why}");
    let taylor = "kind = \"prune\"\ncriterion = \"taylor\"\nallocation = { uniform = 0.5 }\n";
    let why = refused(&only(taylor), &samples);
    assert!(why.contains("labels"), "{why}");

    struct Arrays<'a>(Images<'a>);
    impl Samples for Arrays<'_> {
        fn observe(&self, probes: &[Probe<'_>], each: &mut Each<'_>) -> Result<(), CompressError> {
            self.0.observe(probes, each)
        }
    }
    let why = refused(&recipe(learned), &Arrays(samples));
    assert!(why.contains("arrays"), "{why}");
}
