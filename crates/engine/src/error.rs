//! Why a network cannot be run.

use secateur_kernels::KernelError;
use secateur_model::{DType, ModelError};
use secateur_plan::PlanError;

/// What can be wrong with a session, or with what it is given to run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// The graph cannot be planned, or not for these extents.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A reference evaluation failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An option or environment variable has no meaning.
    #[error("{option}: needed {needed}, found `{found}`")]
    Setting {
        /// The option, or the variable that set it.
        option: &'static str,
        /// What it takes.
        needed: String,
        /// What it was.
        found: String,
    },
    /// The processor lacks the instruction set that was asked for.
    #[error(transparent)]
    Isa(KernelError),
    /// A kernel refused its operands: the plan does not fit its buffers.
    #[error("step `{step}`: {source}")]
    Kernel {
        /// The step of the plan.
        step: String,
        /// What the kernel needed.
        source: KernelError,
    },
    /// Outputs are to go to slices, but how long they are hangs on values.
    #[error(
        "node `{node}`: the extents of its outputs hang on values, so the network runs on tensors only"
    )]
    Extents {
        /// The first such node.
        node: String,
    },
    /// A step's buffers overlap or lie outside of the arena.
    #[error("step `{step}`: its buffers overlap or lie outside of the arena")]
    Buffers {
        /// The step of the plan.
        step: String,
    },
    /// An input is missing, is not the network's, or is given twice.
    #[error("input `{name}` {problem}; the network takes {declared}")]
    InputName {
        /// The input.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
        /// The inputs there are.
        declared: String,
    },
    /// An input has another element type than the network declares.
    #[error("input `{name}`: needed elements of type {needed}, found {found}")]
    InputType {
        /// The input.
        name: String,
        /// What the network declares.
        needed: DType,
        /// What was given.
        found: DType,
    },
    /// A slice holds another number of elements than its value.
    #[error("`{name}`: needed {needed} elements, found {found}")]
    Length {
        /// The input or output.
        name: String,
        /// Elements that it has.
        needed: usize,
        /// Elements of the slice.
        found: usize,
    },
    /// The activations of a run do not fit into memory.
    #[error("a run needs {bytes} bytes for activations, which the system does not give")]
    Memory {
        /// Bytes of the arena.
        bytes: usize,
    },
    /// Threads could not be started.
    #[error("{threads} threads could not be started: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}
