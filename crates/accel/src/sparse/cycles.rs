//! The array, cycle by cycle and sum by sum.

use super::layout::{Schedule, Visit, Work, patch};
use super::patch::{Tile, Under};
use super::{Skips, SparseArray, Tiling};
use crate::energy::Moved;
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
    /// What each group waits at a beginning and an end, for a first patch and last codes: once more for each band where
    /// layers are worked on together.
    pub edges: GroupCycles,
    /// What the cells did.
    pub activity: Activity,
    /// Bytes of the blocks of its weights.
    pub block_bytes: Vec<usize>,
    /// Bytes from the scratchpad into patches.
    pub patch_bytes: u64,
    /// What the groups did first, as far as it was to be recorded.
    pub spans: Vec<Span>,
    /// Spans that are recorded.
    most_spans: usize,
}

/// A stretch of time from whose beginning to whose end no group gets ahead of the others: a part of a tile, or a wait of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The block of output channels.
    pub block: usize,
    /// The cycle in which it begins.
    pub start: u64,
    /// What each group does in it.
    pub groups: Vec<GroupCycles>,
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
    /// Its lanes waited for each other at a bank of the patch buffer.
    pub banks: u64,
}

/// What the cells did, in multiply-accumulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Activity {
    /// Of the dense layer.
    pub dense: u64,
    /// Not done because the weight is zero.
    pub weight_zero: u64,
    /// Not done because the input is zero.
    pub input_zero: u64,
    /// Of both, those that took no cycle either.
    pub skipped: u64,
    /// Done.
    pub done: u64,
    /// Cells beyond the edge of the output while others multiply.
    pub no_pixel: u64,
}

impl Activity {
    /// That of an array that leaves nothing out.
    pub(crate) fn all_done(dense: u64) -> Self {
        Self {
            dense,
            done: dense,
            ..Self::default()
        }
    }

    /// That of an array that leaves two of every four weights out.
    pub(crate) fn half_left_out(dense: u64) -> Self {
        let left_out = dense / 2;
        Self {
            dense,
            weight_zero: left_out,
            skipped: left_out,
            done: dense - left_out,
            ..Self::default()
        }
    }

    /// These and those of another layer.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            dense: self.dense + other.dense,
            weight_zero: self.weight_zero + other.weight_zero,
            input_zero: self.input_zero + other.input_zero,
            skipped: self.skipped + other.skipped,
            done: self.done + other.done,
            no_pixel: self.no_pixel + other.no_pixel,
        }
    }

    /// Those that a cell had a cycle for.
    pub fn in_cells(&self) -> u64 {
        self.done + self.weight_zero + self.input_zero - self.skipped
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
            banks,
        } = self;
        busy + filler + pointer + imbalance + patch + drain + banks
    }

    /// So many times these.
    pub(crate) fn times(&self, n: u64) -> Self {
        Self {
            busy: n * self.busy,
            filler: n * self.filler,
            pointer: n * self.pointer,
            imbalance: n * self.imbalance,
            patch: n * self.patch,
            drain: n * self.drain,
            banks: n * self.banks,
        }
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
            banks: self.banks + other.banks,
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
        self.run_recording(layer, image, memory, 0)
    }

    /// [Runs](Self::run) a layer and records its first spans, so many at the most.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_recording(
        &self,
        layer: &IntegerLayer<'_>,
        image: &Image,
        memory: &Memory,
        most_spans: usize,
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
            edges: GroupCycles::default(),
            activity: Activity::default(),
            block_bytes: blocks.iter().map(|b| b.weight_bytes).collect(),
            patch_bytes: 0,
            spans: Vec::new(),
            most_spans,
        };
        let operand_bytes = self.operand_bytes();
        let load = |tile: &Tile, work: &Work| {
            (work.part.inputs() * patch(image, tile.extent)) as u64 * operand_bytes
        };
        let cycles_of = |bytes: u64| (bytes as f64 / memory.activation_bytes_a_cycle).ceil() as u64;
        // A patch arrives while the one before is worked off, whatever tile or block it is of.
        let mut loads = blocks.iter().flat_map(|block| {
            let of_tile = move |tile| block.works.iter().map(move |work| load(tile, work));
            tiles.iter().flat_map(of_tile)
        });
        let first = loads.next().unwrap_or(0);
        run.patch_bytes += first;
        run.wait(0, cycles_of(first), |g| &mut g.patch);
        run.edges.patch = cycles_of(first);
        // Cycles that the codes of the tile before still take.
        let (mut draining, mut longest_draining) = (0u64, 0);
        let mut under = Under::new(layer, image, self);
        for (index, block) in blocks.iter().enumerate() {
            for tile in &tiles {
                under.fill(image, tile);
                let biases = &layer.numbers.bias[block.outputs.clone()];
                let mut sums: Vec<i32> = biases.iter().flat_map(|&b| vec![b; self.lanes]).collect();
                for work in &block.works {
                    let next = loads.next().unwrap_or(0);
                    run.patch_bytes += next;
                    let works = run.works(self, work, tile, &under);
                    let length = run.step(index, works, cycles_of(next));
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
                run.wait(index, draining, |g| &mut g.drain);
                let of_output = tile.pixels().div_ceil(self.requantized_a_cycle);
                draining = (block.outputs_a_group * of_output) as u64;
                longest_draining = draining.max(longest_draining);
                for (slot, o) in block.outputs.clone().enumerate() {
                    for lane in 0..tile.pixels() {
                        run.sums[tile.pixel(image, lane) * outputs + o] =
                            sums[slot * self.lanes + lane];
                    }
                }
            }
        }
        let last = blocks.len().saturating_sub(1);
        run.wait(last, draining + STAGES, |g| &mut g.drain);
        run.edges.drain = longest_draining + STAGES;
        let activity = &mut run.activity;
        activity.dense = (image.batch * image.pixels() * outputs * layer.weights.cols()) as u64;
        // So far these are weights that are zero and have a cell all the same.
        let in_cells = activity.weight_zero;
        activity.weight_zero = activity.dense - activity.done - activity.input_zero;
        activity.skipped += activity.weight_zero - in_cells;
        Ok(run)
    }
}

