//! What a compression shows and keeps while it is under way.

use crate::clock::Clock;
use crate::out::Out;
use crate::progress::Bar;
use crate::run_folder::RunFolder;
use crate::{interrupt, units};
use secateur_compress::policy::Table;
use secateur_compress::search::{Candidate, Goal, Journal, Objective, Tried};
use secateur_compress::{Checkpoint, Observer, Recipe, RunRecord, StepReport};
use secateur_model::Graph;
use secateur_train::Keeper;
use serde::Serialize;
use serde_json::json;
use std::error::Error;
use std::ops::ControlFlow;

type Failure = Box<dyn Error + Send + Sync>;

/// Follows a run: a bar with the time left, a line for what is done, the log, and the checkpoints.
pub struct Follow<'a> {
    pub out: &'a Out,
    pub folder: RunFolder,
    network: String,
    images: usize,
    pub validates: bool,
    bar: Option<Bar>,
    clock: Clock,
    now: Now,
    search: Option<Searching>,
}

/// What is under way.
#[derive(Default)]
struct Now {
    number: usize,
    name: String,
    kinds: Vec<String>,
    /// Training that each step asks for, in samples.
    effort: Vec<f64>,
    step: usize,
    /// Whether nothing of the step is done yet.
    begins: bool,
    /// Training that was done in this session before the step.
    before: f64,
    /// Candidates left behind this one, about.
    more: usize,
}

/// What a search has found so far.
struct Searching {
    goal: Goal,
    dense: Tried,
    best: Option<Tried>,
}

impl<'a> Follow<'a> {
    pub fn new(
        out: &'a Out,
        folder: RunFolder,
        network: &str,
        images: usize,
        validates: bool,
    ) -> Self {
        Self {
            out,
            folder,
            network: network.to_owned(),
            images,
            validates,
            bar: None,
            clock: Clock::start(),
            now: Now::default(),
            search: None,
        }
    }

    /// A recipe begins, or goes on after so many steps.
    pub fn recipe(&mut self, recipe: &Recipe, done: usize) -> anyhow::Result<()> {
        self.folder.begin(0, recipe, recipe.steps.len())?;
        self.begin_recipe(0, recipe, done, 0);
        let error = if self.validates {
            "validation error"
        } else {
            ""
        };
        self.line(["step", "time", "weights left", error]);
        Ok(())
    }

    /// Rows of steps that an earlier run has done.
    pub fn recalled(&self, steps: &[StepReport]) {
        steps.iter().for_each(|step| self.row(step));
    }

    /// The run is done: its record is written.
    pub fn done(&mut self, record: &RunRecord, after: &impl Serialize) -> anyhow::Result<()> {
        self.folder.write("run.json", record)?;
        self.folder.log.event("done", json!({ "figures": after }));
        self.folder.close()
    }

    /// The run failed; a folder in which nothing is kept is removed.
    pub fn failed(mut self, error: &anyhow::Error) {
        self.bar = None;
        self.folder
            .log
            .event("stopped", json!({ "why": format!("{error:#}") }));
        self.folder.drop_if_empty();
    }

    /// An error with what is kept in spite of it.
    pub fn with_kept(&self, error: anyhow::Error) -> anyhow::Error {
        let training = &self.folder.training;
        let network = self
            .folder
            .last()
            .map(|path| format!("the last good network is kept in {}", path.display()));
        let trained = training.exists().then(|| {
            format!(
                "the training under way is kept in {}",
                training.path().display()
            )
        });
        let kept: Vec<String> = network.into_iter().chain(trained).collect();
        match kept.is_empty() {
            true => error,
            false => error.context(format!(
                "{}, and the same command with --resume goes on from there",
                kept.join(", ")
            )),
        }
    }

    fn begin_recipe(&mut self, number: usize, recipe: &Recipe, done: usize, more: usize) {
        let mut effort = recipe.effort(&self.network, self.images);
        effort.iter_mut().take(done).for_each(|e| *e = 0.0);
        self.now = Now {
            number,
            name: recipe.name.clone(),
            kinds: recipe.steps.iter().map(|s| s.kind().to_owned()).collect(),
            effort,
            step: done,
            begins: false,
            before: self.now.before,
            more,
        };
    }

    fn row(&self, report: &StepReport) {
        let error = report.validation_error_percent;
        self.line([
            &report.kind,
            &units::long(report.seconds),
            &units::count(report.nonzeros),
            &error.map_or(String::new(), units::percent),
        ]);
    }

