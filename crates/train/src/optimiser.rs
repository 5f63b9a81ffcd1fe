//! Optimisers over flat slices.

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

    /// One step (`step` counts from 1) on flat values with their moments.
    ///
    /// A removed position has value, gradient and moments of zero, and so keeps
    /// them: no rule below moves it.
    #[inline(always)]
    pub(crate) fn step(
        &self,
        values: &mut [f32],
        [first, second]: [&mut [f32]; 2],
        gradient: &[f32],
        Pace { rate, decay, step }: Pace,
    ) {
        let values = values.iter_mut().zip(gradient);
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

/// How far one step goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Learning rate.
    pub rate: f32,
    /// Pull towards zero.
    pub decay: f32,
    /// Number of the step, from 1.
    pub step: usize,
}
