//! Times every step of a network at batch 1, slowest first:
//! `cargo run --release -p secateur-engine --example steps NETWORK.onnx [THREADS [BATCH]]`.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use secateur_engine::{Session, SessionOptions};
use secateur_io::onnx;
use secateur_model::{Dim, Shape, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("needed the path of a network")?;
    let threads = args.next().map_or(Ok(1), |t| t.parse())?;
    let batch: usize = args.next().map_or(Ok(1), |b| b.parse())?;
    let graph = onnx::load(&path)?;
    let options = SessionOptions {
        threads: Some(threads),
        ..SessionOptions::default()
    };
    let start = Instant::now();
    let session = Session::new(&graph, &options)?;
    let shapes: Vec<Shape> = graph
        .inputs
        .iter()
        .map(|input| {
            let dims = input.dims.as_deref().unwrap_or_default();
            let extents = dims.iter().map(|dim| match dim {
                Dim::Known(n) => *n,
                Dim::Named(_) => batch,
            });
            Shape::new(&extents.collect::<Vec<_>>())
        })
        .collect::<Result<_, _>>()?;
    let bound = session.bind(&shapes)?;
    println!("prepared in {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    let inputs: Vec<Vec<f32>> = shapes
        .iter()
        .map(|s| {
            (0..s.elements())
                .map(|i| (i % 251) as f32 / 251.0)
                .collect()
        })
        .collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut steps = bound.profile(&inputs, 20)?;
    let total: f64 = steps.iter().map(|s| s.median_us).sum();
    let mut kernels: BTreeMap<String, f64> = BTreeMap::new();
    for step in &steps {
        *kernels.entry(step.choice.kernel.clone()).or_default() += step.median_us;
    }
    steps.sort_by(|a, b| b.median_us.total_cmp(&a.median_us));
    for step in steps.iter().take(25) {
        println!(
            "{:>9.1} us {:>7.1} GMAC/s  {:<45} {}",
            step.median_us,
            step.macs as f64 / step.median_us / 1e3,
            step.choice.kernel,
            step.name
        );
    }
    for (kernel, us) in kernels {
        println!("{us:>9.1} us  {kernel}");
    }
    println!("{total:>9.1} us  all {} steps", steps.len());

    let tensors: Vec<Tensor> = shapes
        .iter()
        .zip(inputs)
        .map(|(shape, x)| Tensor::f32(shape.dims(), x.to_vec()))
        .collect::<Result<_, _>>()?;
    let named: Vec<(&str, &Tensor)> = graph
        .inputs
        .iter()
        .zip(&tensors)
        .map(|(input, tensor)| (input.name.as_str(), tensor))
        .collect();
    let mut times = Vec::new();
    for _ in 0..40 {
        let start = Instant::now();
        session.run(&named)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    println!("{:>9.1} us  a run, median", times[times.len() / 2]);
    Ok(())
}
