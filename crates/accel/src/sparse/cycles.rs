//! The array, cycle by cycle and sum by sum.

use super::layout::{Schedule, Visit, Work, patch};
use super::patch::{Tile, Under};
use super::{Skips, SparseArray, Tiling};
use crate::energy::{Energies, EnergyParts};
use crate::{AccelError, Image, Memory};
use secateur_plan::IntegerLayer;
use serde::Serialize;

/// Cycles from the last sum that is handed on to its code: what an entry takes to become a sum (its place, address,
/// input, product), and a sum to become a code, is hidden but for the last (`rtl/sparse_group.sv`).
const STAGES: u64 = 12;

/// What a layer takes, its weights being there.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The sums that the lanes had in the end: `[n · pixels, outputs]`.
    pub sums: Vec<i32>,
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
    /// Not done because the input is zero.
    pub input_zero: u64,
    /// Of these, those that took no cycle either.
    pub skipped: u64,
    /// Done.
    pub done: u64,
    /// Cells beyond the edge of the output while others multiply.
    pub no_pixel: u64,
}

impl Activity {
    /// Those that a cell had a cycle for.
    pub fn in_cells(&self) -> u64 {
        self.done + self.input_zero - self.skipped
    }
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

    /// These and those of another group.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            busy: self.busy + other.busy,
            filler: self.filler + other.filler,
            pointer: self.pointer + other.pointer,
            imbalance: self.imbalance + other.imbalance,
            patch: self.patch + other.patch,
            drain: self.drain + other.drain,
        }
    }
}

impl SparseArray {
    /// Runs a layer: `acc[n, pixel, o] = bias[o] + Σ w[o, k] · x[pixel, k]`.
    ///
    /// # Errors
    /// An array that cannot be built; a patch or weights that no tiling fits into the memories.
    pub fn run(
        &self,
        layer: &IntegerLayer<'_>,
        image: &Image,
        memory: &Memory,
    ) -> Result<Run, AccelError> {
        let Schedule {
            tiling,
            blocks,
            tiles,
        } = self.schedule(layer, image, memory)?;
        let outputs = layer.weights.rows();
        let mut run = Run {
            sums: vec![0; image.batch * image.pixels() * outputs],
            tiling,
            cycles: 0,
            groups: vec![GroupCycles::default(); self.groups],
            activity: Activity::default(),
            block_bytes: blocks.iter().map(|b| b.weight_bytes).collect(),
            patch_bytes: 0,
        };
        let load =
            |tile: &Tile, work: &Work| (work.part.inputs() * patch(image, tile.extent)) as u64;
        let cycles_of = |bytes: u64| (bytes as f64 / memory.activation_bytes_a_cycle).ceil() as u64;
        // A patch arrives while the one before is worked off, whatever tile or block it is of.
        let mut loads = blocks.iter().flat_map(|block| {
            let of_tile = move |tile| block.works.iter().map(move |work| load(tile, work));
            tiles.iter().flat_map(of_tile)
        });
        let first = loads.next().unwrap_or(0);
        run.patch_bytes += first;
        run.wait(cycles_of(first), |g| &mut g.patch);
        // Cycles that the codes of the tile before still take.
        let mut draining = 0u64;
        let mut under = Under::new(layer, image, self.lanes);
        for block in &blocks {
            for tile in &tiles {
                under.fill(image, tile);
                let biases = &layer.numbers.bias[block.outputs.clone()];
                let mut sums: Vec<i32> = biases.iter().flat_map(|&b| vec![b; self.lanes]).collect();
                for work in &block.works {
                    let next = loads.next().unwrap_or(0);
                    run.patch_bytes += next;
                    let length = run.step(self, work, tile, &under, cycles_of(next));
                    draining = draining.saturating_sub(length);
                    let visits = work.groups.iter().flat_map(|(_, visits)| visits);
                    for visit in visits {
                        let slot = visit.output - block.outputs.start;
                        let sums = &mut sums[slot * self.lanes..][..self.lanes];
                        for entry in &visit.entries {
                            under.multiply(entry.place, entry.weight, sums);
                        }
                    }
                }
                // The sums of this tile can be handed on once those of the one before are gone.
                run.wait(draining, |g| &mut g.drain);
                let of_output = tile.pixels().div_ceil(self.requantized_a_cycle);
                draining = (block.outputs_a_group * of_output) as u64;
                for (slot, o) in block.outputs.clone().enumerate() {
                    for lane in 0..tile.pixels() {
                        run.sums[tile.pixel(image, lane) * outputs + o] =
                            sums[slot * self.lanes + lane];
                    }
                }
            }
        }
        run.wait(draining + STAGES, |g| &mut g.drain);
        let activity = &mut run.activity;
        activity.dense = (image.batch * image.pixels() * outputs * layer.weights.cols()) as u64;
        activity.weight_zero = activity.dense - activity.done - activity.input_zero;
        Ok(run)
    }
}

