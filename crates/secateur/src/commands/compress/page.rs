//! The page of a run.

use crate::agreement::Agreement;
use crate::commands::bench::measure;
use crate::out::Out;
use crate::report::{self, Examples, Speed};
use crate::samples::Inputs;
use crate::{interrupt, network};
use anyhow::{Context, Result};
use secateur_compress::RunRecord;
use secateur_compress::ptq::Samples;
use secateur_data::Dataset;
use secateur_io::sct;
use secateur_model::Graph;
use std::path::Path;

/// What both networks were looked at with.
pub enum Seen<'a> {
    /// A test set.
    Labelled(&'a Dataset),
    /// Samples without labels, and how alike the answers are.
    Unlabelled(&'a Inputs, &'a Agreement),
}

/// The page of a run whose result lies in a file.
pub fn page(
    record: &RunRecord,
    before: &Graph,
    after: &Path,
    seen: &Seen<'_>,
    out: &Out,
) -> Result<String> {
    let place = after.display().to_string();
    let bytes = std::fs::read(after).with_context(|| place.clone())?;
    let (graph, file) = sct::read_and_inspect(&bytes, &place)?;
    let mut record = record.clone();
    // A page without times is worth having.
    let speed = match speed(before, &graph, seen) {
        Ok(speed) => {
            record.dense.milliseconds = Some(speed.before.median_ms);
            for point in record.points.iter_mut().filter(|p| p.chosen) {
                point.milliseconds = Some(speed.after.median_ms);
            }
            Some(speed)
        }
        Err(error) => {
            interrupt::check()?;
            out.line(format_args!("the report has no times: {error:#}"));
            None
        }
    };
    let (examples, agreement) = match seen {
        Seen::Labelled(test) => (Some(Examples::of(before, &graph, test)?), None),
        Seen::Unlabelled(_, agreement) => (None, Some(*agreement)),
    };
    Ok(report::page(&report::Run {
        record: &record,
        before,
        after: &graph,
        file: &file,
        speed,
        examples,
        agreement,
        image: seen
            .images()
            .map(|data| [data.channels, data.height, data.width]),
    }))
}

/// Both networks on one input and one thread, in turn, for about a second each.
fn speed(before: &Graph, after: &Graph, seen: &Seen<'_>) -> Result<Speed> {
    const FEW: usize = 5;
    const MOST: usize = 1000;
    const PATIENCE_MS: f64 = 1000.0;
    let time = |graph: &Graph| {
        let shape = seen.shape(graph)?;
        let trial = measure(graph, &shape, Some(1), FEW)?;
        let repeats = (PATIENCE_MS / trial.median_ms) as usize;
        measure(graph, &shape, Some(1), repeats.clamp(FEW, MOST))
    };
    Ok(Speed {
        before: time(before)?,
        after: time(after)?,
    })
}

impl Seen<'_> {
    fn images(&self) -> Option<&Dataset> {
        match self {
            Self::Labelled(test) => Some(test),
            Self::Unlabelled(inputs, _) => inputs.images(),
        }
    }

    /// Extents of a network's input, of one sample where it leaves that open.
    fn shape(&self, graph: &Graph) -> Result<Vec<usize>> {
        match self {
            Self::Labelled(test) => network::least_shape_for(graph, test),
            Self::Unlabelled(inputs, _) => inputs.shape(graph),
        }
    }
}
