//! `secateur inspect`: what is in a file.

use crate::args::Inspect;
use crate::out::Out;
use crate::{network, units};
use anyhow::Result;
use secateur_io::sct::{Summary, WeightSummary};
use secateur_model::{Dim, Graph, Shape, ValueInfo, Weight, infer};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Weights of which each has a row.
const MOST_ROWS: usize = 24;

/// What `inspect --json` writes.
#[derive(Serialize)]
struct Inspected {
    bytes: u64,
    parameters: usize,
    nonzeros: usize,
    layers: Vec<Layer>,
    /// What a compressed file spends its bytes on; null for others.
    file: Option<FileParts>,
    metadata: BTreeMap<String, String>,
}

/// Bytes of a file beside its weights'.
#[derive(Serialize)]
struct FileParts {
    graph_bytes: usize,
    tensor_bytes: usize,
    metadata_bytes: usize,
    frame_bytes: usize,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    shape: Vec<usize>,
    nonzeros: usize,
    bits: u32,
    bytes: usize,
    /// What the bytes of a compressed file are spent on; null in others.
    coded: Option<Coded>,
    macs: u64,
    nonzero_macs: u64,
}

/// What the bytes of a weight are spent on.
#[derive(Clone, Serialize)]
struct Coded {
    /// None where values lie in the file as they are.
    coder: Option<&'static str>,
    support_bytes: usize,
    value_bytes: usize,
    parameter_bytes: usize,
    other_bytes: usize,
}

impl From<&WeightSummary> for Coded {
    fn from(weight: &WeightSummary) -> Self {
        Self {
            coder: weight.coder.map(|coder| coder.name()),
            support_bytes: weight.parts.support,
            value_bytes: weight.parts.values,
            parameter_bytes: weight.parts.parameters,
            other_bytes: weight.parts.rest,
        }
    }
}

impl From<&Summary> for FileParts {
    fn from(file: &Summary) -> Self {
        Self {
            graph_bytes: file.graph,
            tensor_bytes: file.tensors,
            metadata_bytes: file.metadata,
            frame_bytes: file.frame(),
        }
    }
}

