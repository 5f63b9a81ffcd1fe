//! How a layer is cut into tiles, parts of its channels and blocks of its outputs.

use super::patch::{Tile, tiles};
use super::{Skips, SparseArray};
use crate::machine::OUTPUT_BYTES;
use crate::{AccelError, Image};
use secateur_plan::IntegerLayer;
use serde::Serialize;
use std::cmp::Reverse;
use std::ops::Range;

/// How a layer is cut: chosen so that the fewest tiles cover the output, then by the smallest patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tiling {
    /// Height and width of a tile of output pixels.
    pub tile: [usize; 2],
    /// Input channels whose patch is in a buffer at a time.
    pub channels: usize,
    /// Output channels at a time.
    pub outputs: usize,
}

/// A weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// In `[conv group, depth]`.
    pub place: u32,
    /// Places `[tap, channel]` of its part between the entry before and this one.
    pub gap: u32,
    /// The weight.
    pub weight: i8,
}

/// The weights of one output channel for one patch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Visit {
    /// The output channel.
    pub output: usize,
    /// Its weights, in the order of their places.
    pub entries: Vec<Entry>,
    /// Entries beside these that only carry a gap on.
    pub fillers: u64,
}

/// A part of the input channels: of some groups of a convolution, some channels of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Groups of the convolution.
    pub conv_groups: Range<usize>,
    /// Channels of each.
    pub channels: Range<usize>,
}

/// What a block's groups do for one part: only groups that have something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Which.
    pub part: Part,
    /// A group, and its visits.
    pub groups: Vec<(usize, Vec<Visit>)>,
}

/// A block of output channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The channels.
    pub outputs: Range<usize>,
    /// What is done for each part of which the block has outputs.
    pub works: Vec<Work>,
    /// Most output channels of a group.
    pub outputs_a_group: usize,
    /// Bytes of its weights, biases and factors.
    pub weight_bytes: usize,
}

/// What the array does for a layer, in order: for each block and each tile its works, each with a patch of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// How the layer is cut.
    pub tiling: Tiling,
    /// Blocks of outputs.
    pub blocks: Vec<Block>,
    /// Tiles of all images.
    pub tiles: Vec<Tile>,
}

/// Bits of what a group knows of an output channel for a part: how many entries, where its sums and channels are.
const POINTER_BITS: usize = 40;

impl Schedule {
    pub(super) fn new(
        array: &SparseArray,
        layer: &IntegerLayer<'_>,
        image: &Image,
        weight_bytes: usize,
    ) -> Result<Self, AccelError> {
        let too_large = |what, needed_bytes, setting, bytes| AccelError::TileTooLarge {
            layer: layer.node.name.clone(),
            what,
            needed_bytes,
            setting,
            bytes,
        };
        let tile = tile(array, image);
        let patch = patch(image, tile) * array.operand_bytes() as usize;
        if patch > array.patch_bytes {
            let what = "the patch of one channel";
            return Err(too_large(what, patch, "patch_bytes", array.patch_bytes));
        }
        let channels = array.patch_bytes / patch.max(1);
        let channels = channels.clamp(1, image.window.channels.max(1));
        let cut = Cut::new(layer, image, channels);
        let all = layer.weights.rows();
        let rows: Vec<Row> = (0..all).map(|o| cut.row(array, layer, o)).collect();
        let bytes_of = |rows: &[Row]| {
            let bits: usize = rows.iter().map(|row| row.bits).sum();
            bits.div_ceil(8) + rows.len() * OUTPUT_BYTES
        };
        // One block is worked on while the next arrives.
        let most = |outputs: usize| rows.chunks(outputs).map(bytes_of).max().unwrap_or(0);
        let mut outputs = all.min(array.groups * array.sums_a_lane).max(1);
        while outputs > 1 && 2 * most(outputs) > weight_bytes {
            outputs = outputs.div_ceil(2);
        }
        if 2 * most(outputs) > weight_bytes {
            let what = "the weights of one output channel, twice,";
            return Err(too_large(what, 2 * most(1), "weight_bytes", weight_bytes));
        }
        let sizes: Vec<usize> = rows.chunks(outputs).map(bytes_of).collect();
        let mut rows = rows.into_iter();
        let blocks = sizes.iter().enumerate().map(|(index, &bytes)| {
            let start = index * outputs;
            let range = start..(start + outputs).min(all);
            let rows: Vec<Row> = rows.by_ref().take(range.len()).collect();
            Block::new(array.groups, &cut.parts, range, rows, bytes)
        });
        Ok(Self {
            tiling: Tiling {
                tile,
                channels,
                outputs,
            },
            blocks: blocks.collect(),
            tiles: tiles(image, tile),
        })
    }
}

