//! Object detection: boxes, what a detector's output means, and how well it finds.
//!
//! Pure functions, which training and the command share. A detector's output is one value
//! `[batch, cells, classes + 4]`; its [`Head`], kept in the graph's metadata, says what that means.

mod boxes;
mod head;
mod precision;
mod suppress;

pub use boxes::{BBox, Detection, Object};
pub use head::{Cell, Head, Level};
pub use precision::{ClassPrecision, Precision};
pub use suppress::suppress;

/// Detections with a lower score are not looked at where a detector is scored.
pub const LEAST_SCORE: f32 = 0.01;

/// An object is met by a detection that overlaps it by so much (intersection over union), as in VOC.
pub const MET_OVERLAP: f32 = 0.5;
