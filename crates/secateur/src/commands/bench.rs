//! `secateur bench`: how fast a network runs here.

use crate::args::Bench;
use crate::out::Out;
use crate::progress::Bar;
use crate::roofline::{self, Roof, page::page};
use crate::{file, interrupt, network, score, units};
use anyhow::{Context, Result};
use secateur_engine::{Bound, Session, SessionOptions, StepProfile};
use secateur_kernels::{Isa, cpu_name};
use secateur_model::{Graph, Shape, Tensor};
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
    pub roof: Roof,
    /// Nodes behind them that hang on values.
    pub tail: usize,
}

impl Measured {
    fn items_per_second(&self) -> f64 {
        self.batch as f64 / self.median_ms * 1e3
    }
}

pub fn run(args: &Bench) -> Result<()> {
    let out = Out::new(&args.json)?;
    if let Some(path) = &args.html {
        file::check_output(path)?;
    }
    let graph = network::load(&args.network)?;
    let measured = network::shape(&graph, &args.shape.shape, args.batch)
        .and_then(|shape| measure(&graph, &shape, args.threads, args.repeats))
        .with_context(|| args.network.display().to_string())?;
    match args.explain {
        true => explain(&out, &measured),
        false => show(&out, &measured),
    }
    summary(&out, &measured);
    if let Some(path) = &args.html {
        let name = args.network.file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        let here = format!("{}; {}", cpu_name(), how(&measured));
        let text = page(&name, &here, &measured.layers, &measured.roof);
        file::write(path, text.as_bytes())?;
        out.line(format_args!("roofline: {}", path.display()));
    }
    let roof = &measured.roof;
    let layers: Vec<Value> = measured.layers.iter().map(|s| layer(s, roof)).collect();
    out.finish(&json!({
        "cpu": cpu_name(), "threads": measured.threads, "batch": measured.batch,
        "median_ms": measured.median_ms, "p90_ms": measured.p90_ms,
        "items_per_second": measured.items_per_second(),
        "peak_rss_bytes": peak_rss_bytes(), "layers": layers,
        "roof": {
            "int8_gmacs": roof.int8_gmacs, "f32_gmacs": roof.f32_gmacs,
            "gb_per_s": roof.gb_per_s, "measured": roof.measured,
        },
    }))
}

fn layer(step: &StepProfile, roof: &Roof) -> Value {
    let place = roof.place(step);
    let refused: Vec<Value> = step
        .choice
        .refused
        .iter()
        .map(|r| {
            json!({
                "kernel": r.kernel, "predicted_us": r.predicted_us, "at_least": r.at_least,
                "reason": r.reason,
            })
        })
        .collect();
    json!({
        "name": step.name, "kernel": step.choice.kernel, "median_us": step.median_us,
        "predicted_us": step.predicted_us, "macs": step.macs, "nonzero_macs": step.nonzero_macs,
        "bytes": step.bytes, "reason": step.choice.reason, "refused": refused,
        "attained_gmacs": place.gmacs, "least_us": place.least_us,
    })
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
    let mut times = match &bound.plan().tail {
        None => timed_slices(&bound, &input, repeats)?,
        Some(_) => {
            let name = network::input(graph)?.name.as_str();
            let tensor = Tensor::f32(shape.dims(), input.clone())?;
            timed(repeats, || Ok(session.run(&[(name, &tensor)]).map(drop)?))?
        }
    };
    times.sort_by(f64::total_cmp);
    Ok(Measured {
        isa: options.resolved_isa()?,
        threads: session.threads(),
        batch,
        median_ms: times[times.len() / 2],
        p90_ms: times[times.len() * 9 / 10],
        layers: bound.profile(&[&input], repeats.min(PROFILED))?,
        roof: Roof::of(&session, bound.plan()),
        tail: bound
            .plan()
            .tail
            .as_ref()
            .map_or(0, |tail| tail.nodes.len()),
    })
}

