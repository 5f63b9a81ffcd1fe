//! What can be wrong with a machine or with what it is to run.

/// What can be wrong with a machine or with what it is to run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AccelError {
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
}
