//! What a search is after.

use super::Side;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What shall be small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Bytes of the file.
    Bytes,
    /// Milliseconds of one sample.
    Latency,
    /// Picojoules of one sample.
    Energy,
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// The validation error rises by at most so many percentage points; the objective as far down as that allows.
    MaxDrop(f64),
    /// The objective is at most so much (bytes, milliseconds, picojoules); the error as low as that allows.
    MaxCost(f64),
}

/// A target: what shall be small, and what must hold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// What shall be small.
    pub minimise: Objective,
    /// What must hold.
    pub limit: Limit,
}

/// A network that was tried, in figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// Bytes of its file.
    pub bytes: u64,
    /// Error on the validation samples, in percent.
    pub error_percent: f64,
    /// Loss on them.
    pub loss: f64,
    /// Time of one sample, where the machine knows it.
    pub milliseconds: Option<f64>,
    /// Energy of one sample, where the machine knows it.
    pub picojoules: Option<f64>,
    /// Time that trying it took.
    pub seconds: f64,
}

impl Goal {
    /// The figure that shall be small: infinite where it is not known.
    pub fn cost(&self, tried: &Tried) -> f64 {
        match self.minimise {
            Objective::Bytes => tried.bytes as f64,
            Objective::Latency => tried.milliseconds.unwrap_or(f64::INFINITY),
            Objective::Energy => tried.picojoules.unwrap_or(f64::INFINITY),
        }
    }

    /// Whether the limit is kept.
    pub fn holds(&self, dense: &Tried, tried: &Tried) -> bool {
        match self.limit {
            // A hair for the rounding of percentages.
            Limit::MaxDrop(points) => tried.error_percent <= dense.error_percent + points + 1e-9,
            Limit::MaxCost(most) => self.cost(tried) <= most,
        }
    }

    /// On which side of the edge a network lies: what can go further, or went too far.
    pub(super) fn side(&self, dense: &Tried, tried: &Tried) -> Side {
        match (self.limit, self.holds(dense, tried)) {
            (Limit::MaxDrop(_), true) | (Limit::MaxCost(_), false) => Side::Near,
            _ => Side::Far,
        }
    }

    /// Whether `a` is preferred to `b`: what keeps the limit, then what the limit is not about;
    /// where none keeps it, what comes closer.
    pub fn prefers(&self, dense: &Tried, a: &Tried, b: &Tried) -> bool {
        let error = |t: &Tried| [t.error_percent, t.loss, self.cost(t)];
        let cost = |t: &Tried| [self.cost(t), t.error_percent, t.loss];
        let less = |x: [f64; 3], y: [f64; 3]| x.partial_cmp(&y).is_some_and(|o| o.is_lt());
        match (self.holds(dense, a), self.holds(dense, b), self.limit) {
            (true, false, _) => true,
            (false, true, _) => false,
            (true, true, Limit::MaxDrop(_)) | (false, false, Limit::MaxCost(_)) => {
                less(cost(a), cost(b))
            }
            (true, true, Limit::MaxCost(_)) | (false, false, Limit::MaxDrop(_)) => {
                less(error(a), error(b))
            }
        }
    }

    /// How far a network is from keeping the limit, in words.
    pub fn shortfall(&self, dense: &Tried, tried: &Tried) -> String {
        match self.limit {
            Limit::MaxDrop(points) => format!(
                "the closest loses {:.2} points, {points:.2} are allowed",
                tried.error_percent - dense.error_percent
            ),
            Limit::MaxCost(most) => format!(
                "the closest takes {}, {} are allowed",
                self.minimise.show(self.cost(tried)),
                self.minimise.show(most)
            ),
        }
    }
}

impl Objective {
    /// An amount with its unit.
    pub fn show(self, amount: f64) -> String {
        match self {
            Self::Bytes => format!("{amount:.0} bytes"),
            Self::Latency => format!("{amount:.4} ms"),
            Self::Energy => format!("{amount:.0} pJ"),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.minimise {
            Objective::Bytes => "bytes",
            Objective::Latency => "latency",
            Objective::Energy => "energy",
        };
        match self.limit {
            Limit::MaxDrop(points) => write!(
                f,
                "least {what} with at most {points} points more error on the validation samples"
            ),
            Limit::MaxCost(most) => write!(f, "least error within {}", self.minimise.show(most)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(bytes: u64, error_percent: f64) -> Tried {
        Tried {
            bytes,
            error_percent,
            loss: error_percent,
            milliseconds: None,
            picojoules: None,
            seconds: 0.0,
        }
    }

    #[test]
    fn what_is_preferred_follows_the_goal() {
        let dense = tried(1000, 2.0);
        let drop = Goal {
            minimise: Objective::Bytes,
            limit: Limit::MaxDrop(0.5),
        };
        let (small, tiny, good) = (tried(50, 2.5), tried(20, 2.6), tried(90, 1.9));
        assert!(drop.prefers(&dense, &small, &good) && drop.prefers(&dense, &good, &tiny));
        assert_eq!(drop.side(&dense, &small), Side::Near);
        assert_eq!(drop.side(&dense, &tiny), Side::Far);
        let size = Goal {
            minimise: Objective::Bytes,
            limit: Limit::MaxCost(60.0),
        };
        assert!(size.prefers(&dense, &small, &tiny) && size.prefers(&dense, &tiny, &good));
        assert_eq!(size.side(&dense, &good), Side::Near);
        assert!(drop.shortfall(&dense, &tiny).contains("0.60 points, 0.50"));
        assert!(size.shortfall(&dense, &good).contains("90 bytes, 60 bytes"));
    }

    #[test]
    fn without_a_machine_nothing_is_within_milliseconds() {
        let goal = Goal {
            minimise: Objective::Latency,
            limit: Limit::MaxCost(5.0),
        };
        assert!(!goal.holds(&tried(1, 1.0), &tried(1, 1.0)));
    }
}
