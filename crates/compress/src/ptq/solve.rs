//! One layer quantized, from its dense weight and the moments of its inputs.

use super::layers::{Bias, Layer, Layout, Part};
use super::matching::{best_scale, matched};
use super::moments::Moments;
use super::prices::Prices;
use super::pruning::{Sparsity, remove};
use super::rounding::{Problem, Rounder, output_error};
use super::sweep::{LayerError, Sweep};
use crate::CompressError;
use crate::quantize::{Granularity, fit_scale};
use rayon::prelude::*;
use secateur_io::sct::code_quotes;
use secateur_model::weight::max_code;
use secateur_model::{Bitmask, Scale, Support, Values, Weight};

/// A quantized weight, and what its bias needs.
pub(super) struct Outcome {
    pub weight: Weight,
    /// What the bias needs so that the output's mean is the dense network's.
    pub shift: Vec<f64>,
    bits: u8,
    squares: f64,
    of: f64,
}

impl Outcome {
    pub fn error(&self, layer: &Layer) -> LayerError {
        LayerError {
            weight: layer.weight.clone(),
            bits: self.bits,
            nonzeros: self.weight.nonzeros(),
            error: self.squares / self.of.max(f64::MIN_POSITIVE),
        }
    }
}

/// A part of a layer on its way.
struct Piece {
    part: Part,
    columns: usize,
    xx: Vec<f64>,
    zx: Vec<f64>,
    mean_x: Vec<f64>,
    mean_z: Vec<f64>,
    /// In the dense network.
    weights: Vec<f64>,
    /// What is come near to.
    target: Vec<f64>,
    /// What is rounded: the target, or what pruning left of it.
    values: Vec<f64>,
    support: Option<Vec<bool>>,
}

impl Piece {
    /// How it is rounded, with the scales of the layer's rows.
    fn problem<'a>(&'a self, scales: &'a [f64], limit: i32) -> Problem<'a> {
        Problem {
            target: &self.values,
            scales: &scales[self.part.rows.clone()],
            limit,
            support: self.support.as_deref(),
        }
    }

    /// The layer's rows of which anything is not zero here. Those that are all zeros have a scale that says
    /// nothing.
    fn living_rows(&self) -> impl Iterator<Item = usize> {
        let rows = self.values.chunks_exact(self.columns.max(1));
        let rows = self.part.rows.clone().zip(rows);
        rows.filter(|(_, values)| values.iter().any(|v| *v != 0.0))
            .map(|(row, _)| row)
    }
}

