//! The policy: what each choice for each layer costs, and which choices together cost least.

mod apply;
mod machine;
mod refine;
mod solve;
mod table;

pub use apply::{FULL_BITS, apply, pattern_of};
pub use machine::{LayerTime, Machine, NoMachine, Unknown};
pub use refine::refine;
pub use solve::{Item, solve};
pub(crate) use table::moved;
pub use table::{Measure, Table, VERSION, measure};
