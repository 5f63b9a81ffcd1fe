//! The loop itself.

use super::bracket::{Bracket, Next, Side, Stop};
use super::journal::{Candidate, Journal};
use super::knob::{Context, Knob, Plan};
use super::{Goal, Tried};
use crate::policy::Machine;
use crate::recipe::{Recipe, Step};
use crate::{Checkpoint, CompressError, Observer, StepReport, ptq, resume};
use secateur_data::Dataset;
use secateur_io::codec::Store;
use secateur_io::sct;
use secateur_model::Graph;
use secateur_train::{Keeper, TrainError, evaluate};
use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

/// What is searched, and within which bounds.
pub struct Search<'a> {
    /// The trained network.
    pub dense: &'a Graph,
    /// What candidates are trained on.
    pub train: &'a Dataset,
    /// What they are judged by; nothing is trained on it.
    pub validation: &'a Dataset,
    /// What is after.
    pub goal: Goal,
    /// How files are coded.
    pub store: Store,
    /// Seed of everything random.
    pub seed: u64,
    /// Seconds that candidates may take together; one that would end later is not begun.
    pub budget_seconds: Option<f64>,
    /// Candidates at most.
    pub candidates: usize,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The best network.
    pub graph: Graph,
    /// The recipe that makes it from the dense one.
    pub recipe: Recipe,
    /// What each of its steps did.
    pub steps: Vec<StepReport>,
    /// Figures of the dense network.
    pub dense: Tried,
    /// Name and figures of every candidate.
    pub tried: Vec<(String, Tried)>,
    /// Which of these is the best.
    pub chosen: usize,
    /// Whether it keeps the limit; it is the closest otherwise.
    pub met: bool,
    /// Why the search ended, in words.
    pub why: String,
}

/// Looks for the level of a knob that suits the goal best. The same seed gives the same network, unless
/// the budget of time decides.
///
/// # Errors
/// A network that cannot be trained or timed, an empty validation set, a journal that fails or stops.
pub fn search(
    problem: &Search<'_>,
    knob: &mut dyn Knob,
    machine: &mut dyn Machine,
    journal: &mut dyn Journal,
) -> Result<Found, CompressError> {
    if problem.validation.is_empty() {
        return Err(CompressError::Refused {
            step: "search",
            reason: "there are no validation samples to judge by".into(),
        });
    }
    let start = Instant::now();
    let mut dense = figures(problem, problem.dense, None, machine)?;
    dense.bytes = 4 * problem.dense.parameters() as u64;
    dense.seconds = start.elapsed().as_secs_f64();
    journal.start(&problem.goal, &dense);
    let mut run = Run {
        problem,
        machine,
        journal,
        dense,
        prefix: Checkpoint::start(problem.dense),
        prefix_steps: Vec::new(),
        tried: Vec::new(),
        outcomes: Vec::new(),
        best: None,
    };
    let why = run.go(knob)?;
    let Run {
        tried, best, dense, ..
    } = run;
    let Some(best) = best else {
        return Err(CompressError::Refused {
            step: "search",
            reason: format!("no candidate could be made: {why}"),
        });
    };
    let met = tried
        .get(best.index)
        .is_some_and(|(_, t)| problem.goal.holds(&dense, t));
    Ok(Found {
        graph: best.done.graph,
        recipe: best.recipe,
        steps: best.done.steps,
        dense,
        tried,
        chosen: best.index,
        met,
        why,
    })
}

struct Run<'a> {
    problem: &'a Search<'a>,
    machine: &'a mut dyn Machine,
    journal: &'a mut dyn Journal,
    dense: Tried,
    /// What candidates start from: the steps that were carried over, and what they made.
    prefix: Checkpoint,
    prefix_steps: Vec<Step>,
    tried: Vec<(String, Tried)>,
    /// What came of each list of steps.
    outcomes: Vec<(Vec<Step>, Outcome)>,
    best: Option<Best>,
}

struct Best {
    index: usize,
    recipe: Recipe,
    done: Checkpoint,
}

/// A candidate that was carried out.
#[derive(Clone)]
struct Outcome {
    tried: Tried,
    side: Side,
    /// The network after the carried steps, and these.
    carried: (Checkpoint, Vec<Step>),
}

