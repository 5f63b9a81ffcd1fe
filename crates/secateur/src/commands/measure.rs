//! `secateur bench` and `cpu`: what this machine does.

use crate::args::{Bench, Cpu};
use crate::{network, show};
use anyhow::Result;
use secateur_engine::{Session, SessionOptions};

use secateur_kernels::{Isa, KERNELS, cpu_name, features};
use secateur_model::Shape;
use serde_json::{Value, json};
use std::time::Instant;

pub fn bench(args: &Bench) -> Result<()> {
    let graph = network::load(&args.network)?;
    let options = SessionOptions {
        threads: args.threads,
        ..SessionOptions::default()
    };
    let session = Session::new(&graph, &options)?;
    let shape = Shape::new(&network::input_shape(&graph, args.batch)?)?;
    // Pictures are mostly dark, so half of the input is zero.
    let input: Vec<f32> = (0..shape.elements())
        .map(|i| (i * 37 % 256) as f32 / 255.0 * (i / 7 % 2) as f32)
        .collect();
    let bound = session.bind(std::slice::from_ref(&shape))?;
    let elements = bound
        .plan()
        .outputs
        .first()
        .map_or(0, |o| o.shape.elements());
    let mut output = vec![0.0; elements];
    let mut times = Vec::with_capacity(args.repeats.max(1));
    for run in 0..args.repeats.max(1) + 10 {
        let start = Instant::now();
        bound.run_into(&[&input], &mut [&mut output])?;
        if run >= 10 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    let (median, p90) = (times[times.len() / 2], times[times.len() * 9 / 10]);
    let profile = bound.profile(&[&input], args.repeats.clamp(1, 200))?;

    let rows: Vec<Vec<String>> = profile
        .iter()
        .map(|step| {
            vec![
                step.name.clone(),
                step.kernel.clone(),
                format!("{:.2}", step.median_us),
                step.macs.to_string(),
                step.nonzero_macs.to_string(),
                show::bytes(step.bytes as usize),
            ]
        })
        .collect();
    show::table(
        &["layer", "kernel", "µs", "MACs", "non-zero MACs", "moved"],
        &rows,
    );
    println!(
        "{} thread(s), batch {}: median {median:.4} ms, 90 % within {p90:.4} ms, {:.0} items/s",
        session.threads(),
        args.batch,
        args.batch as f64 / median * 1e3
    );
    let layers: Vec<Value> = profile
        .iter()
        .map(|s| {
            json!({
                "name": s.name, "kernel": s.kernel, "median_us": s.median_us,
                "macs": s.macs, "nonzero_macs": s.nonzero_macs, "bytes": s.bytes,
            })
        })
        .collect();
    let summary = json!({
        "cpu": cpu_name(), "threads": session.threads(), "batch": args.batch,
        "median_ms": median, "p90_ms": p90,
        "items_per_second": args.batch as f64 / median * 1e3,
        "peak_rss_bytes": peak_rss_bytes(), "layers": layers,
    });
    show::json(args.json.as_deref(), &summary)
}

/// The most memory this process has held; 0 where the system does not say.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        })
        .map_or(0, |kilobytes| kilobytes * 1024)
}

pub fn cpu(args: &Cpu) -> Result<()> {
    println!("{}: {}", cpu_name(), features().join(" "));
    let sets: Vec<String> = Isa::available().map(|isa| isa.to_string()).collect();
    println!(
        "instruction sets: {}; best: {}",
        sets.join(", "),
        Isa::best()
    );
    let rows: Vec<Vec<String>> = KERNELS
        .iter()
        .map(|k| {
            let runs = if k.isa.is_available() { "yes" } else { "no" };
            vec![k.name.to_owned(), runs.to_owned()]
        })
        .collect();
    show::table(&["kernel", "runs here"], &rows);
    let names: Vec<&str> = KERNELS.iter().map(|k| k.name).collect();
    let summary =
        json!({ "cpu": cpu_name(), "features": features(), "isas": sets, "kernels": names });
    show::json(args.json.as_deref(), &summary)
}
