//! A recipe carried out.

use crate::prune::{self, Layer};
use crate::recipe::{
    AllocationSettings, Biases, PruneSchedule, PruneStep, QuantizeStep, Recipe, Retrain, ShareStep,
    Step,
};
use crate::{
    Allocation, CompressError, Granularity, Histogram, activations, quantize_weights, share,
};
use half::f16;
use secateur_data::Dataset;
use secateur_model::{Constant, Graph, Op, Values, Weight};
use secateur_train::{
    Augment, Distill, FitOptions, Hooks, LatentWeights, TrainError, epochs_for, evaluate, fit,
    observe,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Instant;

/// Images that calibrate activations.
const CALIBRATION_IMAGES: usize = 1000;

/// What a recipe did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// One for each step.
    pub steps: Vec<StepReport>,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// The step's kind.
    pub kind: &'static str,
    /// Time it took.
    pub seconds: f64,
    /// Weights of the network that are not zero.
    pub nonzeros: usize,
    /// Wrong answers on the validation images, in percent.
    pub validation_error_percent: f64,
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

    /// A step is done.
    fn end(&mut self, report: &StepReport) {
        let _ = report;
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
    let teacher = graph.clone();
    let mut graph = graph;
    let mut steps = Vec::with_capacity(recipe.steps.len());
    for (index, step) in recipe.steps.iter().enumerate() {
        let kind = step.kind();
        observer.begin(index, recipe.steps.len(), kind);
        let start = Instant::now();
        let mut stage = Stage {
            place: format!("{} ({kind})", index + 1),
            teacher: &teacher,
            train,
            seed: seed.wrapping_mul(1000).wrapping_add(index as u64),
            round: Round {
                index: 0,
                rounds: 1,
            },
            observer,
        };
        match step {
            Step::Train(step) => stage.retrain(&mut graph, Some(&step.retrain))?,
            Step::Prune(step) => stage.prune(&mut graph, step)?,
            Step::Share(step) => stage.share(&mut graph, step)?,
            Step::Quantize(step) => stage.quantize(&mut graph, step)?,
            Step::Encode(_) => {}
        }
        let score = evaluate(&graph, validation).map_err(|e| stage.failed(e))?;
        let report = StepReport {
            kind,
            seconds: start.elapsed().as_secs_f64(),
            nonzeros: graph.weights().map(|(_, w)| w.nonzeros()).sum(),
            validation_error_percent: score.top1_error_percent(),
        };
        observer.end(&report);
        steps.push(report);
    }
    graph.metadata.insert("recipe".into(), recipe.name.clone());
    Ok((graph, Report { steps }))
}

/// What every step needs.
struct Stage<'a> {
    place: String,
    teacher: &'a Graph,
    train: &'a Dataset,
    seed: u64,
    round: Round,
    observer: &'a mut dyn Observer,
}

/// Which of a step's equally long trainings is under way.
#[derive(Clone, Copy)]
struct Round {
    index: usize,
    rounds: usize,
}

