//! Training: batches, loss, gradients, steps.

use crate::batch::{Augment, batch_of};
use crate::latent::LatentWeights;
use crate::loss::{Distill, Objective};
use crate::score::check_input;
use crate::trace::{self, BatchStatistics, Mode, Value};
use crate::{Optimiser, Schedule, TrainError};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use secateur_data::Dataset;
use secateur_model::{Constant, Graph, Support, Values, Weight};
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

/// Passes over so many images: `epochs`, or as many more as make `min_steps`
/// steps of `batch` images; small sets need them.
pub fn epochs_for(epochs: f32, min_steps: usize, images: usize, batch: usize) -> f32 {
    let per_epoch = (images / batch.max(1)).max(1);
    epochs.max(min_steps as f32 / per_epoch as f32)
}

/// How to train.
#[derive(Debug, Clone)]
pub struct FitOptions {
    /// Passes over the data.
    pub epochs: f32,
    /// Images a step.
    pub batch: usize,
    /// How a gradient moves a weight.
    pub optimiser: Optimiser,
    /// Learning rate at the start.
    pub learning_rate: f32,
    /// How it changes.
    pub schedule: Schedule,
    /// Pull of matrices and kernels towards zero.
    pub weight_decay: f32,
    /// Share of the target spread over all classes.
    pub label_smoothing: f32,
    /// How images are varied.
    pub augment: Augment,
    /// Whose answers are learned beside the labels.
    pub distill: Option<Distill>,
    /// Order of the images, and their variation.
    pub seed: u64,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            epochs: 10.0,
            batch: 128,
            optimiser: Optimiser::default(),
            learning_rate: 0.05,
            schedule: Schedule::default(),
            weight_decay: 1e-4,
            label_smoothing: 0.0,
            augment: Augment::default(),
            distill: None,
            seed: 0,
        }
    }
}

/// What a training did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitReport {
    /// Optimiser steps.
    pub steps: usize,
    /// Mean loss over the last tenth of the steps.
    pub final_loss: f32,
}

/// What happens between steps.
pub trait Hooks {
    /// Before a step (`step` counts from 0): a gradual schedule sets masks here.
    ///
    /// # Errors
    /// Whatever stops the training.
    fn before_step(
        &mut self,
        step: usize,
        total: usize,
        weights: &mut LatentWeights,
    ) -> Result<(), TrainError> {
        let _ = (step, total, weights);
        Ok(())
    }

    /// After a step; `Break` stops the training with [`TrainError::Stopped`].
    fn after_step(&mut self, step: usize, total: usize, loss: f32) -> ControlFlow<()> {
        let _ = (step, total, loss);
        ControlFlow::Continue(())
    }
}

/// Hooks that do nothing.
pub struct Quiet;

impl Hooks for Quiet {}

/// Trains a network's weights in place; the same seed gives the same weights. What it learns is
/// what the data holds: the class of each image, or (a detector) the boxes of what is in it.
///
/// The form of each weight is its constraint: masked positions stay exactly
/// zero, shared values move together, integers train straight through their
/// rounding, as do quantized activations.
///
/// # Errors
/// Data that does not fit the network, an operator without a gradient, a loss
/// that is no number, hooks that stop it. The graph is then as it was.
pub fn fit(
    graph: &mut Graph,
    data: &Dataset,
    options: &FitOptions,
    hooks: &mut dyn Hooks,
) -> Result<FitReport, TrainError> {
    check_input(graph, data)?;
    if options.batch == 0 || !options.epochs.is_finite() || options.epochs <= 0.0 {
        return Err(TrainError::Setting(
            "epochs and batch must be positive".into(),
        ));
    }
    let objective = Objective::new(
        graph,
        data,
        options.label_smoothing,
        options.distill.as_ref(),
    )?;
    let statistics_names = running_statistics(graph);
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut latent = LatentWeights::new(graph);
    let mut running: HashMap<String, Vec<f32>> = statistics_names
        .iter()
        .filter_map(|n| Some((n.clone(), graph.weight(n)?.to_f32())))
        .collect();

    let batch = options.batch.min(data.len());
    let per_epoch = (data.len() / batch).max(1);
    let total = ((options.epochs * per_epoch as f32).round() as usize).max(1);
    let mut order: Vec<usize> = (0..data.len()).collect();
    let (mut tail_loss, mut tail_steps) = (0.0f64, 0usize);

    for step in 0..total {
        if step % per_epoch == 0 {
            order.shuffle(&mut rng);
        }
        hooks.before_step(step, total, &mut latent)?;
        let start = step % per_epoch * batch;
        let indices = &order[start..start + batch];
        let shown = batch_of(data, indices, options.augment, &mut rng)?;

        let parameters: HashMap<String, Value> = latent
            .iter()
            .map(|(name, l)| {
                let dims = l.weight.shape().dims();
                let value = match running.get(name) {
                    Some(statistics) => Value::new(statistics.clone(), dims),
                    None => Value::parameter(l.effective(), dims),
                };
                (name.clone(), value)
            })
            .collect();
        let mut statistics = Vec::new();
        let values = trace::run(
            graph,
            shown.input.clone(),
            &parameters,
            Mode::Train {
                statistics: &mut statistics,
                seed: options.seed.wrapping_add(step as u64),
            },
            objective.wanted(),
        )?;
        let loss = objective.loss(&values, data, shown)?;
        let value = trace::to_vec(loss.clone().inner())
            .first()
            .copied()
            .unwrap_or(f32::NAN);
        if !value.is_finite() {
            return Err(TrainError::Diverged {
                step,
                epoch: step as f32 / per_epoch as f32,
                loss: value,
            });
        }

        let mut gradients = loss.backward();
        let rate = options.learning_rate * options.schedule.factor(step as f32 / total as f32);
        for (name, l) in latent.iter_mut() {
            let Some(gradient) = parameters
                .get(name)
                .and_then(|p| p.flat.grad_remove(&mut gradients))
            else {
                continue;
            };
            let gradient = l.gradient(trace::to_vec(gradient));
            options
                .optimiser
                .step(l, &gradient, rate, options.weight_decay, step + 1);
        }
        statistics.iter().for_each(|s| follow(&mut running, s));

        if step + (total / 10).max(1) >= total {
            tail_loss += f64::from(value);
            tail_steps += 1;
        }
        if hooks.after_step(step, total, value).is_break() {
            return Err(TrainError::Stopped { step, total });
        }
    }

    latent.store(graph)?;
    for (name, values) in running {
        if let Some(weight) = graph.weight(&name) {
            let weight = Weight::new(weight.shape().clone(), Support::All, Values::F32(values))?;
            graph.constants.insert(name, Constant::Weight(weight));
        }
    }
    Ok(FitReport {
        steps: total,
        final_loss: (tail_loss / tail_steps.max(1) as f64) as f32,
    })
}

/// Names of the constants that normalisations keep up to date rather than train.
fn running_statistics(graph: &Graph) -> BTreeSet<String> {
    graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, secateur_model::Op::BatchNormalization { .. }))
        .flat_map(|n| [n.input(3), n.input(4)])
        .flatten()
        .map(str::to_owned)
        .collect()
}

fn follow(running: &mut HashMap<String, Vec<f32>>, batch: &BatchStatistics) {
    const PART: f32 = 0.1;
    for (name, new) in [
        (&batch.mean_name, &batch.mean),
        (&batch.variance_name, &batch.variance),
    ] {
        if let Some(old) = running.get_mut(name) {
            old.iter_mut()
                .zip(new)
                .for_each(|(o, n)| *o += PART * (n - *o));
        }
    }
}
