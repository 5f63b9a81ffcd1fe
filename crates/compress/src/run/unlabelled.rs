//! A recipe carried out where there are samples but no labels.

use super::quantize::quantize;
use super::{Observer, Stage};
use crate::ptq::{LayerError, Samples};
use crate::recipe::{Recipe, Retrain, Step};
use crate::{CompressError, Criterion};
use secateur_model::Graph;

/// Carries out a recipe whose steps need no labels: those that train nothing, and those that learn from
/// the answers of the network as it was given (`distill.alpha = 0`). Gives the network and what
/// became of each layer that was rounded on the samples.
///
/// # Errors
/// A step that needs labels, or images where samples are arrays; a step that is refused, samples that
/// cannot be run, an observer that stops it.
pub fn run_unlabelled(
    dense: &Graph,
    samples: &dyn Samples,
    recipe: &Recipe,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<(Graph, Vec<LayerError>), CompressError> {
    // Before any work is done.
    recipe.steps.iter().try_for_each(|step| {
        without_labels(step, &dense.name, samples.images().is_some()).map_err(|reason| {
            CompressError::Refused {
                step: step.kind(),
                reason,
            }
        })
    })?;
    let (mut graph, mut errors) = (dense.clone(), Vec::new());
    for (index, step) in recipe.steps.iter().enumerate() {
        observer.begin(index, recipe.steps.len(), step.kind());
        let stage = samples
            .images()
            .map(|images| Stage::new(index, step, dense, images, seed, observer));
        match (step, stage) {
            (Step::Quantize(step), Some(mut stage)) => {
                errors = stage.quantize(&mut graph, step, samples)?;
            }
            (_, Some(mut stage)) => stage.carry_out(&mut graph, step)?,
            (Step::Quantize(step), None) => {
                let mut progress = |done, total| observer.progress(done, total, f32::NAN);
                errors = quantize(&mut graph, step, samples, &mut progress)?;
            }
            (_, None) => {}
        }
    }
    graph.metadata.insert("recipe".into(), recipe.name.clone());
    Ok((graph, errors))
}

/// Why a step cannot be done.
fn without_labels(step: &Step, network: &str, images: bool) -> Result<(), String> {
    let (retrain, _) = step.training(network);
    let taught = |retrain: &Retrain| retrain.distill.as_ref().is_some_and(|d| d.alpha == 0.0);
    if !retrain.is_none_or(taught) {
        return Err(
            "it learns from labels, and these samples have none; with `distill = { alpha = 0, .. }` \
             it would learn from the network's own answers. Recipes that train nothing are one-shot, \
             one-shot-sparse and int8"
                .into(),
        );
    }
    if matches!(step, Step::Prune(step) if step.criterion == Criterion::Taylor) {
        return Err("its criterion asks labels, and these samples have none".into());
    }
    let arrays_do = match step {
        Step::Quantize(step) => step.retrain.is_none(),
        Step::Encode(step) => !step.order_channels,
        _ => false,
    };
    match images || arrays_do {
        true => Ok(()),
        false => Err("it needs images, and these samples are arrays".into()),
    }
}
