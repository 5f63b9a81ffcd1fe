//! `secateur demo`: the main job, start to end.

use super::bench::{Measured, measure};
use super::compress::{self, Compressed};
use super::{data, run as answer, train};
use crate::args::{Compress, Demo, JsonArg, OptimiserArg, Run, Scaling, ScheduleArg, Train};
use crate::out::Out;
use crate::{interrupt, network, run_folder, units};
use anyhow::{Context, Result};
use secateur_data::KnownSet;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs of which the median is shown.
const RUNS: usize = 1000;

/// The picture of the test set that the small network is shown.
const PICTURE: usize = 7;

/// What `demo --json` writes.
#[derive(Serialize)]
struct Shown {
    data: &'static str,
    dense: PathBuf,
    small: PathBuf,
    picture: PathBuf,
    dense_ms: f64,
    small_ms: f64,
    total_seconds: f64,
    #[serde(flatten)]
    compressed: Compressed,
}

pub fn run(args: &Demo) -> Result<()> {
    let out = Out::new(&args.json)?;
    let start = Instant::now();
    out.line("1. Data");
    let set = choose(args.data, &out)?;
    std::fs::create_dir_all(&args.folder).with_context(|| args.folder.display().to_string())?;
    let [dense, small, picture] =
        ["dense.onnx", "small.sct", "digit.png"].map(|name| args.folder.join(name));

    let compression = compression(args, set, &dense, &small);
    begin_anew(&dense, &compression)?;

    out.line("\n2. Train LeNet-300-100 in full precision");
    train::train(&training(args, set, &dense), &out)?;

    out.line("\n3. Prune and retrain, share values, quantize, encode");
    let compressed = compress::compress(&compression, &out)?;

    out.line("\n4. Run the small file on a test picture");
    let class = data::sample(&secateur_data::load(set.name())?.test, PICTURE, &picture)?;
    out.line(format_args!("{}: class {class}", picture.display()));
    answer::show(&out, &answer::answer(&question(&small, &picture))?);
    let [dense_time, small_time] = [&dense, &small].map(|path| time(path));
    let (dense_time, small_time) = (dense_time?, small_time?);

    out.line("\nResult");
    table(&out, &compressed, &dense_time, &small_time);
    let total_seconds = start.elapsed().as_secs_f64();
    out.line(format_args!("in {} altogether", units::long(total_seconds)));
    next(&out, set, &dense, &small, &picture);
    out.finish(&Shown {
        data: set.name(),
        dense,
        small,
        picture,
        dense_ms: dense_time.median_ms,
        small_ms: small_time.median_ms,
        total_seconds,
        compressed,
    })
}

/// The set that was asked for; else MNIST, or the digits where it cannot be had.
fn choose(asked: Option<KnownSet>, out: &Out) -> Result<KnownSet> {
    if let Some(set) = asked {
        data::fetch(set, out)?;
        return Ok(set);
    }
    match data::fetch(KnownSet::Mnist, out) {
        Ok(_) => Ok(KnownSet::Mnist),
        Err(error) => {
            interrupt::check()?;
            out.line(format_args!("{error}"));
            out.line("Going on with the 8x8 digits that are part of the program.");
            Ok(KnownSet::Digits)
        }
    }
}

/// Removes what a demo that was stopped has left: it is begun anew.
fn begin_anew(dense: &Path, compression: &Compress) -> Result<()> {
    train::beside(dense).remove();
    let folder = compress::run_path(compression);
    match folder.is_dir() {
        true => run_folder::clear(&folder).with_context(|| folder.display().to_string()),
        false => Ok(()),
    }
}

fn training(args: &Demo, set: KnownSet, dense: &Path) -> Train {
    Train {
        network: "lenet-300-100".into(),
        data: set.name().into(),
        epochs: None,
        batch: 64,
        optimiser: OptimiserArg::Sgd,
        learning_rate: None,
        weight_decay: 5e-4,
        schedule: ScheduleArg::Cosine,
        label_smoothing: 0.0,
        shift: 0,
        mirror: false,
        cutout: 0,
        ema: None,
        whiten: false,
        resume: false,
        validation: 5000,
        scaling: Scaling::default(),
        seed: args.seed,
        output: dense.to_owned(),
        json: JsonArg::default(),
    }
}

fn compression(args: &Demo, set: KnownSet, dense: &Path, small: &Path) -> Compress {
    Compress {
        network: dense.to_owned(),
        data: set.name().into(),
        minimise: None,
        machine: None,
        max_drop: None,
        max_bytes: None,
        max_ms: None,
        budget: None,
        recipe: Some("deep-compression".into()),
        save_recipe: None,
        run: None,
        resume: false,
        seed: args.seed,
        validation: 5000,
        store: None,
        scaling: Scaling::default(),
        output: small.to_owned(),
        html: None,
        json: JsonArg::default(),
    }
}

fn question(small: &Path, picture: &Path) -> Run {
    Run {
        network: small.to_owned(),
        input: picture.to_owned(),
        invert: false,
        top: 3,
        least: 0.4,
        output: None,
        scaling: Scaling::default(),
        json: JsonArg::default(),
    }
}

fn time(path: &Path) -> Result<Measured> {
    let graph = network::load(path)?;
    measure(
        &graph,
        &network::shape(&graph, &[], Some(1))?,
        Some(1),
        RUNS,
    )
}

fn table(out: &Out, result: &Compressed, dense: &Measured, small: &Measured) {
    let row = |what: &str, bytes: u64, error: f64, time: &Measured| {
        vec![
            what.to_owned(),
            units::bytes(bytes),
            units::percent(error),
            units::short(time.median_ms),
        ]
    };
    let (before, after) = (&result.before, &result.after);
    let rows = [
        row("before (f32)", before.bytes, before.error_percent(), dense),
        row("after (.sct)", after.bytes, after.error_percent(), small),
        vec![
            String::new(),
            format!("{:.1} x smaller", result.ratio),
            format!(
                "{:+.2} points",
                after.error_percent() - before.error_percent()
            ),
            format!("{:.1} x faster", dense.median_ms / small.median_ms),
        ],
    ];
    out.table(
        1,
        &["", "size", "test error", "one picture, 1 thread"],
        &rows,
    );
}

/// What to try now, as it has to be typed here.
fn next(out: &Out, set: KnownSet, dense: &Path, small: &Path, picture: &Path) {
    // Cargo tells the programs that it runs where it is itself.
    let command = match std::env::var_os("CARGO") {
        Some(_) => "cargo run --release --",
        None => "secateur",
    };
    let [dense, small, picture] = [dense, small, picture].map(|path| path.display());
    out.line("\nFiles");
    out.line(format_args!("  {dense}   the network as trained"));
    out.line(format_args!(
        "  {small}    the same, compressed: all that is needed to run it"
    ));
    out.line(format_args!("  {picture}    a picture to run it on"));
    out.line("\nNext");
    for rest in [
        format!("inspect {small}"),
        format!("run {small} --input {picture}"),
        format!("eval {small} --data {set}"),
        format!("bench {small} --threads 1"),
        format!("export {small} -o small-qdq.onnx"),
        "compress your.onnx --data your/pictures -o your.sct".to_owned(),
        "help".to_owned(),
    ] {
        out.line(format_args!("  {command} {rest}"));
    }
}
