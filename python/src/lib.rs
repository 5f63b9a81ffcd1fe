//! The Python package's native part: sessions on NumPy arrays, and the command.
//!
//! What a user sees beside these is written in Python, in `secateur/`.

mod command;
mod errors;
mod files;
mod session;
mod tensors;

use pyo3::prelude::*;

/// `secateur._secateur`.
#[pymodule]
mod _secateur {
    #[pymodule_export]
    use super::command::{command, main};
    #[pymodule_export]
    use super::files::{pack, recipe};
    #[pymodule_export]
    use super::session::{NodeArg, Session};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