impl Run<'_> {
    fn go(&mut self, knob: &mut dyn Knob) -> Result<String, CompressError> {
        let [first, factor, least, most] = knob.range();
        let mut bracket = Bracket::new(first, factor, least, most);
        let mut settled = knob.variants() < 2;
        loop {
            let level = match bracket.next() {
                Next::Try(level) => level,
                Next::Stop(stop) => return Ok(reason(stop)),
            };
            if let Some(why) = self.used_up() {
                return Ok(why);
            }
            let outcome = match settled {
                true => self.attempt(knob, level, bracket.expected())?,
                false => self.settle(knob, level, bracket.expected())?,
            };
            let Some(outcome) = outcome else {
                // No choice goes so far.
                bracket.note(level, Side::Far, f64::INFINITY);
                continue;
            };
            settled = true;
            let cost = self.problem.goal.cost(&outcome.tried);
            bracket.note(level, outcome.side, cost);
            if outcome.side == Side::Near && !outcome.carried.1.is_empty() {
                (self.prefix, self.prefix_steps) = outcome.carried;
            }
        }
    }

    /// Tries every way to train at one level, and chooses the one of the least validation loss of those that hold, or of all
    /// if none does.
    fn settle(
        &mut self,
        knob: &mut dyn Knob,
        level: f64,
        expected: usize,
    ) -> Result<Option<Outcome>, CompressError> {
        let mut best: Option<(usize, Outcome)> = None;
        for variant in 0..knob.variants() {
            knob.choose(variant);
            let more = knob.variants() - variant - 1;
            let Some(outcome) = self.attempt(knob, level, expected + more)? else {
                return Ok(None);
            };
            let goal = &self.problem.goal;
            let rank = |o: &Outcome| (!goal.holds(&self.dense, &o.tried), o.tried.loss);
            let better = |b: &(usize, Outcome)| rank(&outcome) < rank(&b.1);
            if best.as_ref().is_none_or(better) {
                best = Some((variant, outcome));
            }
        }
        Ok(best.map(|(variant, outcome)| {
            knob.choose(variant);
            outcome
        }))
    }

    /// Plans and carries out a candidate, more slowly where its training diverges.
    fn attempt(
        &mut self,
        knob: &mut dyn Knob,
        level: f64,
        expected: usize,
    ) -> Result<Option<Outcome>, CompressError> {
        loop {
            let mut context = Context {
                journal: &mut *self.journal,
                machine: &mut *self.machine,
            };
            let Some(plan) = knob.plan(level, &self.prefix.graph, &mut context)? else {
                return Ok(None);
            };
            match self.carry_out(plan, expected) {
                Err(CompressError::Train {
                    error: error @ TrainError::Diverged { .. },
                    step,
                }) => {
                    if !knob.slower() {
                        return Err(CompressError::Train { step, error });
                    }
                    let note = format!("step {step}: {error}; trying again, more slowly");
                    self.journal.note(&note);
                }
                outcome => return outcome.map(Some),
            }
        }
    }

    fn carry_out(&mut self, plan: Plan, expected: usize) -> Result<Outcome, CompressError> {
        let start = Instant::now();
        let problem = self.problem;
        let mut carried_steps = self.prefix_steps.clone();
        carried_steps.extend(plan.carried);
        let steps = [carried_steps.clone(), plan.finish].concat();
        // Where choices are few, other levels lead to the same steps.
        if let Some((_, known)) = self.outcomes.iter().find(|(s, _)| *s == steps) {
            return Ok(known.clone());
        }
        let recipe = Recipe::new(plan.name, steps)?;
        let number = self.tried.len() + 1;
        let candidate = Candidate {
            number,
            recipe: &recipe,
            done: self.prefix.steps.len(),
            carried: carried_steps.len(),
            expected,
        };
        let fail = CompressError::Journal;
        self.journal.trying(&candidate).map_err(fail)?;
        let mut from = self.prefix.clone();
        let mut caught = (from.steps.len() == carried_steps.len()).then(|| from.clone());
        for done in from.steps.len() + 1..=recipe.steps.len() {
            if let Some(kept) = self.journal.recall(done).map_err(fail)? {
                if done == carried_steps.len() {
                    caught = Some(kept.clone());
                }
                from = kept;
            }
        }
        let mut follow = Follow {
            journal: &mut *self.journal,
            at: carried_steps.len(),
            caught,
        };
        let (graph, report) = resume(
            problem.dense,
            from,
            problem.train,
            problem.validation,
            &recipe,
            problem.seed,
            &mut follow,
        )?;
        let carried = follow.caught.unwrap_or_else(|| self.prefix.clone());
        let done = Checkpoint {
            graph,
            steps: report.steps,
        };
        let tried = match self.journal.recall_figures().map_err(fail)? {
            Some(tried) => tried,
            None => {
                let last = done.steps.last();
                let mut tried = figures(problem, &done.graph, last, self.machine)?;
                tried.seconds = start.elapsed().as_secs_f64();
                tried
            }
        };
        let goal = &problem.goal;
        let better = match self.best.as_ref().and_then(|b| self.tried.get(b.index)) {
            Some((_, best)) => goal.prefers(&self.dense, &tried, best),
            None => true,
        };
        let holds = goal.holds(&self.dense, &tried);
        self.journal
            .tried(number, &tried, holds, better)
            .map_err(fail)?;
        self.tried.push((recipe.name.clone(), tried));
        let outcome = Outcome {
            side: goal.side(&self.dense, &tried),
            tried,
            carried: (carried, carried_steps),
        };
        self.outcomes.push((recipe.steps.clone(), outcome.clone()));
        if better {
            self.best = Some(Best {
                index: number - 1,
                recipe,
                done,
            });
        }
        Ok(outcome)
    }

    /// Why no other candidate may begin, if so.
    fn used_up(&self) -> Option<String> {
        if self.tried.len() >= self.problem.candidates {
            return Some(format!("{} candidates were tried", self.tried.len()));
        }
        let budget = self.problem.budget_seconds?;
        let used: f64 = self.tried.iter().map(|(_, t)| t.seconds).sum();
        let next = self.tried.last().map_or(0.0, |(_, t)| t.seconds);
        (used + next > budget).then(|| {
            format!(
                "{used:.0} of {budget:.0} seconds are used, and another candidate takes {next:.0}"
            )
        })
    }
}