impl Layer {
    fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

pub fn run(args: &Inspect) -> Result<()> {
    let out = Out::new(&args.json)?;
    let (graph, file) = network::load_and_inspect(&args.network)?;
    let stored: HashMap<&str, &WeightSummary> = file
        .iter()
        .flat_map(|file| &file.weights)
        .map(|w| (w.name.as_str(), w))
        .collect();
    // What cannot be run can still be looked at, where nothing was asked of it.
    let (macs, unknown) = match macs(&graph, &args.shape.shape) {
        Ok(macs) => (macs, None),
        Err(error) if args.shape.shape.is_empty() => (BTreeMap::new(), Some(error)),
        Err(error) => return Err(error.context(args.network.display().to_string())),
    };
    let layers: Vec<Layer> = graph
        .weights()
        .map(|(name, weight)| {
            let stored = stored.get(name).copied();
            layer(name, weight, stored, macs.get(name).copied().unwrap_or(0))
        })
        .collect();
    let result = Inspected {
        bytes: network::size(&args.network)?,
        parameters: graph.parameters(),
        nonzeros: layers.iter().map(|l| l.nonzeros).sum(),
        layers,
        file: file.as_ref().map(FileParts::from),
        metadata: graph.metadata.clone(),
    };
    show(&out, &graph, &result);
    if let Some(reason) = unknown {
        out.line(format_args!("MACs are not known: {reason:#}"));
    }
    out.finish(&result)
}

fn layer(name: &str, weight: &Weight, stored: Option<&WeightSummary>, macs: u64) -> Layer {
    let nonzeros = weight.nonzeros();
    let bits = weight.bits();
    let elements = weight.shape().elements();
    // ONNX has whole bytes for every element, zero or not.
    let whole = match bits {
        0..=8 => elements,
        _ => 4 * elements,
    };
    Layer {
        name: name.to_owned(),
        shape: weight.shape().to_vec(),
        nonzeros,
        bits,
        bytes: stored.map_or(whole, |stored| stored.bytes),
        coded: stored.map(Coded::from),
        macs,
        nonzero_macs: (u128::from(macs) * nonzeros as u128 / elements.max(1) as u128) as u64,
    }
}

fn show(out: &Out, graph: &Graph, result: &Inspected) {
    let extents = |shape: &[usize]| {
        let extents: Vec<String> = shape.iter().map(usize::to_string).collect();
        extents.join("x")
    };
    let kept = |nonzeros: usize, elements: usize| {
        format!("{:.1} %", 100.0 * nonzeros as f64 / elements.max(1) as f64)
    };
    let sum = |layers: &[&Layer], f: fn(&Layer) -> u64| layers.iter().map(|l| f(l)).sum::<u64>();
    let total = |what: &str, layers: &[&Layer]| {
        let elements = layers.iter().map(|l| l.elements()).sum();
        let nonzeros = layers.iter().map(|l| l.nonzeros).sum();
        vec![
            what.to_owned(),
            units::count(elements),
            units::count(nonzeros),
            kept(nonzeros, elements),
            String::new(),
            units::bytes(sum(layers, |l| l.bytes as u64)),
            units::rounded(sum(layers, |l| l.macs)),
            units::rounded(sum(layers, |l| l.nonzero_macs)),
        ]
    };
    let all: Vec<&Layer> = result.layers.iter().collect();
    // Biases and norms of a deep network would hide the rest.
    let (vectors, shown): (Vec<&Layer>, Vec<&Layer>) = all
        .iter()
        .partition(|l| all.len() > MOST_ROWS && l.shape.len() < 2);
    let mut rows: Vec<Vec<String>> = shown
        .iter()
        .map(|l| {
            vec![
                l.name.clone(),
                extents(&l.shape),
                units::count(l.nonzeros),
                kept(l.nonzeros, l.elements()),
                l.bits.to_string(),
                units::bytes(l.bytes as u64),
                units::rounded(l.macs),
                units::rounded(l.nonzero_macs),
            ]
        })
        .collect();
    if !vectors.is_empty() {
        rows.push(total(&format!("{} vectors", vectors.len()), &vectors));
    }
    rows.push(total("all", &all));
    let headings = [
        "weight", "shape", "non-zero", "kept", "bits", "size", "MACs", "non-zero",
    ];
    out.table(1, &headings, &rows);
    if let Some(file) = &result.file {
        spent(out, [&shown, &vectors], file, result.bytes);
    }
    let values = |values: &[ValueInfo]| {
        let values: Vec<String> = values.iter().map(value).collect();
        values.join(", ")
    };
    out.line(format_args!(
        "\n{}: {} in all, {} nodes",
        graph.name,
        units::bytes(result.bytes),
        graph.nodes.len()
    ));
    out.line(format_args!("takes    {}", values(&graph.inputs)));
    out.line(format_args!("gives    {}", values(&graph.outputs)));
    for (key, text) in &graph.metadata {
        out.line(format_args!("{key:<8} {}", short(text)));
    }
}

/// What the bytes of a compressed file are spent on.
fn spent(out: &Out, [weights, vectors]: [&[&Layer]; 2], file: &FileParts, bytes: u64) {
    let mut rows: Vec<Vec<String>> = weights
        .iter()
        .filter_map(|layer| {
            let coded = layer.coded.as_ref()?;
            Some(vec![
                layer.name.clone(),
                coded.coder.unwrap_or("none").to_owned(),
                units::count(coded.support_bytes),
                units::count(coded.value_bytes),
                units::count(coded.parameter_bytes),
                units::count(coded.other_bytes),
                units::count(layer.bytes),
            ])
        })
        .collect();
    let mut line = |name: &str, bytes: usize| {
        let mut row = vec![String::new(); 7];
        row[0] = name.to_owned();
        row[6] = units::count(bytes);
        rows.push(row);
    };
    if !vectors.is_empty() {
        let bytes = vectors.iter().map(|l| l.bytes).sum();
        line(&format!("{} vectors", vectors.len()), bytes);
    }
    line("graph, and what is small", file.graph_bytes);
    line("other tensors", file.tensor_bytes);
    line("metadata", file.metadata_bytes);
    line("frame", file.frame_bytes);
    line("all", bytes as usize);
    out.line("");
    let headings = [
        "bytes of", "coder", "where", "what", "scales", "rest", "all",
    ];
    out.table(2, &headings, &rows);
}

/// Text on one line, cut where it is long.
fn short(text: &str) -> String {
    const MOST: usize = 200;
    let line = text.lines().collect::<Vec<_>>().join(", ");
    match line.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{}… ({} bytes)", &line[..cut], text.len()),
        None => line,
    }
}

/// `input: f32 [batch, 1, 28, 28]`
fn value(value: &ValueInfo) -> String {
    let dims = value.dims.as_ref().map_or("any shape".into(), |dims| {
        let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
        format!("[{}]", dims.join(", "))
    });
    format!("{}: {} {dims}", value.name, value.dtype)
}

/// Multiply-accumulates that each weight takes part in, for one item.
fn macs(graph: &Graph, asked: &[usize]) -> Result<BTreeMap<String, u64>> {
    let dims = network::shape(graph, asked, None)?;
    let input = network::input(graph)?;
    let batch = dims.first().copied().unwrap_or(1).max(1) as u64;
    let mut macs = infer::macs(graph, &[(&input.name, Shape::new(&dims)?)])?;
    macs.values_mut().for_each(|macs| *macs /= batch);
    Ok(macs)
}
