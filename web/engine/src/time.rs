//! Where the time of a run goes.

use crate::clock;
use crate::network::Network;
use serde::Serialize;

/// A step of a run.
#[derive(Serialize)]
pub struct Step {
    name: String,
    kernel: String,
    /// Mean of the runs. A browser's clock ticks more slowly than a small layer runs, so that a median
    /// would be a tick or nothing; where a tick falls is chance, so means come out right.
    microseconds: f64,
    macs: u64,
    nonzero_macs: u64,
}

pub fn steps(network: &Network, input: &[u8], runs: usize) -> Result<Vec<Step>, String> {
    let ready = network.ready.as_ref().map_err(Clone::clone)?;
    let (bound, input) = (ready.bound()?, ready.numbers(input)?);
    let plan = bound.plan();
    let mut total = vec![0.0; plan.steps.len()];
    let runs = runs.max(1);
    for _ in 0..runs {
        let mut before = clock::now();
        let mut after = |step: usize| {
            let now = clock::now();
            total[step] += now - before;
            before = now;
        };
        bound
            .watch(&[&input], &mut after)
            .map_err(|e| e.to_string())?;
    }
    let steps = plan.steps.iter().zip(total);
    Ok(steps
        .map(|(step, total)| Step {
            name: step.name.clone(),
            kernel: step.choice.kernel.clone(),
            microseconds: total / runs as f64 * 1e3,
            macs: step.macs,
            nonzero_macs: step.nonzero_macs,
        })
        .collect())
}
