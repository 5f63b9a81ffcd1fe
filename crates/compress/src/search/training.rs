//! How to train when nobody says: by the size of the set and of the network.

use crate::recipe::Retrain;
use secateur_data::Dataset;
use secateur_model::{Graph, Shape, infer};

/// Settings of one round of training.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Passes over the images.
    pub epochs: f32,
    /// Steps at the least, however small the set is.
    pub min_steps: usize,
    /// Images a step.
    pub batch: usize,
    /// Learning rate at the start.
    pub learning_rate: f32,
    /// Random shift of each image, in pixels.
    pub shift: usize,
    /// Whether half of the images are mirrored.
    pub mirror: bool,
}

/// Seconds that a whole search may take where nobody says.
const SECONDS: f64 = 3600.0;

/// Rounds that a search has, about.
const ROUNDS: f64 = 10.0;

/// Multiply-accumulates a second that training reaches on two ordinary cores: a guess that hangs on no
/// clock, so that the same command gives the same file everywhere.
const MACS_A_SECOND: f64 = 25e9;

/// Passes over the images in a round, at the least.
const LEAST_EPOCHS: f64 = 0.5;

/// Steps of a round on small sets.
const MIN_STEPS: usize = 1000;

impl Training {
    /// Settings for a network and a set, so that a search takes about so many seconds; with at most
    /// so many passes over the images in a round.
    pub fn suited(
        graph: &Graph,
        data: &Dataset,
        seconds: Option<f64>,
        epochs: f64,
        batch: usize,
    ) -> Self {
        // Forwards once, backwards twice.
        let seconds_an_image = (3.0 * macs(graph, data) / MACS_A_SECOND).max(1e-9);
        let images = seconds.unwrap_or(SECONDS) / ROUNDS / seconds_an_image;
        let passes = images / data.len().max(1) as f64;
        Self {
            epochs: passes.clamp(LEAST_EPOCHS, epochs) as f32,
            min_steps: (images as usize / batch.max(1)).min(MIN_STEPS),
            batch,
            learning_rate: 0.05,
            shift: 0,
            mirror: false,
        }
    }

    /// Images a step, by how many there are.
    pub fn batch_for(data: &Dataset) -> usize {
        match data.len() {
            0..1_000 => 8,
            1_000..5_000 => 32,
            5_000..500_000 => 64,
            _ => 128,
        }
    }

    /// Pixels that pictures of this size may be moved by without leaving their frame.
    pub fn shift_for(data: &Dataset) -> usize {
        (data.height.min(data.width) / 16).max(1)
    }

    /// A part of the round's training, at a part of its rate.
    pub fn retrain(&self, part: f32, rate: f32) -> Retrain {
        Retrain {
            min_steps: (self.min_steps as f32 * part) as usize,
            batch: self.batch,
            weight_decay: 1e-4,
            shift: self.shift,
            mirror: self.mirror,
            ..Retrain::new(self.epochs * part, rounded(self.learning_rate * rate))
        }
    }
}

/// Samples that a table is measured on, at most and at least.
const SAMPLES: [f64; 2] = [64.0, 512.0];

/// Multiply-accumulates that measuring a table may take.
const MEASURING: f64 = 1.5e12;

/// On how many samples a network can be run so many times, within a minute or two.
pub fn affordable(graph: &Graph, data: &Dataset, runs: usize) -> usize {
    let [least, most] = SAMPLES;
    (MEASURING / runs.max(1) as f64 / macs(graph, data).max(1.0)).clamp(least, most) as usize
}

/// What a search varies of its training.
#[derive(Debug, Clone)]
pub(super) struct Tuning {
    pub training: Training,
    /// Pixels that pictures may be moved by.
    shift: usize,
    /// Whether moved pictures are mirrored, too: those in colour show things, not letters.
    mirror: bool,
    /// Times that the learning rate may yet be lowered.
    slower: usize,
}

impl Tuning {
    /// Pictures as they are, and moved ones.
    pub const VARIANTS: usize = 2;

    pub fn new(training: Training, data: &Dataset) -> Self {
        Self {
            training,
            shift: Training::shift_for(data),
            mirror: data.channels == 3,
            slower: 3,
        }
    }

    /// Trains in this way from now on.
    pub fn choose(&mut self, variant: usize) {
        (self.training.shift, self.training.mirror) = match variant {
            0 => (0, false),
            _ => (self.shift, self.mirror),
        };
    }

    /// Lowers the learning rate; whether that could be done.
    pub fn slower(&mut self) -> bool {
        if self.slower == 0 {
            return false;
        }
        self.slower -= 1;
        self.training.learning_rate /= 3.0;
        true
    }

    /// The name of a candidate that is trained so.
    pub fn named(&self, name: String) -> String {
        match (self.training.shift, self.training.mirror) {
            (0, _) => name,
            (shift, false) => format!("{name}, moved by {shift}"),
            (shift, true) => format!("{name}, moved by {shift}, mirrored"),
        }
    }
}

/// With three digits, as a recipe shows it.
fn rounded(rate: f32) -> f32 {
    let unit = 10f64.powi(f64::from(rate).log10().floor() as i32 - 2);
    ((f64::from(rate) / unit).round() * unit) as f32
}

/// Multiply-accumulates of one image, as far as they can be told; a network whose extents hang on values
/// counts each parameter once.
fn macs(graph: &Graph, data: &Dataset) -> f64 {
    let counted = || {
        let input = graph.inputs.first()?;
        let shape = Shape::new(&[1, data.channels, data.height, data.width]).ok()?;
        infer::macs(graph, &[(&input.name, shape)]).ok()
    };
    counted().map_or(graph.parameters() as f64, |macs| {
        macs.values().map(|&macs| macs as f64).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::zoo;

    #[test]
    fn large_work_gets_fewer_epochs_and_small_sets_more_steps() {
        let digits = secateur_data::load("digits").unwrap().train;
        let small = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let light = Training::suited(&small, &digits, None, 8.0, 32);
        assert_eq!((light.epochs, Training::batch_for(&digits)), (8.0, 32));
        let retrain = light.retrain(0.5, 0.2);
        assert_eq!((retrain.epochs, retrain.min_steps), (4.0, 500));
        assert_eq!(retrain.learning_rate, 0.01);
        let hurried = Training::suited(&small, &digits, Some(0.01), 8.0, 32);
        assert_eq!((hurried.epochs, light.min_steps), (0.5, 1000));
        assert!(hurried.min_steps < 1000, "{}", hurried.min_steps);
        assert_eq!(Training::shift_for(&digits), 1);
        let macs = macs(&small, &digits);
        assert_eq!(macs, (64 * 300 + 300 * 100 + 100 * 10) as f64);
    }
}
