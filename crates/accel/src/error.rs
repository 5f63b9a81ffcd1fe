//! What can be wrong with a machine or with what it is to run.

use secateur_plan::PlanError;

/// What can be wrong with a machine or with what it is to run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AccelError {
    /// A file that is no machine or no nest: unknown keys, missing ones, wrong types.
    #[error("{name}: {reason}")]
    File {
        /// The name of what it holds, or of the file.
        name: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// A machine that cannot be built.
    #[error("machine: {setting}: needed {needed}, found {found}")]
    Machine {
        /// The setting's name.
        setting: &'static str,
        /// What it may be.
        needed: String,
        /// What was given.
        found: String,
    },
    /// A nest of loops that cannot be.
    #[error("{place}: {setting}: needed {needed}, found {found}")]
    Nest {
        /// The level's name, or which other part.
        place: String,
        /// The setting's name.
        setting: &'static str,
        /// What it may be.
        needed: String,
        /// What was given.
        found: String,
    },
    /// A layer that does not fit, however it is tiled.
    #[error("layer `{layer}`: {what} needs {needed_bytes} bytes at least, {setting} has {bytes}")]
    TileTooLarge {
        /// The layer.
        layer: String,
        /// The operand.
        what: &'static str,
        /// Bytes that it cannot do without.
        needed_bytes: usize,
        /// The memory's name in the machine's file.
        setting: &'static str,
        /// What there is of it.
        bytes: usize,
    },
    /// Operands that do not belong together.
    #[error("{what}: needed {needed}, found {found}")]
    Operands {
        /// Which.
        what: &'static str,
        /// What was needed.
        needed: String,
        /// What was there.
        found: String,
    },
    /// The network itself.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl AccelError {
    /// Whether a count of a machine is one that can be built.
    pub(crate) fn within(
        setting: &'static str,
        found: usize,
        may: std::ops::RangeInclusive<usize>,
    ) -> Result<(), Self> {
        match may.contains(&found) {
            true => Ok(()),
            false => Err(Self::Machine {
                setting,
                needed: format!("{} to {}", may.start(), may.end()),
                found: found.to_string(),
            }),
        }
    }
}
