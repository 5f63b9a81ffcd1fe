//! A run as one page, for people who would rather look than read.

mod bytes;
mod curve;
mod examples;
mod headline;
pub mod html;
mod layers;
mod png;
mod sensitivity;
pub mod simulation;
pub mod svg;
mod time;
mod weights;

pub use examples::Examples;
pub use sensitivity::sensitivity_page;
pub use time::Speed;

use crate::agreement::Agreement;
use crate::units;
use secateur_compress::record::{Point, RunRecord};
use secateur_io::sct::Summary;
use secateur_model::{Graph, Weight};

/// Layers that are drawn; tables have them all.
const MOST_LAYERS: usize = 32;

/// What a page shows.
pub struct Run<'a> {
    /// What was tried and found.
    pub record: &'a RunRecord,
    /// The network as it was given.
    pub before: &'a Graph,
    /// The one that was kept.
    pub after: &'a Graph,
    /// Where the bytes of its file are.
    pub file: &'a Summary,
    /// Both on this machine, where they were timed.
    pub speed: Option<Speed>,
    /// What both answer, where it is known what is right.
    pub examples: Option<Examples>,
    /// How alike the answers are, where it is not.
    pub agreement: Option<&'a Agreement>,
    /// `[channels, height, width]` of a picture, where inputs are pictures.
    pub image: Option<[usize; 3]>,
}

impl Run<'_> {
    /// The point that was kept; the dense one where none was.
    fn chosen(&self) -> &Point {
        let chosen = self.record.points.iter().rev().find(|p| p.chosen);
        chosen.unwrap_or(&self.record.dense)
    }

    fn nonzeros(&self) -> usize {
        self.after.nonzeros()
    }
}

/// The page of a run, which needs nothing else.
pub fn page(run: &Run<'_>) -> String {
    let record = run.record;
    let seconds: f64 = record.steps.iter().map(|step| step.seconds).sum();
    let subtitle = format!(
        "{} on {}, seed {}, {}",
        record.goal,
        record.data,
        record.seed,
        units::long(seconds)
    );
    let sections: Vec<html::Section> = [
        curve::curve(run),
        run.examples.as_ref().and_then(examples::examples),
        layers::kept(run),
        Some(bytes::bytes(run)),
        time::time(run),
        sensitivity::sensitivity(&record.sensitivity),
        weights::weights(run),
    ]
    .into_iter()
    .flatten()
    .collect();
    html::page(
        &record.network,
        &subtitle,
        &headline::headline(run),
        &sections,
    )
}

/// The weights that layers multiply by: matrices and kernels, without biases and norms.  Of more than are drawn, the
/// largest come first.
fn layers(graph: &Graph) -> Vec<(&str, &Weight)> {
    let mut layers: Vec<(&str, &Weight)> = graph
        .weights()
        .filter(|(_, w)| w.shape().rank() >= 2)
        .collect();
    if layers.len() > MOST_LAYERS {
        layers.sort_by_key(|(_, w)| std::cmp::Reverse(w.shape().elements()));
    }
    layers
}

/// Says how many layers are not drawn.
fn left_out(layers: usize) -> String {
    match layers.saturating_sub(MOST_LAYERS) {
        0 => String::new(),
        more => {
            format!("<p class=\"note\">The {more} smallest of {layers} layers are not drawn.</p>")
        }
    }
}

fn shape(weight: &Weight) -> String {
    let extents: Vec<String> = weight.shape().iter().map(usize::to_string).collect();
    extents.join(" × ")
}
