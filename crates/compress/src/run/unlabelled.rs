//! A recipe carried out where there are samples but no labels.

use super::{Checkpoint, Observer, Report, Source, go_on};
use crate::ptq::Samples;
use crate::recipe::{Recipe, Retrain, Step};
use crate::{CompressError, Criterion};
use secateur_data::Dataset;
use secateur_model::{Graph, Shape, infer};

/// Carries out what a recipe has left to do after a checkpoint, all of whose steps need no labels: they train
/// nothing, or learn from the answers of the network as it was given (`distill.alpha = 0`).
///
/// # Errors
/// A step that needs labels, or images where samples are arrays; samples that cannot be run; else as
/// [`resume`](super::resume).
pub fn resume_unlabelled(
    dense: &Graph,
    from: Checkpoint,
    samples: &dyn Samples,
    recipe: &Recipe,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<(Graph, Report), CompressError> {
    // Before any work is done.
    for step in &recipe.steps {
        let refused = |reason| CompressError::Refused {
            step: step.kind(),
            reason,
        };
        without_labels(step, dense, samples.images()).map_err(refused)?;
    }
    let data = Source::Unlabelled(samples);
    go_on(dense, from, data, recipe, seed, observer)
}

/// Why a step cannot be done.
fn without_labels(step: &Step, dense: &Graph, images: Option<&Dataset>) -> Result<(), String> {
    let (retrain, _) = step.training(&dense.name);
    let arrays_do = match step {
        Step::Quantize(step) => step.retrain.is_none(),
        Step::Encode(step) => !step.order_channels,
        _ => false,
    };
    let Some(images) = images else {
        return match arrays_do {
            true => Ok(()),
            false => Err(
                "these samples are arrays: without images, nothing but quantize and encode \
                 can be done, without training and `order_channels`"
                    .into(),
            ),
        };
    };
    let criterion = match step {
        Step::Prune(step) => Some(step.criterion),
        Step::Channels(step) => Some(step.criterion),
        _ => None,
    };
    if criterion == Some(Criterion::Taylor) {
        return Err("its criterion asks labels, and these samples have none".into());
    }
    match retrain {
        None => Ok(()),
        Some(retrain) => taught(retrain).and_then(|()| answers_classes(dense, images)),
    }
}

/// Whether labels have no part in a training.
fn taught(retrain: &Retrain) -> Result<(), String> {
    let found = match &retrain.distill {
        Some(distill) if distill.alpha == 0.0 => return Ok(()),
        Some(distill) => format!("distill.alpha is {}", distill.alpha),
        None => "there is no `distill`".into(),
    };
    Err(format!(
        "it learns from labels, and these samples have none; with `distill = {{ alpha = 0, .. }}` it would \
         learn from the network's own answers, but {found}. Recipes that train nothing are one-shot, \
         one-shot-sparse and int8"
    ))
}

/// Whether a network answers as training can learn from: a row for each image.
fn answers_classes(dense: &Graph, images: &Dataset) -> Result<(), String> {
    let (Some(input), Some(output)) = (dense.inputs.first(), dense.outputs.first()) else {
        return Ok(());
    };
    let shape = Shape::new(&[1, images.channels, images.height, images.width]);
    let shapes = shape.and_then(|shape| infer(dense, &[(&input.name, shape)]));
    match shapes.as_ref().map(|shapes| shapes.get(&output.name)) {
        Ok(Some((_, shape))) if shape.rank() != 2 => Err(format!(
            "learning from the network's own answers needs an output of [images, classes], `{}` is {:?}",
            output.name,
            shape.dims()
        )),
        // What cannot be told here, training tells.
        _ => Ok(()),
    }
}
