//! How a layer is cut into tiles, parts of its channels and blocks of its outputs.

use super::{Skips, SparseArray};
use crate::{AccelError, Image};
use secateur_plan::IntegerLayer;
use serde::Serialize;
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

/// The weights of one group for one patch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Visits {
    /// Places of entries in `[conv group, depth]`, one output channel behind the other; those that only carry a
    /// gap on left out.
    pub entries: Vec<u32>,
    /// Entries that only carry a gap on.
    pub fillers: u64,
    /// Output channels that have no weights here, which take a cycle each.
    pub empty: u64,
    /// Output channels.
    pub outputs: u64,
}

/// A part of the input channels: of some groups of a convolution, some channels of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub conv_groups: Range<usize>,
    pub channels: Range<usize>,
}

/// A block of output channels, by part and group of the array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// `[part][group]`.
    pub parts: Vec<Vec<Visits>>,
    /// Most output channels of a group.
    pub outputs_a_group: usize,
    /// Bytes of its weights, biases and factors.
    pub weight_bytes: usize,
}

/// A layer laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub tiling: Tiling,
    pub parts: Vec<Part>,
    pub blocks: Vec<Block>,
}

/// Bytes of a bias and a factor.
const OUTPUT_BYTES: usize = 8;
/// Bits that say where the entries of an output channel end.
const POINTER_BITS: usize = 16;

impl Layout {
    pub fn new(
        array: &SparseArray,
        layer: &IntegerLayer<'_>,
        image: &Image,
        weight_bytes: usize,
    ) -> Result<Self, AccelError> {
        let name = || layer.node.name.clone();
        let (tile, channels) = tile(array, image).ok_or_else(|| AccelError::TileTooLarge {
            layer: name(),
            what: "the patch of one channel",
            needed_bytes: image.window.kernel.iter().product(),
            setting: "patch_bytes",
            bytes: array.patch_bytes,
        })?;
        let of_group = image.window.channels / layer.groups.max(1);
        let parts = parts(layer.groups, of_group, channels);
        let mut outputs = layer.weights.rows().min(array.groups * array.sums_a_lane);
        loop {
            let blocks: Vec<Block> = (0..layer.weights.rows())
                .step_by(outputs.max(1))
                .map(|start| {
                    let rows = start..(start + outputs).min(layer.weights.rows());
                    Block::new(array, layer, of_group, &parts, rows)
                })
                .collect();
            // One block is worked on while the next arrives.
            let most = blocks.iter().map(|b| b.weight_bytes).max().unwrap_or(0);
            if 2 * most <= weight_bytes || blocks.len() == 1 && most <= weight_bytes {
                return Ok(Self {
                    tiling: Tiling {
                        tile,
                        channels,
                        outputs,
                    },
                    parts,
                    blocks,
                });
            }
            if outputs <= 1 {
                return Err(AccelError::TileTooLarge {
                    layer: name(),
                    what: "the weights of one output channel, twice,",
                    needed_bytes: 2 * most,
                    setting: "weight_bytes",
                    bytes: weight_bytes,
                });
            }
            outputs = outputs.div_ceil(2);
        }
    }
}

/// Elements of the patch under so many output pixels, of one channel.
pub(super) fn patch(image: &Image, tile: [usize; 2]) -> usize {
    let w = &image.window;
    let along = |axis: usize| {
        let taps = w.kernel[axis].saturating_sub(1) * w.dilation[axis];
        tile[axis].saturating_sub(1) * w.stride[axis] + taps + 1
    };
    along(0) * along(1)
}

/// The tile, and how many channels of its patch a buffer holds.
fn tile(array: &SparseArray, image: &Image) -> Option<([usize; 2], usize)> {
    let [height, width] = image.window.output;
    (0..=array.lanes.ilog2())
        .map(|log| [1 << log, array.lanes >> log])
        .filter(|&tile| patch(image, tile) <= array.patch_bytes)
        .min_by_key(|&[h, w]| (height.div_ceil(h) * width.div_ceil(w), patch(image, [h, w])))
        .map(|tile| {
            let fit = array.patch_bytes / patch(image, tile).max(1);
            (tile, fit.clamp(1, image.window.channels.max(1)))
        })
}