    fn line(&self, [kind, time, weights, error]: [&str; 4]) {
        let line = format!("{kind:<12} {time:>10} {weights:>16} {error:>18}");
        self.out.line(line.trim_end());
    }

    /// What the bar of a training says of the time left and the best so far.
    fn left(&mut self, part: f64) -> String {
        let now = &self.now;
        let step = now.effort.get(now.step).copied().unwrap_or(0.0);
        if step == 0.0 {
            return String::new();
        }
        let behind: f64 = now.effort.iter().skip(now.step + 1).sum();
        let here = (1.0 - part) * step + behind;
        let whole: f64 = now.effort.iter().sum();
        self.clock.at(now.before + part * step);
        let time = |work| self.clock.left(work).map(units::long);
        match (time(here), time(here + whole * now.more as f64)) {
            (Some(here), Some(_)) if now.more == 0 => format!("{here} left"),
            (Some(here), Some(all)) => format!("{here} left, about {all} in all"),
            _ => String::new(),
        }
    }

    fn best(&self) -> String {
        match self
            .search
            .as_ref()
            .and_then(|s| Some((s, s.best.as_ref()?)))
        {
            Some((search, best)) => format!("; best {}", search.figures(best)),
            None => String::new(),
        }
    }
}

impl Searching {
    /// A network in few words.
    fn figures(&self, tried: &Tried) -> String {
        let error = units::percent(tried.error_percent);
        match self.goal.minimise {
            Objective::Bytes => format!("{} at {error}", units::bytes(tried.bytes)),
            Objective::Latency | Objective::Energy => format!("{} at {error}", self.cost(tried)),
        }
    }

    /// Time, or energy where that is what counts.
    fn cost(&self, tried: &Tried) -> String {
        let cost = match self.goal.minimise {
            Objective::Energy => tried.picojoules.map(units::energy),
            Objective::Bytes | Objective::Latency => tried.milliseconds.map(units::short),
        };
        cost.unwrap_or_else(|| "-".into())
    }

    fn row(&self, number: usize, name: &str, tried: &Tried, verdict: &str) -> String {
        let cost = self.cost(tried);
        format!(
            "{number:>3}  {name:<30} {:>9} {:>9} {:>7.1}x {cost:>8} {:>8}  {verdict}",
            units::long(tried.seconds),
            units::bytes(tried.bytes),
            self.dense.bytes as f64 / tried.bytes.max(1) as f64,
            units::percent(tried.error_percent),
        )
    }
}

impl Observer for Follow<'_> {
    fn begin(&mut self, step: usize, steps: usize, kind: &'static str) {
        (self.now.step, self.now.begins) = (step, true);
        // What was measured before any training says nothing about how long training takes.
        if self.now.before == 0.0 {
            self.clock = Clock::start();
        }
        let what = match &self.search {
            None => format!("{}/{steps} {kind}", step + 1),
            Some(_) => format!(
                "{} ({}) {}/{steps} {kind}",
                self.now.number,
                self.now.name,
                step + 1
            ),
        };
        let trains = self.now.effort.get(step).is_some_and(|e| *e > 0.0);
        self.bar = Some(match trains {
            true => Bar::plain(&what),
            // How long it takes does not hang on how long training takes.
            false => Bar::new(&what),
        });
        self.folder.log.event(
            "step begun",
            json!({ "candidate": self.now.number, "step": step + 1, "steps": steps, "kind": kind }),
        );
    }

    fn progress(&mut self, done: usize, total: usize, loss: f32) -> ControlFlow<()> {
        if std::mem::take(&mut self.now.begins) {
            // What another session has done of the step says nothing about how long the rest takes.
            let step = self.now.effort.get(self.now.step).copied();
            let before = done.saturating_sub(1) as f64 / total.max(1) as f64;
            self.now.before -= step.unwrap_or(0.0) * before;
        }
        let due = self.bar.as_ref().is_some_and(Bar::is_due);
        if due {
            let part = done as f64 / total.max(1) as f64;
            let loss = match loss.is_finite() {
                true => format!("loss {loss:.4}  "),
                false => String::new(),
            };
            let note = format!("{loss}{}{}", self.left(part), self.best());
            if let Some(bar) = &self.bar {
                bar.note(&note);
            }
        }
        match &mut self.bar {
            Some(bar) => bar.advance(done, total),
            None => interrupt::go_on(),
        }
    }

    fn end(&mut self, report: &StepReport, _: &Graph) {
        self.bar = None;
        self.now.before += self.now.effort.get(self.now.step).copied().unwrap_or(0.0);
        self.clock.at(self.now.before);
        if self.search.is_none() {
            self.row(report);
        }
    }

    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let bytes = self.folder.keep(self.now.number, checkpoint)?;
        if let Some(report) = checkpoint.steps.last() {
            self.folder.log.event(
                "step done",
                json!({
                    "candidate": self.now.number, "step": checkpoint.steps.len(), "kind": report.kind,
                    "seconds": report.seconds, "nonzeros": report.nonzeros, "bytes": bytes,
                    "validation_error_percent": report.validation_error_percent,
                    "validation_loss": report.validation_loss,
                    "file": self.folder.last(),
                }),
            );
        }
        Ok(())
    }

    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        Some(&mut self.folder.training)
    }
}

