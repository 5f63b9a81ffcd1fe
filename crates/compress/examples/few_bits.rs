//! Few bits a weight on LeNet-300-100: rounded after training, trained with held steps,
//! and with learned steps; validation error, a line for each seed and width:
//! `cargo run --release -p secateur-compress --example few_bits -- [mnist|digits] [epochs] [seeds]`.

use secateur_compress::{Observer, Recipe, run};
use secateur_data::{Dataset, load};
use secateur_model::zoo;
use secateur_train::{FitOptions, Quiet, epochs_for, evaluate, fit};

struct Silent;

impl Observer for Silent {}

fn recipe(bits: u8, retrain: &str) -> Result<Recipe, Box<dyn std::error::Error>> {
    let text = format!(
        "name = \"few-bits\"\n[[step]]\nkind = \"quantize\"\nweight_bits = {bits}\n\
         weight_range = \"mse\"\nbiases = \"f32\"\n{retrain}"
    );
    Ok(Recipe::from_toml(&text, "few_bits")?)
}

/// A sixth, at most 5000, to choose by.
fn parts(all: &Dataset) -> (Dataset, Dataset) {
    let held = (all.len() / 6).min(5000);
    let part = |range: std::ops::Range<usize>| all.subset(&range.collect::<Vec<_>>());
    (part(0..all.len() - held), part(all.len() - held..all.len()))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "digits".into());
    let epochs: f32 = args.next().map_or(Ok(3.0), |n| n.parse())?;
    let seeds: u64 = args.next().map_or(Ok(3), |n| n.parse())?;
    let (train, validation) = parts(&load(&name)?.train);
    let shape = [train.channels, train.height, train.width];
    println!("{name}: seed, bits, dense, rounded, trained, learned steps (validation error, %)");
    for seed in 1..=seeds {
        let mut dense = zoo::build("lenet-300-100", shape, train.classes.len(), seed)?;
        let options = FitOptions {
            epochs: epochs_for(2.0 * epochs, 1000, train.len(), 64),
            batch: 64,
            seed,
            ..FitOptions::default()
        };
        fit(&mut dense, &train, &options, &mut Quiet)?;
        for bits in [2, 3, 4] {
            let error = |more: &str| {
                let recipe = recipe(bits, more)?;
                let (small, _) = run(
                    dense.clone(),
                    &train,
                    &validation,
                    &recipe,
                    seed,
                    &mut Silent,
                )?;
                let score = evaluate(&small, &validation)?;
                Ok::<f64, Box<dyn std::error::Error>>(score.error_percent())
            };
            let retrain = |more: &str| {
                format!(
                    "retrain = {{ epochs = {epochs}, min_steps = 500, batch = 64, \
                     learning_rate = 0.01 {more} }}"
                )
            };
            println!(
                "{seed} {bits}  {:.2}  {:.2} {:.2} {:.2}",
                evaluate(&dense, &validation)?.error_percent(),
                error("")?,
                error(&retrain(""))?,
                error(&retrain(", learn_steps = true"))?
            );
        }
    }
    Ok(())
}
