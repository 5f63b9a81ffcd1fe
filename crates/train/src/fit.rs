//! Training: batches, loss, gradients, steps.

use crate::activation_steps::ActivationSteps;
use crate::average::Average;
use crate::batch::{Augment, batch_of};
use crate::dropout::Followers;
use crate::latent::LatentWeights;
use crate::loss::{Distill, Objective};
use crate::norms::{running_statistics, store_statistics};
use crate::optimiser::Pace;
use crate::rate::RateOptions;
use crate::score::check_input;
use crate::state::{FitState, Keeper, LearnerState, Tail, fingerprint};
use crate::trace::{self, BatchStatistics, Dropout, Mode, Value};
use crate::{Optimiser, Schedule, TrainError};
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use secateur_data::Dataset;
use secateur_model::Graph;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// The highest learning rate.
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
    /// Whether the scales of integer weights and of quantized activations are
    /// learned (LSQ: Esser et al. 2020).
    pub learn_steps: bool,
    /// The network before its weights were rounded: those of the same name and shape
    /// start from there.
    pub unrounded: Option<Graph>,
    /// Decay of a moving average of the weights, which is what is kept in the end.
    pub average: Option<f32>,
    /// Which weights become integers, and what a bit of them costs.
    pub rate: Option<RateOptions>,
    /// Weights that stay as they are, by name.
    pub frozen: BTreeSet<String>,
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
            learn_steps: false,
            unrounded: None,
            average: None,
            rate: None,
            frozen: BTreeSet::new(),
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

    /// Whether [`gradients`](Self::gradients) looks at removed positions too. Where it does not,
    /// empty rows and columns of a weight are left out of the products, and their gradients are 0.
    fn wants_removed(&self) -> bool {
        false
    }

    /// Between the backward pass of a step and the step itself: the gradients of the values that
    /// the network computed with, by name.
    ///
    /// # Errors
    /// Whatever stops the training.
    fn gradients(
        &mut self,
        step: usize,
        total: usize,
        weights: &mut LatentWeights,
        gradients: &BTreeMap<String, Vec<f32>>,
    ) -> Result<(), TrainError> {
        let _ = (step, total, weights, gradients);
        Ok(())
    }

    /// After a step; `Break` stops the training with [`TrainError::Stopped`].
    fn after_step(&mut self, step: usize, total: usize, loss: f32) -> ControlFlow<()> {
        let _ = (step, total, loss);
        ControlFlow::Continue(())
    }

    /// Where the training is kept on its way. Hooks that change supports, or that have a state of their own, have no
    /// such place.
    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        None
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
    options.check()?;
    if data.is_empty() {
        return Err(TrainError::Setting(
            "training needs at least one image".into(),
        ));
    }
    let objective = Objective::new(
        graph,
        data,
        options.label_smoothing,
        options.distill.as_ref(),
    )?;
    let followers = Followers::new(graph);
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut learner = Learner::new(graph, data, options)?;
    let mut average = options.average.map(Average::new);

    let batch = options.batch.min(data.len());
    let per_epoch = (data.len() / batch).max(1);
    let total = ((options.epochs * per_epoch as f32).round() as usize).max(1);
    let mut order: Vec<u32> = (0..data.len() as u32).collect();
    let mut tail = Tail::default();
    let mut done = 0;

    let fingerprint = hooks.keeper().map(|_| fingerprint(graph, data, options));
    if let (Some(keeper), Some(fingerprint)) = (hooks.keeper(), &fingerprint)
        && let Some(kept) = keeper.resume(fingerprint)?
    {
        kept.check(fingerprint, data.len(), total)?;
        learner.resume(kept.learner)?;
        if let Some(kept) = &kept.average {
            kept.check(learner.trained())?;
        }
        rng.set_word_pos(kept.drawn);
        (done, order, tail, average) = (kept.done, kept.order, kept.tail, kept.average);
    }
    for step in done..total {
        if step % per_epoch == 0 {
            order.shuffle(&mut rng);
        }
        hooks.before_step(step, total, &mut learner.latent)?;
        if let Some(rate) = &options.rate {
            learner.latent.price(rate, step, total);
        }
        let start = step % per_epoch * batch;
        let indices: Vec<usize> = order[start..start + batch]
            .iter()
            .map(|&image| image as usize)
            .collect();
        let shown = batch_of(data, &indices, options.augment, &mut rng)?;

        let parameters = learner.parameters(hooks.wants_removed());
        let shares = followers.shares(&learner.latent);
        let mut statistics = Vec::new();
        let mode = Mode::Train {
            statistics: &mut statistics,
            dropout: Some(Dropout {
                seed: options.seed.wrapping_add(step as u64),
                shares: &shares,
            }),
        };
        let values = trace::run(
            graph,
            shown.input.clone(),
            &parameters,
            mode,
            objective.wanted(),
        )?;
        let loss = objective.loss(&values, data, shown)?;
        let value = trace::to_vec(loss.clone().inner())
            .first()
            .copied()
            .unwrap_or(f32::NAN);
        if !value.is_finite() {
            if let Some(keeper) = hooks.keeper() {
                keeper.forget();
            }
            return Err(TrainError::Diverged {
                step,
                epoch: step as f32 / per_epoch as f32,
                loss: value,
            });
        }

        let gradients = gradients_of(&loss, &parameters);
        hooks.gradients(step, total, &mut learner.latent, &gradients)?;
        let pace = Pace {
            rate: options.learning_rate * options.schedule.factor(step as f32 / total as f32),
            decay: options.weight_decay,
            step: step + 1,
        };
        learner.descend(gradients, &options.optimiser, pace);
        statistics.iter().for_each(|s| learner.follow(s));
        if let Some(average) = &mut average {
            average.follow(learner.trained());
        }

        if step + (total / 10).max(1) >= total {
            tail.loss += f64::from(value);
            tail.steps += 1;
        }
        let stopping = hooks.after_step(step, total, value).is_break();
        if let (Some(keeper), Some(fingerprint)) = (hooks.keeper(), fingerprint)
            && step + 1 < total
            && keeper.wants(stopping)
        {
            keeper.keep(&FitState {
                fingerprint,
                done: step + 1,
                order: order.clone(),
                drawn: rng.get_word_pos(),
                tail,
                learner: learner.state(),
                average: average.clone(),
            });
        }
        if stopping {
            return Err(TrainError::Stopped { step, total });
        }
    }

    if let Some(average) = average {
        average.put(learner.trained());
    }
    learner.store(graph)?;
    Ok(FitReport {
        steps: total,
        final_loss: (tail.loss / tail.steps.max(1) as f64) as f32,
    })
}

