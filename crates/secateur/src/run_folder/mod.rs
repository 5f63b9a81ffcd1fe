//! The folder of a long run: a log, a checkpoint after every step, and what is needed to go on.
//!
//! `state.json` says what is done and is replaced as a whole after each step, once the step's network is
//! on the disk, and the training within a step is kept each minute; so a run that is killed at any moment, or
//! whose disk is full, has lost no more than the step, and of most steps no more than that minute. `log.jsonl` is
//! for people and their scripts: nothing reads it back.

mod identity;
mod log;
mod state;

pub use identity::Identity;
pub use log::Log;
pub use state::{CandidateState, State};

use crate::kept_training::{KeptTraining, Otherwise};
use crate::{file, interrupt};
use anyhow::{Context, Result, bail};
use secateur_compress::policy::Table;
use secateur_compress::search::Tried;
use secateur_compress::{Checkpoint, Recipe};
use secateur_io::codec::Store;
use secateur_io::sct;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What a table's file may begin with; a newer one says so instead of being misread.
const TABLE_VERSION: u32 = secateur_compress::policy::VERSION;

/// A run's folder, open.
pub struct RunFolder {
    path: PathBuf,
    store: Store,
    state: State,
    pub log: Log,
    /// Whether it was there before.
    resumed: bool,
    /// The training that is under way.
    pub training: KeptTraining,
    /// The last checkpoint that is on the disk.
    last: Option<PathBuf>,
}

const STATE: &str = "state.json";
const TRAINING: &str = "step.training";

impl RunFolder {
    /// Opens the folder of a run: a new one, or with `resume` one that was begun with the same identity.
    pub fn open(path: &Path, identity: Identity, store: Store, resume: bool) -> Result<Self> {
        let place = || path.display().to_string();
        let found = State::read(&path.join(STATE))?;
        let training = KeptTraining::new(path.join(TRAINING), Otherwise::Anew);
        let state = match (found, resume) {
            (Some(state), true) => {
                state.identity.check(&identity).with_context(place)?;
                state
            }
            (Some(state), false)
                if !state.finished && (state.has_checkpoints() || training.exists()) =>
            {
                bail!(
                    "{} holds a run that is not finished: --resume goes on with it; remove the folder to begin anew",
                    place()
                )
            }
            (None, true) => bail!("{}: there is no run to go on with", place()),
            (found, false) => {
                if found.is_some() {
                    clear(path).with_context(place)?;
                }
                State::new(identity)
            }
        };
        std::fs::create_dir_all(path).with_context(place)?;
        let last = state.last_file().map(|name| path.join(name));
        let folder = Self {
            log: Log::open(&path.join("log.jsonl")),
            path: path.to_owned(),
            store,
            state,
            resumed: resume,
            training,
            last,
        };
        folder.write_state()?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last network that is kept.
    pub fn last(&self) -> Option<&Path> {
        self.last.as_deref()
    }

    /// Begins a candidate. What is there of an earlier one of this number stays if it has the same recipe.
    pub fn begin(&mut self, number: usize, recipe: &Recipe, carried: usize) -> Result<()> {
        let text = recipe.to_toml()?;
        if self
            .state
            .candidate(number)
            .is_some_and(|c| c.recipe == text)
        {
            return Ok(());
        }
        self.state.put(CandidateState {
            number,
            recipe: text,
            carried,
            ..CandidateState::default()
        });
        self.write_state()
    }

    /// The network after so many steps of a candidate, if it is kept.
    pub fn recall(&self, number: usize, steps: usize) -> Result<Option<Checkpoint>> {
        let Some((name, reports)) = self.state.candidate(number).and_then(|c| c.file(steps)) else {
            return Ok(None);
        };
        let path = self.path.join(name);
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(Checkpoint {
            graph: sct::load(&path)?,
            steps: reports,
        }))
    }

    /// The network after the most steps of a candidate that are kept, of the same recipe.
    pub fn latest(&self, number: usize, recipe: &Recipe) -> Result<Option<Checkpoint>> {
        let text = recipe.to_toml()?;
        let Some(candidate) = self.state.candidate(number).filter(|c| c.recipe == text) else {
            return Ok(None);
        };
        match candidate.kept.last() {
            Some(&steps) => self.recall(number, steps),
            None => Ok(None),
        }
    }