/// Tunes, prunes and rounds a layer's weight.
pub(super) fn solve(
    layer: &Layer,
    dense: &Weight,
    moments: &[Moments],
    settings: &Sweep,
) -> Result<Outcome, CompressError> {
    let sparsity = settings.sparsity.get(&layer.weight).copied();
    let sparsity = sparsity.unwrap_or_default();
    let form = Form {
        layer,
        dense,
        sparsity,
        granularity: settings.granularity,
        bits: settings.bits.get(&layer.weight).copied().unwrap_or(8),
    };
    let limit = max_code(form.bits);
    let (rows, depth) = (layer.outputs, layer.depth);
    let original: Vec<f64> = layer.rows(dense).into_iter().map(f64::from).collect();
    let mask = dense.support().mask().map(Bitmask::to_bools);
    let mask = mask.map(|mask| layer.to_rows(&mask));

    let windows = match sparsity {
        Sparsity::NofM { m, .. } => layer.windows(dense.shape(), m),
        Sparsity::Keep | Sparsity::Density(_) => Vec::new(),
    };
    let parts: Vec<(Part, &Moments)> = layer.parts().into_iter().zip(moments).collect();
    let many = parts.len() > 1;
    let pieces = spread(&parts, many, |(part, moments)| {
        let (mean_x, mean_z) = moments.means();
        let (xx, zx) = moments.second(settings.correct_bias && layer.bias != Bias::None);
        let d = part.columns.len();
        let weights = block(&original, depth, part);
        let mut support = mask.as_ref().map(|mask| block(mask, depth, part));
        let target = match settings.match_outputs {
            Some(ridge) => matched(&weights, d, &xx, &zx, ridge, support.as_deref()),
            None => weights.clone(),
        };
        let mut values = target.clone();
        if sparsity != Sparsity::Keep {
            let damping = settings.damping;
            let of_part = windows.get(part.columns.clone()).unwrap_or_default();
            let support_of = support.as_deref();
            let pruned = remove(&target, d, &xx, support_of, sparsity, of_part, damping)?;
            (values, support) = (pruned.values, Some(pruned.kept));
        }
        Ok(Piece {
            part: part.clone(),
            columns: d,
            xx,
            zx,
            mean_x,
            mean_z,
            weights,
            target,
            values,
            support,
        })
    })?;

    let mut scales = scales(&pieces, rows, depth, limit, settings);
    if let Some(&error) = settings.error.get(&layer.weight) {
        coarsen(&mut scales, &pieces, error);
    }
    let rounded = rounded(&form, &pieces, &scales, settings, many)?;
    if settings.match_outputs.is_some() && settings.granularity != Granularity::PerTensor {
        tune_scales(&mut scales, &pieces, &rounded, depth);
    }
    // As they are stored.
    scales.iter_mut().for_each(|s| *s = f64::from(*s as f32));

    let (mut shift, mut squares, mut of) = (vec![0.0; rows], 0.0, 0.0);
    for (piece, rounded) in pieces.iter().zip(&rounded) {
        let d = piece.columns;
        let mut difference = vec![0.0; rounded.len()];
        for (r, row) in piece.part.rows.clone().enumerate() {
            for c in 0..d {
                let at = r * d + c;
                let value = f64::from(rounded[at]) * scales[row];
                difference[at] = value - piece.target[at];
                shift[row] += piece.weights[at] * piece.mean_z[c] - value * piece.mean_x[c];
            }
        }
        squares += output_error(&difference, &piece.xx, d);
        of += output_error(&piece.target, &piece.xx, d);
    }
    Ok(Outcome {
        weight: form.weight(&pieces, &rounded, &scales)?,
        shift,
        bits: form.bits,
        squares,
        of,
    })
}

/// The form in which a layer's weight is stored.
struct Form<'a> {
    layer: &'a Layer,
    dense: &'a Weight,
    sparsity: Sparsity,
    granularity: Granularity,
    bits: u8,
}

impl Form<'_> {
    /// The weight of the codes of each piece.
    fn weight(
        &self,
        pieces: &[Piece],
        rounded: &[Vec<i16>],
        scales: &[f64],
    ) -> Result<Weight, CompressError> {
        let depth = self.layer.depth;
        let mut codes = vec![0i16; self.layer.outputs * depth];
        let mut kept = vec![false; codes.len()];
        for (piece, rounded) in pieces.iter().zip(rounded) {
            place(&mut codes, depth, &piece.part, rounded);
            let support = piece.support.clone();
            let support = support.unwrap_or_else(|| vec![true; rounded.len()]);
            place(&mut kept, depth, &piece.part, &support);
        }
        let steps = scales.iter().map(|&s| s as f32);
        let scale = match (self.granularity, &self.layer.layout) {
            (Granularity::PerTensor, _) => {
                Scale::PerTensor(scales.first().map_or(1.0, |&s| s as f32))
            }
            (_, Layout::Columns) => Scale::PerColumn(steps.collect()),
            _ => Scale::PerChannel(steps.collect()),
        };
        let (codes, kept) = (self.layer.to_stored(&codes), self.layer.to_stored(&kept));
        let support = self.support(&codes, &kept);
        let codes = match support.mask() {
            None => codes,
            Some(mask) => mask.ones().map(|p| codes[p]).collect(),
        };
        let values = Values::Int {
            bits: self.bits,
            codes,
            scale,
        };
        Ok(Weight::new(self.dense.shape().clone(), support, values)?)
    }

    /// Its support: that of the dense one, unless more of it is gone.
    fn support(&self, codes: &[i16], kept: &[bool]) -> Support {
        match (self.dense.support(), self.sparsity) {
            (Support::All, Sparsity::NofM { n, m }) if self.layer.layout != Layout::Columns => {
                let mask = Bitmask::from_bools(kept);
                Support::NofM { n, m, mask }
            }
            (form @ Support::All, Sparsity::Keep) => form.clone(),
            (form, Sparsity::Keep) if !matches!(form, Support::Unstructured(_)) => form.clone(),
            // What rounds to zero is gone too.
            _ => Support::Unstructured(Bitmask::of_nonzeros(codes)),
        }
    }
}

