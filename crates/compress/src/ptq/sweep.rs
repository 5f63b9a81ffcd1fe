//! Layers quantized from the first to the last, each fed by what is quantized
//! already and held against what it gave in the dense network.

use super::layers::{Layer, MAX_COLUMNS, Part, layers};
use super::moments::Moments;
use super::prefix::prefix;
use super::pruning::Sparsity;
use super::samples::{Probe, Samples};
use super::solve::solve;
use crate::CompressError;
use crate::quantize::{Granularity, Range};
use rayon::prelude::*;
use secateur_model::{Constant, Graph};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

/// Passes over the samples, at most: a deeper network takes several layers a
/// pass, which see the errors of the passes before but not each other's.
const PASSES: usize = 64;

/// Outputs of an image that are looked at.
const POSITIONS: usize = 48;

/// How layers are quantized.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// Width of each weight by name; those that are not named stay as they are.
    pub bits: BTreeMap<String, u8>,
    /// How many weights share a scale.
    pub granularity: Granularity,
    /// How a scale is found.
    pub range: Range,
    /// What is removed of each weight by name.
    pub sparsity: BTreeMap<String, Sparsity>,
    /// Whether biases make good what rounding changed on average.
    pub correct_bias: bool,
    /// Whether weights are tuned to the dense network's outputs before rounding,
    /// and scales after; how strongly they are held where they were.
    pub match_outputs: Option<f64>,
    /// Part of the mean second moment added to the diagonal.
    pub damping: f64,
    /// What a bit of a code is worth against error, in parts of what a finer step would make of it; 0 rounds to
    /// the nearest code.
    pub trade: f64,
    /// What rounding may change of each layer's output by the weight's name, as a share of its
    /// variance; where none is said, steps are the finest that the width has.
    pub error: BTreeMap<String, f64>,
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LayerError {
    /// The weight's name.
    pub weight: String,
    /// Width of a code.
    pub bits: u8,
    /// Weights that are not zero.
    pub nonzeros: usize,
    /// What pruning and rounding left of its output apart from what it was brought
    /// near to, as a share of its variance, on the inputs that the compressed network
    /// gives it.
    pub error: f64,
}

/// Quantizes the layers of `graph`, which computes what `dense` does but for
/// quantized activations, and has weights of the same names. `progress` is told
/// layers done and in all.
///
/// # Errors
/// Samples that cannot be run, a layer that no sample reaches or whose windows would be cut, `progress`
/// that breaks off.
pub fn sweep(
    dense: &Graph,
    graph: &mut Graph,
    samples: &dyn Samples,
    settings: &Sweep,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<LayerError>, CompressError> {
    let wanted = |layer: &Layer| settings.bits.contains_key(&layer.weight);
    let all: Vec<Layer> = layers(graph).into_iter().filter(wanted).collect();
    for layer in &all {
        if let Some(&Sparsity::NofM { m, .. }) = settings.sparsity.get(&layer.weight)
            && layer.cuts_windows(graph, m)
        {
            return Err(CompressError::Refused {
                step: "quantize",
                reason: format!(
                    "`{}` has {} inputs an output, which are solved in blocks that cut windows of {m}: beyond \
                     {MAX_COLUMNS}, n:m needs an m that divides 64 and channels in multiples of it",
                    layer.weight, layer.depth
                ),
            });
        }
    }
    let teachers: HashMap<String, Layer> = layers(dense)
        .into_iter()
        .map(|l| (l.weight.clone(), l))
        .collect();
    let (total, mut errors) = (all.len(), Vec::new());
    for pass in passes(graph, &all) {
        let pairs: Vec<(&Layer, &Layer)> = pass
            .iter()
            .filter_map(|layer| Some((*layer, teachers.get(&layer.weight)?)))
            .collect();
        let moments = observe(dense, graph, samples, &pairs)?;
        for ((layer, teacher), moments) in pairs.into_iter().zip(moments) {
            let Some(weight) = dense.weight(&teacher.weight) else {
                continue;
            };
            let outcome = solve(layer, weight, &moments, settings)?;
            errors.push(outcome.error(layer));
            graph
                .constants
                .insert(layer.weight.clone(), Constant::Weight(outcome.weight));
            if settings.correct_bias {
                layer.shift_bias(graph, &outcome.shift)?;
            }
            if progress(errors.len(), total).is_break() {
                return Err(CompressError::Stopped {
                    step: "calibration",
                });
            }
        }
    }
    Ok(errors)
}

/// Layers by how many of them lie before: those of a pass do not feed each
/// other, as long as there are few enough.
pub(super) fn passes<'a>(graph: &Graph, layers: &'a [Layer]) -> Vec<Vec<&'a Layer>> {
    let at: HashMap<usize, usize> = layers
        .iter()
        .enumerate()
        .map(|(i, l)| (l.node, i))
        .collect();
    let mut depth_of: HashMap<&str, usize> = HashMap::new();
    let mut depths = vec![0; layers.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        let before = node.reads().filter_map(|r| depth_of.get(r)).max();
        let mut depth = before.copied().unwrap_or(0);
        if let Some(&layer) = at.get(&index) {
            depths[layer] = depth;
            depth += 1;
        }
        depth_of.extend(node.outputs.iter().map(|output| (output.as_str(), depth)));
    }
    let deepest = depths.iter().max().map_or(0, |d| d + 1);
    let each = deepest.div_ceil(PASSES).max(1);
    let mut passes = vec![Vec::new(); deepest.div_ceil(each)];
    for (layer, depth) in layers.iter().zip(depths) {
        passes[depth / each].push(layer);
    }
    passes
}