/// Hands everything on to the journal, and catches the network after the carried steps.
struct Follow<'a> {
    journal: &'a mut dyn Journal,
    at: usize,
    caught: Option<Checkpoint>,
}

impl Observer for Follow<'_> {
    fn begin(&mut self, step: usize, steps: usize, kind: &'static str) {
        self.journal.begin(step, steps, kind);
    }

    fn progress(&mut self, done: usize, total: usize, loss: f32) -> ControlFlow<()> {
        self.journal.progress(done, total, loss)
    }

    fn end(&mut self, report: &StepReport, graph: &Graph) {
        self.journal.end(report, graph);
    }

    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<(), Box<dyn Error + Send + Sync>> {
        if checkpoint.steps.len() == self.at {
            self.caught = Some(checkpoint.clone());
        }
        self.journal.keep(checkpoint)
    }

    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        self.journal.keeper()
    }
}

/// Figures of a network; error and loss are those of its last step, where there is one.
fn figures(
    problem: &Search<'_>,
    graph: &Graph,
    last: Option<&StepReport>,
    machine: &mut dyn Machine,
) -> Result<Tried, CompressError> {
    let last = last.and_then(|step| step.validation_error_percent.zip(step.validation_loss));
    let (error_percent, loss) = match last {
        Some(figures) => figures,
        None => {
            let computed = ptq::with_rounded_biases(graph)?;
            let score = evaluate(&computed, problem.validation);
            let score = score.map_err(|error| CompressError::Train {
                step: "the network as it is".into(),
                error,
            })?;
            (score.error_percent(), score.loss)
        }
    };
    let file = sct::write(graph, problem.store).map_err(|e| CompressError::Refused {
        step: "encode",
        reason: e.to_string(),
    })?;
    Ok(Tried {
        bytes: file.len() as u64,
        error_percent,
        loss,
        milliseconds: machine
            .milliseconds(graph)
            .map_err(CompressError::Machine)?,
        picojoules: machine.picojoules(graph).map_err(CompressError::Machine)?,
        seconds: 0.0,
    })
}

fn reason(stop: Stop) -> String {
    match stop {
        Stop::LittleToGain(gain) => {
            format!(
                "the next step would gain no more than {:.1} %",
                100.0 * gain
            )
        }
        Stop::NothingWeaker => "even the weakest choice goes too far".into(),
        Stop::NothingStronger => "there is no stronger choice".into(),
    }
}
