//! A training on its way, kept in a file now and then, so that one that is stopped or killed goes on.

use crate::file;
use anyhow::{Context, Result};
use secateur_train::{FitState, Keeper, TrainError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is kept, where the environment does not say.
const EVERY: Duration = Duration::from_secs(60);
const VARIABLE: &str = "SECATEUR_CHECKPOINT_SECONDS";

/// Writing it takes no more than one part of so many of the time.
const PARTS: u32 = 20;

/// What is lost at most where somebody stops the training: less is not worth a file.
const AT_A_STOP: Duration = Duration::from_secs(10);

/// What becomes of a file that is of another training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// An error.
    Refuse,
    /// The training begins anew.
    Anew,
}

/// The file of a training on its way.
pub struct KeptTraining {
    path: PathBuf,
    otherwise: Otherwise,
    every: Duration,
    /// When it was kept last.
    last: Instant,
    /// Whether it cannot be: that is no reason to stop.
    failed: bool,
}

impl KeptTraining {
    /// In this file, which need not be there yet.
    pub fn new(path: PathBuf, otherwise: Otherwise) -> Self {
        Self {
            path,
            otherwise,
            every: every(),
            last: Instant::now(),
            failed: false,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Nobody needs it any more.
    pub fn remove(&self) {
        // That it cannot be removed is no reason to stop.
        let _ = std::fs::remove_file(&self.path);
    }

    /// What is in the file.
    fn read(&self) -> Result<FitState> {
        let place = || self.path.display().to_string();
        let bytes = std::fs::read(&self.path).with_context(place)?;
        FitState::from_bytes(&bytes).with_context(place)
    }
}

impl Keeper for KeptTraining {
    fn resume(&mut self, fingerprint: &[u8; 32]) -> Result<Option<FitState>, TrainError> {
        self.last = Instant::now();
        if !self.exists() {
            return Ok(None);
        }
        match (self.read(), self.otherwise) {
            (Ok(state), _) if state.fingerprint == *fingerprint => Ok(Some(state)),
            (Ok(_), Otherwise::Anew) => Ok(None),
            (Ok(_), Otherwise::Refuse) => Err(TrainError::State(format!(
                "{} is of another one; the same network, data and settings are needed",
                self.path.display()
            ))),
            (Err(error), Otherwise::Anew) => {
                eprintln!("warning: the training within this step begins anew: {error:#}");
                Ok(None)
            }
            (Err(error), Otherwise::Refuse) => Err(TrainError::State(format!("{error:#}"))),
        }
    }

    fn wants(&mut self, stopping: bool) -> bool {
        let after = match stopping {
            true => self.every.min(AT_A_STOP),
            false => self.every,
        };
        !self.failed && self.last.elapsed() >= after
    }

    /// Where that fails, a warning says so, once, and the training goes on.
    fn keep(&mut self, state: &FitState) {
        let begun = Instant::now();
        let written = state.to_bytes().map_err(Into::into);
        if let Err(error) = written.and_then(|bytes| file::write(&self.path, &bytes)) {
            eprintln!("warning: the training is not kept on its way: {error:#}");
            self.failed = true;
        }
        self.every = self.every.max(begun.elapsed() * PARTS);
        self.last = Instant::now();
    }

    fn forget(&mut self) {
        self.remove();
    }
}

fn every() -> Duration {
    let Ok(text) = std::env::var(VARIABLE) else {
        return EVERY;
    };
    match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            eprintln!("warning: {VARIABLE}: a number of seconds is needed, found {text:?}");
            EVERY
        }
    }
}
