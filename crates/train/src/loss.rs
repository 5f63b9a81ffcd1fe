//! The loss: labels, and another network's answers.

use crate::TrainError;
use crate::batch::Batch;
use crate::detector::{Lesson, head_for};
use crate::features::{self, Features};
use crate::score::{check_input, constants};
use crate::trace::{self, Mode, Value};
use burn::tensor::{Tensor, activation};
use secateur_data::augment::Moved;
use secateur_data::{Dataset, Targets};
use secateur_model::Graph;
use secateur_model::detection::{Head, Object};
use std::collections::HashMap;

/// Learning from another network: its answers, by
/// `alpha · CE + (1 − alpha) · T² · KL` (Hinton et al. 2015), of a detector
/// `alpha · own loss + (1 − alpha) · loss by the teacher's certainties and boxes`; and its
/// feature maps, by their squared distance once each image's are scaled to length 1.
#[derive(Debug, Clone)]
pub struct Distill {
    /// The network whose answers are learned.
    pub teacher: Graph,
    /// Weight of the labels.
    pub alpha: f32,
    /// Softness of the answers; a detector's are taken as they are.
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
    /// Its answers, then features.
    wanted: Vec<String>,
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
        let goal = match data.targets() {
            Targets::Classes(_) => Goal::Classes { label_smoothing },
            Targets::Boxes(_) => Goal::Boxes(head_for(graph, data)?),
        };
        Ok(Self {
            wanted,
            goal,
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
        batch: Batch,
    ) -> Result<Tensor<1>, TrainError> {
        let (output, features) = self.answers_and_features();
        let answers = Answers {
            goal: &self.goal,
            value: values.get(output),
            name: output,
        };
        let loss = match &self.teacher {
            None => answers.own_loss(data, &batch)?,
            Some(teacher) => {
                let alpha = teacher.distill.alpha;
                // Before the teacher takes the images; without weight, labels may mean nothing.
                let own = (alpha > 0.0).then(|| answers.own_loss(data, &batch));
                let images = batch.indices.len();
                let theirs = teacher.values(batch.input)?;
                let taught = answers.taught_loss(&theirs, teacher, images)? * (1.0 - alpha);
                let likeness = teacher.likeness(values, &theirs, features);
                let loss = match own.transpose()? {
                    Some(own) => own * alpha + taught,
                    None => taught,
                };
                match likeness {
                    Some(likeness) => loss + likeness,
                    None => loss,
                }
            }
        };
        if !loss.is_tracked() {
            return Err(TrainError::Setting(format!(
                "output `{output}` depends on no weight: there is nothing to train"
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

/// What the network says of a batch.
struct Answers<'a> {
    goal: &'a Goal,
    value: Option<&'a Value>,
    name: &'a str,
}

impl Answers<'_> {
    /// The loss by what the data say.
    fn own_loss(&self, data: &Dataset, batch: &Batch) -> Result<Tensor<1>, TrainError> {
        let images = batch.indices.len();
        match self.goal {
            Goal::Classes { label_smoothing } => {
                let logits = rows(self.value, self.name, images)?;
                let classes = logits.dims()[1];
                let targets = one_hot(data, &batch.indices, classes, *label_smoothing)?;
                Ok(cross_entropy(logits, targets))
            }
            Goal::Boxes(head) => {
                let output = cells(self.value, self.name, cell_dims(head, images))?;
                let objects = shown_objects(data, &batch.indices, &batch.moves);
                Ok(Lesson::of_objects(head, &output.to_vec(), &objects).loss_of(head, output))
            }
        }
    }

    /// The loss by what the teacher says.
    fn taught_loss(
        &self,
        theirs: &HashMap<String, Value>,
        teacher: &Teacher<'_>,
        images: usize,
    ) -> Result<Tensor<1>, TrainError> {
        let name = teacher.wanted.first().map_or("", String::as_str);
        let theirs = theirs.get(name);
        match self.goal {
            Goal::Classes { .. } => {
                let logits = rows(self.value, self.name, images)?;
                let theirs = rows(theirs, name, images)?;
                if theirs.dims() != logits.dims() {
                    return Err(TrainError::Setting("the teacher has other classes".into()));
                }
                let t = teacher.distill.temperature;
                let soft = activation::softmax(theirs / t, 1);
                Ok(cross_entropy(logits / t, soft) * (t * t))
            }
            Goal::Boxes(head) => {
                let needed = cell_dims(head, images);
                let output = cells(self.value, self.name, needed)?;
                let theirs = cells(theirs, name, needed)?.to_vec();
                Ok(Lesson::of_teacher(head, &theirs).loss_of(head, output))
            }
        }
    }
}

/// Extents of a detector's output.
fn cell_dims(head: &Head, images: usize) -> [usize; 3] {
    [images, head.cell_count(), head.width()]
}

impl Teacher<'_> {
    /// What the teacher makes of a batch: answers and features.
    fn values(&self, input: Value) -> Result<HashMap<String, Value>, TrainError> {
        let teacher = &self.distill.teacher;
        trace::run(
            teacher,
            input,
            &self.constants,
            Mode::Evaluate,
            &self.wanted,
        )
    }

    /// How far the student's features are from the teacher's.
    fn likeness(
        &self,
        ours: &HashMap<String, Value>,
        theirs: &HashMap<String, Value>,
        features: &[String],
    ) -> Option<Tensor<1>> {
        let share = self.distill.feature_weight / features.len().max(1) as f32;
        let pairs = features
            .iter()
            .filter_map(|name| Some((ours.get(name)?, theirs.get(name)?)));
        pairs
            .map(|(ours, theirs)| features::distance(ours, theirs) * share)
            .reduce(|sum, distance| sum + distance)
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
