//! The loss: labels, and another network's answers.

use crate::TrainError;
use crate::score::{check_input, constants};
use crate::trace::{self, Mode, Value};
use burn::tensor::{Tensor, activation};
use secateur_data::Dataset;
use secateur_model::Graph;
use std::collections::HashMap;

/// Learning from another network's answers:
/// `alpha · CE + (1 − alpha) · T² · KL` (Hinton et al. 2015).
#[derive(Debug, Clone)]
pub struct Distill {
    /// The network whose answers are learned.
    pub teacher: Graph,
    /// Weight of the labels.
    pub alpha: f32,
    /// Softness of the answers.
    pub temperature: f32,
}

/// What a training makes small.
pub(crate) struct Objective<'a> {
    output: String,
    label_smoothing: f32,
    teacher: Option<Teacher<'a>>,
}

/// A network whose answers are learned, ready to run.
struct Teacher<'a> {
    distill: &'a Distill,
    output: String,
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
        let teacher = match distill {
            None => None,
            Some(distill) => {
                check_input(&distill.teacher, data)?;
                Some(Teacher {
                    distill,
                    output: first_output(&distill.teacher),
                    constants: constants(&distill.teacher),
                })
            }
        };
        Ok(Self {
            output: first_output(graph),
            label_smoothing,
            teacher,
        })
    }

    /// Names of the values that the loss is made of.
    pub(crate) fn wanted(&self) -> &[String] {
        std::slice::from_ref(&self.output)
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
        let logits = rows(values.get(&self.output), &self.output, batch)?;
        let targets = one_hot(data, indices, logits.dims()[1], self.label_smoothing)?;
        let loss = match &self.teacher {
            None => cross_entropy(logits, targets),
            Some(teacher) => {
                let Distill {
                    alpha, temperature, ..
                } = *teacher.distill;
                let soft = teacher.answers(input, batch)?;
                if soft.dims() != logits.dims() {
                    return Err(TrainError::Setting("the teacher has other classes".into()));
                }
                let hard = cross_entropy(logits.clone(), targets) * alpha;
                let soft_loss = cross_entropy(logits / temperature, soft);
                hard + soft_loss * ((1.0 - alpha) * temperature * temperature)
            }
        };
        if !loss.is_tracked() {
            return Err(TrainError::Setting(format!(
                "output `{}` depends on no weight: there is nothing to train",
                self.output
            )));
        }
        Ok(loss)
    }
}

impl Teacher<'_> {
    /// The softened answers: `[batch, classes]`.
    fn answers(&self, input: Value, batch: usize) -> Result<Tensor<2>, TrainError> {
        let wanted = std::slice::from_ref(&self.output);
        let teacher = &self.distill.teacher;
        let values = trace::run(teacher, input, &self.constants, Mode::Evaluate, wanted)?;
        let logits = rows(values.get(&self.output), &self.output, batch)?;
        Ok(activation::softmax(logits / self.distill.temperature, 1))
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
