//! A recipe carried out.

mod channels;
mod gradual;
mod norms;
mod prune;
mod quantize;
mod rate;
mod retrain;
mod rigl;
mod share;
mod unlabelled;

pub use quantize::quantize;
pub use unlabelled::resume_unlabelled;

use crate::CompressError;
use crate::ptq::{self, LayerError, Samples};
use crate::recipe::{Recipe, Step};
use secateur_data::Dataset;
use secateur_model::{Constant, Graph, Weight};
use secateur_train::{Keeper, Score, TrainError, evaluate};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

/// What a recipe did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// One for each step.
    pub steps: Vec<StepReport>,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step's kind.
    pub kind: String,
    /// Time it took.
    pub seconds: f64,
    /// Weights of the network that are not zero.
    pub nonzeros: usize,
    /// Error on the validation images, in percent; none where there are none.
    pub validation_error_percent: Option<f64>,
    /// Loss on them: it says more than the error where few answers change.
    #[serde(default)]
    pub validation_loss: Option<f64>,
    /// What became of each layer that the step rounded on samples, where nothing was trained after that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerError>,
}

/// Told what happens; may stop it.
pub trait Observer {
    /// A step begins.
    fn begin(&mut self, step: usize, steps: usize, kind: &'static str) {
        let _ = (step, steps, kind);
    }

    /// Training within the step goes on; `Break` stops the recipe.
    fn progress(&mut self, done: usize, total: usize, loss: f32) -> ControlFlow<()> {
        let _ = (done, total, loss);
        ControlFlow::Continue(())
    }

    /// A step is done, and this is what it made of the network.
    fn end(&mut self, report: &StepReport, graph: &Graph) {
        let _ = (report, graph);
    }

    /// Keeps what there is after a step, so that [`resume`] can go on from it; a
    /// failure ends the run.
    ///
    /// # Errors
    /// Whatever prevents that.
    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<(), Box<dyn Error + Send + Sync>> {
        let _ = checkpoint;
        Ok(())
    }

    /// Where the training within a step is kept on its way.
    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        None
    }
}

/// A network between two steps of a recipe: all that the rest of it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The network as it is now.
    pub graph: Graph,
    /// What the steps so far did.
    pub steps: Vec<StepReport>,
}

impl Checkpoint {
    /// A network before the first step.
    pub fn start(graph: &Graph) -> Self {
        Self {
            graph: graph.clone(),
            steps: Vec::new(),
        }
    }
}

