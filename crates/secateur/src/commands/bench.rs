//! `secateur bench`: how fast a network runs here.

use crate::args::Bench;
use crate::out::Out;
use crate::progress::Bar;
use crate::{interrupt, network, score, units};
use anyhow::{Context, Result};
use secateur_engine::{Bound, Session, SessionOptions, StepProfile};
use secateur_kernels::{Isa, cpu_name};
use secateur_model::{Graph, Shape};
use serde_json::{Value, json};
use std::time::Instant;

/// Runs before those that count.
const WARM_UP: usize = 10;

/// Most runs of which every layer is timed.
const PROFILED: usize = 200;

/// What was measured.
pub struct Measured {
    pub isa: Isa,
    pub threads: usize,
    pub batch: usize,
    pub median_ms: f64,
    pub p90_ms: f64,
    pub layers: Vec<StepProfile>,
}

impl Measured {
    fn items_per_second(&self) -> f64 {
        self.batch as f64 / self.median_ms * 1e3
    }
}

pub fn run(args: &Bench) -> Result<()> {
    let out = Out::new(&args.json)?;
    let graph = network::load(&args.network)?;
    let measured = network::shape(&graph, &args.shape.shape, args.batch)
        .and_then(|shape| measure(&graph, &shape, args.threads, args.repeats))
        .with_context(|| args.network.display().to_string())?;
    show(&out, &measured);
    let layers: Vec<Value> = measured
        .layers
        .iter()
        .map(|s| {
            json!({
                "name": s.name, "kernel": s.kernel, "median_us": s.median_us,
                "macs": s.macs, "nonzero_macs": s.nonzero_macs, "bytes": s.bytes,
            })
        })
        .collect();
    out.finish(&json!({
        "cpu": cpu_name(), "threads": measured.threads, "batch": measured.batch,
        "median_ms": measured.median_ms, "p90_ms": measured.p90_ms,
        "items_per_second": measured.items_per_second(),
        "peak_rss_bytes": peak_rss_bytes(), "layers": layers,
    }))
}

/// Times whole runs, then every layer.
pub fn measure(
    graph: &Graph,
    shape: &[usize],
    threads: Option<usize>,
    repeats: usize,
) -> Result<Measured> {
    let options = SessionOptions {
        threads,
        ..SessionOptions::default()
    };
    let batch = shape.first().copied().unwrap_or(1);
    let shape = Shape::new(shape)?;
    let session = Session::new(graph, &options)?;
    let bound = session.bind(std::slice::from_ref(&shape))?;
    // Pictures are mostly dark, so half of the input is zero.
    let mut input = score::zeros(shape.elements())?;
    for (i, x) in input.iter_mut().enumerate() {
        *x = (i % 256 * 37 % 256) as f32 / 255.0 * (i / 7 % 2) as f32;
    }
    let mut times = timed(&bound, &input, repeats)?;
    times.sort_by(f64::total_cmp);
    Ok(Measured {
        isa: options.resolved_isa()?,
        threads: session.threads(),
        batch,
        median_ms: times[times.len() / 2],
        p90_ms: times[times.len() * 9 / 10],
        layers: bound.profile(&[&input], repeats.min(PROFILED))?,
    })
}

/// Milliseconds of each run.
fn timed(bound: &Bound<'_>, input: &[f32], repeats: usize) -> Result<Vec<f64>> {
    let mut outputs = score::outputs(bound)?;
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let mut bar = Bar::new("measuring");
    let total = WARM_UP + repeats.max(1);
    let mut times = Vec::with_capacity(total);
    for run in 0..total {
        let start = Instant::now();
        bound.run_into(&[input], &mut slices)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if bar.advance(run, total).is_break() {
            interrupt::check()?;
        }
    }
    Ok(times.split_off(WARM_UP))
}

fn show(out: &Out, measured: &Measured) {
    let rows: Vec<Vec<String>> = measured
        .layers
        .iter()
        .map(|step| {
            vec![
                step.name.clone(),
                // One instruction set has them all; it stands below.
                step.kernel.split("__").next().unwrap_or_default().into(),
                format!("{:.2}", step.median_us),
                units::rounded(step.macs),
                units::rounded(step.nonzero_macs),
                units::bytes(step.bytes),
            ]
        })
        .collect();
    let headings = ["layer", "kernel", "µs", "MACs", "non-zero", "moved"];
    out.table(2, &headings, &rows);
    out.line(format_args!("\n{}", cpu_name()));
    out.line(format_args!(
        "{}, {} thread{}, batch {}, {}",
        measured.isa,
        measured.threads,
        if measured.threads == 1 { "" } else { "s" },
        measured.batch,
        match peak_rss_bytes() {
            0 => "memory unknown".to_owned(),
            bytes => format!("{} of memory", units::bytes(bytes)),
        }
    ));
    out.line(format_args!(
        "median {}, 90 % within {}, {} items a second",
        units::short(measured.median_ms),
        units::short(measured.p90_ms),
        units::count(measured.items_per_second().round() as usize)
    ));
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
