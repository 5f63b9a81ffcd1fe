//! `secateur run`: a network's answer to one picture.

mod boxes;

use crate::args::Run;
use crate::classifier::probabilities;
use crate::out::Out;
use crate::{detector, network, picture, score, units};
use anyhow::{Context, Result, bail};
use secateur_engine::{Session, SessionOptions};
use secateur_model::{Graph, Shape};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Time for which a run is repeated.
const PATIENCE: Duration = Duration::from_millis(50);

/// What `run --json` writes.
#[derive(Serialize)]
pub struct Answers {
    /// The likeliest classes, the likeliest first.
    pub answers: Vec<Answer>,
    /// Median time of a run, the network being ready.
    pub milliseconds: f64,
    /// The network's output as it is.
    pub scores: Vec<f32>,
}

/// A class and how likely it is.
#[derive(Serialize)]
pub struct Answer {
    pub class: String,
    pub index: usize,
    pub probability: f32,
}

pub fn run(args: &Run) -> Result<()> {
    let out = Out::new(&args.json)?;
    let graph = network::load(&args.network)?;
    let place = || args.network.display().to_string();
    if let Some(head) = detector::head(&graph).with_context(place)? {
        return boxes::run(args, &graph, &head, &out);
    }
    if args.output.is_some() {
        bail!(
            "{}: -o draws boxes, and the network finds no objects",
            place()
        );
    }
    let answers = answer_of(args, &graph)?;
    show(&out, &answers);
    out.finish(&answers)
}

/// Shows the answers as a table.
pub fn show(out: &Out, answers: &Answers) {
    let rows: Vec<Vec<String>> = answers
        .answers
        .iter()
        .map(|answer| {
            let probability = f64::from(answer.probability);
            vec![
                answer.class.clone(),
                format!("{:.1} %", 100.0 * probability),
                "█".repeat((30.0 * probability).round() as usize),
            ]
        })
        .collect();
    out.table(1, &["class", "probability", ""], &rows);
    out.line(format_args!("{} a run", units::short(answers.milliseconds)));
}

/// Median time of a few runs, all of them short together unless one is long.
fn median_ms(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < 100 && begin.elapsed() < PATIENCE) {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// The network's answers to the picture.
pub fn answer(args: &Run) -> Result<Answers> {
    answer_of(args, &network::load(&args.network)?)
}

fn answer_of(args: &Run, graph: &Graph) -> Result<Answers> {
    let (scores, milliseconds) = first_output(args, graph)?;
    Ok(classify(graph, scores, milliseconds, args.top))
}

/// The network's first output for the picture, and the median time of a run.
fn first_output(args: &Run, graph: &Graph) -> Result<(Vec<f32>, f64)> {
    let place = || args.network.display().to_string();
    let seen = picture::read(graph, &args.input, args.invert, &args.scaling);
    let (pixels, dims) = seen.with_context(place)?;
    timed(graph, &pixels, &dims).with_context(place)
}

fn timed(graph: &Graph, pixels: &[f32], dims: &[usize]) -> Result<(Vec<f32>, f64)> {
    let session = Session::new(graph, &SessionOptions::default())?;
    let bound = session.bind(&[Shape::new(dims)?])?;
    let mut outputs = score::outputs(&bound)?;
    score::run(&bound, pixels, &mut outputs)?;
    let milliseconds = median_ms(|| score::run(&bound, pixels, &mut outputs))?;
    Ok((outputs.into_iter().next().unwrap_or_default(), milliseconds))
}

fn classify(graph: &Graph, scores: Vec<f32>, milliseconds: f64, top: usize) -> Answers {
    let probabilities = probabilities(graph, &scores);
    let mut ranked: Vec<usize> = (0..scores.len()).collect();
    ranked.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let answers = ranked
        .into_iter()
        .take(top)
        .map(|index| Answer {
            class: picture::class(graph, index),
            index,
            probability: probabilities[index],
        })
        .collect();
    Answers {
        answers,
        milliseconds,
        scores,
    }
}
