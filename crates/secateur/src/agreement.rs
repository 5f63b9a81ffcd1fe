//! How near the answers of a compressed network are to those of the original, where
//! there are no labels to score either.

use crate::samples::Inputs;
use anyhow::{Context, Result};
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
    /// Answers that are the same, in percent: the place of the largest number of a row, `[samples, classes]` or
    /// `[samples, places, classes]`; above a half or not, where there is one probability each. None of other outputs.
    pub same_answer_percent: Option<f64>,
}

/// Runs both networks on all samples.
pub fn measure(original: &Graph, small: &Graph, inputs: &Inputs) -> Result<Agreement> {
    let sessions = [original, small].map(|g| Session::new(g, &SessionOptions::default()));
    let [original, small] = sessions;
    let (original, small) = (original?, small?);
    let (mut cosines, mut same, mut answers) = (Vec::new(), 0, 0);
    inputs.batches(|batch, samples| -> Result<()> {
        let [a, b] = [original.run(batch)?, small.run(batch)?];
        let first = |outputs: &[Tensor]| -> Result<(Vec<f32>, Vec<usize>)> {
            let first = outputs.first().context("the network has no output")?;
            Ok((first.as_f32()?.to_vec(), first.shape().dims().to_vec()))
        };
        let ((a, dims), (b, _)) = (first(&a)?, first(&b)?);
        let pairs = |each: usize| a.chunks_exact(each).zip(b.chunks_exact(each));
        cosines.extend(pairs((a.len() / samples).max(1)).map(|(a, b)| cosine(a, b)));
        if let Some(row) = answer_len(&dims, &a) {
            answers += pairs(row).len();
            same += pairs(row).filter(|(a, b)| answer(a) == answer(b)).count();
        }
        Ok(())
    })?;
    let n = cosines.len().max(1) as f64;
    Ok(Agreement {
        samples: cosines.len(),
        cosine_mean: cosines.iter().sum::<f64>() / n,
        cosine_least: cosines.iter().copied().fold(1.0, f64::min),
        same_answer_percent: (answers > 0).then(|| 100.0 * same as f64 / answers as f64),
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

/// Numbers of an answer, where outputs of these extents are answers.
fn answer_len(dims: &[usize], values: &[f32]) -> Option<usize> {
    match dims {
        [_, classes] | [_, _, classes] if *classes > 1 => Some(*classes),
        [_] | [_, 1] | [_, _, 1] => {
            let probabilities = values.iter().all(|v| (0.0..=1.0).contains(v));
            probabilities.then_some(1)
        }
        _ => None,
    }
}

fn answer(row: &[f32]) -> usize {
    match row {
        [probability] => usize::from(*probability > 0.5),
        row => (0..row.len()).fold(0, |b, i| if row[i] > row[b] { i } else { b }),
    }
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

    #[test]
    fn answers_are_of_rows_or_single_numbers() {
        let values = [0.0, 0.5, 1.0];
        let len = |dims: &[usize]| answer_len(dims, &values);
        let dims = [&[64][..], &[3, 1], &[2, 10], &[2, 40, 97]];
        assert_eq!(dims.map(len), [1, 1, 10, 97].map(Some));
        assert_eq!(len(&[1, 3, 8, 8]), None);
        assert_eq!(answer_len(&[2], &[-3.0, 7.0]), None);
        assert_eq!(
            [answer(&[0.4]), answer(&[0.6]), answer(&[0.1, 0.2, 0.0])],
            [0, 1, 1]
        );
    }
}
