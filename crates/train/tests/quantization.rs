//! Training with integers on the embedded digits.
#![allow(clippy::unwrap_used)]

mod support;

use secateur_data::{Split, load};
use secateur_model::weight::max_code;
use secateur_model::{
    Bitmask, Constant, Data, Graph, Node, Op, Scale, Shape, Support, Tensor, Values, Weight, zoo,
};
use secateur_train::{FitOptions, Quiet, evaluate, fit};
use support::goes_on_to_the_same;

const LAYERS: [&str; 3] = ["fc1.weight", "fc2.weight", "fc3.weight"];

fn options(epochs: f32) -> FitOptions {
    FitOptions {
        epochs,
        batch: 32,
        seed: 3,
        ..FitOptions::default()
    }
}

fn trained(data: &Split) -> Graph {
    let mut graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
    fit(&mut graph, &data.train, &options(8.0), &mut Quiet).unwrap();
    graph
}

fn set(graph: &mut Graph, name: &str, weight: Weight) {
    let constant = Constant::Weight(weight);
    graph.constants.insert(name.into(), constant);
}

/// Every layer at so many bits, its largest weight the largest code.
fn rounded(graph: &Graph, bits: u8) -> Graph {
    let mut rounded = graph.clone();
    for name in LAYERS {
        let weight = graph.weight(name).unwrap();
        let kept = weight.kept_f32();
        let largest = kept.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
        let scale = largest / max_code(bits) as f32;
        let pruned = weight.support().mask().is_some();
        let code = |v: &f32| match (v / scale).round_ties_even() as i16 {
            0 if pruned && *v != 0.0 => v.signum() as i16,
            code => code,
        };
        let values = Values::Int {
            bits,
            codes: kept.iter().map(code).collect(),
            scale: Scale::PerTensor(scale),
        };
        let support = weight.support().clone();
        let weight = Weight::new(weight.shape().clone(), support, values).unwrap();
        set(&mut rounded, name, weight);
    }
    rounded
}

/// Half of the first layer's weights are gone.
fn pruned(graph: &Graph) -> (Graph, Bitmask) {
    let mut pruned = graph.clone();
    let weight = graph.weight(LAYERS[0]).unwrap();
    let (all, shape) = (weight.to_f32(), weight.shape().clone());
    let mask = Bitmask::from_fn(all.len(), |i| i % 2 == 0);
    let kept = mask.ones().map(|i| all[i]).collect();
    let support = Support::Unstructured(mask.clone());
    let weight = Weight::new(shape, support, Values::F32(kept)).unwrap();
    set(&mut pruned, LAYERS[0], weight);
    (pruned, mask)
}

#[test]
fn training_with_few_bits_beats_rounding_to_them() {
    let data = load("digits").unwrap();
    let dense = trained(&data);
    let loss = |graph: &Graph| evaluate(graph, &data.test).unwrap().loss;
    for bits in [2, 4] {
        let after = rounded(&dense, bits);
        let learned = |learn_steps| {
            let options = FitOptions {
                learning_rate: 0.01,
                learn_steps,
                unrounded: Some(dense.clone()),
                ..options(4.0)
            };
            let mut graph = after.clone();
            fit(&mut graph, &data.train, &options, &mut Quiet).unwrap();
            graph
        };
        let (held, moved) = (learned(false), learned(true));
        let (ptq, qat, lsq) = (loss(&after), loss(&held), loss(&moved));
        println!("{bits} bits: rounded {ptq}, held steps {qat}, learned {lsq}");
        assert!(qat < ptq && lsq < ptq, "{bits} bits: {ptq}, {qat}, {lsq}");
        let error = evaluate(&moved, &data.test).unwrap().error_percent();
        assert!(error < 6.0, "{bits} bits: {error}");
        for name in LAYERS {
            let of = |graph: &Graph| match graph.weight(name).unwrap().values() {
                Values::Int { bits, codes, scale } => (*bits, codes.clone(), scale.clone()),
                _ => panic!("{name} is no integer weight any more"),
            };
            let ((_, _, old), (width, codes, new)) = (of(&after), of(&moved));
            assert_eq!(width, bits);
            assert!(codes.iter().all(|c| i32::from(*c).abs() <= max_code(bits)));
            assert!(old.steps().iter().zip(new.steps()).all(|(a, b)| a != b));
            assert_eq!(of(&held).2, old);
        }
    }
}

