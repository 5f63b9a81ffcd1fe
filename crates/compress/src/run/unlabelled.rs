//! A recipe carried out where there are samples but no labels.

use super::Observer;
use super::quantize::quantize;
use crate::CompressError;
use crate::ptq::{LayerError, Samples};
use crate::recipe::{Recipe, Step};
use secateur_model::Graph;

/// Carries out a recipe whose steps need no labels: quantization, which may prune
/// in the same sweep, and encoding. Gives the network and what became of each
/// layer that was rounded on the samples.
///
/// # Errors
/// A step that needs labels, a step that is refused, samples that cannot be run,
/// an observer that stops it.
pub fn run_unlabelled(
    mut graph: Graph,
    samples: &dyn Samples,
    recipe: &Recipe,
    observer: &mut dyn Observer,
) -> Result<(Graph, Vec<LayerError>), CompressError> {
    // Before any work is done.
    recipe.steps.iter().try_for_each(without_labels)?;
    let mut errors = Vec::new();
    for (index, step) in recipe.steps.iter().enumerate() {
        observer.begin(index, recipe.steps.len(), step.kind());
        if let Step::Quantize(step) = step {
            let mut progress = |done, total| observer.progress(done, total, f32::NAN);
            errors = quantize(&mut graph, step, samples, &mut progress)?;
        }
    }
    graph.metadata.insert("recipe".into(), recipe.name.clone());
    Ok((graph, errors))
}

fn without_labels(step: &Step) -> Result<(), CompressError> {
    let fine = match step {
        Step::Quantize(step) => step.retrain.is_none(),
        Step::Encode(_) => true,
        _ => false,
    };
    if fine {
        return Ok(());
    }
    Err(CompressError::Refused {
        step: step.kind(),
        reason: "it learns from labels, and these samples have none; recipes without it are \
                 one-shot, one-shot-sparse and int8"
            .into(),
    })
}
