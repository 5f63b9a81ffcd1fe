//! One engine with one network in a process of its own, as `worker.py` has it.
//!
//! `WORKER MODEL THREADS EXTENTS INPUT` prints a JSON line when it has run, then
//! answers lines of standard input: `run N` with the milliseconds of N runs,
//! `output FILE` with the file written. Inputs and outputs are raw f32.

use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, Write, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Runs after the first and before those that count; none where loading takes long.
const WARM_UP: usize = 3;
const PATIENCE_MS: f64 = 10_000.0;

/// What a worker is asked to run.
pub struct Task {
    pub model: PathBuf,
    pub threads: usize,
    pub shape: Vec<usize>,
    pub input: Vec<f32>,
}

/// A network that is loaded, with its input.
pub trait Engine {
    fn run(&mut self) -> Result<()>;

    /// What the last run gave: all outputs, one after the other.
    fn outputs(&self) -> Result<Vec<f32>>;
}

/// Loads the engine and answers until standard input ends.
pub fn serve<E: Engine>(load: impl FnOnce(Task) -> Result<E>) -> ExitCode {
    match answer(load) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = format!("{error:#}");
            eprintln!("{}", message.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn answer<E: Engine>(load: impl FnOnce(Task) -> Result<E>) -> Result<()> {
    let task = task()?;
    let base = peak_mib();
    let start = Instant::now();
    let mut engine = load(task)?;
    engine.run()?;
    let load_ms = milliseconds(start);
    let warm_up = if load_ms < PATIENCE_MS { WARM_UP } else { 0 };
    for _ in 0..warm_up {
        engine.run()?;
    }
    let peak = peak_mib();
    reply(&format!(
        r#"{{"load_ms": {load_ms}, "peak_mib": {peak}, "base_mib": {base}}}"#
    ))?;
    for line in stdin().lock().lines() {
        match line?.split_once(' ') {
            Some(("run", repeats)) => {
                let times = times(&mut engine, repeats.trim().parse()?)?;
                reply(&format!("{times:?}"))?;
            }
            Some(("output", file)) => {
                let bytes: Vec<u8> = engine
                    .outputs()?
                    .iter()
                    .flat_map(|x| x.to_le_bytes())
                    .collect();
                std::fs::write(file.trim(), bytes).with_context(|| file.to_owned())?;
                reply("{}")?;
            }
            _ => bail!("needed `run N` or `output FILE`"),
        }
    }
    Ok(())
}

fn task() -> Result<Task> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [model, threads, extents, input] = words.as_slice() else {
        bail!("needed MODEL THREADS EXTENTS INPUT");
    };
    let shape = extents
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<usize>, _>>()?;
    let bytes = std::fs::read(input).with_context(|| input.clone())?;
    let (values, _) = bytes.as_chunks::<4>();
    let input: Vec<f32> = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
    ensure!(
        input.len() == shape.iter().product::<usize>(),
        "the input is not of {shape:?}"
    );
    Ok(Task {
        model: model.into(),
        threads: threads.parse()?,
        shape,
        input,
    })
}

fn times(engine: &mut impl Engine, repeats: usize) -> Result<Vec<f64>> {
    (0..repeats)
        .map(|_| {
            let start = Instant::now();
            engine.run()?;
            Ok(milliseconds(start))
        })
        .collect()
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn reply(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The most memory this process has held; 0 where the system does not say.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
