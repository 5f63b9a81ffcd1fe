//! One error type for the crate; every message names the place, what was
//! needed and what was there.

use crate::{DType, Shape};

/// What can be wrong with a tensor, a weight or a graph.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// A shape's element count does not fit the address space.
    #[error("shape {shape:?} has more elements than can be addressed")]
    ShapeOverflow {
        /// The dimensions as they were given.
        shape: Vec<usize>,
    },
    /// A buffer does not hold as many elements as its shape says.
    #[error("shape {shape} needs {needed} elements, {found} were given")]
    Length {
        /// The shape that was declared.
        shape: Shape,
        /// Elements that the shape needs.
        needed: usize,
        /// Elements that were given.
        found: usize,
    },
    /// A tensor holds another element type than the operation takes.
    #[error("{what} needs elements of type {needed}, found {found}")]
    Type {
        /// The operation or value.
        what: String,
        /// The type it needs.
        needed: DType,
        /// The type that was there.
        found: DType,
    },
    /// A weight's parts contradict each other.
    #[error("weight: {0}")]
    Weight(String),
    /// A node of a graph cannot be what it says.
    #[error("node `{node}` ({op}): {reason}")]
    Node {
        /// The node's name.
        node: String,
        /// The operator's name.
        op: String,
        /// What was needed and what was there.
        reason: String,
    },
    /// An operator, attribute or type that Secateur carries but cannot run.
    #[error("node `{node}`: {op} is not supported: {reason}")]
    Unsupported {
        /// The node's name.
        node: String,
        /// The operator's name.
        op: String,
        /// The attribute or property that is not supported.
        reason: String,
    },
    /// The extents of what a node gives hang on a value that is not known.
    #[error("node `{node}`: {op} takes its shape from input {input}, which is not a constant")]
    ValueNeeded {
        /// The node's name.
        node: String,
        /// The operator's name.
        op: String,
        /// The input.
        input: usize,
    },
    /// The graph as a whole is not well formed.
    #[error("graph: {0}")]
    Graph(String),
    /// An input given to an evaluation is not what the graph declares.
    #[error("input `{name}`: needed {needed}, found {found}")]
    Input {
        /// The graph input.
        name: String,
        /// What the graph declares.
        needed: String,
        /// What was given.
        found: String,
    },
}

impl ModelError {
    /// An error at a node, with a reason made of what was needed and found.
    pub fn at(node: &crate::Node, reason: impl Into<String>) -> Self {
        Self::Node {
            node: node.name.clone(),
            op: node.op.name().to_owned(),
            reason: reason.into(),
        }
    }

    /// "Not supported" at a node, naming the attribute or property.
    pub fn unsupported(node: &crate::Node, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            node: node.name.clone(),
            op: node.op.name().to_owned(),
            reason: reason.into(),
        }
    }
}
