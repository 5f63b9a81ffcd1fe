//! What a run tried and found, as `run.json`.

use super::Job;
use secateur_compress::record::{LayerSensitivity, Point};
use secateur_compress::search::{Found, Goal, Tried};
use secateur_compress::{Recipe, RunRecord, StepReport};

/// Of a recipe: a point for each step.
pub fn of_recipe(job: &Job<'_>, recipe: &Recipe, steps: &[StepReport], bytes: &[u64]) -> RunRecord {
    let validates = !job.validation.is_empty();
    let error = |step: &StepReport| validates.then_some(step.validation_error_percent);
    let numbered = steps.iter().zip(bytes).enumerate();
    let mut points: Vec<Point> = numbered
        .map(|(index, (step, &bytes))| Point {
            name: format!("{} {}", index + 1, step.kind),
            bytes,
            validation_error_percent: error(step),
            test_error_percent: None,
            milliseconds: None,
            chosen: false,
        })
        .collect();
    if let Some(last) = points.last_mut() {
        last.chosen = true;
    }
    RunRecord {
        network: job.dense.name.clone(),
        data: job.train.name.clone(),
        seed: job.args.seed,
        goal: format!("recipe {}", recipe.name),
        dense: dense(job, None),
        points,
        steps: steps.to_vec(),
        sensitivity: Vec::new(),
    }
}

/// Of a search: a point for each candidate.
pub fn of_search(
    job: &Job<'_>,
    goal: &Goal,
    found: &Found,
    sensitivity: Vec<LayerSensitivity>,
) -> RunRecord {
    let points = found
        .tried
        .iter()
        .enumerate()
        .map(|(index, (name, tried))| Point {
            name: name.clone(),
            bytes: tried.bytes,
            validation_error_percent: Some(tried.error_percent),
            test_error_percent: None,
            milliseconds: tried.milliseconds,
            chosen: index == found.chosen,
        });
    RunRecord {
        network: job.dense.name.clone(),
        data: job.train.name.clone(),
        seed: job.args.seed,
        goal: goal.to_string(),
        dense: dense(job, Some(&found.dense)),
        points: points.collect(),
        steps: found.steps.clone(),
        sensitivity,
    }
}

fn dense(job: &Job<'_>, figures: Option<&Tried>) -> Point {
    Point {
        name: "dense".into(),
        bytes: 4 * job.dense.parameters() as u64,
        validation_error_percent: figures.map(|f| f.error_percent),
        test_error_percent: None,
        milliseconds: figures.and_then(|f| f.milliseconds),
        chosen: false,
    }
}