/// The gradient of the loss by each parameter that has part in it.
pub(crate) fn gradients_of(
    loss: &Tensor<1>,
    parameters: &HashMap<String, Value>,
) -> BTreeMap<String, Vec<f32>> {
    let mut gradients = loss.backward();
    let mut found = BTreeMap::new();
    for (name, parameter) in parameters {
        if let Some(gradient) = parameter.flat.grad_remove(&mut gradients) {
            found.insert(name.clone(), trace::to_vec(gradient));
        }
    }
    found
}

impl FitOptions {
    fn check(&self) -> Result<(), TrainError> {
        if self.batch == 0 || !self.epochs.is_finite() || self.epochs <= 0.0 {
            return Err(TrainError::Setting(
                "epochs and batch must be positive".into(),
            ));
        }
        match self.average {
            Some(decay) if !(0.0..1.0).contains(&decay) => Err(TrainError::Setting(format!(
                "the decay of an average must be at least 0 and below 1, found {decay}"
            ))),
            _ => Ok(()),
        }
    }
}

/// Everything that a step changes.
struct Learner {
    latent: LatentWeights,
    activations: ActivationSteps,
    /// Running statistics of normalisations.
    running: BTreeMap<String, Vec<f32>>,
    /// What does not change after all.
    frozen: BTreeSet<String>,
}