impl Part {
    /// Input channels, those of all groups of the convolution together.
    pub fn inputs(&self) -> usize {
        self.conv_groups.len() * self.channels.len()
    }
}

/// Height and width of the patch under so many output pixels.
pub fn patch_extent(image: &Image, tile: [usize; 2]) -> [usize; 2] {
    let w = &image.window;
    let along = |axis: usize| {
        let taps = (w.kernel[axis].saturating_sub(1)).saturating_mul(w.dilation[axis]);
        let steps = (tile[axis].saturating_sub(1)).saturating_mul(w.stride[axis]);
        steps.saturating_add(taps).saturating_add(1)
    };
    [along(0), along(1)]
}

/// Elements of the patch under so many output pixels, of one channel.
pub(super) fn patch(image: &Image, tile: [usize; 2]) -> usize {
    let [height, width] = patch_extent(image, tile);
    height.saturating_mul(width)
}

/// The tile: of those whose patch of one channel fits, else the one with the smallest patch.
fn tile(array: &SparseArray, image: &Image) -> [usize; 2] {
    let [height, width] = image.window.output.map(|extent| extent.max(1));
    let tiles = (0..=array.lanes.ilog2()).map(|log| {
        let (h, w) = (1 << log, array.lanes >> log);
        [h.min(height), w.min(width)]
    });
    let key = |&[h, w]: &[usize; 2]| {
        let patch = patch(image, [h, w]) * array.operand_bytes() as usize;
        let count = height.div_ceil(h) * width.div_ceil(w);
        match patch <= array.patch_bytes {
            true => (false, count, patch),
            false => (true, patch, count),
        }
    };
    tiles.min_by_key(key).unwrap_or([1, 1])
}

/// A layer's depth cut into parts of so many channels at most: of one group of the convolution, or several whole ones.
struct Cut {
    parts: Vec<Part>,
    /// Channels of a group of the convolution.
    of_group: usize,
    /// Outputs of a group of the convolution.
    outputs: usize,
    /// Groups of the convolution in a part.
    whole: usize,
    /// Channels of each in a part.
    channels: usize,
}

/// An output channel's visits, by part, and what they take.
struct Row {
    visits: Vec<(usize, Visit)>,
    weights: usize,
    bits: usize,
}

impl Cut {
    fn new(layer: &IntegerLayer<'_>, image: &Image, channels: usize) -> Self {
        let groups = layer.groups.max(1);
        let outputs = (layer.weights.rows() / groups).max(1);
        Self::of(groups, image.window.channels / groups, outputs, channels)
    }

    fn of(groups: usize, of_group: usize, outputs: usize, channels: usize) -> Self {
        let whole = (channels / of_group.max(1)).max(1);
        let channels = channels.min(of_group).max(1);
        let mut parts = Vec::new();
        for start in (0..groups).step_by(whole) {
            for first in (0..of_group.max(1)).step_by(channels) {
                parts.push(Part {
                    conv_groups: start..(start + whole).min(groups),
                    channels: first..(first + channels).min(of_group),
                });
            }
        }
        Self {
            parts,
            of_group,
            outputs,
            whole,
            channels,
        }
    }

