//! An order of output channels in which sparse layers need fewer passes.
//!
//! The engine's sparse form lists of 16 rows, window of 64 inputs by window, 4
//! non-zeros of each row a pass, and the row with the most decides how many. It
//! deals rows to groups by itself, but only among 64 neighbours; channels may be
//! moved any distance, because what reads them moves with them.
//!
//! Only rows are ordered. Ordering inputs as well, so that windows are balanced or
//! full, changed the passes by less than 1 %. Magnitude-pruned to 90 % zeros, rows
//! save 6.4 % of EfficientNet-Lite0's slots and 4.1 % of PP-OCRv4's recogniser's in
//! the form of AVX-512 and NEON; of random masks, and in the narrower windows of
//! AVX2, 0 to 4 %. So it is done only where it is asked for.

use super::atoms::Atom;
use super::groups::{Channels, Group};
use super::select::Pick;
use crate::CompressError;
use secateur_model::{Graph, Node, Op, Shape};
use std::collections::{BTreeMap, HashMap};

/// Rows that share passes.
const ROWS: usize = 16;
/// Rows among which the engine deals.
const BAND: usize = 64;
/// Inputs that one pass selects from.
const WINDOW: usize = 64;
/// Non-zeros of a row in a pass.
const SLOTS: u32 = 4;
/// Channels that are ordered at a time, which takes time by their square.
const SORTED: usize = 4096;
/// A layer with a larger share of non-zeros runs in a dense form.
const SPARSE: f64 = 0.5;

/// Passes of all sparse layers, as far as can be told without packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Before the channels were ordered.
    pub before: usize,
    /// After.
    pub after: usize,
}

/// Orders channels so that the sparse form of layers needs fewer passes; the
/// network computes the same, within the rounding of another order of additions.
///
/// Extents that an input of the graph leaves open are those of `inputs`, or 1.
///
/// # Errors
/// A graph whose extents would contradict each other.
pub fn permute_for_engine(
    graph: &mut Graph,
    inputs: &[(&str, Shape)],
) -> Result<Packing, CompressError> {
    let channels = Channels::of(graph, inputs);
    let layers: Vec<Layer> = graph
        .nodes
        .iter()
        .filter_map(|node| Layer::of(graph, &channels, node))
        .collect();
    let mut pick = Pick::default();
    let mut passes: Vec<usize> = layers.iter().map(|l| l.passes(&channels, &pick)).collect();
    let before = passes.iter().sum();
    let signatures = signatures(&channels);
    for group in channels.groups() {
        for class in classes(group, &signatures) {
            let runs = class.chunks(SORTED);
            let order: Vec<Atom> = runs.flat_map(|run| order(run, &layers)).collect();
            let moved = class.iter().zip(&order).filter(|(slot, atom)| slot != atom);
            let mut next = Pick::default();
            next.moved.clone_from(&pick.moved);
            next.moved.extend(moved.map(|(&slot, &atom)| (slot, atom)));
            let counted = layers.iter().zip(&passes).map(|(layer, &now)| {
                match class.iter().any(|atom| layer.touches.contains_key(atom)) {
                    true => layer.passes(&channels, &next),
                    false => now,
                }
            });
            let counted: Vec<usize> = counted.collect();
            if counted.iter().sum::<usize>() < passes.iter().sum() {
                (pick, passes) = (next, counted);
            }
        }
    }
    if !pick.moved.is_empty() {
        *graph = channels.select(graph, &pick)?;
    }
    Ok(Packing {
        before,
        after: passes.iter().sum(),
    })
}

/// In which axes each atom lies, and how often.
pub(super) fn signatures(channels: &Channels) -> HashMap<Atom, Vec<(usize, usize)>> {
    let mut signatures: HashMap<Atom, Vec<(usize, usize)>> = HashMap::new();
    let axes = channels
        .values
        .iter()
        .flat_map(|(name, axes)| (0..axes.len()).map(move |axis| (name, axis)));
    for (id, (name, axis)) in axes.enumerate() {
        for atom in channels.roots(name, axis).into_iter().flatten() {
            let signature = signatures.entry(atom).or_default();
            match signature.last_mut() {
                Some((last, count)) if *last == id => *count += 1,
                _ => signature.push((id, 1)),
            }
        }
    }
    signatures
}

/// Channels of a group that may change places: those that lie in the same axes.
pub(super) fn classes(
    group: &Group,
    signatures: &HashMap<Atom, Vec<(usize, usize)>>,
) -> Vec<Vec<Atom>> {
    let mut classes: BTreeMap<&[(usize, usize)], Vec<Atom>> = BTreeMap::new();
    for channel in group.channels.iter().filter(|c| c.fixed.is_none()) {
        if let Some(signature) = signatures.get(&channel.atom) {
            classes.entry(signature).or_default().push(channel.atom);
        }
    }
    classes.into_values().collect()
}

/// The atoms of a class in an order in which rows of like windows stand together.
fn order(class: &[Atom], layers: &[Layer]) -> Vec<Atom> {
    let demands: Vec<Vec<u32>> = class
        .iter()
        .map(|atom| {
            let rows = layers.iter().flat_map(|layer| {
                let own = layer.touches.get(atom).map_or(&[][..], Vec::as_slice);
                own.iter().flat_map(|&row| layer.demand(row, None))
            });
            rows.collect()
        })
        .collect();
    alike(&demands).into_iter().map(|at| class[at]).collect()
}

