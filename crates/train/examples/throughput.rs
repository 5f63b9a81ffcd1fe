//! Training throughput in images a second, of every built-in network or of
//! those named: `cargo run --release --example throughput -- lenet-5`. Medians of
//! `THROUGHPUT_ROUNDS` (3) rounds.

use secateur_data::{Dataset, Normalize, Pixels};
use secateur_model::zoo;
use secateur_train::{FitOptions, Quiet, fit};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds = std::env::var("THROUGHPUT_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3)
        .max(1);
    let named: Vec<String> = std::env::args().skip(1).collect();
    for (name, shape, batch, images) in [
        ("lenet-300-100", [1, 28, 28], 128, 12_800),
        ("lenet-5", [1, 28, 28], 64, 3_200),
        ("vgg-small", [3, 32, 32], 64, 256),
        ("resnet-20", [3, 32, 32], 128, 384),
        ("mobilenet-small", [3, 32, 32], 64, 256),
        ("alexnet-cifar", [3, 32, 32], 128, 512),
        ("resnet-9", [3, 32, 32], 128, 256),
    ] {
        if !named.is_empty() && !named.iter().any(|n| n == name) {
            continue;
        }
        let [c, h, w] = shape;
        let pixels = (0..images * c * h * w)
            .map(|i| (i * 31 % 251) as u8)
            .collect();
        let labels = (0..images as u32).map(|i| i % 10).collect();
        let classes = (0..10).map(|i| i.to_string()).collect();
        let normalize = Normalize::unit(c);
        let data = Dataset::new(
            "noise",
            c,
            h,
            w,
            classes,
            Pixels::U8(pixels),
            labels,
            normalize,
        )?;
        let options = FitOptions {
            epochs: 1.0,
            batch,
            learning_rate: 0.001,
            ..FitOptions::default()
        };
        let mut rates: Vec<f64> = (0..rounds)
            .map(|seed| {
                let mut graph = zoo::build(name, shape, 10, seed)?;
                let start = Instant::now();
                fit(&mut graph, &data, &options, &mut Quiet)?;
                Ok(images as f64 / start.elapsed().as_secs_f64())
            })
            .collect::<Result<_, Box<dyn std::error::Error>>>()?;
        rates.sort_by(f64::total_cmp);
        println!(
            "{name:14} batch {batch:3}: {:8.0} images/s",
            rates[rates.len() / 2]
        );
    }
    Ok(())
}
