//! Median time of one image through the LeNets, in every form.
//!
//! `cargo run --release -p secateur-engine --example latency`

#[path = "../tests/support/mod.rs"]
mod support;

use secateur_engine::{Session, SessionOptions};
use std::time::Instant;
use support::{Form, images, network};

const REPEATS: usize = 2000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let explain = std::env::args().any(|a| a == "--explain");
    let options = SessionOptions {
        threads: Some(1),
        ..SessionOptions::default()
    };
    println!(
        "{}, {}",
        secateur_kernels::cpu_name(),
        options.resolved_isa()?
    );
    println!(
        "{:16} {:12} {:>10} {:>10} {:>9}",
        "network", "weights", "median us", "p90 us", "against f32"
    );
    let input = [1, 28, 28];
    for name in ["lenet-300-100", "lenet-5"] {
        let mut dense = None;
        for form in [Form::Dense, Form::Pruned, Form::Int8, Form::PrunedInt8] {
            let graph = network(name, input, form, &images(4, input, 99));
            let session = Session::new(&graph, &options)?;
            let x = images(1, input, 1);
            let bound = session.bind(&[x.shape().clone()])?;
            let (x, mut y) = (x.as_f32()?.to_vec(), vec![0.0; 10]);
            let mut times = Vec::with_capacity(REPEATS);
            for _ in 0..REPEATS {
                let start = Instant::now();
                bound.run_into(&[&x], &mut [&mut y])?;
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
            times.sort_by(f64::total_cmp);
            let (median, p90) = (times[REPEATS / 2], times[REPEATS * 9 / 10]);
            let first = *dense.get_or_insert(median);
            println!(
                "{name:16} {:12} {median:10.1} {p90:10.1} {:8.2}x",
                format!("{form:?}"),
                first / median
            );
            if explain {
                for step in bound.profile(&[&x], 500)? {
                    println!(
                        "    {:24} {:8.2} us  {}",
                        step.name, step.median_us, step.choice.kernel
                    );
                    println!("        {}", step.choice.reason);
                    for other in &step.choice.refused {
                        println!("        not {}: {}", other.kernel, other.reason);
                    }
                }
            }
        }
    }
    Ok(())
}
