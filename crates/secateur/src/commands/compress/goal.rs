//! What the options ask for.

use crate::args::{Compress, MinimiseArg};
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

/// How the files of a search are coded.
pub fn store(goal: &Goal) -> StoreSetting {
    match goal.minimise {
        Objective::Bytes => StoreSetting::Smallest,
        Objective::Latency | Objective::Energy => StoreSetting::Small,
    }
}
