//! Gradients of the loss at weights that stay as they are.

use crate::TrainError;
use crate::batch::{Augment, batch_of};
use crate::fit::gradients_of;
use crate::loss::Objective;
use crate::score::check_input;
use crate::trace::{self, Mode, Value};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use secateur_data::Dataset;
use secateur_model::Graph;
use std::collections::{BTreeMap, HashMap};

/// Told the gradients of one batch's mean loss, by the weight's name.
pub type GradientObserver<'a> = dyn FnMut(&BTreeMap<String, Vec<f32>>) + 'a;

/// Gradients of the loss over the first `limit` images, batch by batch. Nothing is trained: the
/// network computes as in [`evaluate`](crate::evaluate).
///
/// # Errors
/// As [`fit`](crate::fit).
pub fn loss_gradients(
    graph: &Graph,
    data: &Dataset,
    limit: usize,
    batch: usize,
    observer: &mut GradientObserver<'_>,
) -> Result<(), TrainError> {
    check_input(graph, data)?;
    let objective = Objective::new(graph, data, 0.0, None)?;
    // Nothing is drawn from it: images are shown as they are.
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let indices: Vec<usize> = (0..data.len().min(limit)).collect();
    for indices in indices.chunks(batch.max(1)) {
        let shown = batch_of(data, indices, Augment::default(), &mut rng)?;
        let parameters: HashMap<String, Value> = graph
            .weights()
            .map(|(name, w)| {
                (
                    name.to_owned(),
                    Value::parameter(w.to_f32(), w.shape().dims()),
                )
            })
            .collect();
        let values = trace::run(
            graph,
            shown.input.clone(),
            &parameters,
            Mode::Evaluate,
            objective.wanted(),
        )?;
        let loss = objective.loss(&values, data, shown)?;
        observer(&gradients_of(&loss, &parameters));
    }
    Ok(())
}
