//! `secateur train`: a network in full precision.

use crate::args::Train;
use crate::{network, show};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use secateur_io::codec::Store;
use secateur_model::{Graph, zoo};
use secateur_train::{Augment, FitOptions, Hooks, fit};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

struct Bar(ProgressBar);

impl Hooks for Bar {
    fn after_step(&mut self, step: usize, total: usize, loss: f32) -> ControlFlow<()> {
        show::advance(&self.0, step + 1, total, loss)
    }
}

pub fn run(args: &Train) -> Result<Graph> {
    let data = secateur_data::load(&args.data)?;
    let mut graph = match zoo::NETWORKS.iter().any(|(name, _)| *name == args.network) {
        true => {
            let set = &data.train;
            let shape = [set.channels, set.height, set.width];
            zoo::build(&args.network, shape, set.classes.len(), args.seed)?
        }
        false => network::load(Path::new(&args.network))
            .with_context(|| format!("`{}` is no built-in network", args.network))?,
    };
    graph
        .metadata
        .insert("classes".into(), data.train.classes.join("\n"));

    let options = FitOptions {
        epochs: args.epochs,
        batch: args.batch,
        learning_rate: args.learning_rate,
        weight_decay: args.weight_decay,
        augment: match args.shift {
            0 => Augment::None,
            pixels => Augment::Shift(pixels),
        },
        seed: args.seed,
        ..FitOptions::default()
    };
    let (train, validation) = network::hold_out(&data.train, args.validation);
    let start = Instant::now();
    let mut bar = Bar(show::bar("training"));
    let result = fit(&mut graph, &train, &options, &mut bar);
    bar.0.finish_and_clear();
    result?;
    let seconds = start.elapsed().as_secs_f64();

    network::save(&graph, &args.output, Store::Small)?;
    let bytes = network::size(&args.output)?;
    let score = network::score(&graph, &data.test, bytes)?;
    let held_out = network::score(&graph, &validation, bytes)?;
    println!(
        "{}: {} parameters, trained {:.0} s, validation error {:.2} %, test error {:.2} %, {} in {}",
        graph.name,
        graph.parameters(),
        seconds,
        held_out.top1_error_percent,
        score.top1_error_percent,
        show::bytes(score.bytes as usize),
        args.output.display()
    );
    let summary = json!({
        "seconds": seconds,
        "validation_error_percent": held_out.top1_error_percent,
        "samples": score.samples,
        "top1_error_percent": score.top1_error_percent,
        "bytes": score.bytes,
    });
    show::json(args.json.as_deref(), &summary)?;
    Ok(graph)
}
