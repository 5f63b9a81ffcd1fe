//! What a run has done.

use super::Identity;
use anyhow::{Context, Result, bail};
use secateur_compress::StepReport;
use secateur_compress::search::Tried;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The newest form that this build reads.
const VERSION: u32 = 1;

/// What a run has done, as `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    pub identity: Identity,
    /// Whether there is nothing left to do.
    pub finished: bool,
    candidates: Vec<CandidateState>,
}

/// What is done of a candidate; a run of one recipe has a single one, of number 0.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CandidateState {
    pub number: usize,
    pub recipe: String,
    /// Steps whose result later candidates may go on from.
    pub carried: usize,
    /// What its steps did so far, those that it took over from an earlier candidate included.
    pub steps: Vec<StepReport>,
    /// Steps after which the network is kept.
    pub kept: Vec<usize>,
    pub figures: Option<Tried>,
}

impl State {
    pub fn new(identity: Identity) -> Self {
        Self {
            version: VERSION,
            identity,
            finished: false,
            candidates: Vec::new(),
        }
    }

    /// Reads a state, if there is one.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let place = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(place)?;
        let value: serde_json::Value = serde_json::from_str(&text).with_context(place)?;
        check_version(&value, VERSION).with_context(place)?;
        serde_json::from_value(value).with_context(place).map(Some)
    }

    pub fn candidate(&self, number: usize) -> Option<&CandidateState> {
        self.candidates.iter().find(|c| c.number == number)
    }

    pub fn candidate_mut(&mut self, number: usize) -> &mut CandidateState {
        if let Some(at) = self.candidates.iter().position(|c| c.number == number) {
            return &mut self.candidates[at];
        }
        let at = self.candidates.len();
        self.candidates.push(CandidateState {
            number,
            ..CandidateState::default()
        });
        &mut self.candidates[at]
    }

    /// Puts a candidate in the place of an earlier one of its number; later ones built on that are gone.
    pub fn put(&mut self, candidate: CandidateState) {
        self.candidates.retain(|c| c.number < candidate.number);
        self.candidates.push(candidate);
    }

    pub fn has_checkpoints(&self) -> bool {
        self.candidates.iter().any(|c| !c.kept.is_empty())
    }

    /// The name of the last network that is kept.
    pub fn last_file(&self) -> Option<String> {
        let with_files = self.candidates.iter().rev();
        with_files
            .filter_map(|c| Some(c.name(*c.kept.last()?)))
            .next()
    }
}

impl CandidateState {
    /// The file of the network after so many steps.
    pub fn name(&self, steps: usize) -> String {
        let kind = self
            .steps
            .get(steps.wrapping_sub(1))
            .map_or("start", |s| s.kind.as_str());
        match self.number {
            0 => format!("{steps}-{kind}.sct"),
            number => format!("{number:02}/{steps}-{kind}.sct"),
        }
    }

    /// The file after so many steps, if it is kept, and what these did.
    pub fn file(&self, steps: usize) -> Option<(String, Vec<StepReport>)> {
        let reports = self.steps.get(..steps)?.to_vec();
        self.kept
            .contains(&steps)
            .then(|| (self.name(steps), reports))
    }
}

/// An error for what a newer build wrote, before anything else about it is found strange.
pub fn check_version(value: &serde_json::Value, known: u32) -> Result<()> {
    match value["version"].as_u64() {
        Some(version) if version == u64::from(known) => Ok(()),
        Some(version) => bail!("it is of version {version}, this build reads version {known}"),
        None => bail!("it has no version"),
    }
}
