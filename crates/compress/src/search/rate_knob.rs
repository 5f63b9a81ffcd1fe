//! Training at a price a bit: a level is the price.

use super::knob::{Context, Knob, Plan};
use super::training::Training;
use crate::CompressError;
use crate::recipe::{EncodeStep, OptimiserSetting, RateStep, Retrain, Step, StoreSetting};
use secateur_data::Dataset;
use secateur_model::{Graph, Values};

/// Trains integers that are cheap to code, at a price that rises from round to round; each goes on from
/// the last.
pub struct RateKnob {
    training: Training,
    shift: usize,
    /// Times that the learning rate may yet be lowered.
    slower: usize,
    /// Price of level 1, in nats a bit.
    unit: f64,
}

/// Share of a round in which the price rises: at first much dies that could have been of use.
const WARM_UP: [f32; 2] = [0.3, 0.1];

/// Passes over the images in a round, at most.
const EPOCHS: f64 = 24.0;

impl RateKnob {
    /// A knob for training a network on these samples, so that a search takes about so many
    /// seconds. At level 1 a bit of the file costs what a bit of the answers to all of them does:
    /// the shortest description of both (Hinton & van Camp 1993).
    pub fn new(graph: &Graph, train: &Dataset, seconds: Option<f64>) -> Self {
        let training = Training::suited(graph, train, seconds, EPOCHS);
        Self {
            shift: Training::shift_for(train),
            slower: 3,
            unit: std::f64::consts::LN_2 / train.len().max(1) as f64,
            training: Training {
                learning_rate: 0.015,
                batch: (2 * training.batch).min(128),
                ..training
            },
        }
    }

    /// Trains in this way instead.
    pub fn with_training(self, training: Training) -> Self {
        Self { training, ..self }
    }
}

impl Knob for RateKnob {
    fn range(&self) -> [f64; 4] {
        [0.125, 2.0, 1.0 / 64.0, 64.0]
    }

    fn variants(&self) -> usize {
        2
    }

    fn choose(&mut self, variant: usize) {
        self.training.shift = match variant {
            0 => 0,
            _ => self.shift,
        };
    }

    fn slower(&mut self) -> bool {
        if self.slower == 0 {
            return false;
        }
        self.slower -= 1;
        self.training.learning_rate /= 3.0;
        true
    }

    fn plan(
        &mut self,
        level: f64,
        from: &Graph,
        _: &mut Context<'_>,
    ) -> Result<Option<Plan>, CompressError> {
        let begun = from
            .weights()
            .any(|(_, weight)| matches!(weight.values(), Values::Int { .. }));
        let price = (level * self.unit) as f32;
        let rate = RateStep {
            warm_up: WARM_UP[usize::from(begun)],
            ..RateStep::new(
                price,
                Retrain {
                    optimiser: OptimiserSetting::Adamw,
                    weight_decay: 0.0,
                    ..self.training.retrain(1.0, 1.0)
                },
            )
        };
        let name = format!("{price:.1e} nats a bit");
        Ok(Some(Plan {
            name: match self.training.shift {
                0 => name,
                shift => format!("{name}, moved by {shift}"),
            },
            carried: vec![Step::Rate(rate)],
            finish: vec![Step::Encode(EncodeStep {
                store: StoreSetting::Smallest,
                order_channels: false,
                fold_norms: true,
            })],
        }))
    }
}