/// The hungriest row first, then those that waste least beside it, group by group.
fn alike(demands: &[Vec<u32>]) -> Vec<usize> {
    let total = |at: &usize| demands[*at].iter().sum::<u32>();
    let mut left: Vec<usize> = (0..demands.len()).collect();
    left.sort_by_key(|at| (std::cmp::Reverse(total(at)), *at));
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let seed = left.remove(0);
        let mut need = demands[seed].clone();
        order.push(seed);
        for _ in 1..ROWS.min(left.len() + 1) {
            let waste = |&at: &usize| {
                let more = demands[at].iter().zip(&need);
                let growth: u32 = more.map(|(&own, &need)| own.saturating_sub(need)).sum();
                i64::from(growth) * ROWS as i64 - i64::from(total(&at))
            };
            let best = (0..left.len()).min_by_key(|&place| waste(&left[place]));
            let row = left.remove(best.unwrap_or_default());
            widen(&mut need, &demands[row]);
            order.push(row);
        }
    }
    order
}

fn widen(need: &mut [u32], row: &[u32]) {
    for (need, &own) in need.iter_mut().zip(row) {
        *need = own.max(*need);
    }
}

/// A sparse layer as the engine packs it: rows by taps by channels.
struct Layer {
    weight: String,
    /// Axes of the weight: rows, and channels of the input.
    axes: [usize; 2],
    channels: usize,
    /// Inputs that lie side by side: one row of the kernel's taps.
    line: usize,
    lines: usize,
    /// For each row its non-zeros: tap and channel.
    rows: Vec<Vec<(u32, u32)>>,
    /// The rows of each atom, and the atoms of channels, which have none.
    touches: HashMap<Atom, Vec<usize>>,
}

impl Layer {
    fn of(graph: &Graph, channels: &Channels, node: &Node) -> Option<Self> {
        let (name, weight) = graph.kernel_of(node)?;
        let dims = weight.shape().dims();
        let axes = match &node.op {
            Op::Conv { groups: 1, .. } if dims.len() > 2 => [0, 1],
            Op::Gemm { trans_b: true, .. } if dims.len() == 2 => [0, 1],
            Op::Gemm { .. } | Op::MatMul if dims.len() == 2 => [1, 0],
            _ => return None,
        };
        let elements = weight.shape().elements().max(1);
        if weight.nonzeros() as f64 > SPARSE * elements as f64 {
            return None;
        }
        let strides = weight.shape().strides();
        let (inputs, taps) = (dims[axes[1]], dims[2..].iter().product::<usize>());
        let width = if dims.len() > 2 {
            dims[dims.len() - 1]
        } else {
            1
        };
        let mut rows = vec![Vec::new(); dims[axes[0]]];
        for (at, value) in weight.positions().zip(weight.kept_f32()) {
            if value != 0.0 {
                let place = |axis: usize| at / strides[axes[axis]] % dims[axes[axis]];
                rows[place(0)].push(((at % taps.max(1)) as u32, place(1) as u32));
            }
        }
        let mut touches: HashMap<Atom, Vec<usize>> = HashMap::new();
        for (row, atom) in channels.roots(name, axes[0])?.into_iter().enumerate() {
            touches.entry(atom).or_default().push(row);
        }
        for atom in channels.roots(name, axes[1]).into_iter().flatten() {
            touches.entry(atom).or_default();
        }
        Some(Self {
            weight: name.to_owned(),
            axes,
            channels: inputs,
            line: width * inputs,
            lines: taps / width.max(1),
            rows,
            touches,
        })
    }

    /// Passes that a row asks for, window by window; `places` says where channels lie.
    fn demand(&self, row: usize, places: Option<&[usize]>) -> Vec<u32> {
        let windows = self.line.div_ceil(WINDOW);
        let mut counts = vec![0u32; windows * self.lines];
        for &(tap, channel) in &self.rows[row] {
            let channel = places.map_or(channel as usize, |places| places[channel as usize]);
            let at = tap as usize * self.channels + channel;
            counts[at / self.line * windows + at % self.line / WINDOW] += 1;
        }
        counts.iter().map(|count| count.div_ceil(SLOTS)).collect()
    }

    /// Passes of the whole layer when channels lie as picked.
    fn passes(&self, channels: &Channels, pick: &Pick) -> usize {
        let [rows, columns] = self.axes.map(|axis| {
            let axis = channels.values.get(&self.weight)?.get(axis)?;
            channels.positions(axis, pick)
        });
        let places = columns.map(|sources| {
            let mut places = vec![0; sources.len()];
            sources
                .iter()
                .enumerate()
                .for_each(|(to, &from)| places[from] = to);
            places
        });
        let rows = rows.unwrap_or_else(|| (0..self.rows.len()).collect());
        let demands: Vec<Vec<u32>> = rows
            .iter()
            .map(|&r| self.demand(r, places.as_deref()))
            .collect();
        let band = |band: &[Vec<u32>]| -> usize {
            let groups = alike(band);
            let need = |group: &[usize]| {
                let mut need = vec![0; band[group[0]].len()];
                group.iter().for_each(|&row| widen(&mut need, &band[row]));
                need.iter().sum::<u32>() as usize
            };
            groups.chunks(ROWS).map(need).sum()
        };
        demands.chunks(BAND).map(band).sum()
    }
}
