//! What it costs to get a network from a file to its first result.
//!
//! `cargo run --release -p secateur-engine --example load -- FILE [--threads N]`
//! prints milliseconds and memory of each stage; `-- FILE --to NEW.sct [--store
//! smallest|small|fast]` writes the network as `.sct`.

use secateur_engine::{Session, SessionOptions};
use secateur_io::{onnx, sct};
use secateur_model::{DType, Data, Dim, Graph, Shape, Tensor, ValueInfo};
use secateur_plan::Planner;
use std::path::Path;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1)
    };
    let file = arguments.first().ok_or("which file?")?;
    if let Some(target) = option("--to") {
        let store = match option("--store").map(String::as_str) {
            None | Some("small") => sct::Store::Small,
            Some("smallest") => sct::Store::Smallest,
            Some("fast") => sct::Store::Fast,
            Some(other) => return Err(format!("no store is named {other}").into()),
        };
        return convert(file, target, store);
    }
    let options = SessionOptions {
        threads: option("--threads").map(|n| n.parse()).transpose()?,
        ..SessionOptions::default()
    };

    println!(
        "{:10} {:>9} {:>9} {:>9} {:>9}",
        "stage", "ms", "CPU ms", "RSS MiB", "peak MiB"
    );
    let start = (Instant::now(), cpu_ms());
    let mut last = start;
    let mut report = |stage: &str| {
        print_row(stage, last);
        last = (Instant::now(), cpu_ms());
    };
    let graph = read(file)?;
    report("read");
    let shapes = shapes(&graph)?;
    let inputs = graph.inputs.clone();
    let planner = Planner::new(&graph, options.resolved_isa()?)?;
    drop(graph);
    report("lower");
    let session = Session::from_planner(planner, &options)?;
    report("threads");
    let bound = session.bind(&shapes)?;
    report("pack");
    let tensors = inputs
        .iter()
        .zip(&shapes)
        .map(|(input, shape)| blank(input, shape))
        .collect::<Result<Vec<_>, Failure>>()?;
    let given: Vec<(&str, &Tensor)> = inputs
        .iter()
        .zip(&tensors)
        .map(|(input, tensor)| (input.name.as_str(), tensor))
        .collect();
    session.run(&given)?;
    report("first run");
    print_row("all", start);
    session.run(&given)?;
    report("next run");
    println!(
        "{:.1} MiB of packed weights, {:.1} MiB of arena",
        bound.plan().weight_bytes() as f64 / f64::from(1 << 20),
        bound.plan().arena_bytes as f64 / f64::from(1 << 20),
    );
    Ok(())
}

fn read(file: &str) -> Result<Graph, Failure> {
    Ok(match Path::new(file).extension() {
        Some(e) if e == "sct" => sct::load(file)?,
        _ => onnx::load(file)?,
    })
}

/// Lowers the network's pairs of quantizers into weights, so that the file
/// holds codes, and writes it.
fn convert(file: &str, target: &str, store: sct::Store) -> Result<(), Failure> {
    let graph = read(file)?;
    let start = Instant::now();
    sct::save(&graph, target, store)?;
    let bytes = std::fs::metadata(target)?.len();
    println!(
        "{bytes} bytes, {:.2} MB, {:.1} s",
        bytes as f64 / 1e6,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The extents of the inputs, open ones as 1.
fn shapes(graph: &Graph) -> Result<Vec<Shape>, Failure> {
    graph
        .inputs
        .iter()
        .map(|input| {
            let dims = input.dims.as_ref().ok_or("an input of open rank")?;
            let extents: Vec<usize> = dims
                .iter()
                .map(|dim| match dim {
                    Dim::Known(n) => *n,
                    Dim::Named(_) => 1,
                })
                .collect();
            Ok(Shape::new(&extents)?)
        })
        .collect()
}

fn blank(input: &ValueInfo, shape: &Shape) -> Result<Tensor, Failure> {
    let n = shape.elements();
    let data = match input.dtype {
        DType::F32 => Data::F32(vec![0.5; n]),
        DType::I64 => Data::I64(vec![1; n]),
        DType::I32 => Data::I32(vec![1; n]),
        DType::U8 => Data::U8(vec![1; n]),
        other => return Err(format!("no input of type {other:?}").into()),
    };
    Ok(Tensor::new(shape.clone(), data)?)
}

/// Time by the clock and time on a processor since `start`; on a busy machine the
/// second is the one to compare.
fn print_row(stage: &str, start: (Instant, f64)) {
    let ms = start.0.elapsed().as_secs_f64() * 1e3;
    let cpu = cpu_ms() - start.1;
    let [now, peak] = ["VmRSS:", "VmHWM:"].map(|key| memory(key).unwrap_or(f64::NAN));
    println!("{stage:10} {ms:9.1} {cpu:9.1} {now:9.1} {peak:9.1}");
}

/// Time that the process's threads have spent on processors.
fn cpu_ms() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task");
    let times = tasks.into_iter().flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    times.sum::<f64>() / 1e6
}

/// A line of the process's status, in MiB.
fn memory(key: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
