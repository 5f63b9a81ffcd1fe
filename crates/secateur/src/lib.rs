//! Makes trained networks small and fast, and runs them: every crate of the
//! workspace under one name.

pub use secateur_accel as accel;
pub use secateur_compress as compress;
pub use secateur_data as data;
pub use secateur_engine as engine;
pub use secateur_io as io;
pub use secateur_kernels as kernels;
pub use secateur_model as model;
pub use secateur_plan as plan;
pub use secateur_train as train;
