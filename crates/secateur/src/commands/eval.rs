//! `secateur eval`, `run` and `export`: a finished network put to use.

use crate::args::{Eval, Export, Run};
use crate::{network, show};
use anyhow::{Result, bail};
use secateur_data::image;
use secateur_engine::{Session, SessionOptions};
use secateur_io::codec::Store;
use secateur_model::Tensor;
use serde_json::json;
use std::time::Instant;

pub fn eval(args: &Eval) -> Result<()> {
    let data = secateur_data::load(&args.data)?;
    let graph = network::load(&args.network)?;
    let score = network::score(&graph, &data.test, network::size(&args.network)?)?;
    println!(
        "{}: {:.2} % of {} wrong, {}",
        args.network.display(),
        score.top1_error_percent,
        score.samples,
        show::bytes(score.bytes as usize)
    );
    show::json(args.json.as_deref(), &score)
}

pub fn run(args: &Run) -> Result<()> {
    let graph = network::load(&args.network)?;
    let dims = network::input_shape(&graph, 1)?;
    let &[_, channels, height, width] = dims.as_slice() else {
        bail!("a picture needs an input of [batch, channels, height, width], found {dims:?}");
    };
    let raw = image::load_gray_or_rgb(&args.input, channels, height, width)?;
    let pixels = raw.iter().map(|&p| f32::from(p) / 255.0).collect();
    let input = Tensor::f32(&dims, pixels)?;
    let session = Session::new(&graph, &SessionOptions::default())?;
    let start = Instant::now();
    let outputs = session.run(&[(&graph.inputs[0].name, &input)])?;
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    let Some(scores) = outputs.first().and_then(|o| o.as_f32().ok()) else {
        bail!("the network gives no f32 scores");
    };
    let top = scores.iter().copied().fold(f32::MIN, f32::max);
    let sum: f32 = scores.iter().map(|z| (z - top).exp()).sum();
    let names: Vec<&str> = graph
        .metadata
        .get("classes")
        .map(|c| c.lines().collect())
        .unwrap_or_default();
    let mut ranked: Vec<usize> = (0..scores.len()).collect();
    ranked.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let answers: Vec<(String, f32)> = ranked
        .into_iter()
        .take(3)
        .map(|i| {
            let name = names
                .get(i)
                .map_or_else(|| i.to_string(), |n| (*n).to_owned());
            (name, (scores[i] - top).exp() / sum)
        })
        .collect();
    let rows: Vec<Vec<String>> = answers
        .iter()
        .map(|(name, p)| vec![name.clone(), format!("{:.1} %", 100.0 * p)])
        .collect();
    show::table(&["class", "probability"], &rows);
    println!("{milliseconds:.3} ms");
    let summary = json!({ "answers": answers, "milliseconds": milliseconds, "scores": scores });
    show::json(args.json.as_deref(), &summary)
}

pub fn export(args: &Export) -> Result<()> {
    let graph = network::load(&args.network)?;
    network::save(&graph, &args.output, Store::Small)?;
    let bytes = network::size(&args.output)?;
    println!("{}: {}", args.output.display(), show::bytes(bytes as usize));
    show::json(args.json.as_deref(), &json!({ "bytes": bytes }))
}
