//! A network's answers on the engine.

use crate::progress::Bar;
use crate::{detector, interrupt, network};
use anyhow::{Context, Result, bail};
use secateur_data::{Dataset, Targets};
use secateur_engine::{Bound, Session, SessionOptions, may_have};
use secateur_model::detection::{LEAST_SCORE, MET_OVERLAP, Object, Precision};
use secateur_model::{Graph, Shape};
use serde::Serialize;

/// Images computed at once, where the network leaves that open, and their values.
const BATCH: usize = 100;
const BATCH_VALUES: usize = 1 << 20;

/// A network's score, as `eval --json` writes it.
#[derive(Debug, Clone, Serialize)]
pub struct Scored {
    pub samples: usize,
    #[serde(flatten)]
    pub answers: Answers,
    pub bytes: u64,
}

/// How right a network is, as its data ask.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Answers {
    Classes {
        top1_error_percent: f64,
    },
    /// Mean average precision: the area under the curve, and at eleven recalls.
    Boxes {
        map_percent: f64,
        map_11_point_percent: f64,
        classes: Vec<ClassScore>,
    },
}

/// How well one class is found.
#[derive(Debug, Clone, Serialize)]
pub struct ClassScore {
    pub class: String,
    pub objects: usize,
    pub detections: usize,
    pub met: usize,
    pub ap_percent: f64,
    pub ap_11_point_percent: f64,
}

impl Scored {
    /// Wrong answers in percent; of a detector, 100 less its mean average precision in percent.
    pub fn error_percent(&self) -> f64 {
        match &self.answers {
            Answers::Classes { top1_error_percent } => *top1_error_percent,
            Answers::Boxes { map_percent, .. } => 100.0 - map_percent,
        }
    }

    /// The figure that people of the field know, in percent: the error of a classifier, the mean
    /// average precision of a detector.
    pub fn figure(&self) -> (&'static str, f64) {
        self.figure_of(self.error_percent())
    }

    /// The same figure on other samples, from an error there.
    pub fn figure_of(&self, error_percent: f64) -> (&'static str, f64) {
        match &self.answers {
            Answers::Classes { .. } => ("error", error_percent),
            Answers::Boxes { .. } => ("mAP", 100.0 - error_percent),
        }
    }
}

/// Scores a network.
pub fn score(graph: &Graph, data: &Dataset, bytes: u64) -> Result<Scored> {
    let answers = match data.targets() {
        Targets::Classes(labels) => classes(graph, data, labels)?,
        Targets::Boxes(objects) => boxes(graph, data, objects)?,
    };
    Ok(Scored {
        samples: data.len(),
        answers,
        bytes,
    })
}

fn classes(graph: &Graph, data: &Dataset, labels: &[u32]) -> Result<Answers> {
    let mut correct = 0;
    each_output(graph, data, &mut |image, row| {
        if row.len() < data.classes.len() {
            bail!(
                "the network tells {} classes apart, {} has {}",
                row.len(),
                data.name,
                data.classes.len()
            );
        }
        correct += usize::from(best(row) == labels[image] as usize);
        Ok(())
    })?;
    let wrong = data.len() - correct;
    Ok(Answers::Classes {
        top1_error_percent: 100.0 * wrong as f64 / data.len().max(1) as f64,
    })
}

fn boxes(graph: &Graph, data: &Dataset, objects: &[Vec<Object>]) -> Result<Answers> {
    let head = detector::head(graph)?
        .with_context(|| format!("{} has boxes, the network finds no objects", data.name))?;
    if head.classes() != data.classes.len() {
        bail!(
            "the network finds {} classes of objects, {} has {}",
            head.classes(),
            data.name,
            data.classes.len()
        );
    }
    let mut found = Vec::with_capacity(data.len());
    each_output(graph, data, &mut |_, output| {
        found.push(detector::decode(&head, output, LEAST_SCORE)?);
        Ok(())
    })?;
    let precision = Precision::of(objects, &found, head.classes(), MET_OVERLAP);
    let classes = precision.classes.iter().zip(&data.classes);
    Ok(Answers::Boxes {
        map_percent: 100.0 * precision.mean_area(),
        map_11_point_percent: 100.0 * precision.mean_eleven_point(),
        classes: classes
            .map(|(found, class)| ClassScore {
                class: class.clone(),
                objects: found.objects,
                detections: found.detections,
                met: found.met,
                ap_percent: 100.0 * found.area,
                ap_11_point_percent: 100.0 * found.eleven_point,
            })
            .collect(),
    })
}

/// Runs the engine on every image; what it says of each, with the number of the image.
pub fn each_output(
    graph: &Graph,
    data: &Dataset,
    told: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let at_once = (BATCH_VALUES / data.image_len().max(1)).clamp(1, BATCH);
    let batch = network::fixed_batch(graph).unwrap_or(at_once).max(1);
    let shape = network::shape_for(graph, data, batch)?;
    let session = Session::new(graph, &SessionOptions::default())?;
    let bound = session.bind(&[Shape::new(&shape)?])?;
    let mut outputs = outputs(&bound)?;
    let mut pixels = zeros(Shape::new(&shape)?.elements())?;
    let indices: Vec<usize> = (0..data.len()).collect();
    let mut bar = Bar::new("testing");
    for (index, images) in indices.chunks(batch).enumerate() {
        // The last batch is filled up by what was there before.
        let (filled, _) = pixels.split_at_mut(images.len() * data.image_len());
        data.gather(images, filled);
        run(&bound, &pixels, &mut outputs)?;
        let first = outputs.first().map_or(&[][..], Vec::as_slice);
        let answer = (first.len() / batch).max(1);
        for (row, &image) in first.chunks_exact(answer).zip(images) {
            told(image, row)?;
        }
        if bar.advance(index * batch, data.len()).is_break() {
            interrupt::check()?;
        }
    }
    Ok(())
}

/// Room for all outputs.
pub fn outputs(bound: &Bound<'_>) -> Result<Vec<Vec<f32>>> {
    let ports = bound.plan().outputs.iter();
    ports.map(|o| zeros(o.shape.elements())).collect()
}

/// So many zeros: a file may ask for more than there is memory.
pub fn zeros(elements: usize) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    let reserved = values.try_reserve_exact(elements).is_ok();
    if !reserved || !may_have(size_of::<f32>() as u64 * elements as u64) {
        bail!("{elements} values do not fit in memory");
    }
    values.resize(elements, 0.0);
    Ok(values)
}

/// Runs on one input, into all outputs.
pub fn run(bound: &Bound<'_>, input: &[f32], outputs: &mut [Vec<f32>]) -> Result<()> {
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    Ok(bound.run_into(&[input], &mut slices)?)
}

/// Index of the largest value; of equal ones the first.
pub fn best(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |b, i| if row[i] > row[b] { i } else { b })
}
