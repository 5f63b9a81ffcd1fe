//! A search for the recipe that suits a goal.

use super::follow::Follow;
use super::{Done, Job, record};
use crate::machine::ThisMachine;
use crate::modelled::ModelledMachine;
use crate::{interrupt, units};
use anyhow::{Result, bail};
use secateur_compress::policy::{Machine, NoMachine};
use secateur_compress::search::{
    Goal, Knob, Limit, Objective, PolicyKnob, RateKnob, Search, search,
};
use secateur_model::{Scale, Values, Weight};

/// Candidates that a search tries at most.
const CANDIDATES: usize = 24;

pub fn by_search<'f>(
    job: &Job<'_>,
    goal: &Goal,
    model: Option<&secateur_accel::Machine>,
    mut follow: Follow<'f>,
) -> (Result<Done>, Follow<'f>) {
    let result = found(job, goal, model, &mut follow);
    (result, follow)
}

fn found(
    job: &Job<'_>,
    goal: &Goal,
    model: Option<&secateur_accel::Machine>,
    follow: &mut Follow<'_>,
) -> Result<Done> {
    let one_scale = |weight: &Weight| match weight.values() {
        Values::Int { scale, .. } => matches!(scale, Scale::PerTensor(_)),
        _ => false,
    };
    let can_start = |weight: &Weight| match goal.minimise {
        _ if matches!(weight.values(), Values::F32(_)) => true,
        Objective::Bytes => one_scale(weight),
        Objective::Latency | Objective::Energy => false,
    };
    if let Some((name, _)) = job.dense.weights().find(|(_, weight)| !can_start(weight)) {
        bail!(
            "`{name}` is in half precision or already rounded, and a search starts from weights in full precision: compress the network that this \
             one came from, or go on from this one by a recipe"
        );
    }
    let budget = job.args.budget;
    let out = follow.out;
    out.line(format_args!("after the {goal}"));
    out.line(format_args!(
        "{} held-out images judge; what is tried is kept in {}\n",
        units::count(job.validation.len()),
        follow.folder.path().display()
    ));
    let problem = Search {
        dense: job.dense,
        train: job.train,
        validation: job.validation,
        goal: *goal,
        store: job.store,
        seed: job.args.seed,
        budget_seconds: budget,
        candidates: CANDIDATES,
    };
    let mut knob: Box<dyn Knob> = match goal.minimise {
        Objective::Bytes => Box::new(RateKnob::new(job.dense, job.train, budget)),
        objective => Box::new(PolicyKnob::new(
            objective,
            job.dense,
            job.train,
            budget,
            job.args.seed,
        )),
    };
    let mut machine: Box<dyn Machine> = match (goal.minimise, model) {
        (_, Some(model)) => Box::new(ModelledMachine::new(model.clone(), job.train)),
        (Objective::Latency, None) => Box::new(ThisMachine::new(job.train)),
        (Objective::Bytes | Objective::Energy, None) => Box::new(NoMachine),
    };
    let found = search(&problem, &mut *knob, &mut *machine, follow)?;
    interrupt::check()?;

    let (dense, (name, best)) = (&found.dense, &found.tried[found.chosen]);
    let error = best.error_percent / 100.0;
    let deviation = 100.0 * (error * (1.0 - error) / job.validation.len().max(1) as f64).sqrt();
    out.line(format_args!("\n{}: the end", found.why));
    if !found.met {
        out.line(format_args!(
            "the target is not met: {}; that one is kept",
            goal.shortfall(dense, best)
        ));
    }
    out.line(format_args!(
        "chosen: {} ({name}), {} after {} on the held-out images, give or take {deviation:.2} points (one standard error)",
        found.chosen + 1,
        units::percent(best.error_percent),
        units::percent(dense.error_percent),
    ));
    if let Limit::MaxDrop(_) = goal.limit
        && dense.error_percent == 0.0
    {
        out.line("the network makes no error on them: it may have been trained on them");
    }
    let sensitivity = match follow.folder.table(0)? {
        Some(table) => table.layers,
        None if job.args.html.is_some() => job.sensitivity()?,
        None => Vec::new(),
    };
    let record = record::of_search(job, goal, &found, sensitivity);
    Ok(Done {
        graph: found.graph,
        recipe: found.recipe,
        steps: found.steps,
        record,
        met: Some(found.met),
    })
}
