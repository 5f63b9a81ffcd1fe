//! Normalisations measured anew, averages and features, on the embedded digits.
#![allow(clippy::unwrap_used)]

use secateur_data::load;
use secateur_model::{Constant, Graph, Support, Values, Weight, zoo};
use secateur_train::{Distill, Features, FitOptions, Quiet, evaluate, fit, measure_norms};

fn options(epochs: f32) -> FitOptions {
    FitOptions {
        epochs,
        batch: 32,
        seed: 3,
        ..FitOptions::default()
    }
}

fn replace(graph: &mut Graph, name: &str, f: impl Fn(f32) -> f32) {
    let weight = graph.weight(name).unwrap();
    let values = weight.to_f32().into_iter().map(f).collect();
    let shape = weight.shape().clone();
    let weight = Weight::new(shape, Support::All, Values::F32(values)).unwrap();
    graph
        .constants
        .insert(name.into(), Constant::Weight(weight));
}

#[test]
fn statistics_measured_anew_mend_a_network_whose_layers_have_moved() {
    let data = load("digits").unwrap();
    let mut graph = zoo::build("mobilenet-small", [1, 8, 8], 10, 1).unwrap();
    let some: Vec<usize> = (0..640).collect();
    let train = data.train.subset(&some);
    fit(&mut graph, &train, &options(3.0), &mut Quiet).unwrap();
    let error = |graph: &Graph| evaluate(graph, &data.test).unwrap().error_percent();
    let before = error(&graph);

    // A normalisation undoes any change of scale of what it reads, once it knows of it.
    let mut moved = graph.clone();
    for layer in 1..=6 {
        replace(&mut moved, &format!("block{layer}.pointwise.weight"), |w| {
            3.0 * w
        });
    }
    let broken = error(&moved);
    assert!(broken > before + 10.0, "{before} {broken}");
    assert_eq!(measure_norms(&mut moved, &train, 500).unwrap(), 13);
    let mended = error(&moved);
    assert!(mended < before + 3.0, "{before} -> {broken} -> {mended}");

    let mut again = moved.clone();
    measure_norms(&mut again, &train, 500).unwrap();
    assert_eq!(again, moved);
    let mut without = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
    assert_eq!(measure_norms(&mut without, &train, 500).unwrap(), 0);
    assert!(measure_norms(&mut moved, &train, 0).is_err());
}

#[test]
fn features_of_a_teacher_are_learned() {
    let data = load("digits").unwrap();
    let mut teacher = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
    fit(&mut teacher, &data.train, &options(8.0), &mut Quiet).unwrap();
    let student = |features: Features, feature_weight: f32| {
        let distill = Distill {
            alpha: 0.5,
            temperature: 2.0,
            features,
            feature_weight,
            teacher: teacher.clone(),
        };
        let options = FitOptions {
            distill: Some(distill),
            ..options(2.0)
        };
        let mut graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 2).unwrap();
        let report = fit(&mut graph, &data.train, &options, &mut Quiet);
        report.map(|r| (graph, r.final_loss))
    };
    let (answers, _) = student(Features::None, 0.0).unwrap();
    let (auto, _) = student(Features::Auto, 1.0).unwrap();
    let named = Features::Named(vec!["fc2.relu.out".into()]);
    assert_eq!(student(named, 1.0).unwrap().0, auto);
    assert_ne!(answers, auto);
    let unknown = Features::Named(vec!["fc9".into()]);
    let error = student(unknown, 1.0).unwrap_err().to_string();
    assert!(error.contains("fc9"), "{error}");
    assert!(evaluate(&auto, &data.test).unwrap().error_percent() < 12.0);
}

#[test]
fn an_average_of_the_weights_is_kept_instead_of_the_last_ones() {
    let data = load("digits").unwrap();
    let train = |average| {
        let mut graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let options = FitOptions {
            average,
            ..options(6.0)
        };
        fit(&mut graph, &data.train, &options, &mut Quiet).map(|_| graph)
    };
    let (last, mean) = (train(None).unwrap(), train(Some(0.99)).unwrap());
    assert_ne!(last, mean);
    assert_eq!(train(Some(0.0)).unwrap(), last);
    assert!(evaluate(&mean, &data.test).unwrap().error_percent() < 6.0);
    assert!(train(Some(1.0)).is_err());
}