/// The moments of each part of each layer; where both graphs are one, of that alone.
pub(super) fn observe(
    dense: &Graph,
    graph: &Graph,
    samples: &dyn Samples,
    pairs: &[(&Layer, &Layer)],
) -> Result<Vec<Vec<Moments>>, CompressError> {
    let names: [Vec<String>; 2] = [
        pairs
            .iter()
            .map(|(_, teacher)| teacher.input.clone())
            .collect(),
        pairs.iter().map(|(layer, _)| layer.input.clone()).collect(),
    ];
    let unique: [Vec<String>; 2] = names.clone().map(|mut names| {
        names.sort();
        names.dedup();
        names
    });
    let graphs = [prefix(dense, &unique[0]), prefix(graph, &unique[1])];
    let probes = [0, 1].map(|i| Probe {
        graph: &graphs[i],
        names: &unique[i],
    });
    let one = std::ptr::eq(dense, graph);
    let (probes, new): (&[Probe<'_>], fn(usize) -> Moments) = match one {
        true => (&probes[1..], Moments::of_one),
        false => (&probes, Moments::new),
    };
    let mut moments: Vec<Vec<Moments>> = pairs
        .iter()
        .map(|(layer, _)| layer.parts().iter().map(|p| new(p.columns.len())).collect())
        .collect();
    samples.observe(probes, &mut |values| {
        for (index, ((layer, teacher), moments)) in pairs.iter().zip(&mut moments).enumerate() {
            let seen = |side: usize, graph: &Graph, layer: &Layer| {
                let at = unique[side].iter().position(|n| *n == names[side][index]);
                let side = side - usize::from(one);
                let value = at.and_then(|at| values.get(side)?.get(at));
                let weight = graph.weight(&layer.weight);
                match (value, weight) {
                    (Some(x), Some(w)) => layer.gather(&graph.nodes[layer.node], w, x, POSITIONS),
                    _ => Err(unreached(layer)),
                }
            };
            let x = seen(1, graph, layer)?;
            let z = match one {
                true => Vec::new(),
                false => seen(0, dense, teacher)?,
            };
            let parts = layer.parts();
            moments
                .par_iter_mut()
                .zip(&parts)
                .for_each(|(moments, part)| {
                    let cut = |samples: &[f32]| columns(samples, layer.depth, part);
                    let z = z.get(part.group).map(|z| cut(z));
                    moments.add(&z.unwrap_or_default(), &cut(&x[part.group]));
                });
        }
        Ok(())
    })?;
    match pairs
        .iter()
        .zip(&moments)
        .find(|(_, m)| m.iter().any(|m| m.samples() == 0))
    {
        Some(((layer, _), _)) => Err(unreached(layer)),
        None => Ok(moments),
    }
}

fn unreached(layer: &Layer) -> CompressError {
    CompressError::Refused {
        step: "quantize",
        reason: format!(
            "no calibration sample reached the layer of `{}`",
            layer.weight
        ),
    }
}

fn columns(samples: &[f32], depth: usize, part: &Part) -> Vec<f32> {
    if part.columns.len() == depth {
        return samples.to_vec();
    }
    let rows = samples.chunks_exact(depth);
    rows.flat_map(|row| row[part.columns.clone()].iter().copied())
        .collect()
}