/// Milliseconds of each run on slices.
fn timed_slices(bound: &Bound<'_>, input: &[f32], repeats: usize) -> Result<Vec<f64>> {
    let mut outputs = score::outputs(bound)?;
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    timed(repeats, || Ok(bound.run_into(&[input], &mut slices)?))
}

/// Milliseconds of each run.
fn timed(repeats: usize, mut run: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut bar = Bar::new("measuring");
    let total = WARM_UP + repeats.max(1);
    let mut times = Vec::with_capacity(total);
    for index in 0..total {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if bar.advance(index, total).is_break() {
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
                roofline::short_name(&step.choice.kernel).into(),
                format!("{:.2}", step.median_us),
                units::rounded(step.macs),
                units::rounded(step.nonzero_macs),
                units::bytes(step.bytes),
            ]
        })
        .collect();
    let headings = ["layer", "kernel", "µs", "MACs", "non-zero", "moved"];
    out.table(2, &headings, &rows);
}

/// What runs, how long it was thought to take, how near it comes to the roof, and what was refused.
fn explain(out: &Out, measured: &Measured) {
    let roof = &measured.roof;
    let rows: Vec<Vec<String>> = measured
        .layers
        .iter()
        .map(|step| {
            let place = roof.place(step);
            let instead = step.choice.refused.iter().map(roofline::instead);
            let multiplies = |text| match step.nonzero_macs {
                0 => String::new(),
                _ => text,
            };
            vec![
                step.name.clone(),
                roofline::short_name(&step.choice.kernel).into(),
                instead.collect::<Vec<_>>().join("; "),
                format!("{:.1}", step.median_us),
                step.predicted_us
                    .map_or("?".into(), |us| format!("{us:.1}")),
                units::bytes(step.bytes),
                multiplies(units::rounded(step.nonzero_macs)),
                multiplies(format!("{:.1}", place.gmacs)),
                multiplies(format!("{:.1}", place.gmacs / place.share)),
                format!("{:.0} %", 100.0 * place.share),
            ]
        })
        .collect();
    let headings = [
        "layer",
        "kernel",
        "instead of",
        "µs",
        "predicted",
        "moved",
        "non-zero",
        "GMAC/s",
        "of",
        "roof",
    ];
    out.table(3, &headings, &rows);
    let sum = |of: &dyn Fn(&StepProfile) -> f64| measured.layers.iter().map(of).sum::<f64>();
    let (took, least) = (sum(&|s| s.median_us), sum(&|s| roof.place(s).least_us));
    out.line(format_args!(
        "\nthe roof: {:.0} GMAC/s int8, {:.0} f32, {:.1} GB/s over {} ({}); all layers at {:.0} % of it",
        roof.int8_gmacs,
        roof.f32_gmacs,
        roof.gb_per_s,
        units::bytes(roof.working_set as u64),
        if roof.measured { "measured here" } else { "typical" },
        100.0 * least / took
    ));
}

fn summary(out: &Out, measured: &Measured) {
    if measured.tail > 0 {
        out.line(format_args!(
            "\n{} more nodes hang on computed values: the slow reference evaluates them",
            measured.tail
        ));
    }
    out.line(format_args!("\n{}\n{}", cpu_name(), how(measured)));
    out.line(format_args!(
        "median {}, 90 % within {}, {} items a second",
        units::short(measured.median_ms),
        units::short(measured.p90_ms),
        units::count(measured.items_per_second().round() as usize)
    ));
}

/// How it was run.
fn how(measured: &Measured) -> String {
    format!(
        "{}, {} thread{}, batch {}, {}",
        measured.isa,
        measured.threads,
        if measured.threads == 1 { "" } else { "s" },
        measured.batch,
        match peak_rss_bytes() {
            0 => "memory unknown".to_owned(),
            bytes => format!("{} of memory", units::bytes(bytes)),
        }
    )
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