impl Journal for Follow<'_> {
    fn start(&mut self, goal: &Goal, dense: &Tried) {
        let search = Searching {
            goal: *goal,
            dense: *dense,
            best: None,
        };
        let cost = match goal.minimise {
            Objective::Energy => "energy",
            Objective::Bytes | Objective::Latency => "time",
        };
        self.out.line(format_args!(
            "{:>3}  {:<30} {:>9} {:>9} {:>8} {:>8} {:>8}",
            "#", "aimed at", "took", "size", "smaller", cost, "error"
        ));
        self.out.line(search.row(0, "as it is", dense, ""));
        self.folder.log.event(
            "search",
            json!({ "goal": goal.to_string(), "dense": dense }),
        );
        self.search = Some(search);
    }

    fn trying(&mut self, candidate: &Candidate<'_>) -> Result<(), Failure> {
        self.folder
            .begin(candidate.number, candidate.recipe, candidate.carried)?;
        self.begin_recipe(
            candidate.number,
            candidate.recipe,
            candidate.done,
            candidate.expected.saturating_sub(1),
        );
        self.folder.log.event(
            "trying",
            json!({
                "candidate": candidate.number, "name": candidate.recipe.name,
                "kinds": self.now.kinds, "expected": candidate.expected,
            }),
        );
        Ok(())
    }

    fn recall(&mut self, steps: usize) -> Result<Option<Checkpoint>, Failure> {
        let found = self.folder.recall(self.now.number, steps)?;
        if found.is_some() {
            self.now
                .effort
                .iter_mut()
                .take(steps)
                .for_each(|e| *e = 0.0);
        }
        Ok(found)
    }

    fn recall_figures(&mut self) -> Result<Option<Tried>, Failure> {
        Ok(self.folder.figures(self.now.number))
    }

    fn tried(
        &mut self,
        number: usize,
        tried: &Tried,
        holds: bool,
        best: bool,
    ) -> Result<(), Failure> {
        self.folder.finish(number, tried)?;
        self.folder.log.event(
            "tried",
            json!({
                "candidate": number, "name": self.now.name, "figures": tried, "holds": holds, "best": best,
            }),
        );
        if let Some(search) = &mut self.search {
            let verdict = match (holds, best) {
                (true, true) => "best so far",
                (true, false) => "holds",
                (false, true) => "too far, but the closest",
                (false, false) => "too far",
            };
            self.out
                .line(search.row(number, &self.now.name, tried, verdict));
            if best {
                search.best = Some(*tried);
            }
        }
        Ok(())
    }

    fn note(&mut self, text: &str) {
        self.bar = None;
        self.out.line(format_args!("     {text}"));
        self.folder.log.event("note", json!({ "text": text }));
    }

    fn recall_table(&mut self, key: usize) -> Result<Option<Table>, Failure> {
        Ok(self.folder.table(key)?)
    }

    fn keep_table(&mut self, key: usize, table: &Table) -> Result<(), Failure> {
        Ok(self.folder.keep_table(key, table)?)
    }

    fn working(&mut self, what: &str, done: usize, total: usize) -> ControlFlow<()> {
        let bar = self.bar.get_or_insert_with(|| Bar::plain(what));
        if bar.is_due() {
            bar.say(what);
        }
        let flow = bar.advance(done, total);
        if done + 1 >= total {
            self.bar = None;
        }
        flow
    }
}
