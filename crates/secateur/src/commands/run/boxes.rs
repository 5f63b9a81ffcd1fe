//! What a detector finds in one picture.

use super::first_output;
use crate::args::Run;
use crate::out::Out;
use crate::{detector, file, picture, units};
use anyhow::{Context, Result};
use secateur_data::image;
use secateur_model::Graph;
use secateur_model::detection::{Detection, Head};
use serde::Serialize;

/// What `run --json` writes of a detector.
#[derive(Serialize)]
struct Found {
    /// The surest first.
    objects: Vec<Thing>,
    /// Median time of a run, the network being ready.
    milliseconds: f64,
}

/// An object; edges in pixels of the picture.
#[derive(Serialize)]
struct Thing {
    class: String,
    index: u32,
    score: f32,
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
}

/// Finds objects, tells of them, and draws them where that is asked for.
pub fn run(args: &Run, graph: &Graph, head: &Head, out: &Out) -> Result<()> {
    if let Some(output) = &args.output {
        file::check_output(output)?;
    }
    let (output, milliseconds) = first_output(args, graph)?;
    let found = detector::decode(head, &output, args.least)
        .with_context(|| args.network.display().to_string())?;
    let place = args.input.display().to_string();
    let bytes = std::fs::read(&args.input).with_context(|| place.clone())?;
    let picture = image::decode(&bytes, &place)?;
    let thing = |detection: &Detection| {
        let b = detection.bbox;
        let (width, height) = (picture.width as f32, picture.height as f32);
        Thing {
            class: picture::class(graph, detection.class as usize),
            index: detection.class,
            score: detection.score,
            left: b.left * width,
            top: b.top * height,
            right: b.right * width,
            bottom: b.bottom * height,
        }
    };
    let result = Found {
        objects: found.iter().map(thing).collect(),
        milliseconds,
    };
    show(out, &result, args.output.is_some());
    if let Some(output) = &args.output {
        file::write(output, &detector::draw(&picture, &found)?)?;
        out.line(format_args!("{}: the picture with boxes", output.display()));
    }
    out.finish(&result)
}

fn show(out: &Out, found: &Found, drawn: bool) {
    let rows: Vec<Vec<String>> = found
        .objects
        .iter()
        .map(|thing| {
            let edge = |pixels: f32| format!("{pixels:.0}");
            let colour = if drawn {
                detector::colour(thing.index)
            } else {
                ""
            };
            vec![
                thing.class.clone(),
                colour.into(),
                format!("{:.1} %", 100.0 * thing.score),
                edge(thing.left),
                edge(thing.top),
                edge(thing.right),
                edge(thing.bottom),
            ]
        })
        .collect();
    let headings = ["class", "", "score", "left", "top", "right", "bottom"];
    out.table(2, &headings, &rows);
    out.line(format_args!(
        "{} objects, {} a run",
        found.objects.len(),
        units::short(found.milliseconds)
    ));
}
