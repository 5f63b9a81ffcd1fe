//! How the learning rate changes over a training.

/// The factor on the learning rate from the first step to the last.
///
/// ```
/// use secateur_train::{Curve, Schedule};
/// let rewound = Schedule { rewind: 0.5, ..Curve::Cosine.into() };
/// assert_eq!(rewound.factor(0.0), Schedule::from(Curve::Cosine).factor(0.5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Schedule {
    /// The whole course.
    pub curve: Curve,
    /// Share of the training over which the rate rises from nothing to the curve.
    pub warmup: f32,
    /// Share of the course that is taken as gone by, so that retraining repeats
    /// the end of the original one: learning-rate rewinding (Renda et al. 2020).
    pub rewind: f32,
}

/// The course of a learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Curve {
    /// It stays.
    Constant,
    /// From the full rate to nothing along half a cosine (Loshchilov & Hutter 2017).
    #[default]
    Cosine,
    /// Up along a line for the first quarter, then down to nothing along another
    /// (Smith 2018).
    OneCycle,
    /// Times `factor` at each of the training's equal parts.
    Step {
        /// Number of equal parts.
        parts: usize,
        /// Factor from part to part.
        factor: f32,
    },
}

/// Share of a cycle after which its rate is highest.
const PEAK: f32 = 0.25;

impl From<Curve> for Schedule {
    fn from(curve: Curve) -> Self {
        Self {
            curve,
            warmup: 0.0,
            rewind: 0.0,
        }
    }
}

impl Schedule {
    /// The factor on the learning rate at `done` (0 to 1) of the training.
    pub fn factor(&self, done: f32) -> f32 {
        let done = done.clamp(0.0, 1.0);
        let rewind = self.rewind.clamp(0.0, 1.0);
        let warm = match done < self.warmup {
            true => done / self.warmup,
            false => 1.0,
        };
        warm * self.curve.factor(rewind + (1.0 - rewind) * done)
    }
}

impl Curve {
    fn factor(self, done: f32) -> f32 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine => 0.5 * (1.0 + (std::f32::consts::PI * done).cos()),
            Self::OneCycle if done < PEAK => done / PEAK,
            Self::OneCycle => (1.0 - done) / (1.0 - PEAK),
            Self::Step { parts, factor } => factor.powi((done * parts as f32) as i32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewinding_repeats_the_end_of_the_course() {
        for curve in [Curve::Cosine, Curve::OneCycle, Curve::Constant] {
            let whole = Schedule::from(curve);
            let rewound = Schedule {
                rewind: 0.7,
                ..whole
            };
            for done in [0.0, 0.3, 1.0] {
                let same = whole.factor(0.7 + 0.3 * done);
                assert!((rewound.factor(done) - same).abs() < 1e-6);
            }
        }
        let cosine = 0.5 * (1.0 + (0.7 * std::f32::consts::PI).cos());
        let rewound = Schedule {
            rewind: 0.7,
            ..Schedule::default()
        };
        assert!((rewound.factor(0.0) - cosine).abs() < 1e-6);
    }

    #[test]
    fn rates_rise_and_fall_where_they_should() {
        let cycle = Schedule::from(Curve::OneCycle);
        assert_eq!(cycle.factor(0.0), 0.0);
        assert_eq!(cycle.factor(PEAK), 1.0);
        assert_eq!(cycle.factor(1.0), 0.0);
        let warm = Schedule {
            warmup: 0.1,
            ..Curve::Constant.into()
        };
        assert_eq!(warm.factor(0.05), 0.5);
        assert_eq!(warm.factor(0.5), 1.0);
        let parts = Schedule::from(Curve::Step {
            parts: 4,
            factor: 0.5,
        });
        assert_eq!([0.0, 0.3, 0.9].map(|d| parts.factor(d)), [1.0, 0.5, 0.125]);
    }
}
