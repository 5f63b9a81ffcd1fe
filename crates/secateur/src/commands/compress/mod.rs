//! `secateur compress`: a trained network made small, by a recipe or by a search for one.

mod follow;
mod goal;
mod one_shot;
mod page;
mod record;
mod search;

use super::sensitivity;
use crate::args::{Compress, StoreArg};
use crate::classifier::{self, Ending};
use crate::out::Out;
use crate::run_folder::{Identity, RunFolder};
use crate::score::{Scored, score};
use crate::{file, interrupt, network, picture, units};
use anyhow::{Context, Error, Result, bail};
use follow::Follow;
use page::Seen;
use secateur_accel::Machine;
use secateur_compress::recipe::{Step, StoreSetting};
use secateur_compress::record::LayerSensitivity;
use secateur_compress::search::{Goal, affordable};
use secateur_compress::{Checkpoint, CompressError, Recipe, Report, RunRecord, StepReport, resume};
use secateur_data::{Dataset, Unlabelled};
use secateur_io::codec::Store;
use secateur_model::{Graph, Values};
use serde::Serialize;
use std::path::{Path, PathBuf};
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
    /// Whether the target is met; a recipe has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
}

pub fn run(args: &Compress) -> Result<()> {
    let out = Out::new(&args.json)?;
    if let Some(name) = &args.recipe {
        let recipe = crate::recipe(name)?;
        if let Some(result) = one_shot::compress(args, &recipe, &out)? {
            one_shot::show(args, &result, &out);
            return out.finish(&result);
        }
    }
    let result = compress(args, &out)?;
    let row = |what: &str, score: &Scored| {
        vec![
            what.to_owned(),
            units::bytes(score.bytes),
            units::percent(score.figure().1),
        ]
    };
    let rows = [
        row("before, f32", &result.before),
        row("after, .sct", &result.after),
    ];
    out.line("");
    let figure = format!("test {}", result.after.figure().0);
    out.table(1, &["", "size", &figure], &rows);
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
    check_outputs(args)?;
    let way = match &args.recipe {
        Some(name) => Way::Recipe(crate::recipe(name)?),
        None => {
            let goal = goal::goal(args);
            Way::Search(goal, goal::machine(args, &goal)?)
        }
    };
    let mut dense = network::load(&args.network)?;
    if Unlabelled::at(Path::new(&args.data))?.is_some() {
        bail!(
            "{}: these samples have no labels, which a search goes by; `--recipe one-shot` needs none",
            args.data
        );
    }
    let mut data = network::load_data_for(&dense, &args.data)?;
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
    let given = dense.clone();
    let ending = Ending::take(&mut dense);

    let store = way.store(args);
    let folder = RunFolder::open(
        &run_path(args),
        way.identity(args, identity(args, &dense)?)?,
        store,
        args.resume,
    )?;
    let follow = Follow::new(
        out,
        folder,
        &dense.name,
        train.len(),
        !validation.is_empty(),
    );
    let job = Job {
        args,
        dense: &dense,
        train: &train,
        validation: &validation,
        store,
    };
    let (result, mut follow) = match &way {
        Way::Recipe(recipe) => job.by_recipe(recipe, follow),
        Way::Search(goal, machine) => search::by_search(&job, goal, machine.as_ref(), follow),
    };
    let result = match result {
        Ok(result) => result,
        Err(error) => return Err(stopped(error, follow).context(place())),
    };
    let Done {
        graph: mut small,
        recipe,
        steps,
        mut record,
        met,
    } = result;
    ending.restore(&mut small)?;
    network::save(&small, &args.output, store).map_err(|e| follow.with_kept(e))?;
    let small = network::load(&args.output)?;
    let after = score(&small, &data.test, network::size(&args.output)?)?;
    if let Some(path) = &args.save_recipe {
        file::write(path, recipe.to_toml()?.as_bytes())?;
        out.line(format_args!("recipe: {}", path.display()));
    }
    record.dense.test_error_percent = Some(before.error_percent());
    if let Some(chosen) = record.points.iter_mut().find(|p| p.chosen) {
        chosen.bytes = after.bytes;
        chosen.test_error_percent = Some(after.error_percent());
    }
    if let Some(path) = &args.html {
        if record.dense.validation_error_percent.is_none() && !validation.is_empty() {
            record.dense.validation_error_percent =
                Some(score(&given, &validation, 0)?.error_percent());
        }
        let page = page::page(
            &record,
            &given,
            &args.output,
            &Seen::Labelled(&data.test),
            out,
        )?;
        file::write(path, page.as_bytes())?;
        out.line(format_args!("report: {}", path.display()));
    }
    follow.done(&record, &after)?;
    Ok(Compressed {
        ratio: before.bytes as f64 / after.bytes.max(1) as f64,
        before,
        after,
        seconds: start.elapsed().as_secs_f64(),
        steps,
        met,
    })
}

/// How a network is compressed.
enum Way {
    Recipe(Recipe),
    /// For a goal; and on the model of which machine, where energy counts.
    Search(Goal, Option<Machine>),
}

/// What there is to compress, and with what.
struct Job<'a> {
    args: &'a Compress,
    dense: &'a Graph,
    train: &'a Dataset,
    validation: &'a Dataset,
    store: Store,
}

