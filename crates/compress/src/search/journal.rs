//! Told what a search does; remembers it for one that goes on after an interruption.

use super::{Goal, Tried};
use crate::policy::Table;
use crate::{Checkpoint, Observer, Recipe};
use std::error::Error;
use std::ops::ControlFlow;

/// Why a journal cannot do what it is asked to.
type Failure = Box<dyn Error + Send + Sync>;

/// What is tried now.
pub struct Candidate<'a> {
    /// Its number, from 1; 0 is the dense network.
    pub number: usize,
    /// The whole recipe, from the dense network.
    pub recipe: &'a Recipe,
    /// Steps of it that an earlier candidate has done.
    pub done: usize,
    /// Steps of it whose result later candidates may go on from.
    pub carried: usize,
    /// About how many candidates are left, this one included.
    pub expected: usize,
}

/// Follows a search, step by step as an [`Observer`] and candidate by candidate.
pub trait Journal: Observer {
    /// The search begins: the dense network's figures.
    fn start(&mut self, goal: &Goal, dense: &Tried) {
        let _ = (goal, dense);
    }

    /// A candidate begins; the steps that the observer is told of are its.
    ///
    /// # Errors
    /// Whatever prevents keeping it.
    fn trying(&mut self, candidate: &Candidate<'_>) -> Result<(), Failure> {
        let _ = candidate;
        Ok(())
    }

    /// The network after so many steps of the candidate that begins, if an earlier, interrupted search kept it.
    ///
    /// # Errors
    /// A file that cannot be read.
    fn recall(&mut self, steps: usize) -> Result<Option<Checkpoint>, Failure> {
        let _ = steps;
        Ok(None)
    }

    /// The figures of the candidate that begins, if an earlier search finished it.
    ///
    /// # Errors
    /// A file that cannot be read.
    fn recall_figures(&mut self) -> Result<Option<Tried>, Failure> {
        Ok(None)
    }

    /// The figures of a candidate that is done; whether it keeps the limit, and is the best so far.
    ///
    /// # Errors
    /// Whatever prevents keeping them.
    fn tried(
        &mut self,
        number: usize,
        tried: &Tried,
        holds: bool,
        best: bool,
    ) -> Result<(), Failure> {
        let _ = (number, tried, holds, best);
        Ok(())
    }

    /// A note on what the search decides, in words.
    fn note(&mut self, text: &str) {
        let _ = text;
    }

    /// A table of this key that an earlier search kept.
    ///
    /// # Errors
    /// A file that cannot be read.
    fn recall_table(&mut self, key: usize) -> Result<Option<Table>, Failure> {
        let _ = key;
        Ok(None)
    }

    /// Keeps a table.
    ///
    /// # Errors
    /// Whatever prevents that.
    fn keep_table(&mut self, key: usize, table: &Table) -> Result<(), Failure> {
        let _ = (key, table);
        Ok(())
    }

    /// Work beside training goes on; `Break` stops the search.
    fn working(&mut self, what: &str, done: usize, total: usize) -> ControlFlow<()> {
        let _ = (what, done, total);
        ControlFlow::Continue(())
    }
}

/// A journal that remembers nothing.
pub struct Silent;

impl Observer for Silent {}

impl Journal for Silent {}
