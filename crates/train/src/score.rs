//! A network's answers on a data set, without gradients.

use crate::TrainError;
use crate::trace::{self, Mode, Value};
use secateur_data::Dataset;
use secateur_model::{Dim, Graph, Tensor};
use std::collections::HashMap;

/// Images computed at once, at most.
const BATCH: usize = 250;

/// Numbers of all images computed at once, where that is fewer: 250 of 32x32.
const BATCH_NUMBERS: usize = BATCH * 3 * 32 * 32;

/// How a network did on a data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Images.
    pub samples: usize,
    /// Images whose largest output is their label's.
    pub correct: usize,
    /// Mean cross-entropy, in nats.
    pub loss: f64,
}

impl Score {
    /// Wrong answers in percent.
    pub fn error_percent(&self) -> f64 {
        100.0 * (self.samples - self.correct) as f64 / self.samples.max(1) as f64
    }
}

/// Scores a classifier; ties go to the lower class.
///
/// # Errors
/// Images of another shape than the network's input, an operator that cannot
/// run here, more classes in the data than outputs.
pub fn evaluate(graph: &Graph, data: &Dataset) -> Result<Score, TrainError> {
    let outputs = logits(graph, data)?;
    let classes = outputs.len() / data.len().max(1);
    let mut score = Score {
        samples: data.len(),
        correct: 0,
        loss: 0.0,
    };
    for (row, &label) in outputs.chunks_exact(classes.max(1)).zip(data.labels()) {
        let label = label as usize;
        let Some(&own) = row.get(label) else {
            return Err(TrainError::Data {
                data: data.name.clone(),
                what: "label",
                needed: format!("below the network's {classes} outputs"),
                found: label.to_string(),
            });
        };
        let best = (0..row.len()).fold(0, |b, i| if row[i] > row[b] { i } else { b });
        score.correct += usize::from(best == label);
        let top = f64::from(row[best]);
        let sum: f64 = row.iter().map(|&z| (f64::from(z) - top).exp()).sum();
        score.loss += sum.ln() + top - f64::from(own);
    }
    score.loss /= data.len().max(1) as f64;
    Ok(score)
}

/// The first output for every image: `[images, classes]`, row-major.
///
/// # Errors
/// As [`evaluate`].
pub fn logits(graph: &Graph, data: &Dataset) -> Result<Vec<f32>, TrainError> {
    let name = graph
        .outputs
        .first()
        .map(|o| o.name.clone())
        .unwrap_or_default();
    let mut all = Vec::new();
    each_batch(
        graph,
        data,
        data.len(),
        &[name],
        &mut |name, value, images| {
            if value.dims.first() != Some(&images) {
                return Err(TrainError::Setting(format!(
                    "output `{name}` must have a row for each of {images} images, found {:?}",
                    value.dims
                )));
            }
            all.extend(value.to_vec());
            Ok(())
        },
    )?;
    Ok(all)
}

/// Runs the first `limit` images in batches and hands the named values of each
/// batch to the observer; memory does not grow with the number of images.
///
/// # Errors
/// As [`evaluate`]; a name that the graph does not compute.
pub fn observe(
    graph: &Graph,
    data: &Dataset,
    limit: usize,
    names: &[String],
    observer: &mut dyn FnMut(&str, &[f32]),
) -> Result<(), TrainError> {
    each_batch(graph, data, limit, names, &mut |name, value, _| {
        observer(name, &value.to_vec());
        Ok(())
    })
}

/// A network, and the names of its values that are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// Names of its values; inputs too.
    pub names: &'a [String],
}

/// Runs several networks on the first `limit` images, batch by batch side by
/// side; `each` is handed the values that every probe asks for, in its order.
/// Memory does not grow with the number of images.
///
/// # Errors
/// As [`observe`], and whatever `each` refuses.
pub fn observe_together<E: From<TrainError>>(
    probes: &[Probe<'_>],
    data: &Dataset,
    limit: usize,
    each: &mut dyn FnMut(&[Vec<Tensor>]) -> Result<(), E>,
) -> Result<(), E> {
    for probe in probes {
        check_input(probe.graph, data)?;
    }
    let parameters: Vec<_> = probes.iter().map(|p| constants(p.graph)).collect();
    let indices: Vec<usize> = (0..data.len().min(limit)).collect();
    for batch in indices.chunks(batch_of(data)) {
        let values = probes.iter().zip(&parameters).map(|(probe, parameters)| {
            let input = gather(data, batch);
            let values = trace::run(probe.graph, input, parameters, Mode::Evaluate, probe.names)?;
            let tensors = probe.names.iter().map(|name| {
                let value = computed(&values, name)?;
                Ok(Tensor::f32(&value.dims, value.to_vec())?)
            });
            tensors.collect::<Result<Vec<_>, TrainError>>()
        });
        each(&values.collect::<Result<Vec<_>, TrainError>>()?)?;
    }
    Ok(())
}

fn computed<'a>(values: &'a HashMap<String, Value>, name: &str) -> Result<&'a Value, TrainError> {
    let missing = || TrainError::Setting(format!("the network computes no value `{name}`"));
    values.get(name).ok_or_else(missing)
}

fn batch_of(data: &Dataset) -> usize {
    (BATCH_NUMBERS / data.image_len().max(1)).clamp(1, BATCH)
}

/// Told a value's name, the value, and of how many images it is.
type BatchObserver<'a> = dyn FnMut(&str, &Value, usize) -> Result<(), TrainError> + 'a;

fn each_batch(
    graph: &Graph,
    data: &Dataset,
    limit: usize,
    names: &[String],
    observer: &mut BatchObserver<'_>,
) -> Result<(), TrainError> {
    check_input(graph, data)?;
    let parameters = constants(graph);
    let indices: Vec<usize> = (0..data.len().min(limit)).collect();
    for batch in indices.chunks(batch_of(data)) {
        let values = trace::run(
            graph,
            gather(data, batch),
            &parameters,
            Mode::Evaluate,
            names,
        )?;
        for name in names {
            observer(name, computed(&values, name)?, batch.len())?;
        }
    }
    Ok(())
}

/// The weights as they stand, without gradients.
pub(crate) fn constants(graph: &Graph) -> HashMap<String, Value> {
    graph
        .weights()
        .map(|(name, w)| (name.to_owned(), Value::new(w.to_f32(), w.shape().dims())))
        .collect()
}

pub(crate) fn gather(data: &Dataset, indices: &[usize]) -> Value {
    let mut pixels = vec![0.0; indices.len() * data.image_len()];
    data.gather(indices, &mut pixels);
    Value::new(
        pixels,
        &[indices.len(), data.channels, data.height, data.width],
    )
}

pub(crate) fn check_input(graph: &Graph, data: &Dataset) -> Result<(), TrainError> {
    let found = [data.channels, data.height, data.width];
    let dims = graph
        .inputs
        .first()
        .and_then(|i| i.dims.as_deref())
        .unwrap_or_default();
    let fits = graph.inputs.len() == 1
        && match dims {
            [] => true,
            [_, rest @ ..] => {
                rest.len() == 3
                    && rest.iter().zip(found).all(|(dim, n)| match dim {
                        Dim::Known(k) => *k == n,
                        Dim::Named(_) => true,
                    })
            }
        };
    if fits {
        return Ok(());
    }
    let shown: Vec<String> = dims.iter().map(ToString::to_string).collect();
    Err(TrainError::Data {
        data: data.name.clone(),
        what: "image shape",
        needed: format!("one input of [{}]", shown.join(", ")),
        found: format!("{found:?}"),
    })
}
