//! How near the answers of a compressed network are to those of the original, where
//! there are no labels to score either.

use crate::samples::Inputs;
use anyhow::Result;
use secateur_engine::{Session, SessionOptions};
use secateur_model::{Graph, Tensor};
use serde::Serialize;

/// Two networks' first outputs, sample by sample.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Agreement {
    pub samples: usize,
    /// Cosine of the two outputs, mean over the samples.
    pub cosine_mean: f64,
    pub cosine_least: f64,
    /// Samples whose largest number is in the same place, in percent.
    pub same_answer_percent: f64,
}

/// Runs both networks on all samples.
pub fn measure(original: &Graph, small: &Graph, inputs: &Inputs) -> Result<Agreement> {
    let sessions = [original, small].map(|g| Session::new(g, &SessionOptions::default()));
    let [original, small] = sessions;
    let (original, small) = (original?, small?);
    let (mut cosines, mut same) = (Vec::new(), 0);
    inputs.batches(|batch| -> Result<()> {
        let [a, b] = [original.run(batch)?, small.run(batch)?];
        let rows = |outputs: &[Tensor]| -> Result<(Vec<f32>, usize)> {
            let Some(first) = outputs.first() else {
                return Ok((Vec::new(), 1));
            };
            let samples = first.shape().dims().first().copied().unwrap_or(1);
            Ok((first.as_f32()?.to_vec(), samples.max(1)))
        };
        let ((a, samples), (b, _)) = (rows(&a)?, rows(&b)?);
        let each = (a.len() / samples).max(1);
        for (a, b) in a.chunks_exact(each).zip(b.chunks_exact(each)) {
            cosines.push(cosine(a, b));
            same += usize::from(largest(a) == largest(b));
        }
        Ok(())
    })?;
    let n = cosines.len().max(1) as f64;
    Ok(Agreement {
        samples: cosines.len(),
        cosine_mean: cosines.iter().sum::<f64>() / n,
        cosine_least: cosines.iter().copied().fold(1.0, f64::min),
        same_answer_percent: 100.0 * same as f64 / n,
    })
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter()
            .zip(y)
            .map(|(&x, &y)| f64::from(x) * f64::from(y))
            .sum()
    };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    match norms > 0.0 {
        true => dot(a, b) / norms,
        // Nothing is like nothing.
        false => f64::from(u8::from(dot(a, a) == dot(b, b))),
    }
}

fn largest(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |b, i| if row[i] > row[b] { i } else { b })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_are_of_directions() {
        assert!((cosine(&[1.0, 2.0], &[2.0, 4.0]) - 1.0).abs() < 1e-12);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 1.0]), 0.0);
        assert_eq!((cosine(&[0.0], &[0.0]), cosine(&[0.0], &[1.0])), (1.0, 0.0));
    }
}
