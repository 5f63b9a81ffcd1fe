//! What the options ask for.

use crate::args::{Compress, MinimiseArg};
use crate::commands::machines;
use anyhow::{Result, bail};
use secateur_accel::Machine;
use secateur_compress::recipe::StoreSetting;
use secateur_compress::search::{Goal, Limit, Objective};

/// The goal of a search.
pub fn goal(args: &Compress) -> Goal {
    let objective = match (args.minimise, args.max_ms) {
        (Some(MinimiseArg::Latency), _) | (None, Some(_)) => Objective::Latency,
        (Some(MinimiseArg::Energy), _) => Objective::Energy,
        (Some(MinimiseArg::Bytes) | None, _) => Objective::Bytes,
    };
    match (args.max_bytes, args.max_ms) {
        (Some(bytes), _) => Goal {
            minimise: Objective::Bytes,
            limit: Limit::MaxCost(bytes as f64),
        },
        (None, Some(ms)) => Goal {
            minimise: Objective::Latency,
            limit: Limit::MaxCost(ms.into()),
        },
        (None, None) => Goal {
            minimise: objective,
            limit: Limit::MaxDrop(args.max_drop.unwrap_or(0.0).into()),
        },
    }
}

/// The machine whose energy counts, where energy shall be small.
pub fn machine(args: &Compress, goal: &Goal) -> Result<Option<Machine>> {
    match (goal.minimise, &args.machine) {
        (Objective::Energy, named) => {
            machines::find(named.as_deref().unwrap_or("secateur-1tops")).map(Some)
        }
        (Objective::Bytes | Objective::Latency, None) => Ok(None),
        (Objective::Bytes | Objective::Latency, Some(_)) => {
            bail!("--machine says whose energy counts: it goes with --minimise energy")
        }
    }
}

/// How the files of a search are coded.
pub fn store(goal: &Goal) -> StoreSetting {
    match goal.minimise {
        Objective::Bytes => StoreSetting::Smallest,
        Objective::Latency | Objective::Energy => StoreSetting::Small,
    }
}
