//! What a run tried and found, as `run.json`.

use super::Job;
use secateur_compress::record::{LayerSensitivity, Point};
use secateur_compress::search::{Found, Goal, Tried};
use secateur_compress::{Recipe, RunRecord, StepReport};
use secateur_model::Graph;

/// Of a recipe: a point for each step.
pub fn of_recipe(
    network: &Graph,
    data: &str,
    seed: u64,
    recipe: &Recipe,
    steps: &[StepReport],
    bytes: &[u64],
    sensitivity: Vec<LayerSensitivity>,
) -> RunRecord {
    let numbered = steps.iter().zip(bytes).enumerate();
    let mut points: Vec<Point> = numbered
        .map(|(index, (step, &bytes))| Point {
            name: format!("{} {}", index + 1, step.kind),
            bytes,
            validation_error_percent: step.validation_error_percent,
            test_error_percent: None,
            milliseconds: None,
            picojoules: None,
            chosen: false,
        })
        .collect();
    if let Some(last) = points.last_mut() {
        last.chosen = true;
    }
    RunRecord {
        network: network.name.clone(),
        data: data.to_owned(),
        seed,
        goal: format!("recipe {}", recipe.name),
        dense: dense(network, None),
        points,
        steps: steps.to_vec(),
        sensitivity,
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
            picojoules: tried.picojoules,
            chosen: index == found.chosen,
        });
    RunRecord {
        network: job.dense.name.clone(),
        data: job.train.name.clone(),
        seed: job.args.seed,
        goal: goal.to_string(),
        dense: dense(job.dense, Some(&found.dense)),
        points: points.collect(),
        steps: found.steps.clone(),
        sensitivity,
    }
}

fn dense(network: &Graph, figures: Option<&Tried>) -> Point {
    Point {
        name: "dense".into(),
        bytes: 4 * network.parameters() as u64,
        validation_error_percent: figures.map(|f| f.error_percent),
        test_error_percent: None,
        milliseconds: figures.and_then(|f| f.milliseconds),
        picojoules: figures.and_then(|f| f.picojoules),
        chosen: false,
    }
}
