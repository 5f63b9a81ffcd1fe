//! The array, cycle by cycle.

use super::layout::{Layout, Part, Visits, patch};
use super::{Skips, SparseArray, Tiling};
use crate::energy::{Energies, EnergyParts};
use crate::{AccelError, Image, Memory};
use secateur_plan::IntegerLayer;
use serde::Serialize;

/// What a layer takes, its weights being there.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// How it was cut.
    pub tiling: Tiling,
    /// Cycles from the first patch to the last code.
    pub cycles: u64,
    /// Where the cycles of each group went.
    pub groups: Vec<GroupCycles>,
    /// What the cells did.
    pub activity: Activity,
    /// Bytes of the blocks of its weights.
    pub block_bytes: Vec<usize>,
    /// Bytes from the scratchpad into patches.
    pub patch_bytes: u64,
    /// Bytes of codes into the scratchpad.
    pub output_bytes: u64,
}

impl Run {
    /// Where its energy goes but for what comes from beyond the chip. A lane fetches a byte of its patch where its
    /// input is not zero; a patch goes from the scratchpad into the buffers of all groups.
    pub fn energy(&self, array: &SparseArray, memory: &Memory, energies: &Energies) -> EnergyParts {
        let buffer = energies.sram_byte_pj(array.patch_bytes);
        let scratchpad = energies.sram_byte_pj(memory.activation_bytes);
        let of_group = energies.sram_byte_pj(memory.weight_bytes / array.groups);
        let entries: u64 = self.groups.iter().map(|g| g.busy + g.filler).sum();
        let entry_bytes = f64::from(8 + array.gap_bits) / 8.0;
        let filled = scratchpad + array.groups as f64 * buffer;
        EnergyParts {
            multiply_pj: self.activity.done as f64 * energies.mac_pj(),
            inputs_pj: self.activity.done as f64 * buffer + self.patch_bytes as f64 * filled,
            weights_pj: entries as f64 * entry_bytes * of_group,
            outputs_pj: self.output_bytes as f64 * scratchpad,
            dram_pj: 0.0,
        }
    }
}

/// Where the cycles of a group went; together they are those of the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct GroupCycles {
    /// It multiplied.
    pub busy: u64,
    /// It worked off an entry that only carries a gap on.
    pub filler: u64,
    /// It passed over an output channel that has no weights in a part.
    pub pointer: u64,
    /// It waited for the group with the most weights.
    pub imbalance: u64,
    /// It waited for a patch.
    pub patch: u64,
    /// It waited for sums to be turned into codes.
    pub drain: u64,
}

/// What the cells did, in multiply-accumulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Activity {
    /// Of the dense layer.
    pub dense: u64,
    /// Left out because the weight is zero.
    pub weight_zero: u64,
    /// Not done because the input is zero: gated, or skipped with its whole vector.
    pub input_zero: u64,
    /// Done.
    pub done: u64,
    /// Cells beyond the edge of the output while others multiply.
    pub no_pixel: u64,
}

impl GroupCycles {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Self {
            busy,
            filler,
            pointer,
            imbalance,
            patch,
            drain,
        } = self;
        busy + filler + pointer + imbalance + patch + drain
    }
}

/// A tile of an image, and which inputs under it are not zero.
struct Tile {
    extent: [usize; 2],
    /// Pixels whose input is not zero, `[conv group, depth]`.
    live: Vec<u8>,
}

