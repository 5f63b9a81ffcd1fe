//! The rate step on the embedded digits: fewer bytes at a higher price, and zeros that stay.
#![allow(clippy::unwrap_used, clippy::panic)]

use secateur_compress::recipe::Step;
use secateur_compress::{Observer, Recipe, run};
use secateur_data::{Dataset, load};
use secateur_io::codec::Store;
use secateur_io::sct;
use secateur_model::{Graph, Shape, Support, Values, infer, zoo};
use secateur_train::{FitOptions, Quiet, evaluate, fit, whiten};

struct Silent;

impl Observer for Silent {}

fn recipe(nats_per_bit: f32) -> Recipe {
    let text = format!(
        "name = \"t\"\n[[step]]\nkind = \"rate\"\nnats_per_bit = {nats_per_bit}\n\
         retrain = {{ epochs = 25, learning_rate = 0.01, batch = 32, optimiser = \"adamw\" }}\n"
    );
    Recipe::from_toml(&text, "t").unwrap()
}

/// A network that knows the digits.
fn trained(network: &str, train: &Dataset, options: &FitOptions) -> Graph {
    let mut dense = zoo::build(network, [1, 8, 8], 10, 1).unwrap();
    fit(&mut dense, train, options, &mut Quiet).unwrap();
    dense
}

#[test]
fn a_higher_price_makes_a_smaller_file_that_still_knows_digits() {
    let data = load("digits").unwrap();
    let (train, validation) = data.train.split(200, 0);
    let options = FitOptions {
        epochs: 15.0,
        batch: 32,
        ..FitOptions::default()
    };
    let dense = trained("lenet-300-100", &train, &options);
    let small = |price: f32| {
        let recipe = recipe(price);
        run(dense.clone(), &train, &validation, &recipe, 1, &mut Silent)
            .unwrap()
            .0
    };
    let bytes = |graph: &Graph| sct::write(graph, Store::Smallest).unwrap().len();
    let (cheap, dear) = (small(2e-5), small(1e-4));
    assert!(
        bytes(&dear) < bytes(&cheap),
        "{} {}",
        bytes(&dear),
        bytes(&cheap)
    );
    assert!(bytes(&cheap) < 6000, "{}", bytes(&cheap));
    let error = evaluate(&cheap, &data.test).unwrap().error_percent();
    assert!(error < 8.0, "{error} %");
    assert_eq!(cheap, small(2e-5), "the same seed gives the same network");

    // All is integers now, no kept one is zero, and training leaves the zeros where they are.
    let integers = |graph: &Graph| {
        graph
            .weights()
            .all(|(_, w)| matches!(w.values(), Values::Int { .. }) && w.kept() == w.nonzeros())
    };
    assert!(integers(&cheap) && integers(&dear));

    // Activations can be quantized after, and the integers stay as they are.
    let activations = "name = \"t\"\n[[step]]\nkind = \"quantize\"\nweight_bits = 8\n\
                       activation_range = \"min-max\"\nsamples = 200\n";
    let activations = Recipe::from_toml(activations, "t").unwrap();
    let (quantized, _) = run(
        cheap.clone(),
        &train,
        &validation,
        &activations,
        1,
        &mut Silent,
    )
    .unwrap();
    for (name, weight) in cheap.weights().filter(|(name, _)| name.ends_with("weight")) {
        assert_eq!(quantized.weight(name), Some(weight), "{name}");
    }
    let after = evaluate(&quantized, &data.test).unwrap().error_percent();
    assert!((after - error).abs() < 1.0, "{error} % became {after} %");

    let mut retrained = cheap.clone();
    fit(&mut retrained, &train, &options, &mut Quiet).unwrap();
    for (name, weight) in cheap.weights() {
        let after = retrained.weight(name).unwrap().to_f32();
        let zeros = weight
            .to_f32()
            .iter()
            .zip(&after)
            .all(|(a, b)| (*a == 0.0) == (*b == 0.0));
        assert!(zeros, "{name}");
    }
}

#[test]
fn a_layer_that_whitens_stays_whatever_is_done() {
    let data = load("digits").unwrap();
    let (train, validation) = data.train.split(200, 0);
    let mut dense = zoo::build("vgg-small", [1, 8, 8], 10, 1).unwrap();
    let name = whiten(&mut dense, &train).unwrap().weight;
    let steps = "[[step]]\nkind = \"prune\"\nallocation = { global = 0.5 }\n\
                 [[step]]\nkind = \"rate\"\nnats_per_bit = 1e-9\nwarm_up = 0.9\n\
                 retrain = { epochs = 0.2, learning_rate = 0.01, batch = 32, optimiser = \"adamw\" }\n";
    let recipe = Recipe::from_toml(&format!("name = \"t\"\n{steps}"), "t").unwrap();
    let (small, _) = run(dense.clone(), &train, &validation, &recipe, 1, &mut Silent).unwrap();
    for (other, weight) in small.weights().filter(|(_, w)| w.shape().rank() > 1) {
        let integers = matches!(weight.values(), Values::Int { .. });
        assert_eq!(integers, other != name, "{other}");
    }
    assert_eq!(small.weight(&name), dense.weight(&name));
}

