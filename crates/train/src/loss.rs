//! The loss: labels, and another network's answers.

use crate::TrainError;
use crate::batch::Batch;
use crate::detector::{Lesson, head_for};
use crate::score::{check_input, constants};
use crate::trace::{self, Mode, Value};
use burn::tensor::{Tensor, activation};
use secateur_data::augment::Moved;
use secateur_data::{Dataset, Targets};
use secateur_model::Graph;
use secateur_model::detection::{Head, Object};
use std::collections::HashMap;

/// Learning from another network's answers:
/// `alpha · CE + (1 − alpha) · T² · KL` (Hinton et al. 2015); of a detector,
/// `alpha · own loss + (1 − alpha) · loss by the teacher's certainties and boxes`.
#[derive(Debug, Clone)]
pub struct Distill {
    /// The network whose answers are learned.
    pub teacher: Graph,
    /// Weight of the labels.
    pub alpha: f32,
    /// Softness of the answers; a detector's are taken as they are.
    pub temperature: f32,
}

/// What a training makes small.
pub(crate) struct Objective<'a> {
    output: String,
    goal: Goal,
    teacher: Option<Teacher<'a>>,
}

/// What the data asks for.
enum Goal {
    Classes { label_smoothing: f32 },
    Boxes(Head),
}

/// A network whose answers are learned, ready to run.
struct Teacher<'a> {
    distill: &'a Distill,
    output: String,
    constants: HashMap<String, Value>,
}

impl<'a> Objective<'a> {
    /// # Errors
    /// A teacher that cannot see the data, boxes for a network that finds none.
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
        let goal = match data.targets() {
            Targets::Classes(_) => Goal::Classes { label_smoothing },
            Targets::Boxes(_) => Goal::Boxes(head_for(graph, data)?),
        };
        Ok(Self {
            output: first_output(graph),
            goal,
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
        batch: Batch,
    ) -> Result<Tensor<1>, TrainError> {
        let output = values.get(&self.output);
        let loss = match &self.goal {
            Goal::Classes { label_smoothing } => {
                self.class_loss(output, data, batch, *label_smoothing)?
            }
            Goal::Boxes(head) => self.box_loss(output, head, data, batch)?,
        };
        if !loss.is_tracked() {
            return Err(TrainError::Setting(format!(
                "output `{}` depends on no weight: there is nothing to train",
                self.output
            )));
        }
        Ok(loss)
    }

    fn class_loss(
        &self,
        output: Option<&Value>,
        data: &Dataset,
        batch: Batch,
        label_smoothing: f32,
    ) -> Result<Tensor<1>, TrainError> {
        let images = batch.indices.len();
        let logits = rows(output, &self.output, images)?;
        let targets = one_hot(data, &batch.indices, logits.dims()[1], label_smoothing)?;
        let Some(teacher) = &self.teacher else {
            return Ok(cross_entropy(logits, targets));
        };
        let Distill {
            alpha, temperature, ..
        } = *teacher.distill;
        let answers = teacher.answers(batch.input)?;
        let soft = rows(answers.as_ref(), &teacher.output, images)?;
        if soft.dims() != logits.dims() {
            return Err(TrainError::Setting("the teacher has other classes".into()));
        }
        let soft = activation::softmax(soft / temperature, 1);
        let hard = cross_entropy(logits.clone(), targets) * alpha;
        let soft_loss = cross_entropy(logits / temperature, soft);
        Ok(hard + soft_loss * ((1.0 - alpha) * temperature * temperature))
    }

    fn box_loss(
        &self,
        output: Option<&Value>,
        head: &Head,
        data: &Dataset,
        batch: Batch,
    ) -> Result<Tensor<1>, TrainError> {
        let needed = [batch.indices.len(), head.cell_count(), head.width()];
        let output = cells(output, &self.output, needed)?;
        let objects = shown_objects(data, &batch.indices, &batch.moves);
        let own = Lesson::of_objects(head, &output.to_vec(), &objects).loss_of(head, output);
        let Some(teacher) = &self.teacher else {
            return Ok(own);
        };
        let alpha = teacher.distill.alpha;
        let answers = teacher.answers(batch.input)?;
        let answers = cells(answers.as_ref(), &teacher.output, needed)?.to_vec();
        let taught = Lesson::of_teacher(head, &answers).loss_of(head, output);
        Ok(own * alpha + taught * (1.0 - alpha))
    }
}

impl Teacher<'_> {
    /// What the teacher says of a batch.
    fn answers(&self, input: Value) -> Result<Option<Value>, TrainError> {
        let wanted = std::slice::from_ref(&self.output);
        let teacher = &self.distill.teacher;
        let mut values = trace::run(teacher, input, &self.constants, Mode::Evaluate, wanted)?;
        Ok(values.remove(&self.output))
    }
}

/// What is to be seen in the images as they are shown.
fn shown_objects(data: &Dataset, indices: &[usize], moves: &[Moved]) -> Vec<Vec<Object>> {
    let Targets::Boxes(boxes) = data.targets() else {
        return Vec::new();
    };
    let moves = moves
        .iter()
        .copied()
        .chain(std::iter::repeat(Moved::default()));
    let shown = indices.iter().zip(moves);
    shown
        .map(|(&index, moved)| moved.objects(boxes.get(index).map_or(&[][..], Vec::as_slice)))
        .collect()
}

/// The value, which must be a row for each cell of each image.
fn cells<'a>(
    value: Option<&'a Value>,
    name: &str,
    needed: [usize; 3],
) -> Result<&'a Value, TrainError> {
    value.filter(|v| v.dims == needed).ok_or_else(|| {
        let found = value.map_or(&[][..], |v| &v.dims);
        TrainError::Setting(format!(
            "output `{name}` must be {needed:?} to find objects, found {found:?}"
        ))
    })
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
