//! Networks as files, and their score on the engine.

use anyhow::{Context, Result, bail};
use secateur_data::Dataset;
use secateur_engine::{Session, SessionOptions};
use secateur_io::codec::Store;
use secateur_io::{onnx, sct};
use secateur_model::{Dim, Graph, Shape};
use serde::Serialize;
use std::path::Path;

/// A network's score, as `eval --json` writes it.
#[derive(Debug, Clone, Serialize)]
pub struct Scored {
    pub samples: usize,
    pub top1_error_percent: f64,
    pub bytes: u64,
}

/// Reads a network by its file's extension.
pub fn load(path: &Path) -> Result<Graph> {
    Ok(match extension(path) {
        "sct" => sct::load(path)?,
        "onnx" => onnx::load(path)?,
        _ => bail!("{}: a network is an .onnx or .sct file", path.display()),
    })
}

/// Writes a network by its file's extension.
pub fn save(graph: &Graph, path: &Path, store: Store) -> Result<()> {
    match extension(path) {
        "sct" => sct::save(graph, path, store)?,
        "onnx" => onnx::save(graph, path)?,
        _ => bail!("{}: a network is written as .onnx or .sct", path.display()),
    }
    Ok(())
}

/// Bytes of a file.
pub fn size(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(metadata.len())
}

/// Splits training images into `(training, validation)`: the same ones for a
/// set and a number, so that what `train` never saw `compress` never trains on.
pub fn hold_out(data: &Dataset, images: usize) -> (Dataset, Dataset) {
    data.split(images.min(data.len() / 6), 0)
}

/// Scores a network on the engine.
pub fn score(graph: &Graph, data: &Dataset, bytes: u64) -> Result<Scored> {
    const BATCH: usize = 100;
    let session = Session::new(graph, &SessionOptions::default())?;
    let mut correct = 0;
    let indices: Vec<usize> = (0..data.len()).collect();
    for batch in indices.chunks(BATCH) {
        let mut pixels = vec![0.0; batch.len() * data.image_len()];
        data.gather(batch, &mut pixels);
        let logits = logits(&session, &pixels, batch.len(), data)?;
        let classes = logits.len() / batch.len();
        for (row, &index) in logits.chunks_exact(classes.max(1)).zip(batch) {
            correct += usize::from(best(row) == data.labels()[index] as usize);
        }
    }
    Ok(Scored {
        samples: data.len(),
        top1_error_percent: 100.0 * (data.len() - correct) as f64 / data.len() as f64,
        bytes,
    })
}

fn logits(session: &Session, pixels: &[f32], n: usize, data: &Dataset) -> Result<Vec<f32>> {
    let shape = Shape::new(&[n, data.channels, data.height, data.width])?;
    let bound = session.bind(&[shape])?;
    let elements = bound
        .plan()
        .outputs
        .first()
        .map_or(0, |o| o.shape.elements());
    let mut out = vec![0.0; elements];
    bound.run_into(&[pixels], &mut [&mut out])?;
    Ok(out)
}

/// Index of the largest value; of equal ones the first.
pub fn best(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |b, i| if row[i] > row[b] { i } else { b })
}

/// The `[batch, …]` extents of the only input, with `batch` filled in.
pub fn input_shape(graph: &Graph, batch: usize) -> Result<Vec<usize>> {
    let [input] = graph.inputs.as_slice() else {
        bail!(
            "the network has {} inputs, one is needed",
            graph.inputs.len()
        );
    };
    let dims = input.dims.as_deref().unwrap_or_default();
    dims.iter()
        .enumerate()
        .map(|(axis, dim)| match dim {
            Dim::Known(n) if axis > 0 || *n == batch => Ok(*n),
            Dim::Known(n) => bail!("the network's batch is fixed at {n}"),
            Dim::Named(_) if axis == 0 => Ok(batch),
            Dim::Named(name) => bail!("extent `{name}` of input `{}` is open", input.name),
        })
        .collect()
}

fn extension(path: &Path) -> &str {
    path.extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default()
}