    /// An output channel by part.
    fn row(&self, array: &SparseArray, layer: &IntegerLayer<'_>, output: usize) -> Row {
        let conv_group = output / self.outputs;
        let parts = self.of_group.max(1).div_ceil(self.channels);
        let first = conv_group / self.whole * parts;
        let depth = layer.weights.cols();
        let visit = |part| {
            let visit = Visit {
                output,
                ..Visit::default()
            };
            (first + part, visit)
        };
        let mut row = Row {
            visits: (0..parts).map(visit).collect(),
            weights: 0,
            bits: 0,
        };
        let longest = (1usize << array.gap_bits) - 1;
        // Behind the last entry of each part, in the order in which the part holds its places.
        let mut next = vec![0; parts];
        let mut add = |k: usize, weight: i8| {
            let (tap, channel) = (k / self.of_group, k % self.of_group);
            let part = channel / self.channels;
            let place = tap * self.parts[first + part].channels.len() + channel % self.channels;
            let (_, visit) = &mut row.visits[part];
            let gap = place - next[part];
            visit.fillers += (gap / (longest + 1)) as u64;
            visit.entries.push(Entry {
                place: (conv_group * depth + k) as u32,
                gap: gap as u32,
                weight,
            });
            next[part] = place + 1;
        };
        let (columns, weights) = layer.weights.row(output);
        let mut kept = columns.iter().zip(weights).peekable();
        match array.skips {
            Skips::Nothing => (0..depth).for_each(|k| {
                let weight = kept.next_if(|(c, _)| **c as usize == k);
                add(k, weight.map_or(0, |(_, &w)| w));
            }),
            Skips::Weights | Skips::WeightsAndVectors => {
                kept.for_each(|(&c, &w)| add(c as usize, w))
            }
        }
        let pointer_bits = match array.skips {
            Skips::Nothing => 0,
            Skips::Weights | Skips::WeightsAndVectors => POINTER_BITS,
        };
        for (_, visit) in &row.visits {
            row.weights += visit.entries.len();
            row.bits +=
                (visit.entries.len() + visit.fillers as usize) * array.entry_bits() + pointer_bits;
        }
        row
    }
}

impl Block {
    fn new(
        groups: usize,
        parts: &[Part],
        outputs: Range<usize>,
        mut rows: Vec<Row>,
        weight_bytes: usize,
    ) -> Self {
        let shares = balanced(groups, &rows);
        let outputs_a_group = shares.iter().map(Vec::len).max().unwrap_or(0);
        let mut works: Vec<Work> = parts
            .iter()
            .map(|part| Work {
                part: part.clone(),
                groups: Vec::new(),
            })
            .collect();
        for (group, share) in shares.iter().enumerate() {
            for &row in share {
                for (part, visit) in std::mem::take(&mut rows[row].visits) {
                    match works[part].groups.last_mut() {
                        Some((last, visits)) if *last == group => visits.push(visit),
                        _ => works[part].groups.push((group, vec![visit])),
                    }
                }
            }
        }
        works.retain(|work| !work.groups.is_empty());
        Self {
            outputs,
            works,
            outputs_a_group,
            weight_bytes,
        }
    }
}

/// Rows by group: those with most weights first, each to the group with the fewest so far.
fn balanced(groups: usize, rows: &[Row]) -> Vec<Vec<usize>> {
    let most = rows.len().div_ceil(groups);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&row| Reverse(rows[row].weights));
    let mut shares = vec![(0, Vec::new()); groups];
    for row in order {
        let free = shares.iter_mut().filter(|(_, share)| share.len() < most);
        if let Some((sum, share)) = free.min_by_key(|(sum, share)| (*sum, share.len())) {
            *sum += rows[row].weights.max(1);
            share.push(row);
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_channels_once() {
        for (groups, of_group, channels) in [(1, 7, 3), (1, 4, 4), (6, 1, 4), (4, 3, 2), (4, 2, 5)]
        {
            let mut seen = vec![0; groups * of_group];
            for part in Cut::of(groups, of_group, 1, channels).parts {
                assert!(part.inputs() <= channels, "{part:?}");
                for group in part.conv_groups.clone() {
                    let own = part.channels.clone();
                    own.for_each(|c| seen[group * of_group + c] += 1);
                }
            }
            let once = seen.iter().all(|&n| n == 1);
            assert!(once, "{groups} {of_group} {channels}");
        }
    }
}
