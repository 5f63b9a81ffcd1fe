//! A network's answers on the engine.

use crate::progress::Bar;
use crate::{interrupt, network};
use anyhow::{Context, Result, bail};
use secateur_data::Dataset;
use secateur_engine::{Bound, Session, SessionOptions};
use secateur_model::{Graph, Shape};
use serde::Serialize;

/// Images computed at once, where the network leaves that open.
const BATCH: usize = 100;

/// A network's score, as `eval --json` writes it.
#[derive(Debug, Clone, Serialize)]
pub struct Scored {
    pub samples: usize,
    pub top1_error_percent: f64,
    pub bytes: u64,
}

/// Scores a network.
pub fn score(graph: &Graph, data: &Dataset, bytes: u64) -> Result<Scored> {
    let mut correct = 0;
    each_output(graph, data, |image, row| {
        correct += usize::from(best(row) == data.labels()[image] as usize);
    })?;
    Ok(Scored {
        samples: data.len(),
        top1_error_percent: 100.0 * (data.len() - correct) as f64 / data.len().max(1) as f64,
        bytes,
    })
}

/// Runs a classifier on all images, and tells each one's outputs.
pub fn each_output(
    graph: &Graph,
    data: &Dataset,
    mut tell: impl FnMut(usize, &[f32]),
) -> Result<()> {
    let batch = network::fixed_batch(graph).unwrap_or(BATCH).max(1);
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
        let classes = first.len() / batch;
        if classes < data.classes.len() {
            bail!(
                "the network tells {classes} classes apart, {} has {}",
                data.name,
                data.classes.len()
            );
        }
        for (row, &image) in first.chunks_exact(classes).zip(images) {
            tell(image, row);
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
    values
        .try_reserve_exact(elements)
        .with_context(|| format!("{elements} values do not fit in memory"))?;
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
