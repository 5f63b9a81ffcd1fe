//! What a network gives for samples, and how far another's answers are from it.

use super::samples::{Probe, Samples};
use crate::CompressError;
use secateur_model::{DType, Graph};

/// What a network gives for the samples.
pub(super) struct Outputs {
    names: Vec<String>,
    /// Of each output, sample after sample.
    values: Vec<Vec<f32>>,
    /// By how much each varies.
    squares: Vec<f64>,
}

impl Outputs {
    /// # Errors
    /// Samples that cannot be run, outputs that do not vary.
    pub(super) fn of(graph: &Graph, samples: &dyn Samples) -> Result<Self, CompressError> {
        let floats = graph.outputs.iter().filter(|o| o.dtype == DType::F32);
        let names: Vec<String> = floats.map(|o| o.name.clone()).collect();
        let mut all = vec![Vec::new(); names.len()];
        each_batch(graph, &names, samples, &mut |output, values| {
            all[output].extend_from_slice(values);
        })?;
        let squares: Vec<f64> = all
            .iter()
            .map(|values| squares_about_mean(values))
            .collect();
        match squares.iter().any(|&s| s > 0.0) {
            true => Ok(Self {
                names,
                values: all,
                squares,
            }),
            false => Err(CompressError::Refused {
                step: "quantize",
                reason: "no output of the network varies over the samples, so none tells what its layers \
                         can bear"
                    .into(),
            }),
        }
    }

    /// How far another network's outputs are from these: a part of their variance, the mean over
    /// outputs that vary; infinite where this is finite and that is not.
    pub(super) fn error(&self, graph: &Graph, samples: &dyn Samples) -> Result<f64, CompressError> {
        let mut seen = vec![0; self.names.len()];
        let mut squares = vec![0.0; self.names.len()];
        each_batch(graph, &self.names, samples, &mut |output, values| {
            let these = self.values[output].get(seen[output]..).unwrap_or_default();
            seen[output] += values.len();
            let pairs = these.iter().zip(values).filter(|(a, _)| a.is_finite());
            let square = |(a, b): (&f32, &f32)| match b.is_finite() {
                true => f64::from(a - b).powi(2),
                false => f64::INFINITY,
            };
            squares[output] += pairs.map(square).sum::<f64>();
        })?;
        let outputs = squares.iter().zip(&self.squares);
        let varying = outputs.filter(|(_, of)| **of > 0.0);
        let parts: Vec<f64> = varying.map(|(squares, of)| squares / of).collect();
        Ok(parts.iter().sum::<f64>() / parts.len().max(1) as f64)
    }
}

fn squares_about_mean(values: &[f32]) -> f64 {
    let finite = || {
        values
            .iter()
            .map(|&v| f64::from(v))
            .filter(|v| v.is_finite())
    };
    let mean = finite().sum::<f64>() / finite().count().max(1) as f64;
    finite().map(|v| (v - mean).powi(2)).sum()
}

/// Hands over what a network gives, batch by batch: the output's number and its values.
fn each_batch(
    graph: &Graph,
    names: &[String],
    samples: &dyn Samples,
    visit: &mut dyn FnMut(usize, &[f32]),
) -> Result<(), CompressError> {
    samples.observe(&[Probe { graph, names }], &mut |values| {
        for (output, value) in values.iter().flatten().enumerate() {
            if let Ok(values) = value.as_f32() {
                visit(output, values);
            }
        }
        Ok(())
    })
}