impl SparseArray {
    /// Runs a layer.
    ///
    /// # Errors
    /// A patch or weights that no tiling fits into the memories.
    pub fn run(
        &self,
        layer: &IntegerLayer<'_>,
        image: &Image,
        memory: &Memory,
    ) -> Result<Run, AccelError> {
        let layout = Layout::new(self, layer, image, memory.weight_bytes)?;
        let tiles = tiles(image, layout.tiling.tile, layer.groups);
        let mut run = Run {
            tiling: layout.tiling,
            cycles: 0,
            groups: vec![GroupCycles::default(); self.groups],
            activity: Activity::default(),
            block_bytes: layout.blocks.iter().map(|b| b.weight_bytes).collect(),
            patch_bytes: 0,
            output_bytes: (image.batch * image.pixels() * layer.weights.rows()) as u64,
        };
        let load = |tile: &Tile, part: &Part| {
            let channels = part.conv_groups.len() * part.channels.len();
            (channels * patch(image, tile.extent)) as u64
        };
        let depth = layer.weights.cols();
        // Each step is a part of a tile for a block of outputs; its patch arrives during the step before.
        let mut steps = layout
            .blocks
            .iter()
            .flat_map(|block| {
                let parts = layout.parts.iter().zip(&block.parts).enumerate();
                tiles.iter().flat_map(move |tile| {
                    let parts = parts.clone();
                    parts.map(move |(i, (part, visits))| (block, tile, part, visits, i))
                })
            })
            .peekable();
        let cycles_of = |bytes: u64| (bytes as f64 / memory.activation_bytes_a_cycle).ceil() as u64;
        if let Some((_, tile, part, ..)) = steps.peek() {
            run.wait(cycles_of(load(tile, part)), |g| &mut g.patch);
        }
        // Cycles that the codes of the tile before still take, less those that went by since.
        let mut draining = 0u64;
        while let Some((block, tile, part, visits, index)) = steps.next() {
            run.patch_bytes += load(tile, part);
            let works: Vec<GroupCycles> = visits
                .iter()
                .map(|v| self.work(v, tile, &mut run.activity))
                .collect();
            let longest = works.iter().map(GroupCycles::total).max().unwrap_or(0);
            let next = steps
                .peek()
                .map_or(0, |(_, tile, part, ..)| cycles_of(load(tile, part)));
            let length = longest.max(next);
            for (group, work) in run.groups.iter_mut().zip(&works) {
                group.busy += work.busy;
                group.filler += work.filler;
                group.pointer += work.pointer;
                group.imbalance += longest - work.total();
                group.patch += length - longest;
            }
            run.cycles += length;
            draining = draining.saturating_sub(length);
            if index + 1 == layout.parts.len() {
                // The sums of this tile can be handed on once those of the one before are gone.
                run.wait(draining, |g| &mut g.drain);
                let of_output = tile.pixels().div_ceil(self.requantized_a_cycle);
                draining = (block.outputs_a_group * of_output) as u64;
            }
        }
        run.wait(draining, |g| &mut g.drain);
        let activity = &mut run.activity;
        activity.dense = (image.batch * image.pixels() * layer.weights.rows() * depth) as u64;
        activity.weight_zero = activity.dense - activity.done - activity.input_zero;
        Ok(run)
    }

    /// What one group does for a part of a tile.
    fn work(&self, visits: &Visits, tile: &Tile, activity: &mut Activity) -> GroupCycles {
        let pixels = tile.pixels() as u64;
        let mut skipped = 0;
        for &place in &visits.entries {
            let live = u64::from(tile.live[place as usize]);
            activity.done += live;
            activity.input_zero += pixels - live;
            match live == 0 && self.skips == Skips::WeightsAndVectors {
                true => skipped += 1,
                false => activity.no_pixel += self.lanes as u64 - pixels,
            }
        }
        GroupCycles {
            busy: visits.entries.len() as u64 - skipped,
            filler: visits.fillers,
            pointer: visits.empty,
            ..GroupCycles::default()
        }
    }
}

impl Tile {
    fn pixels(&self) -> usize {
        self.extent[0] * self.extent[1]
    }
}

impl Run {
    fn wait(&mut self, cycles: u64, cause: impl Fn(&mut GroupCycles) -> &mut u64) {
        self.cycles += cycles;
        self.groups.iter_mut().for_each(|g| *cause(g) += cycles);
    }
}

/// The tiles of all images, in order.
fn tiles(image: &Image, [th, tw]: [usize; 2], conv_groups: usize) -> Vec<Tile> {
    let [height, width] = image.window.output;
    let mut tiles = Vec::new();
    for n in 0..image.batch {
        for top in (0..height).step_by(th.max(1)) {
            for left in (0..width).step_by(tw.max(1)) {
                let extent = [th.min(height - top), tw.min(width - left)];
                tiles.push(Tile {
                    extent,
                    live: live(image, n, [top, left], extent, conv_groups),
                });
            }
        }
    }
    tiles
}

/// Of each place in the depth, how many of the pixels have an input there that is not zero.
fn live(
    image: &Image,
    n: usize,
    at: [usize; 2],
    extent: [usize; 2],
    conv_groups: usize,
) -> Vec<u8> {
    let w = &image.window;
    let [kh, kw] = w.kernel;
    let of_group = w.channels / conv_groups.max(1);
    let mut live = vec![0u8; conv_groups * kh * kw * of_group];
    for y in at[0]..at[0] + extent[0] {
        for x in at[1]..at[1] + extent[1] {
            for tap in 0..kh * kw {
                let Some(start) = image.under(n, [y, x], [tap / kw, tap % kw]) else {
                    continue;
                };
                for (c, &value) in image.values[start..start + w.channels].iter().enumerate() {
                    let place = (c / of_group * kh * kw + tap) * of_group + c % of_group;
                    live[place] += u8::from(value != 0);
                }
            }
        }
    }
    live
}
