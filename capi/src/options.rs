//! How a session runs.

use crate::Status;
use crate::argument::text;
use crate::failure::Failure;
use secateur_engine::SessionOptions;
use secateur_kernels::KernelError;
use std::ffi::c_char;

/// How a session runs. All zeros, and null instead, leave everything to the environment and the machine.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Threads, the caller's among them; 0: `SECATEUR_THREADS`, else as many as the machine runs at once. Those beside the
    /// caller wait awake for half a millisecond after a run.
    pub threads: u32,
    /// Whether kernels are chosen by what they cost on this machine, which is measured the first time (a tenth of a second)
    /// and kept in the user's cache: positive, yes; negative, no, by typical costs; 0: `SECATEUR_CALIBRATE`, else yes.
    /// A library that was built without `calibrate` goes by typical costs. Results are the same.
    pub calibrate: i32,
    /// The instruction set, such as "avx2" or "generic"; null: `SECATEUR_ISA`, else the best there is. Results are the same.
    pub isa: *const c_char,
}

impl Options {
    /// What the engine is asked for.
    ///
    /// # Safety
    /// The text is null or ends with a zero.
    pub(crate) unsafe fn resolved(options: Option<&Self>) -> Result<SessionOptions, Failure> {
        let Some(options) = options else {
            return Ok(SessionOptions::default());
        };
        let isa = if options.isa.is_null() {
            None
        } else {
            // SAFETY: a text that ends, as the caller promises.
            let token = unsafe { text(options.isa, "isa") }?.to_string_lossy();
            let unknown = |e: KernelError| Failure::new(Status::Argument, e.to_string());
            Some(token.parse().map_err(unknown)?)
        };
        Ok(SessionOptions {
            threads: (options.threads > 0).then_some(options.threads as usize),
            calibrate: (options.calibrate != 0).then_some(options.calibrate > 0),
            isa,
            ..SessionOptions::default()
        })
    }
}
