//! `secateur compress` where the data has no labels.

use super::compress::store_of;
use crate::agreement::{self, Agreement};
use crate::args::Compress;
use crate::out::Out;
use crate::progress::Bar;
use crate::samples::{self, Opened, Wanted};
use crate::{file, interrupt, network, picture, units};
use anyhow::{Context, Result, bail};
use secateur_compress::ptq::{LayerError, Samples};
use secateur_compress::recipe::Step;
use secateur_compress::{Observer, Recipe, StepReport, on_reals, run_unlabelled};
use secateur_model::Graph;
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::Instant;

/// What `compress --json` writes where there are no labels.
#[derive(Serialize)]
pub struct OneShot {
    pub bytes_before: u64,
    pub bytes: u64,
    /// Bytes of the f32 parameters over bytes of the file.
    pub ratio: f64,
    pub seconds: f64,
    /// Against the network as it was, on samples that nothing was fitted to.
    pub agreement: Agreement,
    pub layers: Vec<LayerError>,
    /// Weights of the layers whose inputs stayed reals, where the recipe asks for codes.
    pub on_reals: Vec<String>,
}

/// Compresses a network on samples without labels; `None` where the data is none.
pub fn compress(args: &Compress, recipe: &Recipe, out: &Out) -> Result<Option<OneShot>> {
    let place = || args.network.display().to_string();
    let start = Instant::now();
    let mut dense = network::load(&args.network)?;
    let normalize = |channels| picture::normalize(&dense, &args.scaling, channels);
    let opened = samples::open(
        &args.data,
        &dense,
        normalize,
        wanted(recipe, &dense),
        args.seed,
    );
    let Some(Opened {
        calibration,
        check,
        normalize,
    }) = opened.with_context(place)?
    else {
        return Ok(None);
    };
    let without = [
        ("--html shows errors", args.html.is_some()),
        ("--run keeps the errors of steps", args.run.is_some()),
        ("--resume goes on with a run that keeps them", args.resume),
        (
            "--save-recipe writes what a search found",
            args.save_recipe.is_some(),
        ),
    ];
    if let Some((what, _)) = without.iter().find(|(_, asked)| *asked) {
        bail!("{what} on labelled data, and these samples have no labels");
    }
    file::check_output(&args.output)?;
    if let Some(normalize) = normalize {
        normalize.store(&mut dense.metadata);
    }
    let bytes_before = 4 * dense.parameters() as u64;
    match calibration.images().filter(|_| recipe.learns(&dense.name)) {
        Some(images) => out.line(format_args!(
            "{} images without labels to learn from, {} to check",
            images.len(),
            check.len
        )),
        None => out.line(format_args!(
            "{} samples without labels to calibrate, {} to check",
            calibration.len, check.len
        )),
    }
    let mut progress = Progress { bar: None };
    let (small, layers) = run_unlabelled(&dense, &calibration, recipe, args.seed, &mut progress)
        .with_context(place)?;
    drop(progress);
    interrupt::check()?;
    network::save(&small, &args.output, store_of(args, recipe))?;
    let small = network::load(&args.output)?;
    let bytes = network::size(&args.output)?;
    let codes = |step: &Step| matches!(step, Step::Quantize(q) if q.activation_range.is_some());
    let on_reals = match recipe.steps.iter().any(codes) {
        true => on_reals(&small).into_iter().map(str::to_owned).collect(),
        false => Vec::new(),
    };
    Ok(Some(OneShot {
        bytes_before,
        bytes,
        ratio: bytes_before as f64 / bytes.max(1) as f64,
        seconds: start.elapsed().as_secs_f64(),
        agreement: agreement::measure(&dense, &small, &check)?,
        layers,
        on_reals,
    }))
}

/// A bar for each step.
struct Progress {
    bar: Option<Bar>,
}

impl Observer for Progress {
    fn begin(&mut self, step: usize, steps: usize, kind: &'static str) {
        self.bar = Some(Bar::new(&format!("{}/{steps} {kind}", step + 1)));
    }

    fn progress(&mut self, done: usize, total: usize, loss: f32) -> ControlFlow<()> {
        match &mut self.bar {
            Some(bar) => bar.train(done, total, loss),
            None => interrupt::go_on(),
        }
    }

    fn end(&mut self, _: &StepReport, _: &Graph) {
        self.bar = None;
    }
}

/// Says what became of the network, and which layers suffered most.
pub fn show(args: &Compress, result: &OneShot, out: &Out) {
    let mut worst: Vec<&LayerError> = result.layers.iter().collect();
    worst.sort_by(|a, b| b.error.total_cmp(&a.error));
    let rows: Vec<Vec<String>> = worst
        .iter()
        .take(5)
        .map(|layer| {
            let bits = layer.bits.to_string();
            let error = format!("{:.3} %", 100.0 * layer.error);
            vec![
                layer.weight.clone(),
                bits,
                units::count(layer.nonzeros),
                error,
            ]
        })
        .collect();
    if !rows.is_empty() {
        out.line("\nlayers whose output changed most");
        out.table(1, &["weight", "bits", "not zero", "change"], &rows);
    }
    if !result.on_reals.is_empty() {
        out.line(format_args!(
            "\ninputs that stay reals, as codes of them would change the answers too much: of {}",
            result.on_reals.join(", ")
        ));
    }
    let Agreement {
        samples,
        cosine_mean,
        cosine_least,
        same_answer_percent,
    } = &result.agreement;
    out.line(format_args!(
        "\nbeside the original on {samples} other samples: cosine of outputs {cosine_mean:.4} \
         (least {cosine_least:.4}){}",
        same_answer_percent.map_or(String::new(), |same| format!(
            ", same answer {}",
            units::percent(same)
        ))
    ));
    out.line(format_args!(
        "{}: {} from {}, {:.1} times smaller, in {}",
        args.output.display(),
        units::bytes(result.bytes),
        units::bytes(result.bytes_before),
        result.ratio,
        units::long(result.seconds)
    ));
}

/// What the recipe's steps ask for.
fn wanted(recipe: &Recipe, network: &Graph) -> Wanted {
    let samples = recipe.steps.iter().filter_map(|step| match step {
        Step::Quantize(step) => Some(step.samples),
        Step::Norms(step) => Some(step.images),
        Step::Prune(step) => Some(step.images).filter(|_| step.criterion.looks_at_images()),
        Step::Channels(step) => Some(step.images).filter(|_| step.criterion.looks_at_images()),
        _ => None,
    });
    Wanted {
        samples: samples.max().unwrap_or(1),
        learns: recipe.learns(&network.name),
    }
}