impl Run {
    /// What it moves within the chip. A lane that is gated fetches a byte of its patch only where its input is not
    /// zero; a patch goes from the scratchpad into the buffers of all groups.
    pub fn moved(&self, array: &SparseArray) -> Moved {
        let entries: u64 = self.groups.iter().map(|g| g.busy + g.filler).sum();
        let operand_bytes = array.operand_bytes();
        Moved {
            activations_read_bytes: self.patch_bytes,
            activations_written_bytes: self.sums.len() as u64 * operand_bytes,
            weights_read_bytes: entries * array.entry_bits() as u64 / 8,
            buffers_read_bytes: array.multiplies(&self.activity) * operand_bytes,
            buffers_written_bytes: self.patch_bytes * array.groups as u64,
            ..Moved::default()
        }
    }

    /// All groups wait.
    fn wait(&mut self, block: usize, cycles: u64, cause: impl Fn(&mut GroupCycles) -> &mut u64) {
        if cycles > 0 {
            let mut waited = GroupCycles::default();
            *cause(&mut waited) = cycles;
            self.pass(block, cycles, vec![waited; self.groups.len()]);
        }
    }

    /// A part of a tile, while the next patch arrives; gives its cycles.
    fn step(&mut self, block: usize, mut works: Vec<GroupCycles>, next_patch: u64) -> u64 {
        let longest = works.iter().map(GroupCycles::total).max().unwrap_or(0);
        let length = longest.max(next_patch);
        for own in &mut works {
            own.imbalance = longest - own.total();
            own.patch = length - longest;
        }
        self.pass(block, length, works);
        length
    }

    /// Time passes, for each group in its own way.
    fn pass(&mut self, block: usize, cycles: u64, works: Vec<GroupCycles>) {
        for (group, own) in self.groups.iter_mut().zip(&works) {
            *group = group.plus(own);
        }
        if self.spans.len() < self.most_spans {
            self.spans.push(Span {
                block,
                start: self.cycles,
                groups: works,
            });
        }
        self.cycles += cycles;
    }

    /// What each group does for a part of a tile, but for waiting.
    fn works(
        &mut self,
        array: &SparseArray,
        work: &Work,
        tile: &Tile,
        under: &Under,
    ) -> Vec<GroupCycles> {
        let mut works = vec![GroupCycles::default(); self.groups.len()];
        for (group, visits) in &work.groups {
            for visit in visits {
                let own = self.visit(array, visit, tile, under);
                works[*group] = works[*group].plus(&own);
            }
        }
        works
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
            match entry.weight {
                0 => self.activity.weight_zero += pixels,
                _ => {
                    self.activity.done += live;
                    self.activity.input_zero += pixels - live;
                }
            }
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
            banks: busy * (under.meetings() - 1),
            ..GroupCycles::default()
        }
    }
}