/// How often codes are priced: first the nearest ones, then what came of that.
const QUOTATIONS: usize = 2;

/// Codes for each piece: the nearest, or those that with the bits of all codes are best.
fn rounded(
    form: &Form<'_>,
    pieces: &[Piece],
    scales: &[f64],
    settings: &Sweep,
    many: bool,
) -> Result<Vec<Vec<i16>>, CompressError> {
    let limit = max_code(form.bits);
    let rounder = |piece: &Piece| Rounder::new(&piece.xx, piece.columns, settings.damping);
    if settings.trade == 0.0 {
        return spread(pieces, many, |piece| {
            Ok(rounder(piece)?.round(&piece.problem(scales, limit), None))
        });
    }
    let rounders = spread(pieces, many, rounder)?;
    let together: Vec<(&Piece, Rounder)> = pieces.iter().zip(rounders).collect();
    let mut codes = spread(&together, many, |(piece, rounder)| {
        Ok(rounder.round(&piece.problem(scales, limit), None))
    })?;
    let costs = together.iter().map(|(piece, rounder)| {
        let living = piece.living_rows().map(|row| scales[row].powi(2));
        living.sum::<f64>() * rounder.cost_of_row()
    });
    let values = pieces
        .iter()
        .map(|piece| piece.living_rows().count() * piece.columns);
    let of_value = costs.sum::<f64>() / values.sum::<usize>().max(1) as f64;
    let bit = Prices::bit(settings.trade, of_value);
    let depth = form.layer.depth;
    let places = form
        .layer
        .to_rows(&(0..(form.layer.outputs * depth) as u32).collect::<Vec<_>>());
    for _ in 0..QUOTATIONS {
        let quotes = code_quotes(&form.weight(pieces, &codes, scales)?)?;
        codes = spread(&together, many, |(piece, rounder)| {
            let prices = Prices {
                quotes: &quotes,
                places: &block(&places, depth, &piece.part),
                bit,
            };
            Ok(rounder.round(&piece.problem(scales, limit), Some(prices)))
        })?;
    }
    Ok(codes)
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

/// A scale for each row; those are of whole rows.
fn scales(pieces: &[Piece], rows: usize, depth: usize, limit: i32, settings: &Sweep) -> Vec<f64> {
    let mut values = vec![0.0; rows * depth];
    let mut importance = vec![1.0; rows * depth];
    let mut kept = vec![true; rows * depth];
    for piece in pieces {
        let d = piece.columns;
        place(&mut values, depth, &piece.part, &piece.values);
        let diagonal: Vec<f64> = (0..d).map(|i| piece.xx[i * d + i].max(0.0)).collect();
        place(
            &mut importance,
            depth,
            &piece.part,
            &diagonal.repeat(piece.part.rows.len()),
        );
        if let Some(support) = &piece.support {
            place(&mut kept, depth, &piece.part, support);
        }
    }
    let fit = |range: std::ops::Range<usize>| {
        let kept = range.filter(|&i| kept[i]);
        let (values, importance): (Vec<f32>, Vec<f64>) =
            kept.map(|i| (values[i] as f32, importance[i])).unzip();
        f64::from(fit_scale(&values, Some(&importance), limit, settings.range))
    };
    match settings.granularity {
        Granularity::PerTensor => vec![fit(0..rows * depth); rows],
        Granularity::PerChannel | Granularity::PerColumn => {
            let row = |r: usize| fit(r * depth..(r + 1) * depth);
            (0..rows).into_par_iter().map(row).collect()
        }
    }
}

/// Steps so coarse that rounding changes such a share of the output's variance: one for all rows,
/// but where a row's values need more to stay within the width.
fn coarsen(scales: &mut [f64], pieces: &[Piece], error: f64) {
    // Row, second moment of the input, and square of each value that is not zero: rows that are give no
    // error, whatever their step.
    let values: Vec<(u32, f32, f32)> = pieces
        .iter()
        .flat_map(|piece| {
            let d = piece.columns;
            let values = piece.values.iter().enumerate();
            values.filter(|(_, v)| **v != 0.0).map(move |(at, v)| {
                let (row, column) = (piece.part.rows.start + at / d, at % d);
                let moment = piece.xx[column * d + column];
                (row as u32, moment as f32, (v * v) as f32)
            })
        })
        .collect();
    if values.is_empty() {
        return;
    }
    let of = pieces
        .iter()
        .map(|piece| output_error(&piece.target, &piece.xx, piece.columns));
    let allowed = error * of.sum::<f64>();
    // A value is off by a twelfth of the square of its step (Bennett 1948), but by no more than all of it.
    let changed = |step: f64| -> f64 {
        let one = |&(row, moment, square): &(u32, f32, f32)| {
            let rounding = scales[row as usize].max(step).powi(2) / 12.0;
            f64::from(moment) * rounding.min(square.into())
        };
        // Added up in one order, however many threads there are.
        let chunks = values.par_chunks(1 << 16);
        let sums: Vec<f64> = chunks.map(|chunk| chunk.iter().map(one).sum()).collect();
        sums.iter().sum()
    };
    /// Halvings of the interval of logarithms.
    const HALVINGS: usize = 40;
    let finest = values.iter().map(|&(row, ..)| scales[row as usize]);
    let finest = finest.fold(f64::INFINITY, f64::min);
    let largest = values.iter().map(|&(.., square)| f64::from(square));
    let largest = largest.fold(0.0, f64::max);
    let mut low = finest.max(f64::MIN_POSITIVE).ln();
    // A step at which nothing is left.
    let mut high = (12.0 * largest).sqrt().max(finest).ln();
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        match changed(middle.exp()) > allowed {
            true => high = middle,
            false => low = middle,
        }
    }
    let step = low.exp();
    scales.iter_mut().for_each(|s| *s = s.max(step));
}

