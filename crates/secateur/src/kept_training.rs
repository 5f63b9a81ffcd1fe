//! A training on its way, kept in a file now and then, so that one that is stopped or killed goes on.

use crate::file;
use anyhow::{Context, Result, bail};
use secateur_train::FitState;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is kept, where the environment does not say.
const EVERY: Duration = Duration::from_secs(60);
const VARIABLE: &str = "SECATEUR_CHECKPOINT_SECONDS";

/// What is lost at most where somebody stops the training: less is not worth a file.
const AT_A_STOP: Duration = Duration::from_secs(10);

/// The file of a training on its way.
pub struct KeptTraining {
    path: PathBuf,
    every: Duration,
    /// When it was kept last.
    last: Instant,
    /// Whether it cannot be: that is no reason to stop.
    failed: bool,
}

impl KeptTraining {
    /// In this file, which need not be there yet.
    pub fn new(path: PathBuf) -> Self {
        let seconds = std::env::var(VARIABLE).ok();
        let seconds = seconds.and_then(|text| text.trim().parse().ok());
        Self {
            path,
            every: seconds.map_or(EVERY, Duration::from_secs),
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

    /// What is in the file.
    pub fn read(&self) -> Result<FitState> {
        let place = || self.path.display().to_string();
        let bytes = std::fs::read(&self.path).with_context(place)?;
        FitState::from_bytes(&bytes).with_context(place)
    }

    /// What is in the file, where it is of this training.
    pub fn of(&self, training: u64) -> Result<FitState> {
        let state = self.read()?;
        match state.training == training {
            true => Ok(state),
            false => bail!(
                "{}: it is of another training; the same network, data and settings are needed",
                self.path.display()
            ),
        }
    }

    /// Whether it is time to write it.
    pub fn is_due(&self, stopping: bool) -> bool {
        let after = match stopping {
            true => self.every.min(AT_A_STOP),
            false => self.every,
        };
        !self.failed && self.last.elapsed() >= after
    }

    /// Writes it. Where that fails, a warning says so, once, and the training goes on.
    pub fn write(&mut self, state: &FitState) {
        let written = state.to_bytes().map_err(Into::into);
        if let Err(error) = written.and_then(|bytes| file::write(&self.path, &bytes)) {
            eprintln!("warning: the training is not kept on its way: {error:#}");
            self.failed = true;
        }
        self.last = Instant::now();
    }

    /// Nobody needs it any more.
    pub fn remove(&self) {
        // That it cannot be removed is no reason to stop.
        let _ = std::fs::remove_file(&self.path);
    }
}