impl Learner {
    fn new(graph: &Graph, data: &Dataset, options: &FitOptions) -> Result<Self, TrainError> {
        let running = running_statistics(graph)
            .into_iter()
            .filter_map(|name| graph.weight(&name).map(|w| (name.clone(), w.to_f32())))
            .collect();
        let activations = match options.learn_steps {
            true => ActivationSteps::new(graph, [data.channels, data.height, data.width])?,
            false => ActivationSteps::none(),
        };
        let mut latent = LatentWeights::new(graph, options.unrounded.as_ref(), options.learn_steps);
        if let Some(rate) = &options.rate {
            latent.code(&rate.weights)?;
        }
        if let Some(name) = options.frozen.iter().find(|n| graph.weight(n).is_none()) {
            return Err(TrainError::Setting(format!("no weight `{name}` to keep")));
        }
        Ok(Self {
            latent,
            activations,
            running,
            frozen: options.frozen.clone(),
        })
    }

    /// What the network computes with, without gradients of what is frozen; with those of empty rows
    /// and columns where `removed`.
    fn parameters(&self, removed: bool) -> HashMap<String, Value> {
        let weights = self.latent.iter().map(|(name, latent)| {
            let dims = latent.weight.shape().dims();
            let value = match self.running.get(name) {
                Some(statistics) => Value::new(statistics.clone(), dims),
                None if self.frozen.contains(name) => Value::new(latent.effective(), dims),
                None => Value::parameter(latent.effective(), dims)
                    .with_live(latent.live.clone().filter(|_| !removed)),
            };
            (name.clone(), value)
        });
        weights.chain(self.activations.parameters()).collect()
    }

    fn descend(
        &mut self,
        mut gradients: BTreeMap<String, Vec<f32>>,
        optimiser: &Optimiser,
        pace: Pace,
    ) {
        for (name, latent) in self.latent.iter_mut() {
            if let Some(gradient) = gradients.remove(name) {
                latent.descend(gradient, optimiser, pace);
            }
        }
        self.activations.descend(gradients, optimiser, pace);
    }

    /// Moves the running statistics towards a batch's.
    fn follow(&mut self, batch: &BatchStatistics) {
        const PART: f32 = 0.1;
        for (name, new) in [
            (&batch.mean_name, &batch.mean),
            (&batch.variance_name, &batch.variance),
        ] {
            if let Some(old) = self.running.get_mut(name) {
                old.iter_mut()
                    .zip(new)
                    .for_each(|(o, n)| *o += PART * (n - *o));
            }
        }
    }

    fn state(&self) -> LearnerState {
        LearnerState {
            latent: self.latent.state(),
            activations: self.activations.state(),
            running: self.running.clone(),
        }
    }

    fn resume(&mut self, state: LearnerState) -> Result<(), TrainError> {
        let running = |(name, values): (&String, &Vec<f32>)| {
            let own = self.running.get(name);
            own.is_some_and(|own| own.len() == values.len())
        };
        let fits = state.running.len() == self.running.len() && state.running.iter().all(running);
        if fits && self.latent.resume(state.latent) && self.activations.resume(state.activations) {
            self.running = state.running;
            return Ok(());
        }
        Err(TrainError::State("it is of another network".into()))
    }

    /// All that changes, always in the same order.
    fn trained(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        let frozen = &self.frozen;
        let weights = self.latent.iter_mut();
        let weights = weights.filter(|(name, _)| !frozen.contains(*name));
        let weights = weights.flat_map(|(_, latent)| {
            let steps = latent.steps.as_mut().map(|steps| &mut steps.ratios);
            std::iter::once(&mut latent.values).chain(steps)
        });
        let activations = self.activations.iter_mut();
        weights
            .chain(activations.map(|(_, steps)| &mut steps.ratios))
            .chain(self.running.values_mut())
    }

    fn store(self, graph: &mut Graph) -> Result<(), TrainError> {
        let mut trained = graph.clone();
        self.latent.store(&mut trained)?;
        self.activations.store(&mut trained)?;
        for (name, values) in self.running {
            store_statistics(&mut trained, &name, values)?;
        }
        *graph = trained;
        Ok(())
    }
}