/// Carries out a recipe: trains on `train`, and scores each step on
/// `validation`, which nothing is trained on. The network as it was given is the
/// teacher of every distillation.
///
/// # Errors
/// A step that is refused, a training that fails, an observer that stops it.
pub fn run(
    graph: Graph,
    train: &Dataset,
    validation: &Dataset,
    recipe: &Recipe,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<(Graph, Report), CompressError> {
    let from = Checkpoint::start(&graph);
    resume(&graph, from, train, validation, recipe, seed, observer)
}

/// Carries out what a recipe has left to do after a checkpoint. The result is, to
/// the bit, that of a [`run`] which nothing interrupted: a step hangs on nothing
/// but the network that it is given, the teacher, the data, the seed and its place
/// in the recipe.
///
/// # Errors
/// As [`run`]; a checkpoint of another recipe.
pub fn resume(
    teacher: &Graph,
    from: Checkpoint,
    train: &Dataset,
    validation: &Dataset,
    recipe: &Recipe,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<(Graph, Report), CompressError> {
    let validation = Some(validation).filter(|data| !data.is_empty());
    let data = Source::Labelled { train, validation };
    go_on(teacher, from, data, recipe, seed, observer)
}

/// Carries out what is left of a recipe, on whatever data there are.
fn go_on(
    teacher: &Graph,
    from: Checkpoint,
    data: Source<'_>,
    recipe: &Recipe,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<(Graph, Report), CompressError> {
    let mut at = from;
    let kinds = recipe.steps.iter().map(Step::kind);
    let done: Vec<&str> = at.steps.iter().map(|s| s.kind.as_str()).collect();
    if !kinds.take(done.len()).eq(done.iter().copied()) {
        return Err(CompressError::Recipe {
            place: recipe.name.clone(),
            reason: format!(
                "the checkpoint comes after other steps: {}",
                done.join(", ")
            ),
        });
    }
    recipe.check_names(&crate::prune::prunable(teacher))?;
    for (index, step) in recipe.steps.iter().enumerate().skip(at.steps.len()) {
        let kind = step.kind();
        observer.begin(index, recipe.steps.len(), kind);
        let start = Instant::now();
        let mut stage = Stage::new(index, recipe, teacher, data, seed, observer);
        let graph = &mut at.graph;
        stage.carry_out(graph, step)?;
        let score = stage.score(graph)?;
        let report = StepReport {
            kind: kind.to_owned(),
            seconds: start.elapsed().as_secs_f64(),
            nonzeros: graph.nonzeros(),
            validation_error_percent: score.map(|s| s.error_percent()),
            validation_loss: score.map(|s| s.loss),
            layers: match step.learns(&teacher.name) {
                false => stage.rounded,
                // What was measured is no more.
                true => Vec::new(),
            },
        };
        observer.end(&report, graph);
        at.steps.push(report);
        observer
            .keep(&at)
            .map_err(|source| CompressError::Checkpoint {
                step: format!("{} ({kind})", index + 1),
                source,
            })?;
    }
    let Checkpoint { mut graph, steps } = at;
    graph.metadata.insert("recipe".into(), recipe.name.clone());
    Ok((graph, Report { steps }))
}

/// What there is to train on and to measure on.
#[derive(Clone, Copy)]
enum Source<'a> {
    /// Images with their labels, and such that nothing is trained on.
    Labelled {
        train: &'a Dataset,
        validation: Option<&'a Dataset>,
    },
    /// Samples without: images, or arrays that nothing can be trained on.
    Unlabelled(&'a dyn Samples),
}

/// What every step needs.
struct Stage<'a> {
    place: String,
    teacher: &'a Graph,
    data: Source<'a>,
    /// Whether a step before has pruned.
    pruned: bool,
    seed: u64,
    round: Round,
    observer: &'a mut dyn Observer,
    /// What became of each layer that was rounded on samples.
    rounded: Vec<LayerError>,
}

/// Which of a step's equally long trainings is under way.
#[derive(Clone, Copy)]
struct Round {
    index: usize,
    rounds: usize,
}

impl<'a> Stage<'a> {
    /// The `index`th step of a recipe.
    fn new(
        index: usize,
        recipe: &Recipe,
        teacher: &'a Graph,
        data: Source<'a>,
        seed: u64,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let (before, step) = (&recipe.steps[..index], &recipe.steps[index]);
        let prunes = |step: &Step| matches!(step, Step::Prune(_));
        Self {
            place: format!("{} ({})", index + 1, step.kind()),
            teacher,
            data,
            pruned: before.iter().any(prunes),
            seed: seed.wrapping_mul(1000).wrapping_add(index as u64),
            round: Round {
                index: 0,
                rounds: 1,
            },
            observer,
            rounded: Vec::new(),
        }
    }

    fn carry_out(&mut self, graph: &mut Graph, step: &Step) -> Result<(), CompressError> {
        match step {
            Step::Train(step) => self.retrain(graph, Some(&step.retrain)),
            Step::Channels(step) => self.channels(graph, step),
            Step::Prune(step) => self.prune(graph, step),
            Step::Rate(step) => self.rate(graph, step),
            Step::Share(step) => self.share(graph, step),
            Step::Quantize(step) => self.quantize(graph, step),
            Step::Encode(step) => self.encode(graph, step),
            Step::Norms(step) => self.norms(graph, step),
        }
    }

    /// What the network as it is scores on validation images, where there are any.
    fn score(&self, graph: &Graph) -> Result<Option<Score>, CompressError> {
        let Source::Labelled { validation, .. } = self.data else {
            return Ok(None);
        };
        let computed = ptq::with_rounded_biases(graph)?;
        let score = validation.map(|data| evaluate(&computed, data));
        score.transpose().map_err(|error| self.failed(error))
    }

    /// The images that there are.
    fn images(&self) -> Result<&'a Dataset, CompressError> {
        let images = match self.data {
            Source::Labelled { train, .. } => Some(train),
            Source::Unlabelled(samples) => samples.images(),
        };
        images.ok_or_else(|| CompressError::Train {
            step: self.place.clone(),
            error: TrainError::Setting("images are needed, and these samples are arrays".into()),
        })
    }

    fn failed(&self, error: TrainError) -> CompressError {
        CompressError::Train {
            step: self.place.clone(),
            error,
        }
    }
}

fn replace_weights(
    graph: &mut Graph,
    names: Vec<String>,
    f: impl Fn(&Weight) -> Result<Weight, CompressError>,
) -> Result<(), CompressError> {
    for name in names {
        if let Some(weight) = graph.weight(&name) {
            let weight = f(weight)?;
            graph.constants.insert(name, Constant::Weight(weight));
        }
    }
    Ok(())
}