/// Parts of so many channels at most: of one group of the convolution, or several whole ones.
fn parts(conv_groups: usize, of_group: usize, channels: usize) -> Vec<Part> {
    let whole = (channels / of_group.max(1)).max(1);
    let mut parts = Vec::new();
    for start in (0..conv_groups).step_by(whole) {
        for first in (0..of_group.max(1)).step_by(channels.max(1)) {
            parts.push(Part {
                conv_groups: start..(start + whole).min(conv_groups),
                channels: first..(first + channels).min(of_group),
            });
        }
    }
    parts
}

impl Block {
    fn new(
        array: &SparseArray,
        layer: &IntegerLayer<'_>,
        of_group: usize,
        parts: &[Part],
        rows: Range<usize>,
    ) -> Self {
        let groups = balanced(array.groups, layer, rows.clone());
        let of_conv_group = (layer.weights.rows() / layer.groups.max(1)).max(1);
        let mut bits = 0;
        let by_part = parts.iter().map(|part| {
            let by_group = groups.iter().map(|rows| {
                let mut visits = Visits::default();
                for &row in rows {
                    let conv_group = row / of_conv_group;
                    if part.conv_groups.contains(&conv_group) {
                        let depth = layer.weights.cols();
                        let start = (conv_group * depth) as u32;
                        visits.add(
                            array,
                            layer.weights.row(row).0,
                            of_group,
                            part,
                            start..start + depth as u32,
                        );
                    }
                }
                let entries = visits.entries.len() + visits.fillers as usize;
                bits += entries * (8 + array.gap_bits as usize)
                    + visits.outputs as usize * POINTER_BITS;
                visits
            });
            by_group.collect()
        });
        Self {
            parts: by_part.collect(),
            outputs_a_group: groups.iter().map(Vec::len).max().unwrap_or(0),
            weight_bytes: bits.div_ceil(8) + rows.len() * OUTPUT_BYTES,
        }
    }
}

/// Output channels by group: those with most weights first, each to the group with the fewest so far.
fn balanced(groups: usize, layer: &IntegerLayer<'_>, rows: Range<usize>) -> Vec<Vec<usize>> {
    let most = rows.len().div_ceil(groups);
    let weights = |row: usize| layer.weights.row(row).0.len();
    let mut order: Vec<usize> = rows.collect();
    order.sort_by_key(|&row| std::cmp::Reverse(weights(row)));
    let mut shares = vec![(0, Vec::new()); groups];
    for row in order {
        let least = shares.iter_mut().filter(|(_, rows)| rows.len() < most);
        if let Some((sum, rows)) = least.min_by_key(|(sum, rows)| (*sum, rows.len())) {
            *sum += weights(row).max(1);
            rows.push(row);
        }
    }
    shares.into_iter().map(|(_, rows)| rows).collect()
}

impl Visits {
    /// The entries of an output channel, whose weights are at `columns` of its depth, and that at `places`.
    fn add(
        &mut self,
        array: &SparseArray,
        columns: &[u32],
        of_group: usize,
        part: &Part,
        places: Range<u32>,
    ) {
        self.outputs += 1;
        let before = self.entries.len();
        let inside = |k: u32| part.channels.contains(&(k as usize % of_group.max(1)));
        if array.skips == Skips::Nothing {
            let all = places.clone().filter(|&k| inside(k - places.start));
            self.entries.extend(all);
        } else {
            let longest = (1usize << array.gap_bits) - 1;
            let mut next = 0;
            for &k in columns.iter().filter(|&&k| inside(k)) {
                let (tap, channel) = (k as usize / of_group, k as usize % of_group);
                let place = tap * part.channels.len() + channel - part.channels.start;
                self.fillers += ((place - next) / (longest + 1)) as u64;
                next = place + 1;
                self.entries.push(places.start + k);
            }
        }
        self.empty += u64::from(self.entries.len() == before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_channels_once() {
        for (conv_groups, of_group, channels) in
            [(1, 7, 3), (1, 4, 4), (6, 1, 4), (4, 3, 2), (4, 2, 5)]
        {
            let mut seen = vec![0; conv_groups * of_group];
            for part in parts(conv_groups, of_group, channels) {
                let size = part.conv_groups.len() * part.channels.len();
                assert!(size <= channels, "{part:?}");
                for group in part.conv_groups.clone() {
                    part.channels
                        .clone()
                        .for_each(|c| seen[group * of_group + c] += 1);
                }
            }
            assert!(
                seen.iter().all(|&n| n == 1),
                "{conv_groups} {of_group} {channels}"
            );
        }
    }
}
