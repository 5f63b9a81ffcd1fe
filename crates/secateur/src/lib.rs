//! Makes trained networks small and fast, and runs them: every crate of the
//! workspace under one name, and the command for programs that carry it along.

mod agreement;
mod args;
mod classifier;
mod clock;
mod commands;
mod detector;
mod file;
mod host;
mod interrupt;
mod kept_training;
mod machine;
mod modelled;
mod network;
mod out;
mod parse;
mod picture;
mod progress;
mod recipe;
mod report;
mod roofline;
mod run_folder;
mod samples;
mod score;
mod sweep;
mod units;

pub use host::{CommandError, Event, Progress, command, main};
pub use recipe::recipe;
pub use secateur_accel as accel;
pub use secateur_compress as compress;
pub use secateur_data as data;
pub use secateur_engine as engine;
pub use secateur_io as io;
pub use secateur_kernels as kernels;
pub use secateur_model as model;
pub use secateur_plan as plan;
pub use secateur_train as train;
