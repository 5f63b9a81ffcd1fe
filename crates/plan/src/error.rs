//! Why a graph cannot be planned.

use secateur_kernels::KernelError;
use secateur_model::ModelError;

/// What can be wrong when a graph is lowered or planned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The graph itself: not well formed, or an operator that cannot be run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A kernel refused a layer's weights.
    #[error("node `{node}`: {source}")]
    Kernel {
        /// The node that was planned.
        node: String,
        /// What the kernel needed.
        source: KernelError,
    },
    /// The graph after a lowering rule is not well formed: the rule is wrong.
    #[error("after the rule `{rule}`: {source}")]
    Rule {
        /// The rule.
        rule: &'static str,
        /// What the check found.
        source: ModelError,
    },
    /// A graph input has no concrete shape, or one that the graph refuses.
    #[error("input `{name}`: needed {needed}, found {found}")]
    Input {
        /// The graph input.
        name: String,
        /// What the graph declares.
        needed: String,
        /// What was given.
        found: String,
    },
    /// Costs of kernels that are no costs.
    #[error("costs: {what}")]
    Costs {
        /// What was needed, and what was found.
        what: String,
    },
    /// The buffers of the plan together do not fit the address space.
    #[error("the plan's buffers do not fit the address space")]
    ArenaOverflow,
}