/// What came out.
struct Done {
    graph: Graph,
    recipe: Recipe,
    steps: Vec<StepReport>,
    record: RunRecord,
    met: Option<bool>,
}

impl Way {
    /// With what decides the result of the way.
    fn identity(&self, args: &Compress, common: Identity) -> Result<Identity> {
        let identity = common.with("validation", args.validation);
        Ok(match self {
            Self::Recipe(recipe) => identity.with("recipe", recipe.to_toml()?),
            Self::Search(goal, machine) => {
                let budget = args.budget.map_or("none".into(), |b| b.to_string());
                let store = format!("{:?}", self.store(args));
                let identity = identity
                    .with("goal", goal)
                    .with("budget", budget)
                    .with("store", store);
                match machine {
                    Some(machine) => identity.with_bytes("machine", &serde_json::to_vec(machine)?),
                    None => identity,
                }
            }
        })
    }

    fn store(&self, args: &Compress) -> Store {
        match self {
            Self::Recipe(recipe) => store_of(args, recipe),
            Self::Search(goal, _) => args
                .store
                .map_or_else(|| setting(goal::store(goal)), Store::from),
        }
    }
}

/// How the file of a recipe is coded.
fn store_of(args: &Compress, recipe: &Recipe) -> Store {
    let by_recipe = recipe.steps.iter().find_map(|step| match step {
        Step::Encode(encode) => Some(encode.store),
        _ => None,
    });
    args.store
        .map_or_else(|| setting(by_recipe.unwrap_or_default()), Store::from)
}

fn setting(setting: StoreSetting) -> Store {
    match setting {
        StoreSetting::Fast => Store::Fast,
        StoreSetting::Small => Store::Small,
        StoreSetting::Smallest => Store::Smallest,
    }
}

impl Job<'_> {
    /// How far each layer of the network as it was can go by itself; nothing where it had gone some way already.
    fn sensitivity(&self) -> Result<Vec<LayerSensitivity>> {
        let mut weights = self.dense.weights();
        if !weights.all(|(_, weight)| matches!(weight.values(), Values::F32(_))) {
            return Ok(Vec::new());
        }
        let count = affordable(self.dense, self.train, sensitivity::runs(self.dense));
        let (_, samples) = self.train.split(count, self.args.seed);
        Ok(sensitivity::measured(self.dense, &samples)?.layers)
    }

    fn by_recipe<'f>(&self, recipe: &Recipe, mut follow: Follow<'f>) -> (Result<Done>, Follow<'f>) {
        let result = self.recipe_done(recipe, &mut follow);
        (result, follow)
    }

    fn recipe_done(&self, recipe: &Recipe, follow: &mut Follow<'_>) -> Result<Done> {
        let (train, validation, seed) = (self.train, self.validation, self.args.seed);
        let (graph, steps) = carry_out(self.dense, recipe, follow, |from, follow| {
            resume(self.dense, from, train, validation, recipe, seed, follow)
        })?;
        let bytes = follow.folder.step_bytes(0);
        let sensitivity = match self.args.html {
            Some(_) => self.sensitivity()?,
            None => Vec::new(),
        };
        let (network, data) = (self.dense, &train.name);
        let record = record::of_recipe(network, data, seed, recipe, &steps, &bytes, sensitivity);
        Ok(Done {
            graph,
            recipe: recipe.clone(),
            steps,
            record,
            met: None,
        })
    }
}

/// Carries out a recipe from where an earlier run of it got to.
fn carry_out<'f>(
    dense: &Graph,
    recipe: &Recipe,
    follow: &mut Follow<'f>,
    resume: impl FnOnce(Checkpoint, &mut Follow<'f>) -> Result<(Graph, Report), CompressError>,
) -> Result<(Graph, Vec<StepReport>)> {
    let kept = follow.folder.latest(0, recipe)?;
    let mut from = kept.unwrap_or_else(|| Checkpoint::start(dense));
    if !follow.validates {
        // Older folders have noughts there.
        for step in &mut from.steps {
            (step.validation_error_percent, step.validation_loss) = (None, None);
        }
    }
    follow.recipe(recipe, from.steps.len())?;
    follow.recalled(&from.steps);
    let (graph, report) = resume(from, follow)?;
    interrupt::check()?;
    Ok((graph, report.steps))
}

/// An error with what is kept in spite of it; a folder in which nothing is goes.
fn stopped(error: Error, follow: Follow<'_>) -> Error {
    let error = follow.with_kept(error);
    follow.failed(&error);
    error
}

/// Whether everything can be written where it shall be, before any work is done.
fn check_outputs(args: &Compress) -> Result<()> {
    let outputs = [
        Some(&args.output),
        args.save_recipe.as_ref(),
        args.html.as_ref(),
    ];
    outputs
        .into_iter()
        .flatten()
        .try_for_each(|path| file::check_output(path))
}

/// The folder of a run.
pub fn run_path(args: &Compress) -> PathBuf {
    args.run.clone().unwrap_or_else(|| {
        let mut name = args.output.clone().into_os_string();
        name.push(".run");
        name.into()
    })
}

/// What decides the result of a run, besides how it is done.
fn identity(args: &Compress, dense: &Graph) -> Result<Identity> {
    let bytes = secateur_io::sct::write(dense, Store::Fast)?;
    Ok(Identity::default()
        .with_bytes("network", &bytes)
        .with("data", &args.data)
        .with("seed", args.seed))
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
