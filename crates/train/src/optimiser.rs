//! Optimisers over flat slices, and learning-rate schedules.

use crate::latent::Latent;

/// How a gradient moves a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimiser {
    /// Stochastic gradient descent: `m = momentum · m + g`, `w −= rate · m`;
    /// decay is added to the gradient.
    Sgd {
        /// Share of the old direction that is kept.
        momentum: f32,
        /// Whether the gradient is taken ahead of the step (Nesterov).
        nesterov: bool,
    },
    /// Adam (Kingma & Ba 2015) with decoupled decay (Loshchilov & Hutter 2019).
    AdamW {
        /// Decay of the first moment.
        beta1: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// Keeps the division finite.
        epsilon: f32,
    },
}

impl Default for Optimiser {
    fn default() -> Self {
        Self::Sgd {
            momentum: 0.9,
            nesterov: true,
        }
    }
}

impl Optimiser {
    /// Adam's usual settings.
    pub fn adam() -> Self {
        Self::AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }

    /// One step (`step` counts from 1) on one weight's latent values.
    ///
    /// A removed position has value, gradient and moments of zero, and so keeps
    /// them: no rule below moves it.
    pub(crate) fn step(
        &self,
        latent: &mut Latent,
        gradient: &[f32],
        rate: f32,
        decay: f32,
        step: usize,
    ) {
        let decay = if latent.decays { decay } else { 0.0 };
        let [first, second] = &mut latent.moments;
        let values = latent.values.iter_mut().zip(gradient);
        match *self {
            Self::Sgd { momentum, nesterov } => {
                for ((w, &g), m) in values.zip(first) {
                    let g = g + decay * *w;
                    *m = momentum * *m + g;
                    *w -= rate * if nesterov { g + momentum * *m } else { *m };
                }
            }
            Self::AdamW {
                beta1,
                beta2,
                epsilon,
            } => {
                let correct = |beta: f32| 1.0 - beta.powi(step.min(100_000) as i32);
                let (correct1, correct2) = (correct(beta1), correct(beta2));
                for (((w, &g), m), v) in values.zip(first).zip(second) {
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * g * g;
                    let (m, v) = (*m / correct1, *v / correct2);
                    *w -= rate * (m / (v.sqrt() + epsilon) + decay * *w);
                }
            }
        }
    }
}

/// How the learning rate changes over a training.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Schedule {
    /// It does not.
    Constant,
    /// From the full rate to nothing along half a cosine (Loshchilov & Hutter 2017).
    #[default]
    Cosine,
    /// Times `factor` at each `every`-th part of the training.
    Step {
        /// Number of equal parts.
        parts: usize,
        /// Factor from part to part.
        factor: f32,
    },
}

impl Schedule {
    /// The factor on the learning rate at `done` (0 to 1) of the training.
    pub fn factor(&self, done: f32) -> f32 {
        match *self {
            Self::Constant => 1.0,
            Self::Cosine => 0.5 * (1.0 + (std::f32::consts::PI * done.clamp(0.0, 1.0)).cos()),
            Self::Step { parts, factor } => factor.powi((done * parts as f32) as i32),
        }
    }
}