#[test]
fn masks_and_kept_weights_outlast_learned_steps() {
    let data = load("digits").unwrap();
    let (sparse, mask) = pruned(&trained(&data));
    let mut graph = rounded(&sparse, 2);
    let options = FitOptions {
        learn_steps: true,
        unrounded: Some(sparse),
        average: Some(0.99),
        ..options(1.0)
    };
    fit(&mut graph, &data.train, &options, &mut Quiet).unwrap();
    let weight = graph.weight(LAYERS[0]).unwrap();
    assert_eq!(weight.support().mask(), Some(&mask));
    let Values::Int { codes, .. } = weight.values() else {
        panic!("the form is kept");
    };
    assert!(codes.iter().all(|c| matches!(c, -1 | 1)));
    let all = weight.to_f32();
    assert!((0..all.len()).all(|i| mask.get(i) == (all[i] != 0.0)));
}

/// A pair of QuantizeLinear and DequantizeLinear behind the first activation.
fn with_pair(graph: &Graph, zero_point: Data, scale: f32) -> Graph {
    let mut graph = graph.clone();
    let zero = Tensor::new(Shape::scalar(), zero_point).unwrap();
    for (name, tensor) in [("a.scale", Tensor::scalar_f32(scale)), ("a.zero", zero)] {
        graph
            .constants
            .insert(name.into(), Constant::Tensor(tensor));
    }
    let value = "fc1.relu.out";
    let readers = graph.nodes.iter_mut().flat_map(|n| n.inputs.iter_mut());
    readers
        .filter(|input| *input == value)
        .for_each(|input| *input = "a.back".into());
    let quantize = Op::QuantizeLinear {
        axis: 1,
        block_size: 0,
        to: None,
    };
    let dequantize = Op::DequantizeLinear {
        axis: 1,
        block_size: 0,
    };
    let pair = [
        Node::new("q", quantize, &[value, "a.scale", "a.zero"], &["a.codes"]),
        Node::new(
            "d",
            dequantize,
            &["a.codes", "a.scale", "a.zero"],
            &["a.back"],
        ),
    ];
    graph.nodes.extend(pair);
    graph.sort().unwrap();
    graph
}

#[test]
fn scales_of_activations_are_learned_and_stored() {
    let data = load("digits").unwrap();
    let dense = trained(&data);
    let scale_of = |graph: &Graph| match &graph.constants["a.scale"] {
        Constant::Tensor(tensor) => tensor.as_f32().unwrap()[0],
        Constant::Weight(_) => panic!("a scale is a tensor"),
    };
    // Far too coarse: three codes for what goes up to several units.
    for (zero, coarse) in [(Data::U8(vec![3]), 4.0), (Data::U16(vec![3]), 4.0)] {
        let before = with_pair(&dense, zero.clone(), coarse);
        let options = FitOptions {
            learn_steps: true,
            learning_rate: 0.02,
            ..options(4.0)
        };
        let mut after = before.clone();
        fit(&mut after, &data.train, &options, &mut Quiet).unwrap();
        let (old, new) = (scale_of(&before), scale_of(&after));
        assert!(new < old && new > 0.0, "{old} -> {new}");
        assert!(matches!(&after.constants["a.zero"], Constant::Tensor(t) if *t.data() == zero));
        let loss = |graph: &Graph| evaluate(graph, &data.test).unwrap().loss;
        assert!(loss(&after) < loss(&before));

        let mut held = before.clone();
        let options = FitOptions {
            learn_steps: false,
            ..options
        };
        fit(&mut held, &data.train, &options, &mut Quiet).unwrap();
        assert_eq!(scale_of(&held), coarse);
    }
}

/// Steps of weights and of activations among what is kept.
#[test]
fn learned_steps_go_on_where_a_training_was_broken_off() {
    let data = load("digits").unwrap();
    let (sparse, _) = pruned(&trained(&data));
    let graph = with_pair(&rounded(&sparse, 4), Data::U8(vec![3]), 0.5);
    let options = FitOptions {
        learn_steps: true,
        unrounded: Some(sparse),
        ..options(1.0)
    };
    goes_on_to_the_same(&graph, &data.train, &options, 5);
}
