//! `secateur inspect`: what is in a file.

use crate::args::Inspect;
use crate::{network, show};
use anyhow::{Context, Result};
use secateur_io::sct;
use secateur_model::{Shape, infer, ops};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

#[derive(Serialize)]
struct Inspected {
    bytes: u64,
    parameters: usize,
    nonzeros: usize,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    shape: Vec<usize>,
    nonzeros: usize,
    bits: u32,
    bytes: usize,
    macs: u64,
    nonzero_macs: u64,
}

pub fn run(args: &Inspect) -> Result<()> {
    let graph = network::load(&args.network)?;
    let place = || args.network.display().to_string();
    let stored: BTreeMap<String, usize> = match args.network.extension() {
        Some(e) if e == "sct" => {
            let bytes = std::fs::read(&args.network).with_context(place)?;
            let summary = sct::inspect(&bytes, &place())?;
            summary
                .weights
                .into_iter()
                .map(|w| (w.name, w.bytes))
                .collect()
        }
        _ => BTreeMap::new(),
    };
    let macs = macs(&graph);
    let layers: Vec<Layer> = graph
        .weights()
        .map(|(name, weight)| {
            let nonzeros = weight.nonzeros();
            let macs = macs.get(name).copied().unwrap_or(0);
            let elements = weight.shape().elements().max(1);
            Layer {
                name: name.to_owned(),
                shape: weight.shape().to_vec(),
                nonzeros,
                bits: weight.values().bits(),
                bytes: stored.get(name).copied().unwrap_or(4 * elements),
                macs,
                nonzero_macs: (macs as u128 * nonzeros as u128 / elements as u128) as u64,
            }
        })
        .collect();
    let result = Inspected {
        bytes: network::size(&args.network)?,
        parameters: graph.parameters(),
        nonzeros: layers.iter().map(|l| l.nonzeros).sum(),
        layers,
    };

    let rows: Vec<Vec<String>> = result
        .layers
        .iter()
        .map(|l| {
            let elements: usize = l.shape.iter().product();
            vec![
                l.name.clone(),
                format!("{:?}", l.shape),
                l.nonzeros.to_string(),
                format!(
                    "{:.1} %",
                    100.0 * l.nonzeros as f64 / elements.max(1) as f64
                ),
                l.bits.to_string(),
                show::bytes(l.bytes),
                l.macs.to_string(),
                l.nonzero_macs.to_string(),
            ]
        })
        .collect();
    let headings = [
        "weight",
        "shape",
        "non-zero",
        "kept",
        "bits",
        "size",
        "MACs",
        "non-zero MACs",
    ];
    show::table(&headings, &rows);
    println!(
        "{}: {}, {} parameters, {} not zero",
        graph.name,
        show::bytes(result.bytes as usize),
        result.parameters,
        result.nonzeros
    );
    show::json(args.json.as_deref(), &result)
}

/// Multiply-accumulates that each weight takes part in, for one item; nothing
/// where shapes cannot be told.
fn macs(graph: &secateur_model::Graph) -> HashMap<String, u64> {
    let Ok(dims) = network::input_shape(graph, 1) else {
        return HashMap::new();
    };
    let (Ok(shape), Some(input)) = (Shape::new(&dims), graph.inputs.first()) else {
        return HashMap::new();
    };
    let Ok(shapes) = infer(graph, &[(&input.name, shape)]) else {
        return HashMap::new();
    };
    let mut macs: HashMap<String, u64> = HashMap::new();
    for node in &graph.nodes {
        let Some((name, _)) = graph.kernel_of(node) else {
            continue;
        };
        let inputs: Vec<Option<&Shape>> = (0..node.inputs.len())
            .map(|i| Some(&shapes.get(node.input(i)?)?.1))
            .collect();
        *macs.entry(name.to_owned()).or_default() += ops::macs(node, &inputs);
    }
    macs
}