#[test]
fn what_is_pruned_stays_so_from_price_to_price() {
    let data = load("digits").unwrap();
    let (train, validation) = data.train.split(200, 0);
    let dense = trained("lenet-300-100", &train, &FitOptions::default());
    let priced = "[[step]]\nkind = \"rate\"\nnats_per_bit = 1e-6\nwarm_up = 0.9\ncoarseness = 0.5\n\
                  retrain = { epochs = 3, learning_rate = 0.02, batch = 32, optimiser = \"adamw\" }\n";
    let carry_out = |network: &Graph, steps: &str| {
        let recipe = Recipe::from_toml(&format!("name = \"t\"\n{steps}"), "t").unwrap();
        let result = run(
            network.clone(),
            &train,
            &validation,
            &recipe,
            1,
            &mut Silent,
        );
        result.unwrap().0
    };
    // Of the first layer, whose neurons all live.
    let returned = |before: &Graph, after: &Graph| {
        let [was, is] = [before, after].map(|graph| graph.weight("fc1.weight").unwrap());
        assert_eq!(was.shape(), is.shape());
        let pairs = was.to_f32().into_iter().zip(is.to_f32());
        pairs.filter(|&(was, is)| was == 0.0 && is != 0.0).count()
    };
    let prune = "[[step]]\nkind = \"prune\"\npattern = \"2:4\"\nallocation = { uniform = 0.5 }\n";
    let pruned = carry_out(&dense, prune);
    for small in [
        carry_out(&pruned, &priced.repeat(2)),
        carry_out(&dense, &format!("{prune}{}", priced.repeat(2))),
    ] {
        assert_eq!(returned(&pruned, &small), 0);
        let form = small.weight("fc1.weight").unwrap().support();
        assert!(matches!(form, Support::NofM { n: 2, m: 4, .. }), "{form:?}");
    }
}

#[test]
fn what_has_a_form_already_is_refused() {
    let order = |before: &str| {
        let text = format!(
            "name = \"t\"\n[[step]]\n{before}\n[[step]]\nkind = \"rate\"\nnats_per_bit = 1e-5\n\
             retrain = {{ epochs = 1, learning_rate = 0.01 }}\n"
        );
        Recipe::from_toml(&text, "t").unwrap_err().to_string()
    };
    let error = order("kind = \"share\"\nlevels = 4");
    assert!(error.contains("decides by itself"), "{error}");
    let error = order("kind = \"quantize\"\nweight_bits = 8");
    assert!(error.contains("decides by itself"), "{error}");
}

#[test]
fn priced_products_are_fewer() {
    let data = load("digits").unwrap();
    let (train, validation) = data.train.split(200, 0);
    let options = FitOptions {
        epochs: 2.0,
        batch: 32,
        ..FitOptions::default()
    };
    let dense = trained("mobilenet-small", &train, &options);
    let products = |product_bits: f32| {
        let mut recipe = recipe(1e-4);
        if let Step::Rate(step) = &mut recipe.steps[0] {
            step.product_bits = product_bits;
            step.retrain.epochs = 4.0;
        }
        let (small, _) = run(dense.clone(), &train, &validation, &recipe, 1, &mut Silent).unwrap();
        let input = Shape::new(&[1, 1, 8, 8]).unwrap();
        let macs = infer::macs(&small, &[("input", input)]).unwrap();
        let kept = |(name, &macs): (&String, &u64)| {
            let weight = small.weight(name).unwrap();
            macs as f64 * weight.nonzeros() as f64 / weight.shape().elements() as f64
        };
        macs.iter().map(kept).sum::<f64>()
    };
    let [free, priced] = [0.0, 16.0].map(products);
    assert!(priced < 0.8 * free, "{priced} of {free} products are left");
}

#[test]
fn the_price_of_products_is_read_for_each_network() {
    let read = |bits: &str| {
        let text = format!(
            "name = \"t\"\n[[step]]\nkind = \"rate\"\nnats_per_bit = 1e-5\nproduct_bits = {bits}\n\
             retrain = {{ epochs = 1, learning_rate = 0.01 }}\n\
             [step.network.\"lenet*\"]\nproduct_bits = 3\n"
        );
        Recipe::from_toml(&text, "t").map_err(|e| e.to_string())
    };
    let recipe = read("0.5").unwrap();
    let Step::Rate(step) = &recipe.steps[0] else {
        panic!("one step");
    };
    let bits = ["resnet-9", "lenet-5"].map(|name| step.resolve(name).product_bits);
    assert_eq!(bits, [0.5, 3.0]);
    let error = read("-1").unwrap_err();
    assert!(error.contains("found -1"), "{error}");
}
