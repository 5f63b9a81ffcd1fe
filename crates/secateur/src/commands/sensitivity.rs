//! `secateur sensitivity`: how far each layer can go by itself.

use crate::args::Sensitivity;
use crate::classifier::{self, Ending};
use crate::machine::ThisMachine;
use crate::out::Out;
use crate::progress::Bar;
use crate::report::sensitivity_page;
use crate::samples::{self, Wanted};
use crate::{file, network, picture, units};
use anyhow::{Context, Result};
use secateur_compress::policy::{FULL_BITS, Table, measure};
use secateur_compress::prunable;
use secateur_compress::ptq::Samples;
use secateur_compress::record::{Choice, ChoiceCost, LayerSensitivity};
use secateur_data::Dataset;
use secateur_model::Graph;

/// How far outputs may move, in a table's measure, where it finds the edges.
const RISES: [f64; 2] = [0.01, 0.1];

/// Each density is this share of the one before, so many times.
const STEP: f64 = 0.75;
const STEPS: i32 = 16;

/// Seed of the cuts of pictures.
const SEED: u64 = 1;

const BITS: [u8; 6] = [8, 6, 5, 4, 3, 2];

pub fn run(args: &Sensitivity) -> Result<()> {
    let out = Out::new(&args.json)?;
    if let Some(path) = &args.html {
        file::check_output(path)?;
    }
    let place = || args.network.display().to_string();
    let mut graph = network::load(&args.network)?;
    let samples = samples(args, &graph).with_context(place)?;
    classifier::take_pictures(&mut graph, &samples);
    let _ending = Ending::take(&mut graph);
    let table = measured(&graph, &samples).with_context(place)?;
    show(&out, &table);
    if let Some(path) = &args.html {
        let page = sensitivity_page(&graph.name, &table.data, &table.layers);
        file::write(path, page.as_bytes())?;
        out.line(format_args!("sensitivity: {}", path.display()));
    }
    out.finish(&table)
}

/// Images with or without labels.
fn samples(args: &Sensitivity, graph: &Graph) -> Result<Dataset> {
    let normalize = |channels| picture::normalize(graph, &args.scaling, channels);
    let wanted = Wanted {
        samples: args.samples,
        learns: false,
    };
    if let Some(opened) = samples::open(&args.data, graph, normalize, wanted, SEED)? {
        let images = opened.calibration.images().cloned();
        return images.context("the samples must be images, and these are arrays");
    }
    let mut data = network::load_data(graph, &args.data)?;
    picture::adapt(&mut data, graph, &args.scaling)?;
    Ok(network::hold_out(&data.train, args.samples).1)
}

/// The table of a network on some samples.
pub fn measured(graph: &Graph, samples: &Dataset) -> Result<Table> {
    let mut bar = Bar::new("measuring layers");
    let mut progress = |done, total| bar.advance(done, total);
    let mut machine = ThisMachine::new(samples);
    let choices = choices();
    Ok(measure(
        graph,
        samples,
        &choices,
        &mut machine,
        &mut progress,
    )?)
}

/// How often a network is run for a table.
pub fn runs(graph: &Graph) -> usize {
    prunable(graph).len() * choices().len()
}

/// Densities in full precision, then widths of the dense layer.
fn choices() -> Vec<Choice> {
    let choice = |density, bits| Choice {
        density,
        pattern: "unstructured".into(),
        bits,
    };
    let densities = (0..STEPS).map(|i| choice((1e4 * STEP.powi(i)).round() / 1e4, FULL_BITS));
    densities
        .chain(BITS.map(|bits| choice(1.0, bits)))
        .collect()
}

fn show(out: &Out, table: &Table) {
    let rows: Vec<Vec<String>> = table.layers.iter().map(row).collect();
    let headings = [
        "layer",
        "weights",
        "f32",
        "kept at +0.01",
        "at +0.1",
        "bits at +0.01",
        "at +0.1",
        "int8 time",
    ];
    out.table(1, &headings, &rows);
    out.line(format_args!(
        "\nhow much of a layer must be kept, and in how many bits, for the outputs to move by no more than\n\
         0.01 and 0.1 {} on {} images of {}, with every other layer as it is and nothing retrained",
        table.measure.unit(),
        units::count(table.samples),
        table.data
    ));
}

fn row(layer: &LayerSensitivity) -> Vec<String> {
    let full: Vec<&ChoiceCost> = layer
        .choices
        .iter()
        .filter(|c| c.choice.bits == FULL_BITS)
        .collect();
    let dense: Vec<&ChoiceCost> = layer
        .choices
        .iter()
        .filter(|c| c.choice.density == 1.0 && c.choice.bits != FULL_BITS)
        .collect();
    let kept = RISES.map(|rise| match farthest(&full, rise) {
        Some(cost) => format!("{:.3} %", 100.0 * cost.choice.density),
        None => "all".into(),
    });
    let bits = RISES.map(|rise| match farthest(&dense, rise) {
        Some(cost) => cost.choice.bits.to_string(),
        None => "> 8".into(),
    });
    let time = dense.iter().find_map(|c| c.microseconds);
    let [kept_little, kept_more] = kept;
    let [bits_little, bits_more] = bits;
    vec![
        layer.layer.clone(),
        units::count(layer.parameters),
        units::bytes(4 * layer.parameters as u64),
        kept_little,
        kept_more,
        bits_little,
        bits_more,
        time.map_or("-".into(), |us| units::short(us / 1e3)),
    ]
}

/// The last of the choices, widest first, before one whose loss rises by more.
fn farthest<'a>(choices: &[&'a ChoiceCost], rise: f64) -> Option<&'a ChoiceCost> {
    let within = choices.iter().take_while(|c| c.loss_increase <= rise);
    within.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_lies_before_the_first_that_loses_more() {
        let cost = |density, loss_increase| ChoiceCost {
            choice: Choice {
                density,
                pattern: "unstructured".into(),
                bits: FULL_BITS,
            },
            loss_increase,
            bytes: 0,
            microseconds: None,
            picojoules: None,
        };
        let costs = [
            cost(1.0, 0.0),
            cost(0.5, 0.02),
            cost(0.25, 0.5),
            cost(0.1, 0.03),
        ];
        let all: Vec<&ChoiceCost> = costs.iter().collect();
        let edge = |rise| farthest(&all, rise).map(|c| c.choice.density);
        assert_eq!((edge(0.01), edge(0.1)), (Some(1.0), Some(0.5)));
        assert_eq!(edge(-1.0), None);
    }
}
