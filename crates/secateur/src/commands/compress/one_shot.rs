//! `secateur compress` where the data has no labels.

use super::follow::Follow;
use super::page::{self, Seen};
use super::{carry_out, check_outputs, identity, record, run_path, stopped, store_of};
use crate::agreement::{self, Agreement};
use crate::args::Compress;
use crate::out::Out;
use crate::run_folder::RunFolder;
use crate::samples::{self, Opened, Wanted};
use crate::{file, network, picture, units};
use anyhow::{Context, Result, bail};
use secateur_compress::ptq::{LayerError, Samples};
use secateur_compress::recipe::Step;
use secateur_compress::{Recipe, StepReport, on_reals, resume_unlabelled};
use secateur_data::Dataset;
use secateur_model::Graph;
use serde::Serialize;
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
    pub steps: Vec<StepReport>,
    /// What became of each layer that was rounded, if nothing was trained after that.
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
    if args.save_recipe.is_some() {
        bail!(
            "--save-recipe writes what a search found, and these samples have no labels to search by"
        );
    }
    check_outputs(args)?;
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
    let store = store_of(args, recipe);
    let is = identity(args, &dense)?.with("recipe", recipe.to_toml()?);
    let folder = RunFolder::open(&run_path(args), is, store, args.resume)?;
    let images = calibration.images().map_or(0, Dataset::len);
    let mut follow = Follow::new(out, folder, &dense.name, images, false);
    let carried_out = carry_out(&dense, recipe, &mut follow, |from, follow| {
        resume_unlabelled(&dense, from, &calibration, recipe, args.seed, follow)
    });
    let (small, steps) = match carried_out {
        Ok(done) => done,
        Err(error) => return Err(stopped(error, follow).context(place())),
    };
    network::save(&small, &args.output, store).map_err(|e| follow.with_kept(e))?;
    let small = network::load(&args.output)?;
    let bytes = network::size(&args.output)?;
    let agreement = agreement::measure(&dense, &small, &check)?;
    let step_bytes = follow.folder.step_bytes(0);
    let mut record = record::of_recipe(
        &dense,
        &args.data,
        args.seed,
        recipe,
        &steps,
        &step_bytes,
        Vec::new(),
    );
    if let Some(last) = record.points.last_mut() {
        last.bytes = bytes;
    }
    if let Some(path) = &args.html {
        let seen = Seen::Unlabelled(&check, &agreement);
        let page = page::page(&record, &dense, &args.output, &seen, out)?;
        file::write(path, page.as_bytes())?;
        out.line(format_args!("report: {}", path.display()));
    }
    follow.done(&record, &agreement)?;
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
        agreement,
        layers: rounded(recipe, &dense.name, &steps),
        steps,
        on_reals,
    }))
}

/// What became of each layer in the last step that rounded any, if no step after it trained.
fn rounded(recipe: &Recipe, network: &str, steps: &[StepReport]) -> Vec<LayerError> {
    let done = recipe.steps.iter().zip(steps).rev();
    let mut untrained = done.take_while(|(step, _)| !step.learns(network));
    let rounded = untrained.find(|(_, report)| !report.layers.is_empty());
    rounded.map_or(Vec::new(), |(_, report)| report.layers.clone())
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
