//! The nouns of Secateur: tensors, graphs, operators, weights, and for every
//! operator its attributes, its shape rule and a slow reference evaluation.
//!
//! Invariant: no I/O, no threads, no `unsafe`. Every other crate takes its
//! truth from here: a kernel, a simulator or an exported file is right when it
//! agrees with [`eval`](fn@eval).

pub mod bitmask;
pub mod control;
pub mod detection;
pub mod dtype;
pub mod error;
pub mod eval;
pub mod family;
pub mod graph;
pub mod infer;
pub mod op;
pub mod ops;
pub mod quant;
pub mod shape;
pub mod tensor;
pub mod weight;
pub mod zoo;

pub use bitmask::Bitmask;
pub use control::{Control, Flow, Turns};
pub use dtype::DType;
pub use error::ModelError;
pub use eval::eval;
pub use family::{Activation, Binary, Extreme, Family, LossReduction, Math, Reduction, Variadic};
pub use graph::{Constant, Dim, Graph, Node, ValueInfo};
pub use infer::infer;
pub use op::{Attention, AutoPad, Op, PadMode, Scores, UnknownOp, Window};
pub use ops::{CosineWindow, ScatterReduction};
pub use shape::Shape;
pub use tensor::{Data, Tensor};
pub use weight::{Codebook, Scale, Support, Values, Weight};
