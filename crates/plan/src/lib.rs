//! From a graph to a plan: lowering rules, the choice of a format for every
//! layer, and a static arena for all activations.
//!
//! [`Planner::new`] lowers a graph once ([`lower`]): it folds what is known,
//! fuses bias and activation, and turns QDQ patterns into integer layers.
//! [`Planner::plan`] then lays a [`Plan`] out for concrete input shapes. A plan
//! says everything: kernels, packed weights, layouts, offsets, and why.
//!
//! Invariant: a plan gives the bits of [`Draft::evaluate`](draft::Draft), the
//! slow reference evaluation of the lowered graph, but for functions and sums
//! that are no single rounding of f32 (exponentials, Softmax, normalizations,
//! reductions, products of two computed matrices, resizing, recurrent states), which come within 1e-5 of
//! their range. Between the lowered graph
//! and the graph that was given, f32 differs by the folding of normalization
//! and integers by at most one unit, as between any two integer runtimes.

mod branches;
mod build;
mod choice;
mod cost;
pub mod draft;
mod error;
mod geometry;
mod integer;
mod integer_layer;
mod layer;
pub mod lower;
pub mod memory;
pub mod packed;
mod plan;
mod planner;
mod reference;
mod weights;

pub use cost::{Costs, KernelCost, Level, Load, TileCost};
pub use error::PlanError;
pub use integer::Integers;
pub use integer_layer::IntegerLayer;
pub use plan::{
    Action, Addend, BLOCK, Buffer, Choice, Layout, Operand, Operands, Plan, Port, Product,
    Recurrent, Refused, Step, Tail,
};
pub use planner::Planner;
