//! Where the time of a run goes.

use crate::EngineError;
use crate::run::run_step;
use crate::team::Team;
use secateur_plan::{Choice, Plan};
use std::time::Instant;

/// What one step of a plan costs.
#[derive(Debug, Clone, PartialEq)]
pub struct StepProfile {
    /// The node, or what is prepared for one.
    pub name: String,
    /// The kernel that runs it, and why this one.
    pub choice: Choice,
    /// Median time, in microseconds.
    pub median_us: f64,
    /// The time that the plan foresaw on one thread, in microseconds, where it could.
    pub predicted_us: Option<f64>,
    /// Multiply-accumulates of the dense layer.
    pub macs: u64,
    /// Multiply-accumulates with a weight that is not zero.
    pub nonzero_macs: u64,
    /// Bytes of weights, inputs and outputs.
    pub bytes: u64,
}

/// Times every step of `repeats` runs after one to warm up.
pub fn measure(
    plan: &Plan,
    arena: &mut [u8],
    team: Team<'_>,
    repeats: usize,
    load: &mut impl FnMut(&mut [u8]) -> Result<(), EngineError>,
) -> Result<Vec<StepProfile>, EngineError> {
    let repeats = repeats.max(1);
    let mut times = vec![Vec::with_capacity(repeats + 1); plan.steps.len()];
    for _ in 0..=repeats {
        load(arena)?;
        for (step, times) in plan.steps.iter().zip(&mut times) {
            let start = Instant::now();
            run_step(plan, step, arena, team)?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(plan
        .steps
        .iter()
        .zip(times)
        .map(|(step, mut times)| {
            times.remove(0);
            times.sort_by(f64::total_cmp);
            StepProfile {
                name: step.name.clone(),
                choice: step.choice.clone(),
                median_us: times[times.len() / 2],
                predicted_us: step.predicted_us,
                macs: step.macs,
                nonzero_macs: step.nonzero_macs,
                bytes: step.bytes,
            }
        })
        .collect())
}
