//! Errors as Python's own, with the text of Rust's.

use pyo3::PyErr;
use pyo3::exceptions::{
    PyFileNotFoundError, PyOSError, PyPermissionError, PyRuntimeError, PyTypeError, PyValueError,
};
use secateur::CommandError;
use secateur::engine::EngineError;
use secateur::io::IoError;
use std::io::ErrorKind;

/// A file that is not there, or one that holds no network.
pub fn of_file(error: &IoError) -> PyErr {
    let text = error.to_string();
    match error {
        IoError::File { source, .. } => of_kind(source.kind(), text),
        _ => PyValueError::new_err(text),
    }
}

/// What the system said.
fn of_kind(kind: ErrorKind, text: String) -> PyErr {
    match kind {
        ErrorKind::NotFound => PyFileNotFoundError::new_err(text),
        ErrorKind::PermissionDenied => PyPermissionError::new_err(text),
        _ => PyOSError::new_err(text),
    }
}

/// A network that cannot be run, or not on what it was given.
pub fn of_engine(error: &EngineError) -> PyErr {
    let text = error.to_string();
    match error {
        EngineError::InputType { .. } => PyTypeError::new_err(text),
        EngineError::Kernel { .. } | EngineError::Buffers { .. } | EngineError::Threads { .. } => {
            PyRuntimeError::new_err(text)
        }
        _ => PyValueError::new_err(text),
    }
}

/// A command that was not carried out.
pub fn of_command(error: CommandError) -> PyErr {
    match error {
        CommandError::File { kind, text } => of_kind(kind, text),
        CommandError::Usage(text) | CommandError::Input(text) => PyValueError::new_err(text),
        CommandError::Failed(text) => PyRuntimeError::new_err(text),
    }
}