/// One more degree of freedom, once codes are known, that costs nothing.
fn tune_scales(scales: &mut [f64], pieces: &[Piece], rounded: &[Vec<i16>], depth: usize) {
    if pieces.iter().any(|piece| piece.columns != depth) {
        return;
    }
    for (piece, codes) in pieces.iter().zip(rounded) {
        let rows = codes
            .par_chunks_exact(depth)
            .zip(piece.weights.par_chunks_exact(depth));
        let better: Vec<Option<f64>> = rows
            .map(|(codes, weights)| best_scale(codes, weights, &piece.xx, &piece.zx))
            .collect();
        for (row, scale) in piece.part.rows.clone().zip(better) {
            // Far from where it was, the samples were too few to tell.
            let near = |s: &f64| (0.8..1.25).contains(&(s / scales[row]));
            scales[row] = scale.filter(near).unwrap_or(scales[row]);
        }
    }
}

/// A part's elements of `[outputs, depth]`.
pub(super) fn block<T: Copy>(all: &[T], depth: usize, part: &Part) -> Vec<T> {
    let row = |r: usize| all[r * depth..][part.columns.clone()].iter().copied();
    part.rows.clone().flat_map(row).collect()
}

/// Puts a part's elements back.
fn place<T: Copy>(all: &mut [T], depth: usize, part: &Part, values: &[T]) {
    let d = part.columns.len();
    for (r, values) in part.rows.clone().zip(values.chunks_exact(d.max(1))) {
        all[r * depth..][part.columns.clone()].copy_from_slice(values);
    }
}
