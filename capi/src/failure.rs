//! Why a call failed: its status, and words for whoever asks.

use crate::Status;
use secateur_engine::EngineError;
use secateur_io::IoError;
use secateur_model::ModelError;
use secateur_plan::PlanError;
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// The words of this thread's latest failure.
    static LATEST: RefCell<CString> = RefCell::default();
}

/// Why the latest call of this thread that failed did so; empty if none did. The library owns the text, which stays
/// until the next call that fails on this thread, or the thread's end. A call that succeeds leaves it.
#[unsafe(no_mangle)]
pub extern "C" fn secateur_last_error() -> *const c_char {
    // A thread that is ending may have lost it already.
    LATEST
        .try_with(|latest| latest.borrow().as_ptr())
        .unwrap_or(c"".as_ptr())
}

/// A status with its words.
#[derive(Debug)]
pub struct Failure {
    status: Status,
    words: String,
}

impl Failure {
    pub fn new(status: Status, words: impl Into<String>) -> Self {
        let words = words.into();
        Self { status, words }
    }

    /// A session that cannot be had: unless something else is to blame, the network is.
    pub fn of_opening(error: EngineError) -> Self {
        Self::new(status(&error, Status::Malformed), error.to_string())
    }

    /// A run that failed: unless something else is to blame, the inputs are.
    pub fn of_running(error: EngineError) -> Self {
        Self::new(status(&error, Status::Input), error.to_string())
    }
}

impl From<IoError> for Failure {
    fn from(error: IoError) -> Self {
        let status = match error {
            IoError::File { .. } => Status::File,
            IoError::Unsupported { .. } => Status::Unsupported,
            _ => Status::Malformed,
        };
        Self::new(status, error.to_string())
    }
}

/// Which status an error is, where a graph that is not well formed has that of `blamed`.
fn status(error: &EngineError, blamed: Status) -> Status {
    match error {
        EngineError::Plan(PlanError::Model(model)) | EngineError::Model(model) => match model {
            ModelError::Unsupported { .. } => Status::Unsupported,
            _ => blamed,
        },
        EngineError::Plan(PlanError::Kernel { .. } | PlanError::Rule { .. })
        | EngineError::Kernel { .. }
        | EngineError::Buffers { .. } => Status::Internal,
        EngineError::Setting { .. } | EngineError::Isa(_) => Status::Argument,
        EngineError::Plan(PlanError::ArenaOverflow)
        | EngineError::Memory { .. }
        | EngineError::Threads { .. } => Status::Resources,
        _ => blamed,
    }
}

/// Does the work of a call: what fails, and what panics, becomes a status, and its words are kept.
///
/// Sessions stay whole when a run panics: they hold nothing half-changed behind their locks, which they take in any
/// case. Where panics abort (`panic = "abort"`), they end the process as C's own `abort` does.
pub fn guard(work: impl FnOnce() -> Result<(), Failure>) -> Status {
    let failure = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return Status::Ok,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::new(Status::Internal, said(&*panic)),
    };
    let words = CString::new(failure.words.replace('\0', "\\0")).unwrap_or_default();
    // A thread that is ending has nobody left to ask.
    let _ = LATEST.try_with(|latest| latest.replace(words));
    failure.status
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a defect: {}", text.unwrap_or("no words"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn latest() -> String {
        // SAFETY: a text that ends, and stays while no other call fails.
        let text = unsafe { CStr::from_ptr(secateur_last_error()) };
        text.to_str().unwrap().to_owned()
    }

    #[test]
    fn failures_and_panics_are_statuses_with_words() {
        assert_eq!(latest(), "");
        let fails = || Err(Failure::new(Status::Input, "no \0 input"));
        assert_eq!(guard(fails), Status::Input);
        assert_eq!(latest(), "no \\0 input");
        assert_eq!(guard(|| Ok(())), Status::Ok);
        assert_eq!(latest(), "no \\0 input");
        assert_eq!(guard(|| panic!("on {}", "purpose")), Status::Internal);
        assert_eq!(latest(), "a defect: on purpose");
        let elsewhere = std::thread::spawn(latest).join().unwrap();
        assert_eq!(elsewhere, "");
    }
}