impl Run {
    /// Where its energy goes but for what comes from beyond the chip. A lane fetches a byte of its patch where its
    /// input is not zero; a patch goes from the scratchpad into the buffers of all groups.
    pub fn energy(&self, array: &SparseArray, memory: &Memory, energies: &Energies) -> EnergyParts {
        let buffer = energies.sram_byte_pj(array.patch_bytes);
        let scratchpad = energies.sram_byte_pj(memory.activation_bytes);
        let of_group = energies.sram_byte_pj(memory.weight_bytes / array.groups);
        let entries: u64 = self.groups.iter().map(|g| g.busy + g.filler).sum();
        let entry_bytes = array.entry_bits() as f64 / 8.0;
        let filled = scratchpad + array.groups as f64 * buffer;
        EnergyParts {
            multiply_pj: self.activity.done as f64 * energies.mac_pj(),
            inputs_pj: self.activity.done as f64 * buffer + self.patch_bytes as f64 * filled,
            weights_pj: entries as f64 * entry_bytes * of_group,
            outputs_pj: self.sums.len() as f64 * scratchpad,
            dram_pj: 0.0,
        }
    }

    fn wait(&mut self, cycles: u64, cause: impl Fn(&mut GroupCycles) -> &mut u64) {
        self.cycles += cycles;
        self.groups.iter_mut().for_each(|g| *cause(g) += cycles);
    }

    /// A part of a tile, while the next patch arrives; gives its cycles.
    fn step(
        &mut self,
        array: &SparseArray,
        work: &Work,
        tile: &Tile,
        under: &Under,
        next_patch: u64,
    ) -> u64 {
        let mut works = vec![GroupCycles::default(); self.groups.len()];
        for (group, visits) in &work.groups {
            for visit in visits {
                let own = self.visit(array, visit, tile, under);
                works[*group] = works[*group].plus(&own);
            }
        }
        let longest = works.iter().map(GroupCycles::total).max().unwrap_or(0);
        let length = longest.max(next_patch);
        for (group, mut own) in self.groups.iter_mut().zip(works) {
            own.imbalance = longest - own.total();
            own.patch = length - longest;
            *group = group.plus(&own);
        }
        self.cycles += length;
        length
    }

    /// What a group does for an output channel.
    fn visit(
        &mut self,
        array: &SparseArray,
        visit: &Visit,
        tile: &Tile,
        under: &Under,
    ) -> GroupCycles {
        let pixels = tile.pixels() as u64;
        let mut busy = 0;
        for entry in &visit.entries {
            let live = under.live(entry.place);
            self.activity.done += live;
            self.activity.input_zero += pixels - live;
            if live == 0 && array.skips == Skips::WeightsAndVectors {
                self.activity.skipped += pixels;
                continue;
            }
            self.activity.no_pixel += array.lanes as u64 - pixels;
            busy += 1;
        }
        GroupCycles {
            busy,
            filler: visit.fillers,
            pointer: u64::from(visit.entries.is_empty()),
            ..GroupCycles::default()
        }
    }
}
