//! Step sizes that are learned beside the weights (LSQ: Esser et al. 2020).

use crate::optimiser::{Optimiser, Pace};
use serde::{Deserialize, Serialize};

/// Steps of a quantizer while they are trained.
///
/// What moves is each step's ratio to where it started, which is the paper's rule
/// under gradient descent; under Adam, whose moves do not follow the gradient's size, a
/// step then changes by a share of itself, as it should.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Steps {
    start: Vec<f32>,
    pub ratios: Vec<f32>,
    moments: [Vec<f32>; 2],
    /// What a step's gradient is multiplied by: `1 / √(members · largest code)`.
    factors: Vec<f32>,
}

/// Ratios beyond which a step does not go: it stays positive, and finite.
const RATIOS: std::ops::RangeInclusive<f32> = 1.0 / 64.0..=64.0;

impl Steps {
    pub fn new(start: Vec<f32>, factors: Vec<f32>) -> Self {
        let zeros = vec![0.0; start.len()];
        Self {
            ratios: vec![1.0; start.len()],
            moments: [zeros.clone(), zeros],
            factors,
            start,
        }
    }

    /// Whether these are as many as others.
    pub fn fits(&self, other: &Self) -> bool {
        let len = |steps: &Self| {
            let [first, second] = &steps.moments;
            [&steps.start, &steps.ratios, first, second, &steps.factors].map(Vec::len)
        };
        len(self) == len(other)
    }

    /// The steps as they stand.
    pub fn values(&self) -> Vec<f32> {
        let steps = self.start.iter().zip(&self.ratios);
        let value = |(start, ratio): (&f32, &f32)| match start * ratio {
            tiny if tiny < f32::MIN_POSITIVE => f32::MIN_POSITIVE,
            step => step,
        };
        steps.map(value).collect()
    }

    /// Moves the steps against their gradient; weight decay does not apply.
    pub fn descend(&mut self, mut gradient: Vec<f32>, optimiser: &Optimiser, pace: Pace) {
        let scales = self.factors.iter().zip(&self.start);
        for (g, (factor, start)) in gradient.iter_mut().zip(scales) {
            *g *= factor / start;
        }
        let pace = Pace { decay: 0.0, ..pace };
        let [first, second] = &mut self.moments;
        optimiser.step(&mut self.ratios, [first, second], &gradient, pace);
        let [low, high] = [*RATIOS.start(), *RATIOS.end()];
        self.ratios.iter_mut().for_each(|r| *r = r.clamp(low, high));
    }
}

/// What a step's gradient is multiplied by, so that it moves about as fast,
/// relative to its size, as the `members` values that it rounds.
pub(crate) fn gradient_factor(members: usize, largest_code: f32) -> f32 {
    (members.max(1) as f32 * largest_code.max(1.0))
        .sqrt()
        .recip()
}

/// Where a step starts: `2 · mean|v| / √largest code`; none for zeros alone.
pub(crate) fn first_step(magnitudes: f64, members: usize, largest_code: f32) -> Option<f32> {
    let mean = magnitudes / members.max(1) as f64;
    let step = (2.0 * mean / f64::from(largest_code).sqrt()) as f32;
    (step.is_finite() && step >= f32::MIN_POSITIVE).then_some(step)
}

/// Derivative of the rounded value by its step where `ratio = value / step` and
/// `code` is what became of it: `code − ratio` within the range, the code that it
/// saturates to outside.
pub(crate) fn step_slope(ratio: f32, code: f32, [low, high]: [f32; 2]) -> f32 {
    match (low..=high).contains(&ratio) {
        true => code - ratio,
        false => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_descent_on_ratios_is_the_papers_rule() {
        let plain = Optimiser::Sgd {
            momentum: 0.0,
            nesterov: false,
        };
        let pace = Pace {
            rate: 0.1,
            decay: 1.0,
            step: 1,
        };
        let factor = gradient_factor(50, 2.0);
        assert_eq!(factor, 0.1);
        let mut steps = Steps::new(vec![0.5, 0.25], vec![factor; 2]);
        steps.descend(vec![2.0, -1.0], &plain, pace);
        for (found, want) in steps.values().iter().zip([0.5 - 0.02, 0.25 + 0.01]) {
            assert!((found - want).abs() < 1e-6, "{found} for {want}");
        }
    }

    #[test]
    fn a_step_stays_positive() {
        let pace = Pace {
            rate: 1e9,
            decay: 0.0,
            step: 1,
        };
        let mut steps = Steps::new(vec![0.5], vec![1.0]);
        steps.descend(vec![1.0], &Optimiser::default(), pace);
        assert_eq!(steps.values(), [0.5 / 64.0]);
        assert_eq!(first_step(0.0, 5, 7.0), None);
        assert_eq!(first_step(8.0, 4, 16.0), Some(1.0));
    }
}
