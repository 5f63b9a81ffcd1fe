//! `secateur compress`: a recipe on a trained network.

use crate::args::{Compress, StoreArg};
use crate::network::{self, Scored};
use crate::show;
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use secateur_compress::recipe::{Step, StoreSetting};
use secateur_compress::{Observer, Recipe, StepReport, recipe};
use secateur_io::codec::Store;
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::Instant;

/// What `compress --json` writes.
#[derive(Serialize)]
pub struct Compressed {
    pub before: Scored,
    pub after: Scored,
    /// Bytes of the f32 parameters over bytes of the file.
    pub ratio: f64,
    pub seconds: f64,
    pub steps: Vec<StepReport>,
}

struct Progress(Option<ProgressBar>);

impl Observer for Progress {
    fn begin(&mut self, _: usize, _: usize, kind: &'static str) {
        self.0 = Some(show::bar(kind));
    }

    fn progress(&mut self, done: usize, total: usize, loss: f32) -> ControlFlow<()> {
        match &self.0 {
            Some(bar) => show::advance(bar, done, total, loss),
            None => show::go_on(),
        }
    }

    fn end(&mut self, report: &StepReport) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
        println!(
            "{:9} {:6.1} s  {:>9} weights left  validation error {:.2} %",
            report.kind, report.seconds, report.nonzeros, report.validation_error_percent
        );
    }
}

pub fn run(args: &Compress) -> Result<Compressed> {
    let recipe = read_recipe(&args.recipe)?;
    let data = secateur_data::load(&args.data)?;
    let dense = network::load(&args.network)?;
    let start = Instant::now();
    let before = network::score(&dense, &data.test, 4 * dense.parameters() as u64)?;
    let (train, validation) = network::hold_out(&data.train, args.validation);
    let mut progress = Progress(None);
    let (small, report) = secateur_compress::run(
        dense,
        &train,
        &validation,
        &recipe,
        args.seed,
        &mut progress,
    )?;

    network::save(&small, &args.output, store(args, &recipe))?;
    let small = network::load(&args.output)?;
    let after = network::score(&small, &data.test, network::size(&args.output)?)?;
    let result = Compressed {
        ratio: before.bytes as f64 / after.bytes.max(1) as f64,
        before,
        after,
        seconds: start.elapsed().as_secs_f64(),
        steps: report.steps,
    };
    let row = |what: &str, score: &Scored| {
        vec![
            what.to_owned(),
            show::bytes(score.bytes as usize),
            format!("{:.2} %", score.top1_error_percent),
        ]
    };
    let rows = [
        row("before (f32)", &result.before),
        row("after (.sct)", &result.after),
    ];
    show::table(&["", "size", "test error"], &rows);
    println!(
        "{:.1} times smaller, {:.0} s, in {}",
        result.ratio,
        result.seconds,
        args.output.display()
    );
    show::json(args.json.as_deref(), &result)?;
    Ok(result)
}

fn read_recipe(name: &str) -> Result<Recipe> {
    if recipe::BUILTIN.iter().any(|(builtin, _)| *builtin == name) {
        return Ok(Recipe::builtin(name)?);
    }
    let text = std::fs::read_to_string(name).with_context(|| {
        let builtin: Vec<&str> = recipe::BUILTIN.iter().map(|(n, _)| *n).collect();
        format!(
            "recipe `{name}` is no file and none of {}",
            builtin.join(", ")
        )
    })?;
    Ok(Recipe::from_toml(&text, name)?)
}

fn store(args: &Compress, recipe: &Recipe) -> Store {
    let by_recipe = recipe.steps.iter().find_map(|step| match step {
        Step::Encode(encode) => Some(encode.store),
        _ => None,
    });
    match (args.store, by_recipe) {
        (Some(StoreArg::Fast), _) | (None, Some(StoreSetting::Fast)) => Store::Fast,
        _ => Store::Small,
    }
}
