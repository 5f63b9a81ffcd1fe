//! `secateur train`: a network in full precision.

use crate::args::{OptimiserArg, ScheduleArg, Train};
use crate::classifier::{self, Ending};
use crate::kept_training::{KeptTraining, Otherwise};
use crate::out::Out;
use crate::progress::Bar;
use crate::score::{Scored, score};
use crate::{file, network, picture, units};
use anyhow::{Context, Result, bail};
use secateur_data::Split;
use secateur_io::codec::Store;
use secateur_model::{Graph, zoo};
use secateur_train::{
    Augment, Curve, FitOptions, Hooks, Keeper, Optimiser, epochs_for, fit, whiten,
};
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

/// Passes over the images where nobody says how many, and steps at the least.
const EPOCHS: f32 = 10.0;
const MIN_STEPS: usize = 2000;

/// What `train --json` writes.
#[derive(Serialize)]
pub struct Trained {
    pub seconds: f64,
    /// On the training images that were held out.
    pub validation_error_percent: Option<f64>,
    #[serde(flatten)]
    pub score: Scored,
}

/// A training that is shown, and kept on its way.
struct Follow {
    bar: Option<Bar>,
    kept: KeptTraining,
}

impl Hooks for Follow {
    fn after_step(&mut self, step: usize, total: usize, loss: f32) -> ControlFlow<()> {
        let bar = self
            .bar
            .get_or_insert_with(|| Bar::new("training").going_on_from(step));
        bar.train(step + 1, total, loss)
    }

    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        Some(&mut self.kept)
    }
}

pub fn run(args: &Train) -> Result<()> {
    let out = Out::new(&args.json)?;
    let trained = train(args, &out)?;
    out.finish(&trained)
}

/// Trains, saves and scores a network.
pub fn train(args: &Train, out: &Out) -> Result<Trained> {
    file::check_output(&args.output)?;
    let kept = kept_training(args)?;
    let (mut graph, mut data) = start(args)?;
    picture::adapt(&mut data, &graph, &args.scaling).with_context(|| args.network.clone())?;
    picture::record(&mut graph, &data.train);
    if classifier::take_pictures(&mut graph, &data.train) {
        out.line("rows of pixels become pictures at the network's input");
    }
    let ending = Ending::take(&mut graph);
    let (images, validation) = network::hold_out(&data.train, args.validation);
    let by_default = || epochs_for(EPOCHS, MIN_STEPS, images.len(), args.batch).ceil();
    let epochs = args.epochs.unwrap_or_else(by_default);
    let (optimiser, learning_rate) = match args.optimiser {
        OptimiserArg::Sgd => (Optimiser::default(), 0.05),
        OptimiserArg::Adamw => (Optimiser::adam(), 0.001),
    };
    out.line(format_args!(
        "training {}: {} parameters, {} x {} images of {}",
        graph.name,
        units::count(graph.parameters()),
        epochs,
        units::count(images.len()),
        data.train.name
    ));

    if args.whiten {
        let layer = whiten(&mut graph, &images)?;
        out.line(format_args!(
            "{}: {} of {} filters whiten the images; all stay as they are",
            layer.weight, layer.whitening, layer.filters
        ));
    }
    let options = FitOptions {
        epochs,
        batch: args.batch,
        optimiser,
        learning_rate: args.learning_rate.unwrap_or(learning_rate),
        schedule: match args.schedule {
            ScheduleArg::Cosine => Curve::Cosine,
            ScheduleArg::Constant => Curve::Constant,
            ScheduleArg::OneCycle => Curve::OneCycle,
        }
        .into(),
        weight_decay: args.weight_decay,
        label_smoothing: args.label_smoothing,
        augment: Augment {
            shift: args.shift,
            mirror: args.mirror,
            cutout: args.cutout,
            warp: None,
        },
        average: args.ema,
        frozen: graph.frozen(),
        seed: args.seed,
        ..FitOptions::default()
    };
    let start = Instant::now();
    let mut follow = Follow { bar: None, kept };
    let trained = fit(&mut graph, &images, &options, &mut follow);
    let Follow { kept, .. } = follow;
    trained.with_context(|| match kept.exists() {
        true => format!(
            "{}: what was trained is kept in {}, and the same command with --resume goes on from there",
            args.network,
            kept.path().display()
        ),
        false => args.network.clone(),
    })?;
    let seconds = start.elapsed().as_secs_f64();

    ending.restore(&mut graph)?;
    network::save(&graph, &args.output, Store::Small)?;
    kept.remove();
    let bytes = network::size(&args.output)?;
    let validation_error_percent = match validation.is_empty() {
        true => None,
        false => Some(score(&graph, &validation, bytes)?.error_percent()),
    };
    let score = score(&graph, &data.test, bytes)?;
    let (figure, of_test) = score.figure();
    let of_validation = validation_error_percent.map(|e| units::percent(score.figure_of(e).1));
    out.line(format_args!(
        "{}: validation {figure} {}, test {figure} {}, {}, trained in {}",
        args.output.display(),
        of_validation.unwrap_or("not measured".into()),
        units::percent(of_test),
        units::bytes(bytes),
        units::long(seconds)
    ));
    Ok(Trained {
        seconds,
        validation_error_percent,
        score,
    })
}

/// Where the training of a network is kept on its way.
pub fn beside(output: &Path) -> KeptTraining {
    let mut path = output.to_owned().into_os_string();
    path.push(".training");
    KeptTraining::new(path.into(), Otherwise::Refuse)
}

/// The same; what an unfinished one has left is not begun anew by mistake.
fn kept_training(args: &Train) -> Result<KeptTraining> {
    let kept = beside(&args.output);
    let place = kept.path().display();
    match (kept.exists(), args.resume) {
        (true, false) => bail!(
            "{place} holds a training that is not finished: --resume goes on with it; remove the file to begin anew"
        ),
        (false, true) => bail!("{place}: there is no training to go on with"),
        _ => Ok(kept),
    }
}

/// A built-in network made for the data, else one from a file; and the data.
fn start(args: &Train) -> Result<(Graph, Split)> {
    if !zoo::NETWORKS.iter().any(|(name, _)| *name == args.network) {
        let mut graph = network::load(Path::new(&args.network))?;
        let data = network::load_data_for(&graph, &args.data)?;
        // What it learns now is what its classes are.
        if graph
            .metadata
            .get("classes")
            .is_some_and(|names| !names.lines().eq(&data.train.classes))
        {
            graph.metadata.remove("classes");
        }
        return Ok((graph, data));
    }
    let data = secateur_data::load(&args.data)?;
    let set = &data.train;
    let shape = [set.channels, set.height, set.width];
    let graph = zoo::build(&args.network, shape, set.classes.len(), args.seed)?;
    Ok((graph, data))
}
