//! The command, called as a function and as a program.

use crate::errors::of_command;
use pyo3::prelude::*;
use secateur::Event;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

/// Carries out a command and gives its result as JSON. Lines and progress go to functions; what
/// these raise, and Ctrl-C, stops the work and is raised again.
#[pyfunction]
pub fn command(
    py: Python<'_>,
    arguments: Vec<String>,
    line: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let raised = Arc::new(Mutex::new(None));
    let keep = raised.clone();
    let watch = move |event: Event<'_>| {
        let told = Python::attach(|py| {
            match (event, &line, &progress) {
                (Event::Line(text), Some(line), _) => drop(line.call1(py, (text,))?),
                (Event::Progress(p), _, Some(progress)) => {
                    drop(progress.call1(py, (p.what, p.done, p.total, p.note))?);
                }
                _ => {}
            }
            py.check_signals()
        });
        match told {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                let mut first = keep.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(error);
                ControlFlow::Break(())
            }
        }
    };
    let result = py.detach(|| secateur::command(arguments, watch));
    let raised = raised.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (raised, result) {
        (Some(error), _) => Err(error),
        (None, Ok(value)) => Ok(value.to_string()),
        (None, Err(error)) => Err(of_command(error)),
    }
}

/// The command line, as in a shell: prints, and gives the exit status.
#[pyfunction]
pub fn main(py: Python<'_>, arguments: Vec<String>) -> u8 {
    py.detach(|| secateur::main(arguments))
}
