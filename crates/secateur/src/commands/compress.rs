//! `secateur compress`: a recipe on a trained network.

use super::one_shot;
use crate::args::{Compress, StoreArg};
use crate::classifier::{self, Ending};
use crate::out::Out;
use crate::progress::Bar;
use crate::score::{Scored, score};
use crate::{file, interrupt, network, picture, units};
use anyhow::{Context, Result};
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

pub fn run(args: &Compress) -> Result<()> {
    let out = Out::new(&args.json)?;
    if let Some(result) = one_shot::compress(args, &out)? {
        one_shot::show(args, &result, &out);
        return out.finish(&result);
    }
    let result = compress(args, &out)?;
    let row = |what: &str, score: &Scored| {
        vec![
            what.to_owned(),
            units::bytes(score.bytes),
            units::percent(score.top1_error_percent),
        ]
    };
    let rows = [
        row("before, f32", &result.before),
        row("after, .sct", &result.after),
    ];
    out.line("");
    out.table(1, &["", "size", "test error"], &rows);
    out.line(format_args!(
        "\n{}: {:.1} times smaller, in {}",
        args.output.display(),
        result.ratio,
        units::long(result.seconds)
    ));
    out.finish(&result)
}

/// Compresses, saves and scores a network.
pub fn compress(args: &Compress, out: &Out) -> Result<Compressed> {
    file::check_output(&args.output)?;
    let recipe = read_recipe(&args.recipe)?;
    let mut dense = network::load(&args.network)?;
    let mut data = secateur_data::load(&args.data)?;
    let place = || args.network.display().to_string();
    picture::adapt(&mut data, &dense, &args.scaling).with_context(place)?;
    picture::record(&mut dense, &data.train);
    if classifier::take_pictures(&mut dense, &data.train) {
        out.line("rows of pixels become pictures at the network's input");
    }
    let start = Instant::now();
    let f32_bytes = 4 * dense.parameters() as u64;
    let before = score(&dense, &data.test, f32_bytes).with_context(place)?;
    let (train, validation) = network::hold_out(&data.train, args.validation);

    out.line(format_args!(
        "{:<12} {:>10} {:>16} {:>18}",
        "step", "time", "weights left", "validation error"
    ));
    let mut progress = Progress::new(out);
    progress.validates = !validation.is_empty();
    let ending = Ending::take(&mut dense);
    let (mut small, report) = secateur_compress::run(
        dense,
        &train,
        &validation,
        &recipe,
        args.seed,
        &mut progress,
    )
    .with_context(place)?;
    interrupt::check()?;

    ending.restore(&mut small)?;
    network::save(&small, &args.output, store(args, &recipe))?;
    let small = network::load(&args.output)?;
    let after = score(&small, &data.test, network::size(&args.output)?)?;
    Ok(Compressed {
        ratio: before.bytes as f64 / after.bytes.max(1) as f64,
        before,
        after,
        seconds: start.elapsed().as_secs_f64(),
        steps: report.steps,
    })
}

/// A bar for each step, then a line.
pub struct Progress<'a> {
    out: &'a Out,
    bar: Option<Bar>,
    /// Whether there are images to score each step on.
    validates: bool,
}

impl<'a> Progress<'a> {
    pub fn new(out: &'a Out) -> Self {
        Self {
            out,
            bar: None,
            validates: false,
        }
    }
}

impl Observer for Progress<'_> {
    fn begin(&mut self, step: usize, steps: usize, kind: &'static str) {
        self.bar = Some(Bar::new(&format!("{}/{steps} {kind}", step + 1)));
    }

    fn progress(&mut self, done: usize, total: usize, loss: f32) -> ControlFlow<()> {
        match &mut self.bar {
            Some(bar) => bar.train(done, total, loss),
            None => interrupt::go_on(),
        }
    }

    fn end(&mut self, report: &StepReport) {
        self.bar = None;
        self.out.line(format_args!(
            "{:<12} {:>10} {:>16} {:>18}",
            report.kind,
            units::long(report.seconds),
            units::count(report.nonzeros),
            match self.validates {
                true => units::percent(report.validation_error_percent),
                false => "not measured".into(),
            }
        ));
    }
}

pub fn read_recipe(name: &str) -> Result<Recipe> {
    if recipe::BUILTIN.iter().any(|(builtin, _)| *builtin == name) {
        return Ok(Recipe::builtin(name)?);
    }
    let text = std::fs::read_to_string(name).with_context(|| {
        let builtin = recipe::BUILTIN.map(|(name, _)| name);
        format!("recipe {name}: none of {}, and no file", builtin.join(", "))
    })?;
    Ok(Recipe::from_toml(&text, name)?)
}

pub fn store(args: &Compress, recipe: &Recipe) -> Store {
    let by_recipe = recipe.steps.iter().find_map(|step| match step {
        Step::Encode(encode) => Some(encode.store),
        _ => None,
    });
    match (args.store, by_recipe) {
        (Some(store), _) => store.into(),
        (None, Some(StoreSetting::Fast)) => Store::Fast,
        (None, Some(StoreSetting::Smallest)) => Store::Smallest,
        (None, Some(StoreSetting::Small) | None) => Store::Small,
    }
}

impl From<StoreArg> for Store {
    fn from(store: StoreArg) -> Self {
        match store {
            StoreArg::Smallest => Self::Smallest,
            StoreArg::Small => Self::Small,
            StoreArg::Fast => Self::Fast,
        }
    }
}
