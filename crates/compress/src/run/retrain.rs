//! Training within a step.

use super::gradual::Gradual;
use super::rigl::Rigl;
use super::{Observer, Round, Stage};
use crate::CompressError;
use crate::recipe::Retrain;
use secateur_model::Graph;
use secateur_train::{
    Distill, FitOptions, Hooks, Keeper, LatentWeights, RateOptions, TrainError, epochs_for, fit,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

impl Stage<'_> {
    pub(super) fn retrain(
        &mut self,
        graph: &mut Graph,
        retrain: Option<&Retrain>,
    ) -> Result<(), CompressError> {
        self.retrain_with(graph, retrain, Beside::default())
    }

    pub(super) fn retrain_with(
        &mut self,
        graph: &mut Graph,
        retrain: Option<&Retrain>,
        beside: Beside,
    ) -> Result<(), CompressError> {
        let Some(retrain) = retrain else {
            return Ok(());
        };
        let data = self.images()?;
        let options = FitOptions {
            epochs: epochs_for(retrain.epochs, retrain.min_steps, data.len(), retrain.batch),
            batch: retrain.batch,
            optimiser: retrain.optimiser.into(),
            learning_rate: retrain.learning_rate,
            schedule: retrain.schedule(),
            weight_decay: retrain.weight_decay,
            label_smoothing: retrain.label_smoothing,
            augment: retrain.augment(),
            distill: retrain.distill.as_ref().map(|d| Distill {
                teacher: self.teacher.clone(),
                alpha: d.alpha,
                temperature: d.temperature,
                features: (&d.features).into(),
                feature_weight: d.feature_weight,
            }),
            learn_steps: retrain.learn_steps,
            unrounded: beside.unrounded,
            average: retrain.average,
            rate: beside.rate,
            frozen: graph.frozen(),
            // Rounds see the images in other orders.
            seed: self.seed.wrapping_add((self.round.index as u64) << 32),
        };
        let mut hooks = StageHooks {
            observer: self.observer,
            round: self.round,
            masking: beside.masking,
        };
        let result = fit(graph, data, &options, &mut hooks);
        result.map(|_| ()).map_err(|e| self.failed(e))
    }
}

/// What a step adds to its training.
#[derive(Default)]
pub(super) struct Beside {
    /// What changes masks on the way.
    pub masking: Option<Masking>,
    /// The network before its weights were rounded.
    pub unrounded: Option<Graph>,
    /// A price of bits.
    pub rate: Option<RateOptions>,
}

/// What changes masks during a training.
pub(super) enum Masking {
    /// Cuts.
    Gradual(Gradual),
    /// Exchanges.
    Rigl(Rigl),
}

struct StageHooks<'a> {
    observer: &'a mut dyn Observer,
    round: Round,
    masking: Option<Masking>,
}

impl Hooks for StageHooks<'_> {
    fn before_step(
        &mut self,
        step: usize,
        total: usize,
        weights: &mut LatentWeights,
    ) -> Result<(), TrainError> {
        match &mut self.masking {
            Some(Masking::Gradual(gradual)) => gradual.before_step(step, total, weights),
            Some(Masking::Rigl(_)) | None => Ok(()),
        }
    }

    fn wants_removed(&self) -> bool {
        matches!(self.masking, Some(Masking::Rigl(_)))
    }

    fn gradients(
        &mut self,
        step: usize,
        total: usize,
        weights: &mut LatentWeights,
        gradients: &BTreeMap<String, Vec<f32>>,
    ) -> Result<(), TrainError> {
        match &mut self.masking {
            Some(Masking::Gradual(gradual)) => gradual.gradients(weights, gradients),
            Some(Masking::Rigl(rigl)) => rigl.gradients(step, total, weights, gradients)?,
            None => {}
        }
        Ok(())
    }

    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        // Masks have a state of their own; and of several rounds those before this one would be gone through anew.
        let alone = self.masking.is_none() && self.round.rounds == 1;
        alone.then(|| self.observer.keeper()).flatten()
    }

    fn after_step(&mut self, step: usize, total: usize, loss: f32) -> ControlFlow<()> {
        let Round { index, rounds } = self.round;
        self.observer
            .progress(index * total + step + 1, rounds * total, loss)
    }
}
