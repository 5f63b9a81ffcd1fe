//! Layers quantized from the first to the last, each fed by what is quantized
//! already and held against what it gave in the dense network.

use super::layers::{Layer, Layout, Part, layers};
use super::matching::{best_scale, matched};
use super::moments::Moments;
use super::prefix::prefix;
use super::rounding::{Problem, Sparsity, output_error, round};
use super::samples::{Probe, Samples};
use crate::CompressError;
use crate::quantize::{Granularity, Range, fit_scale};
use rayon::prelude::*;
use secateur_model::weight::max_code;
use secateur_model::{Bitmask, Constant, Graph, Scale, Support, Values, Weight};
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
    /// Factor of the scales.
    pub coarser: f64,
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LayerError {
    /// The weight's name.
    pub weight: String,
    /// Width of a code.
    pub bits: u8,
    /// Weights that are not zero.
    pub nonzeros: usize,
    /// Variance of the difference of its output over that of its output, on the
    /// inputs that the compressed network gives it.
    pub error: f64,
}

/// Quantizes the layers of `graph`, which computes what `dense` does but for
/// quantized activations, and has weights of the same names. `progress` is told
/// layers done and in all.
///
/// # Errors
/// Samples that cannot be run, a layer that no sample reaches, `progress` that
/// breaks off.
pub fn sweep(
    dense: &Graph,
    graph: &mut Graph,
    samples: &dyn Samples,
    settings: &Sweep,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<LayerError>, CompressError> {
    let wanted = |layer: &Layer| settings.bits.contains_key(&layer.weight);
    let all: Vec<Layer> = layers(graph).into_iter().filter(wanted).collect();
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
fn passes<'a>(graph: &Graph, layers: &'a [Layer]) -> Vec<Vec<&'a Layer>> {
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

/// The moments of each part of each layer.
fn observe(
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
    let mut moments: Vec<Vec<Moments>> = pairs
        .iter()
        .map(|(layer, _)| {
            layer
                .parts()
                .iter()
                .map(|p| Moments::new(p.columns.len()))
                .collect()
        })
        .collect();
    samples.observe(&probes, &mut |values| {
        for (index, ((layer, teacher), moments)) in pairs.iter().zip(&mut moments).enumerate() {
            let seen = |side: usize, graph: &Graph, layer: &Layer| {
                let at = unique[side].iter().position(|n| *n == names[side][index]);
                let value = at.and_then(|at| values.get(side)?.get(at));
                let weight = graph.weight(&layer.weight);
                match (value, weight) {
                    (Some(x), Some(w)) => layer.gather(&graph.nodes[layer.node], w, x, POSITIONS),
                    _ => Err(unreached(layer)),
                }
            };
            let (z, x) = (seen(0, dense, teacher)?, seen(1, graph, layer)?);
            let parts = layer.parts();
            moments
                .par_iter_mut()
                .zip(&parts)
                .for_each(|(moments, part)| {
                    let cut = |samples: &[f32]| columns(samples, layer.depth, part);
                    moments.add(&cut(&z[part.group]), &cut(&x[part.group]));
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

/// A quantized weight, and what its bias needs.
struct Outcome {
    weight: Weight,
    bits: u8,
    shift: Vec<f64>,
    squares: f64,
    of: f64,
}

impl Outcome {
    fn error(&self, layer: &Layer) -> LayerError {
        LayerError {
            weight: layer.weight.clone(),
            bits: self.bits,
            nonzeros: self.weight.nonzeros(),
            error: self.squares / self.of.max(f64::MIN_POSITIVE),
        }
    }
}

/// One layer, from its dense weight and the moments of its parts.
fn solve(
    layer: &Layer,
    dense: &Weight,
    moments: &[Moments],
    settings: &Sweep,
) -> Result<Outcome, CompressError> {
    let bits = settings.bits.get(&layer.weight).copied().unwrap_or(8);
    let limit = max_code(bits);
    let sparsity = settings
        .sparsity
        .get(&layer.weight)
        .copied()
        .unwrap_or_default();
    let (rows, depth) = (layer.outputs, layer.depth);
    let original: Vec<f64> = layer.rows(dense).into_iter().map(f64::from).collect();
    let support = dense
        .support()
        .mask()
        .map(|mask| layer.to_rows(&mask.to_bools()));
    let centred = settings.correct_bias;
    let parts: Vec<(Part, &Moments)> = layer.parts().into_iter().zip(moments).collect();
    let many = parts.len() > 1;

    // What each part is brought near to.
    let targets: Vec<Vec<f64>> = spread(&parts, many, |(part, moments)| {
        let weights = block(&original, depth, part);
        let Some(ridge) = settings.match_outputs else {
            return Ok(weights);
        };
        let (xx, zx) = moments.second(centred);
        let support = support.as_ref().map(|s| block(s, depth, part));
        Ok(matched(
            &weights,
            part.columns.len(),
            &xx,
            &zx,
            ridge,
            support.as_deref(),
        ))
    })?;
    let mut target = vec![0.0; rows * depth];
    for ((part, _), values) in parts.iter().zip(&targets) {
        place(&mut target, depth, part, values);
    }

    // Scales are those of whole rows.
    let mut importance = vec![1.0; rows * depth];
    for (part, moments) in &parts {
        let (xx, _) = moments.second(centred);
        let d = part.columns.len();
        let diagonal: Vec<f64> = (0..d).map(|i| xx[i * d + i].max(0.0)).collect();
        let all: Vec<f64> = part
            .rows
            .clone()
            .flat_map(|_| diagonal.iter().copied())
            .collect();
        place(&mut importance, depth, part, &all);
    }
    let mut scales = scales(
        &target,
        &importance,
        depth,
        limit,
        support.as_deref(),
        settings,
    );

    let solved = spread(&parts, many, |(part, moments)| {
        let d = part.columns.len();
        let (xx, zx) = moments.second(centred);
        let weights = block(&target, depth, part);
        let support = support.as_ref().map(|s| block(s, depth, part));
        let rounded = round(&Problem {
            depth: d,
            target: &weights,
            moments: &xx,
            scales: &scales[part.rows.clone()],
            limit,
            support: support.as_deref(),
            sparsity,
            damping: settings.damping,
        })?;
        Ok((rounded, xx, zx))
    })?;

    // One more degree of freedom that costs nothing: the scale of a row.
    let per_row = settings.granularity != Granularity::PerTensor;
    if settings.match_outputs.is_some() && per_row && depth <= super::layers::MAX_COLUMNS {
        for ((part, _), (rounded, xx, zx)) in parts.iter().zip(&solved) {
            let weights = block(&original, depth, part);
            let better: Vec<Option<f64>> = rounded
                .codes
                .par_chunks_exact(depth)
                .zip(weights.par_chunks_exact(depth))
                .map(|(codes, weights)| best_scale(codes, weights, xx, zx))
                .collect();
            for (row, scale) in part.rows.clone().zip(better) {
                // Far from where it was, the samples were too few to tell.
                let near = |s: &f64| (0.8..1.25).contains(&(s / scales[row]));
                scales[row] = scale.filter(near).unwrap_or(scales[row]);
            }
        }
    }
    scales.iter_mut().for_each(|s| *s = f64::from(*s as f32));

    let mut codes = vec![0i16; rows * depth];
    let mut kept = vec![false; rows * depth];
    let (mut shift, mut squares, mut of) = (vec![0.0; rows], 0.0, 0.0);
    for ((part, moments), (rounded, xx, _)) in parts.iter().zip(&solved) {
        let d = part.columns.len();
        place(&mut codes, depth, part, &rounded.codes);
        place(&mut kept, depth, part, &rounded.kept);
        let weights = block(&original, depth, part);
        let (mean_x, mean_z) = moments.means();
        let mut difference = vec![0.0; weights.len()];
        for (r, row) in part.rows.clone().enumerate() {
            for c in 0..d {
                let at = r * d + c;
                let value = f64::from(rounded.codes[at]) * scales[row];
                difference[at] = value - weights[at];
                shift[row] += weights[at] * mean_z[c] - value * mean_x[c];
            }
        }
        squares += output_error(&difference, xx, d);
        of += output_error(&weights, xx, d);
    }
    let weight = join(layer, dense, bits, codes, kept, &scales, settings, sparsity)?;
    Ok(Outcome {
        weight,
        bits,
        shift,
        squares,
        of,
    })
}

/// Many parts are solved beside each other; of few, each spreads its own work.
fn spread<P: Sync, T: Send>(
    parts: &[P],
    many: bool,
    solve: impl Fn(&P) -> Result<T, CompressError> + Sync + Send,
) -> Result<Vec<T>, CompressError> {
    match many {
        true => parts.par_iter().map(solve).collect(),
        false => parts.iter().map(solve).collect(),
    }
}

fn scales(
    target: &[f64],
    importance: &[f64],
    depth: usize,
    limit: i32,
    support: Option<&[bool]>,
    settings: &Sweep,
) -> Vec<f64> {
    let fit = |range: std::ops::Range<usize>| {
        let kept = range.filter(|&i| support.is_none_or(|s| s[i]));
        let (values, importance): (Vec<f32>, Vec<f64>) =
            kept.map(|i| (target[i] as f32, importance[i])).unzip();
        f64::from(fit_scale(&values, Some(&importance), limit, settings.range)) * settings.coarser
    };
    let rows = target.len() / depth.max(1);
    match settings.granularity {
        Granularity::PerTensor => vec![fit(0..target.len()); rows],
        Granularity::PerChannel | Granularity::PerColumn => {
            let row = |r: usize| fit(r * depth..(r + 1) * depth);
            (0..rows).into_par_iter().map(row).collect()
        }
    }
}

/// The weight of codes, in the form that the dense one had.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of a weight, and what they came from"
)]
fn join(
    layer: &Layer,
    dense: &Weight,
    bits: u8,
    codes: Vec<i16>,
    kept: Vec<bool>,
    scales: &[f64],
    settings: &Sweep,
    sparsity: Sparsity,
) -> Result<Weight, CompressError> {
    let scales: Vec<f32> = scales.iter().map(|&s| s as f32).collect();
    let scale = match (settings.granularity, &layer.layout) {
        (Granularity::PerTensor, _) => Scale::PerTensor(scales.first().copied().unwrap_or(1.0)),
        (_, Layout::Columns) => Scale::PerColumn(scales),
        _ => Scale::PerChannel(scales),
    };
    let (codes, kept) = (layer.to_stored(&codes), layer.to_stored(&kept));
    let support = match (dense.support(), sparsity) {
        (Support::All, Sparsity::Keep) => Support::All,
        (Support::All, Sparsity::NofM { n, m }) if layer.layout != Layout::Columns => {
            Support::NofM {
                n,
                m,
                mask: Bitmask::from_bools(&kept),
            }
        }
        // What rounds to zero is gone too.
        (Support::All | Support::Unstructured(_), _) => {
            Support::Unstructured(Bitmask::of_nonzeros(&codes))
        }
        (form, Sparsity::Keep) => form.clone(),
        _ => Support::Unstructured(Bitmask::of_nonzeros(&codes)),
    };
    let codes = match support.mask() {
        None => codes,
        Some(mask) => mask.ones().map(|p| codes[p]).collect(),
    };
    let values = Values::Int { bits, codes, scale };
    Ok(Weight::new(dense.shape().clone(), support, values)?)
}

/// A part's elements of `[outputs, depth]`.
fn block<T: Copy>(all: &[T], depth: usize, part: &Part) -> Vec<T> {
    let row = |r: usize| &all[r * depth..][part.columns.clone()];
    part.rows
        .clone()
        .flat_map(|r| row(r).iter().copied())
        .collect()
}

/// Puts a part's elements back.
fn place<T: Copy>(all: &mut [T], depth: usize, part: &Part, values: &[T]) {
    let d = part.columns.len();
    for (r, values) in part.rows.clone().zip(values.chunks_exact(d.max(1))) {
        all[r * depth..][part.columns.clone()].copy_from_slice(values);
    }
}
