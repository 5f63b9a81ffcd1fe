//! Training at a price a bit: a level is the price.

use super::knob::{Context, Knob, Plan};
use super::training::{Training, Tuning};
use crate::CompressError;
use crate::recipe::{EncodeStep, OptimiserSetting, RateStep, Retrain, Step, StoreSetting};
use secateur_data::{Dataset, Targets};
use secateur_model::{Graph, Values};

/// Trains integers that are cheap to code, at a price that rises from round to round; each goes on from
/// the last.
pub struct RateKnob {
    tuning: Tuning,
    /// Price of level 1, in nats a bit.
    unit: f64,
}

/// Share of a round in which the price rises: at first much dies that could have been of use.
const WARM_UP: [f32; 2] = [0.3, 0.1];

/// Passes over the images in a round, at most.
const EPOCHS: f64 = 24.0;

impl RateKnob {
    /// A knob for training a network on these samples, so that a search takes about so many
    /// seconds. At level 1 a bit of the file costs what a bit of all answers does, a class or an
    /// object each: the shortest description of both (Hinton & van Camp 1993).
    pub fn new(graph: &Graph, train: &Dataset, seconds: Option<f64>) -> Self {
        let batch = (2 * Training::batch_for(train)).min(128);
        let training = Training {
            learning_rate: 0.015,
            ..Training::suited(graph, train, seconds, EPOCHS, batch)
        };
        Self {
            tuning: Tuning::new(training, train),
            unit: std::f64::consts::LN_2 / answers(train).max(1) as f64,
        }
    }

    /// Trains in this way instead.
    pub fn with_training(mut self, training: Training) -> Self {
        self.tuning.training = training;
        self
    }
}

/// What is asked of a network: a class of each image, or all objects.
fn answers(data: &Dataset) -> usize {
    match data.targets() {
        Targets::Classes(labels) => labels.len(),
        Targets::Boxes(objects) => objects.iter().map(Vec::len).sum(),
    }
}

impl Knob for RateKnob {
    fn range(&self) -> [f64; 4] {
        [0.125, 2.0, 1.0 / 1024.0, 64.0]
    }

    fn variants(&self) -> usize {
        Tuning::VARIANTS
    }

    fn choose(&mut self, variant: usize) {
        self.tuning.choose(variant);
    }

    fn slower(&mut self) -> bool {
        self.tuning.slower()
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
                    ..self.tuning.training.retrain(1.0, 1.0)
                },
            )
        };
        Ok(Some(Plan {
            name: self.tuning.named(format!("{price:.1e} nats a bit")),
            carried: vec![Step::Rate(rate)],
            finish: vec![Step::Encode(EncodeStep {
                store: StoreSetting::Smallest,
                order_channels: false,
                fold_norms: true,
            })],
        }))
    }
}
