//! Statistics of normalisations, measured anew.

use crate::TrainError;
use crate::score::{batch_of, check_input, constants, gather};
use crate::trace::{self, Mode};
use secateur_data::Dataset;
use secateur_model::{Constant, Graph, Op, Support, Values, Weight};
use std::collections::{BTreeMap, BTreeSet};

/// Images that are normalised together, at least: fewer say too little of a variance.
const LEAST_BATCH: usize = 32;

/// Measures mean and variance of every BatchNormalization over `images` images
/// spread evenly over the data, as training would see them: pruning and rounding move
/// what a layer gives, and its old statistics no longer fit. Returns how many
/// normalisations there are.
///
/// # Errors
/// Data that does not fit the network or is empty, an operator that cannot run here.
pub fn measure_norms(
    graph: &mut Graph,
    data: &Dataset,
    images: usize,
) -> Result<usize, TrainError> {
    let names = running_statistics(graph);
    if names.is_empty() {
        return Ok(0);
    }
    check_input(graph, data)?;
    let count = images.min(data.len());
    if count == 0 {
        return Err(TrainError::Setting(
            "statistics of normalisations need at least one image".into(),
        ));
    }
    let spread: Vec<usize> = (0..count).map(|i| i * data.len() / count).collect();
    let parameters = constants(graph);
    let wanted: Vec<String> = graph.outputs.iter().map(|o| o.name.clone()).collect();
    let mut sums: BTreeMap<(String, String), Moments> = BTreeMap::new();
    for batch in spread.chunks(batch_of(data).max(LEAST_BATCH)) {
        let mut statistics = Vec::new();
        let mode = Mode::Train {
            statistics: &mut statistics,
            dropout: None,
        };
        trace::run(graph, gather(data, batch), &parameters, mode, &wanted)?;
        for s in statistics {
            let sum = sums.entry((s.mean_name, s.variance_name)).or_default();
            sum.add(&s.mean, &s.variance, batch.len());
        }
    }
    let norms = sums.len();
    for ((mean_name, variance_name), sum) in sums {
        let [mean, variance] = sum.total();
        store_statistics(graph, &mean_name, mean)?;
        store_statistics(graph, &variance_name, variance)?;
    }
    Ok(norms)
}

/// Names of the constants that normalisations keep up to date rather than train.
pub(crate) fn running_statistics(graph: &Graph) -> BTreeSet<String> {
    graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::BatchNormalization { .. }))
        .flat_map(|n| [n.input(3), n.input(4)])
        .flatten()
        .map(str::to_owned)
        .collect()
}

pub(crate) fn store_statistics(
    graph: &mut Graph,
    name: &str,
    values: Vec<f32>,
) -> Result<(), TrainError> {
    if let Some(weight) = graph.weight(name) {
        let weight = Weight::new(weight.shape().clone(), Support::All, Values::F32(values))?;
        graph
            .constants
            .insert(name.to_owned(), Constant::Weight(weight));
    }
    Ok(())
}

/// Sums over batches: images, and of each channel mean and mean square, weighted by
/// them. A node that is run twice counts twice.
#[derive(Default)]
struct Moments {
    images: f64,
    channels: Vec<[f64; 2]>,
}

impl Moments {
    fn add(&mut self, mean: &[f32], variance: &[f32], images: usize) {
        let images = images as f64;
        self.images += images;
        self.channels.resize(mean.len(), [0.0; 2]);
        let batch = mean.iter().zip(variance);
        for (sum, (&mean, &variance)) in self.channels.iter_mut().zip(batch) {
            let (mean, variance) = (f64::from(mean), f64::from(variance));
            sum[0] += images * mean;
            sum[1] += images * (variance + mean * mean);
        }
    }

    /// Mean and variance over all images.
    fn total(&self) -> [Vec<f32>; 2] {
        let images = self.images.max(1.0);
        let channel = |&[sum, squares]: &[f64; 2]| {
            let mean = sum / images;
            let variance = (squares / images - mean * mean).max(0.0);
            (mean as f32, variance as f32)
        };
        let (mean, variance) = self.channels.iter().map(channel).unzip();
        [mean, variance]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_join_to_the_statistics_of_all() {
        let values = [1.0f64, 4.0, -2.0, 0.5, 3.0, 3.5];
        let of = |part: &[f64]| {
            let mean = part.iter().sum::<f64>() / part.len() as f64;
            let squares = part.iter().map(|v| (v - mean).powi(2));
            (mean, squares.sum::<f64>() / part.len() as f64)
        };
        let mut moments = Moments::default();
        for part in [&values[..4], &values[4..]] {
            let (mean, variance) = of(part);
            moments.add(&[mean as f32], &[variance as f32], part.len());
        }
        let [mean, variance] = moments.total();
        let (wanted_mean, wanted_variance) = of(&values);
        assert!((f64::from(mean[0]) - wanted_mean).abs() < 1e-6);
        assert!((f64::from(variance[0]) - wanted_variance).abs() < 1e-5);
    }
}
