//! Ctrl-C: long work stops at its next step, and files are written whole or not at all.

use anyhow::{Result, bail};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

static ASKED: AtomicBool = AtomicBool::new(false);
static AT_ONCE: AtomicBool = AtomicBool::new(false);
static WRITING: Mutex<()> = Mutex::new(());

/// Listens for Ctrl-C and termination. The first asks the work to stop; the
/// second ends the program, though not in the middle of a file; so does the first where [no one looks](at_once).
pub fn listen() {
    let ask = || {
        if ASKED.swap(true, Ordering::Relaxed) || AT_ONCE.load(Ordering::Relaxed) {
            let _whole = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
            std::process::exit(1);
        }
        eprintln!("\nstopping; again to stop at once");
    };
    if let Err(error) = ctrlc::set_handler(ask) {
        eprintln!("warning: Ctrl-C ends the program at once: {error}");
    }
}

/// From now on work is under way that does not look whether it was asked to stop, and leaves nothing behind.
pub fn at_once() {
    AT_ONCE.store(true, Ordering::Relaxed);
}

/// Whether the work goes on.
pub fn go_on() -> ControlFlow<()> {
    match asked() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// Whether the work was asked to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// An error where the work was asked to stop.
pub fn check() -> Result<()> {
    match asked() {
        true => bail!("stopped"),
        false => Ok(()),
    }
}

/// Writes a file; nothing ends the program until it is there under its name.
pub fn whole<T>(write: impl FnOnce() -> T) -> T {
    let _whole = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    write()
}
