//! `secateur compress`: a recipe on a trained network.

use super::bench::measure;
use crate::args::{Compress, StoreArg};
use crate::classifier::{self, Ending};
use crate::out::Out;
use crate::progress::Bar;
use crate::report::{self, Examples, Speed};
use crate::score::{Scored, score};
use crate::{file, interrupt, network, picture, units};
use anyhow::{Context, Result};
use secateur_compress::recipe::{Step, StoreSetting};
use secateur_compress::record::{Point, RunRecord};
use secateur_compress::{Observer, Recipe, StepReport, recipe};
use secateur_data::Dataset;
use secateur_io::codec::Store;
use secateur_io::sct;
use secateur_model::Graph;
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::Path;
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
    let result = compress(args, &out)?;
    let row = |what: &str, score: &Scored| {
        vec![
            what.to_owned(),
            units::bytes(score.bytes),
            units::percent(score.error_percent()),
        ]
    };
    let rows = [
        row("before, f32", &result.before),
        row("after, .sct", &result.after),
    ];
    out.line("");
    out.table(1, &["", "size", result.after.error_name()], &rows);
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
    for path in [Some(&args.output), args.html.as_ref()]
        .into_iter()
        .flatten()
    {
        file::check_output(path)?;
    }
    let recipe = read_recipe(&args.recipe)?;
    let mut dense = network::load(&args.network)?;
    let mut data = network::load_data(&dense, &args.data)?;
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
    let mut progress = Progress {
        out,
        bar: None,
        validates: !validation.is_empty(),
        points: Vec::new(),
        store: args.html.is_some().then(|| store(args, &recipe)),
    };
    let given = dense.clone();
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
    let points = progress.points;

    ending.restore(&mut small)?;
    network::save(&small, &args.output, store(args, &recipe))?;
    let small = network::load(&args.output)?;
    let after = score(&small, &data.test, network::size(&args.output)?)?;
    let result = Compressed {
        ratio: before.bytes as f64 / after.bytes.max(1) as f64,
        before,
        after,
        seconds: start.elapsed().as_secs_f64(),
        steps: report.steps,
    };
    if let Some(path) = &args.html {
        let validation_error_percent = match validation.is_empty() {
            true => None,
            false => Some(score(&given, &validation, 0)?.error_percent()),
        };
        let dense = Point {
            name: "before".to_owned(),
            bytes: result.before.bytes,
            validation_error_percent,
            test_error_percent: Some(result.before.error_percent()),
            milliseconds: None,
            chosen: false,
        };
        let record = RunRecord {
            network: given.name.clone(),
            data: data.test.name.clone(),
            seed: args.seed,
            goal: format!("recipe {}", recipe.name),
            points: with_result(points, &result),
            dense,
            steps: result.steps.clone(),
            sensitivity: Vec::new(),
        };
        let page = page(&record, &given, &args.output, &data.test, out)?;
        file::write(path, page.as_bytes())?;
        out.line(format_args!("report: {}", path.display()));
    }
    Ok(result)
}

/// The networks after each step, the last of which was written.
fn with_result(mut points: Vec<Point>, result: &Compressed) -> Vec<Point> {
    let validation_error_percent = points.pop().and_then(|last| last.validation_error_percent);
    points.push(Point {
        name: "after".to_owned(),
        bytes: result.after.bytes,
        validation_error_percent,
        test_error_percent: Some(result.after.error_percent()),
        milliseconds: None,
        chosen: true,
    });
    points
}

/// The page of a run whose result lies in a file.
pub fn page(
    record: &RunRecord,
    before: &Graph,
    after: &Path,
    test: &Dataset,
    out: &Out,
) -> Result<String> {
    let place = after.display().to_string();
    let bytes = std::fs::read(after).with_context(|| place.clone())?;
    let (graph, file) = sct::read_and_inspect(&bytes, &place)?;
    let mut record = record.clone();
    // A page without times is worth having.
    let speed = match speed(before, &graph, test) {
        Ok(speed) => {
            record.dense.milliseconds = Some(speed.before.median_ms);
            for point in record.points.iter_mut().filter(|p| p.chosen) {
                point.milliseconds = Some(speed.after.median_ms);
            }
            Some(speed)
        }
        Err(error) => {
            interrupt::check()?;
            out.line(format_args!("the report has no times: {error:#}"));
            None
        }
    };
    let examples = Examples::of(before, &graph, test)?;
    Ok(report::page(&report::Run {
        record: &record,
        before,
        after: &graph,
        file: &file,
        speed,
        examples,
        image: [test.channels, test.height, test.width],
    }))
}

/// Both networks on one input and one thread, in turn, for about a second each.
fn speed(before: &Graph, after: &Graph, test: &Dataset) -> Result<Speed> {
    const FEW: usize = 5;
    const MOST: usize = 1000;
    const PATIENCE_MS: f64 = 1000.0;
    let time = |graph: &Graph| {
        let batch = network::fixed_batch(graph).unwrap_or(1);
        let shape = network::shape_for(graph, test, batch)?;
        let trial = measure(graph, &shape, Some(1), FEW)?;
        let repeats = (PATIENCE_MS / trial.median_ms) as usize;
        measure(graph, &shape, Some(1), repeats.clamp(FEW, MOST))
    };
    Ok(Speed {
        before: time(before)?,
        after: time(after)?,
    })
}

/// A bar for each step, then a line.
struct Progress<'a> {
    out: &'a Out,
    bar: Option<Bar>,
    /// Whether there are images to score each step on.
    validates: bool,
    /// The network after each step.
    points: Vec<Point>,
    /// How their bytes are counted, where anybody asks.
    store: Option<Store>,
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

    fn end(&mut self, report: &StepReport, graph: &Graph) {
        self.bar = None;
        // A network that cannot be written is no point; the last one says why.
        let file = self.store.and_then(|store| sct::write(graph, store).ok());
        if let Some(file) = file {
            self.points.push(Point {
                name: report.kind.clone(),
                bytes: file.len() as u64,
                validation_error_percent: self.validates.then_some(report.validation_error_percent),
                test_error_percent: None,
                milliseconds: None,
                chosen: false,
            });
        }
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

fn read_recipe(name: &str) -> Result<Recipe> {
    if recipe::BUILTIN.iter().any(|(builtin, _)| *builtin == name) {
        return Ok(Recipe::builtin(name)?);
    }
    let text = std::fs::read_to_string(name).with_context(|| {
        let builtin = recipe::BUILTIN.map(|(name, _)| name);
        format!("recipe {name}: none of {}, and no file", builtin.join(", "))
    })?;
    Ok(Recipe::from_toml(&text, name)?)
}

fn store(args: &Compress, recipe: &Recipe) -> Store {
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