impl Stage<'_> {
    fn failed(&self, error: TrainError) -> CompressError {
        CompressError::Train {
            step: self.place.clone(),
            error,
        }
    }

    fn retrain(
        &mut self,
        graph: &mut Graph,
        retrain: Option<&Retrain>,
    ) -> Result<(), CompressError> {
        self.retrain_with(graph, retrain, None)
    }

    fn retrain_with(
        &mut self,
        graph: &mut Graph,
        retrain: Option<&Retrain>,
        gradual: Option<Gradual<'_>>,
    ) -> Result<(), CompressError> {
        let Some(retrain) = retrain else {
            return Ok(());
        };
        let options = FitOptions {
            epochs: epochs_for(
                retrain.epochs,
                retrain.min_steps,
                self.train.len(),
                retrain.batch,
            ),
            batch: retrain.batch,
            optimiser: retrain.optimiser.into(),
            learning_rate: retrain.learning_rate,
            weight_decay: retrain.weight_decay,
            augment: match retrain.shift {
                0 => Augment::None,
                pixels => Augment::Shift(pixels),
            },
            distill: retrain.distill.as_ref().map(|d| Distill {
                teacher: self.teacher.clone(),
                alpha: d.alpha,
                temperature: d.temperature,
            }),
            seed: self.seed,
            ..FitOptions::default()
        };
        let mut hooks = StageHooks {
            observer: self.observer,
            round: self.round,
            gradual,
        };
        let result = fit(graph, self.train, &options, &mut hooks);
        result.map(|_| ()).map_err(|e| self.failed(e))
    }

    fn prune(&mut self, graph: &mut Graph, step: &PruneStep) -> Result<(), CompressError> {
        let (allocation, retrain) = step.resolve(&graph.name);
        match step.schedule {
            PruneSchedule::OneShot => {
                prune::prune(graph, &allocation.part_way(0.0))?;
                self.retrain(graph, retrain)
            }
            PruneSchedule::Rounds(rounds) => {
                for round in 1..=rounds {
                    let part = round as f64 / rounds as f64;
                    self.round = Round {
                        index: round - 1,
                        rounds,
                    };
                    prune::prune(graph, &allocation.geometric(part))?;
                    self.retrain(graph, retrain)?;
                }
                Ok(())
            }
            PruneSchedule::Cubic { updates } => {
                // Refuses what cannot be pruned, before any training.
                prune::prune(&mut graph.clone(), &allocation.part_way(0.0))?;
                let layers = prune::prunable(graph)
                    .into_iter()
                    .filter_map(|name| {
                        let dims = graph.weight(&name)?.shape().dims().to_vec();
                        Some((name, dims))
                    })
                    .collect();
                let gradual = Gradual {
                    allocation,
                    updates,
                    layers,
                };
                self.retrain_with(graph, retrain, Some(gradual))
            }
        }
    }

    fn share(&mut self, graph: &mut Graph, step: &ShareStep) -> Result<(), CompressError> {
        replace_weights(graph, prune::prunable(graph), |weight| {
            share::share(weight, step.levels, step.init, self.seed)
        })?;
        let retrain = step.resolve(&graph.name);
        self.retrain(graph, retrain)
    }

    fn quantize(&mut self, graph: &mut Graph, step: &QuantizeStep) -> Result<(), CompressError> {
        let columns = with_outputs_in_columns(graph);
        for name in prune::prunable(graph) {
            let granularity = match step.granularity {
                Granularity::PerChannel if columns.contains(&name) => Granularity::PerColumn,
                other => other,
            };
            replace_weights(graph, vec![name], |weight| {
                quantize_weights(weight, step.weight_bits, granularity, step.weight_range)
            })?;
        }
        if step.biases == Biases::F16 {
            replace_weights(graph, biases(graph), half_precision)?;
        }
        if let Some(range) = step.activation_range {
            let names = activations::quantizable(graph);
            let mut calibration: BTreeMap<String, Histogram> = BTreeMap::new();
            let mut add = |name: &str, values: &[f32]| {
                calibration.entry(name.to_owned()).or_default().add(values);
            };
            observe(graph, self.train, CALIBRATION_IMAGES, &names, &mut add)
                .map_err(|e| self.failed(e))?;
            activations::quantize_activations(graph, &calibration, range)?;
        }
        self.retrain(graph, step.retrain.as_ref())
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

/// Names of the matrices that lie as `[depth, outputs]`.
fn with_outputs_in_columns(graph: &Graph) -> BTreeSet<String> {
    let columns = |op: &Op| matches!(op, Op::MatMul | Op::Gemm { trans_b: false, .. });
    let layers = graph.nodes.iter().filter(|n| columns(&n.op));
    let weights = layers.filter_map(|n| graph.kernel_of(n));
    let matrices = weights.filter(|(_, weight)| weight.shape().rank() == 2);
    matrices.map(|(name, _)| name.to_owned()).collect()
}

/// Names of the biases of convolutions and fully connected layers.
fn biases(graph: &Graph) -> Vec<String> {
    graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::Conv { .. } | Op::Gemm { .. }))
        .filter_map(|n| n.input(2))
        .map(str::to_owned)
        .collect()
}

fn half_precision(weight: &Weight) -> Result<Weight, CompressError> {
    let values = weight.kept_f32().into_iter().map(f16::from_f32).collect();
    let (shape, support, _) = weight.clone().into_parts();
    Ok(Weight::new(shape, support, Values::F16(values))?)
}

/// Cuts along a cubic during training (Zhu & Gupta 2017).
struct Gradual<'a> {
    allocation: &'a AllocationSettings,
    updates: usize,
    layers: Vec<(String, Vec<usize>)>,
}

/// The share of a training after which the last cut is made.
const LAST_CUT: f64 = 0.6;

impl Gradual<'_> {
    fn before_step(
        &self,
        step: usize,
        total: usize,
        weights: &mut LatentWeights,
    ) -> Result<(), TrainError> {
        let last = ((total as f64 * LAST_CUT) as usize).min(total - 1);
        let every = (last / self.updates).max(1);
        if step > last || (!step.is_multiple_of(every) && step != last) {
            return Ok(());
        }
        let done = if last == 0 {
            1.0
        } else {
            step as f64 / last as f64
        };
        let allocation = self.allocation.part_way((1.0 - done).powi(3));
        for (name, mask) in masks(&self.layers, weights, &allocation)? {
            weights.set_mask(&name, mask)?;
        }
        Ok(())
    }
}

fn masks(
    layers: &[(String, Vec<usize>)],
    weights: &LatentWeights,
    allocation: &Allocation,
) -> Result<Vec<(String, secateur_model::Bitmask)>, TrainError> {
    let layers: Vec<Layer<'_>> = layers
        .iter()
        .filter_map(|(name, dims)| {
            Some(Layer {
                name,
                dims,
                values: weights.values(name)?.into(),
            })
        })
        .collect();
    let counts =
        prune::counts(&layers, allocation).map_err(|e| TrainError::Setting(e.to_string()))?;
    Ok(layers
        .iter()
        .zip(counts)
        .filter_map(|(l, count)| Some((l.name.to_owned(), prune::largest(&l.values, count?))))
        .collect())
}

struct StageHooks<'a> {
    observer: &'a mut dyn Observer,
    round: Round,
    gradual: Option<Gradual<'a>>,
}

impl Hooks for StageHooks<'_> {
    fn before_step(
        &mut self,
        step: usize,
        total: usize,
        weights: &mut LatentWeights,
    ) -> Result<(), TrainError> {
        match &self.gradual {
            Some(gradual) => gradual.before_step(step, total, weights),
            None => Ok(()),
        }
    }

    fn after_step(&mut self, step: usize, total: usize, loss: f32) -> ControlFlow<()> {
        let Round { index, rounds } = self.round;
        self.observer
            .progress(index * total + step + 1, rounds * total, loss)
    }
}
