//! A network's answers on a data set, without gradients.

use crate::TrainError;
use crate::detector::{Lesson, head_for};
use crate::trace::{self, Mode, Value};
use secateur_data::{Dataset, Targets};
use secateur_model::detection::{LEAST_SCORE, MET_OVERLAP, Object, Precision};
use secateur_model::{Dim, Graph, Tensor};
use std::collections::HashMap;

/// Images computed at once, at most, and their values.
const BATCH: usize = 250;
const BATCH_VALUES: usize = 1 << 20;

/// How a network did on a data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Images.
    pub samples: usize,
    /// How many of its answers are right.
    pub answers: Answers,
    /// Mean loss of an image: for classes the cross-entropy, in nats.
    pub loss: f64,
}

/// How right a network is; the data say which of these is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answers {
    /// Images whose largest output is their label's.
    Classes {
        /// Number of them.
        correct: usize,
    },
    /// Mean average precision of what was found, 0 to 1: area under the curve, at an overlap of 0.5.
    Boxes {
        /// The mean over all classes.
        mean_precision: f64,
    },
}

impl Score {
    /// Wrong answers in percent; of a detector, 100 less its mean average precision in percent.
    pub fn error_percent(&self) -> f64 {
        match self.answers {
            Answers::Classes { correct } => {
                100.0 * (self.samples - correct) as f64 / self.samples.max(1) as f64
            }
            Answers::Boxes { mean_precision } => 100.0 * (1.0 - mean_precision),
        }
    }
}

/// Scores a network: a classifier, where ties go to the lower class, or a detector, as the data ask.
///
/// # Errors
/// Images of another shape than the network's input, an operator that cannot
/// run here, more classes in the data than outputs, boxes for a network that finds none.
pub fn evaluate(graph: &Graph, data: &Dataset) -> Result<Score, TrainError> {
    match data.targets() {
        Targets::Classes(labels) => classes(graph, data, labels),
        Targets::Boxes(objects) => boxes(graph, data, objects),
    }
}

fn boxes(graph: &Graph, data: &Dataset, objects: &[Vec<Object>]) -> Result<Score, TrainError> {
    let head = head_for(graph, data)?;
    let outputs = logits(graph, data)?;
    let image = head.cell_count() * head.width();
    if outputs.len() != data.len() * image {
        return Err(TrainError::Setting(format!(
            "a detector's output must be {image} values an image, found {} for {}",
            outputs.len(),
            data.len()
        )));
    }
    let mut loss = 0.0;
    let mut found = Vec::with_capacity(data.len());
    for (output, objects) in outputs.chunks_exact(image).zip(objects) {
        let lesson = Lesson::of_objects(&head, output, std::slice::from_ref(objects));
        loss += lesson.loss(&head, output).0;
        found.push(head.decode(output, LEAST_SCORE));
    }
    let precision = Precision::of(objects, &found, head.classes(), MET_OVERLAP);
    Ok(Score {
        samples: data.len(),
        answers: Answers::Boxes {
            mean_precision: precision.mean_area(),
        },
        loss: loss / data.len().max(1) as f64,
    })
}

fn classes(graph: &Graph, data: &Dataset, labels: &[u32]) -> Result<Score, TrainError> {
    let outputs = logits(graph, data)?;
    let classes = outputs.len() / data.len().max(1);
    let (mut right, mut loss) = (0, 0.0);
    for (row, &label) in outputs.chunks_exact(classes.max(1)).zip(labels) {
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
        right += usize::from(best == label);
        let top = f64::from(row[best]);
        let sum: f64 = row.iter().map(|&z| (f64::from(z) - top).exp()).sum();
        loss += sum.ln() + top - f64::from(own);
    }
    Ok(Score {
        samples: data.len(),
        answers: Answers::Classes { correct: right },
        loss: loss / data.len().max(1) as f64,
    })
}

/// The first output for every image: `[images, classes]` or, of a detector,
/// `[images, cells · (classes + 4)]`, row-major.
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

/// Told what each probe's graph computed on a batch.
type ProbeObserver<'a, E> = dyn FnMut(&[Vec<Tensor>]) -> Result<(), E> + 'a;

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
    each: &mut ProbeObserver<'_, E>,
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

/// Images computed at once: large pictures take much memory.
pub(crate) fn batch_of(data: &Dataset) -> usize {
    (BATCH_VALUES / data.image_len().max(1)).clamp(1, BATCH)
}

/// Told a value's name, the value, and of how many images it is.
type BatchObserver<'a> = dyn FnMut(&str, &Value, usize) -> Result<(), TrainError> + 'a;

pub(crate) fn each_batch(
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
