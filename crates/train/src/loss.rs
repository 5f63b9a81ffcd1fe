//! The loss: labels, and another network's answers.

use crate::TrainError;
use crate::features::{self, Features};
use crate::score::{check_input, constants};
use crate::trace::{self, Mode, Value};
use burn::tensor::{Tensor, activation};
use secateur_data::Dataset;
use secateur_model::Graph;
use std::collections::HashMap;

/// Learning from another network: its answers, by
/// `alpha · CE + (1 − alpha) · T² · KL` (Hinton et al. 2015), and its feature maps, by
/// their squared distance once each image's are scaled to length 1.
#[derive(Debug, Clone)]
pub struct Distill {
    /// The network whose answers are learned.
    pub teacher: Graph,
    /// Weight of the labels.
    pub alpha: f32,
    /// Softness of the answers.
    pub temperature: f32,
    /// Values that are learned beside the answers.
    pub features: Features,
    /// Weight of their mean distance.
    pub feature_weight: f32,
}

impl Distill {
    /// Answers only.
    pub fn answers(teacher: Graph, alpha: f32, temperature: f32) -> Self {
        Self {
            teacher,
            alpha,
            temperature,
            features: Features::None,
            feature_weight: 0.0,
        }
    }
}

/// What a training makes small.
pub(crate) struct Objective<'a> {
    /// The answers, then features.
    wanted: Vec<String>,
    label_smoothing: f32,
    teacher: Option<Teacher<'a>>,
}

/// A network whose answers are learned, ready to run.
struct Teacher<'a> {
    distill: &'a Distill,
    /// Its answers, then features.
    wanted: Vec<String>,
    constants: HashMap<String, Value>,
}

impl<'a> Objective<'a> {
    /// # Errors
    /// A teacher that cannot see the data.
    pub(crate) fn new(
        graph: &Graph,
        data: &Dataset,
        label_smoothing: f32,
        distill: Option<&'a Distill>,
    ) -> Result<Self, TrainError> {
        let mut wanted = vec![first_output(graph)];
        let teacher = match distill {
            None => None,
            Some(distill) => {
                check_input(&distill.teacher, data)?;
                let features = distill.features.names(&distill.teacher, graph, data)?;
                let answers = first_output(&distill.teacher);
                wanted.extend(features.iter().cloned());
                Some(Teacher {
                    distill,
                    wanted: std::iter::once(answers).chain(features).collect(),
                    constants: constants(&distill.teacher),
                })
            }
        };
        Ok(Self {
            wanted,
            label_smoothing,
            teacher,
        })
    }

    /// Names of the values that the loss is made of.
    pub(crate) fn wanted(&self) -> &[String] {
        &self.wanted
    }

    /// The loss of one batch.
    ///
    /// # Errors
    /// Outputs that do not fit the targets, a teacher with other classes, a loss
    /// that no weight has part in.
    pub(crate) fn loss(
        &self,
        values: &HashMap<String, Value>,
        data: &Dataset,
        indices: &[usize],
        input: Value,
    ) -> Result<Tensor<1>, TrainError> {
        let batch = indices.len();
        let (output, features) = self.answers_and_features();
        let logits = rows(values.get(output), output, batch)?;
        let targets = one_hot(data, indices, logits.dims()[1], self.label_smoothing)?;
        let loss = match &self.teacher {
            None => cross_entropy(logits, targets),
            Some(teacher) => {
                let hard = cross_entropy(logits.clone(), targets) * teacher.distill.alpha;
                hard + teacher.loss(values, logits, features, input)?
            }
        };
        if !loss.is_tracked() {
            return Err(TrainError::Setting(format!(
                "output `{}` depends on no weight: there is nothing to train",
                output
            )));
        }
        Ok(loss)
    }

    fn answers_and_features(&self) -> (&str, &[String]) {
        let (answers, features) = self.wanted.split_first().unzip();
        (
            answers.map_or("", String::as_str),
            features.unwrap_or_default(),
        )
    }
}

impl Teacher<'_> {
    /// What the student's answers and features lack.
    fn loss(
        &self,
        student: &HashMap<String, Value>,
        logits: Tensor<2>,
        features: &[String],
        input: Value,
    ) -> Result<Tensor<1>, TrainError> {
        let Distill {
            alpha,
            temperature,
            feature_weight,
            ..
        } = *self.distill;
        let teacher = &self.distill.teacher;
        let values = trace::run(
            teacher,
            input,
            &self.constants,
            Mode::Evaluate,
            &self.wanted,
        )?;
        let output = self.wanted.first().map_or("", String::as_str);
        let theirs = rows(values.get(output), output, logits.dims()[0])?;
        if theirs.dims() != logits.dims() {
            return Err(TrainError::Setting("the teacher has other classes".into()));
        }
        let soft = activation::softmax(theirs / temperature, 1);
        let of_answers = (1.0 - alpha) * temperature * temperature;
        let mut loss = cross_entropy(logits / temperature, soft) * of_answers;
        let share = feature_weight / features.len().max(1) as f32;
        for name in features {
            if let (Some(ours), Some(theirs)) = (student.get(name), values.get(name)) {
                loss = loss + features::distance(ours, theirs) * share;
            }
        }
        Ok(loss)
    }
}

fn first_output(graph: &Graph) -> String {
    let first = graph.outputs.first();
    first.map(|o| o.name.clone()).unwrap_or_default()
}

/// The value as one row for each of `batch` images.
fn rows(value: Option<&Value>, name: &str, batch: usize) -> Result<Tensor<2>, TrainError> {
    let dims = value.map_or(&[][..], |v| &v.dims);
    match (value, dims) {
        (Some(v), &[n, classes]) if n == batch => Ok(v.flat.clone().reshape([n, classes])),
        _ => Err(TrainError::Setting(format!(
            "output `{name}` must be [{batch}, classes] to be trained, found {dims:?}"
        ))),
    }
}

fn one_hot(
    data: &Dataset,
    indices: &[usize],
    classes: usize,
    smoothing: f32,
) -> Result<Tensor<2>, TrainError> {
    let rest = smoothing / classes.max(1) as f32;
    let mut targets = vec![rest; indices.len() * classes];
    for (row, &index) in indices.iter().enumerate() {
        let label = data.labels()[index] as usize;
        if label >= classes {
            return Err(TrainError::Data {
                data: data.name.clone(),
                what: "label",
                needed: format!("below the network's {classes} outputs"),
                found: label.to_string(),
            });
        }
        targets[row * classes + label] += 1.0 - smoothing;
    }
    let dims = [indices.len(), classes];
    Ok(Value::new(targets, &dims).flat.reshape(dims))
}

/// Mean over the rows of `−Σ target · log softmax(z)`.
fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let rows = logits.dims()[0] as f32;
    (activation::log_softmax(logits, 1) * targets).sum() / -rows
}
