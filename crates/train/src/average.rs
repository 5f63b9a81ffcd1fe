//! An exponential moving average of what is trained.

use crate::TrainError;
use serde::{Deserialize, Serialize};

/// The mean over the latest steps of every trained value (Polyak & Juditsky 1992),
/// older ones counting less. Its memory is short at first, so that a short training is
/// not held back by where it began.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Average {
    decay: f32,
    steps: usize,
    values: Vec<Vec<f32>>,
}

impl Average {
    /// With a decay below 1: about `1 / (1 − decay)` steps are remembered.
    pub fn new(decay: f32) -> Self {
        Self {
            decay,
            steps: 0,
            values: Vec::new(),
        }
    }

    /// Takes a step's values in.
    pub fn follow<'a>(&mut self, values: impl Iterator<Item = &'a mut Vec<f32>>) {
        let early = (1 + self.steps) as f32 / (10 + self.steps) as f32;
        let keep = self.decay.min(early);
        for (index, new) in values.enumerate() {
            match self.values.get_mut(index) {
                Some(old) => old
                    .iter_mut()
                    .zip(new.iter())
                    .for_each(|(o, n)| *o = keep * *o + (1.0 - keep) * n),
                None => self.values.push(new.clone()),
            }
        }
        self.steps += 1;
    }

    /// Whether it may be of these values.
    ///
    /// # Errors
    /// Where it is of others.
    pub fn check<'a>(
        &self,
        values: impl Iterator<Item = &'a mut Vec<f32>>,
    ) -> Result<(), TrainError> {
        match values.map(|v| v.len()).eq(self.values.iter().map(Vec::len)) {
            true => Ok(()),
            false => Err(TrainError::State(
                "its average is of another network".into(),
            )),
        }
    }

    /// Puts the averages in place of the values.
    pub fn put<'a>(self, values: impl Iterator<Item = &'a mut Vec<f32>>) {
        for (value, average) in values.zip(self.values) {
            *value = average;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_values_are_forgotten() {
        let mut average = Average::new(0.9);
        for step in 0..200 {
            let mut values = [vec![if step < 100 { 5.0 } else { 1.0 }]];
            average.follow(values.iter_mut());
        }
        let mut last = [vec![0.0]];
        average.put(last.iter_mut());
        assert!((last[0][0] - 1.0).abs() < 1e-3, "{last:?}");
    }
}