    /// Bytes of the kept networks of a candidate, by step.
    pub fn step_bytes(&self, number: usize) -> Vec<u64> {
        let candidate = self.state.candidate(number);
        let names = candidate
            .into_iter()
            .flat_map(|c| c.kept.iter().map(|&k| c.name(k)));
        let sizes =
            names.map(|name| std::fs::metadata(self.path.join(name)).map_or(0, |m| m.len()));
        sizes.collect()
    }

    /// Keeps the network after a step of a candidate; gives the bytes of its file.
    pub fn keep(&mut self, number: usize, checkpoint: &Checkpoint) -> Result<u64> {
        let steps = checkpoint.steps.len();
        let bytes = sct::write(&checkpoint.graph, self.store)?;
        let candidate = self.state.candidate_mut(number);
        candidate.steps.clone_from(&checkpoint.steps);
        let name = candidate.name(steps);
        candidate.kept.push(steps);
        candidate.kept.dedup();
        let path = self.path.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        file::write(&path, &bytes)?;
        self.write_state()?;
        self.training.remove();
        self.last = Some(path);
        Ok(bytes.len() as u64)
    }

    /// The figures of a candidate that was finished.
    pub fn figures(&self, number: usize) -> Option<Tried> {
        self.state.candidate(number)?.figures
    }

    /// Keeps a candidate's figures; of its networks the one that others go on from and the last stay.
    pub fn finish(&mut self, number: usize, figures: &Tried) -> Result<()> {
        let candidate = self.state.candidate_mut(number);
        candidate.figures = Some(*figures);
        let (carried, last) = (candidate.carried, candidate.steps.len());
        let spare: Vec<usize> = candidate
            .kept
            .iter()
            .copied()
            .filter(|&k| k != carried && k != last)
            .collect();
        let files: Vec<String> = spare.iter().map(|&k| candidate.name(k)).collect();
        candidate.kept.retain(|k| !spare.contains(k));
        self.write_state()?;
        for name in files {
            // Nobody needs it; that it cannot be removed is no reason to stop.
            let _ = std::fs::remove_file(self.path.join(name));
        }
        Ok(())
    }

    /// A table that was kept.
    pub fn table(&self, key: usize) -> Result<Option<Table>> {
        let path = self.path.join(format!("policy-{key}.json"));
        match path.exists() {
            true => read_table(&path).map(Some),
            false => Ok(None),
        }
    }

    /// Keeps a table.
    pub fn keep_table(&self, key: usize, table: &Table) -> Result<()> {
        self.write(&format!("policy-{key}.json"), table)
    }

    /// Writes a value as JSON.
    pub fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        file::write(&self.path.join(name), text.as_bytes())
    }

    /// The run is done.
    pub fn close(&mut self) -> Result<()> {
        self.training.remove();
        self.state.finished = true;
        self.write_state()
    }

    /// Removes the folder where nothing in it is worth keeping: a run that was stopped soon.
    pub fn drop_if_empty(self) {
        if !self.state.has_checkpoints() && !self.training.exists() && !self.resumed {
            let _ = clear(&self.path);
            let _ = std::fs::remove_dir(&self.path);
        }
    }

    fn write_state(&self) -> Result<()> {
        self.write(STATE, &self.state)
    }
}

/// Reads a table, of this version.
fn read_table(path: &Path) -> Result<Table> {
    let place = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(place)?;
    let value: serde_json::Value = serde_json::from_str(&text).with_context(place)?;
    state::check_version(&value, TABLE_VERSION).with_context(place)?;
    serde_json::from_value(value).with_context(place)
}

/// Removes what a run leaves in its folder, and nothing else.
pub fn clear(path: &Path) -> Result<()> {
    interrupt::whole(|| {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_candidate = entry.path().is_dir() && name.parse::<usize>().is_ok();
            let known = [".sct", ".json", ".training"];
            let is_file = known.iter().any(|end| name.ends_with(end)) || name == "log.jsonl";
            if is_candidate {
                std::fs::remove_dir_all(entry.path())?;
            } else if is_file {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_table_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy-0.json");
        std::fs::write(&path, "{\"version\": 9, \"spirit\": 1}").unwrap();
        let error = format!("{:#}", read_table(&path).unwrap_err());
        assert!(
            error.contains("policy-0.json") && error.contains("version 9"),
            "{error}"
        );
    }
}
