//! Runs the sparse array (`rtl/sparse_array.sv`) on a layer, by the simulator's schedule.

use crate::Host;
use secateur_accel::sparse::{Block, GroupCycles, Schedule, SparseArray, Tile, Work, patch_extent};
use secateur_accel::{AccelError, Image, Memory};
use secateur_model::DType;
use secateur_plan::IntegerLayer;
use std::collections::HashMap;

/// What it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparseRun {
    /// `[n · pixels, outputs]`.
    pub sums: Vec<i32>,
    /// The same as codes, as the requantizers gave them.
    pub codes: Vec<u8>,
    /// Cycles, counted by the array.
    pub cycles: u64,
    /// Where those of each group went, counted by the group.
    pub groups: Vec<GroupCycles>,
    /// Bytes that lanes fetched from patches: an input that is not zero for a weight each.
    pub fetched: u64,
}

/// What lies at an address of `sparse_array.sv` and `sparse_bench.sv`.
#[derive(Clone, Copy)]
enum Kind {
    Control = 0,
    Entries = 1,
    Records = 2,
    RecordBlocks = 3,
    Biases = 4,
    Factors = 5,
    Program = 6,
    ProgramBlocks = 7,
    Reciprocals = 8,
    Pixels = 9,
    Offsets = 10,
    Skips = 11,
    Beats = 12,
    Counters = 13,
    Sums = 14,
    Codes = 15,
}

fn address(kind: Kind, group: usize, at: usize) -> u32 {
    ((kind as u32) << 28) | ((group as u32) << 20) | at as u32
}

/// What a design holds, as `sparse_bench.sv` has it.
const HOLDS: [(&str, usize); 8] = [
    ("entries of a group", 16384),
    ("records of a group", 4096),
    ("output channels of a group", 256),
    ("blocks of outputs", 63),
    ("geometries", 32),
    ("taps", 128),
    ("patches", 16384),
    ("beats of patches", 131_072),
];

/// Bits of a number from 0 to below `extent`.
fn bits(extent: usize) -> u32 {
    extent.next_power_of_two().ilog2()
}

/// Where the bytes of a patch lie: its tile's extent, and its part's groups and channels of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Geometry {
    tile: [usize; 2],
    conv_groups: usize,
    channels: usize,
}

impl Geometry {
    fn new(tile: &Tile, work: &Work) -> Self {
        Self {
            tile: tile.extent,
            conv_groups: work.part.conv_groups.len(),
            channels: work.part.channels.len(),
        }
    }

    fn inputs(&self) -> usize {
        self.conv_groups * self.channels
    }
}

/// A layer on its way into a design.
struct Loader<'a> {
    host: &'a mut Host,
    array: &'a SparseArray,
    layer: &'a IntegerLayer<'a>,
    image: &'a Image,
    schedule: Schedule,
    beat_bytes: usize,
}

/// Where the sums of an output channel lie: its group, and which of the group's.
type Places = HashMap<usize, (usize, usize)>;

/// Runs a layer on a design with this array's extents, whose beats are as long as the memory's; `None` if it does not end
/// within `most` cycles.
///
/// # Errors
/// Those of [`SparseArray::run`]; a layer larger than the design's memories.
pub fn run(
    host: &mut Host,
    array: &SparseArray,
    layer: &IntegerLayer<'_>,
    image: &Image,
    memory: &Memory,
    most: u64,
) -> Result<Option<SparseRun>, AccelError> {
    let schedule = array.schedule(layer, image, memory)?;
    let mut loader = Loader {
        host,
        array,
        layer,
        image,
        schedule,
        beat_bytes: memory.activation_bytes_a_cycle as usize,
    };
    let places = loader.weights()?;
    loader.program()?;
    loader.numbers();
    let host = loader.host;
    // Groups read ahead before they start.
    host.write(address(Kind::Control, 0, 1), 1);
    host.clock(1);
    for _ in 0..8 {
        host.clock(1);
    }
    host.write(address(Kind::Control, 0, 0), 1);
    host.clock(most);
    if host.running() {
        return Ok(None);
    }
    let mut run = SparseRun {
        sums: Vec::new(),
        codes: Vec::new(),
        cycles: host.read(address(Kind::Control, 0, 0)),
        groups: Vec::with_capacity(array.groups),
        fetched: 0,
    };
    for group in 0..array.groups {
        let mut counter = |at| host.read(address(Kind::Counters, group, at));
        run.groups.push(GroupCycles {
            busy: counter(0),
            filler: counter(1),
            pointer: counter(2),
            imbalance: counter(3),
            patch: counter(4),
            drain: counter(5),
            // Lanes never meet in its patch buffers.
            banks: 0,
        });
        run.fetched += counter(6);
    }
    read_sums(
        host,
        array,
        layer,
        image,
        &loader.schedule,
        &places,
        &mut run,
    );
    Ok(Some(run))
}

impl Loader<'_> {
    fn fits(&self, found: [usize; 8]) -> Result<(), AccelError> {
        for ((what, most), found) in HOLDS.into_iter().zip(found) {
            if found > most {
                return Err(AccelError::Operands {
                    what,
                    needed: format!("{most} at most"),
                    found: found.to_string(),
                });
            }
        }
        Ok(())
    }

    fn at_bits(&self) -> u32 {
        bits(self.array.patch_bytes)
    }

    /// Entries, records, biases and factors of all groups.
    fn weights(&mut self) -> Result<Places, AccelError> {
        let mut places = Places::new();
        let blocks = std::mem::take(&mut self.schedule.blocks);
        for group in 0..self.array.groups {
            let (mut entries, mut records, mut outputs) = (0, 0, 0);
            for (index, block) in blocks.iter().enumerate() {
                let (first_entry, first_record) = (entries, records);
                let mut slots: Vec<usize> = Vec::new();
                for work in &block.works {
                    for record in self.records(block, work, group, &mut slots) {
                        self.host
                            .write(address(Kind::Records, group, records), record);
                        records += 1;
                    }
                    for entry in self.entries(work, group) {
                        self.host
                            .write(address(Kind::Entries, group, entries), entry);
                        entries += 1;
                    }
                }
                self.fits([
                    entries,
                    records,
                    outputs + slots.len(),
                    index + 1,
                    0,
                    0,
                    0,
                    0,
                ])?;
                let tiles = self.schedule.tiles.len() as u64;
                let words = (records - first_record) as u64;
                let block_word = first_record as u64
                    | (words << 16)
                    | (tiles << 32)
                    | ((first_entry as u64) << 48);
                self.host
                    .write(address(Kind::RecordBlocks, group, index), block_word);
                for slot in 0..block.outputs_a_group {
                    let (bias, factor) = match slots.get(slot) {
                        Some(&o) => {
                            let numbers = &self.layer.numbers;
                            let factor = u64::from(numbers.factor[o].to_bits());
                            (numbers.bias[o], factor | (1 << 32))
                        }
                        None => (0, 0),
                    };
                    self.host
                        .write(address(Kind::Biases, group, outputs + slot), bias as u64);
                    self.host
                        .write(address(Kind::Factors, group, outputs + slot), factor);
                }
                places.extend(
                    slots
                        .iter()
                        .enumerate()
                        .map(|(slot, &o)| (o, (group, slot))),
                );
                outputs += block.outputs_a_group;
            }
            self.host
                .write(address(Kind::RecordBlocks, group, blocks.len()), 0);
        }
        self.schedule.blocks = blocks;
        Ok(places)
    }

    /// A group's records for a part; one that says so where it has nothing to do. `slots` are the outputs so far.
    fn records(
        &self,
        block: &Block,
        work: &Work,
        group: usize,
        slots: &mut Vec<usize>,
    ) -> Vec<u64> {
        let at_bits = self.at_bits();
        let slot_bits = bits(self.array.sums_a_lane);
        let flags = 2 * at_bits + 1 + slot_bits;
        let Some((_, visits)) = work.groups.iter().find(|(g, _)| *g == group) else {
            return vec![(1 << (flags + 1)) | (1 << (flags + 2))];
        };
        let outputs = self.layer.weights.rows() / self.layer.groups.max(1);
        let of_visit = |(index, visit): (usize, &secateur_accel::sparse::Visit)| {
            let known = slots.iter().position(|&o| o == visit.output);
            let slot = known.unwrap_or_else(|| {
                slots.push(visit.output);
                slots.len() - 1
            });
            let conv_group = visit.output / outputs.max(1) - work.part.conv_groups.start;
            let entries = visit.entries.len() as u64 + visit.fillers;
            let base = (conv_group * work.part.channels.len()) as u64;
            let last = index + 1 == visits.len();
            entries
                | (base << (at_bits + 1))
                | ((slot as u64) << (2 * at_bits + 1))
                | (u64::from(known.is_none()) << flags)
                | (u64::from(last) << (flags + 1))
        };
        debug_assert!(block.outputs_a_group <= self.array.sums_a_lane);
        visits.iter().enumerate().map(of_visit).collect()
    }

    /// A group's entries for a part, gaps that are too long carried on.
    fn entries(&self, work: &Work, group: usize) -> Vec<u64> {
        let longest = (1u64 << self.array.gap_bits) - 1;
        let visits = work.groups.iter().filter(|(g, _)| *g == group);
        let mut coded = Vec::new();
        for entry in visits
            .flat_map(|(_, visits)| visits)
            .flat_map(|visit| &visit.entries)
        {
            let gap = u64::from(entry.gap);
            let fillers = gap / (longest + 1);
            coded.extend((0..fillers).map(|_| longest << 8));
            coded.push(((gap % (longest + 1)) << 8) | u64::from(entry.weight as u8));
        }
        coded
    }

    /// Steps, their geometries and patches.
    fn program(&mut self) -> Result<(), AccelError> {
        let schedule = self.schedule.clone();
        let mut geometries: Vec<Geometry> = Vec::new();
        let (mut steps, mut beats, mut outputs) = (0, 0, 0);
        let last = |index: usize, of: usize| u64::from(index + 1 == of);
        let [lane_bits, slot_bits] = [self.array.lanes, self.array.sums_a_lane].map(bits);
        for (b, block) in schedule.blocks.iter().enumerate() {
            for (t, tile) in schedule.tiles.iter().enumerate() {
                for (w, work) in block.works.iter().enumerate() {
                    let geometry = Geometry::new(tile, work);
                    let known = geometries.iter().position(|&g| g == geometry);
                    let index = known.unwrap_or(geometries.len());
                    let patch = self.patch(tile, work);
                    let count = patch.len().div_ceil(self.beat_bytes);
                    let taps = self.image.window.kernel.iter().product();
                    self.fits([0, 0, 0, 0, index + 1, taps, steps + 1, beats + count])?;
                    if known.is_none() {
                        geometries.push(geometry);
                        self.geometry(index, &geometry);
                    }
                    for beat in patch.chunks(self.beat_bytes) {
                        for (i, bytes) in beat.chunks(8).enumerate() {
                            let mut word = [0; 8];
                            word[..bytes.len()].copy_from_slice(bytes);
                            self.host
                                .write(address(Kind::Beats, i, beats), u64::from_le_bytes(word));
                        }
                        beats += 1;
                    }
                    let of_tile = last(w, block.works.len());
                    let of_layer =
                        of_tile * last(t, schedule.tiles.len()) * last(b, schedule.blocks.len());
                    let chunks = tile.pixels().div_ceil(self.array.requantized_a_cycle);
                    let fields = [
                        (count as u64, 16),
                        (index as u64, 5),
                        (outputs as u64, 8),
                        (block.outputs_a_group as u64 - 1, slot_bits),
                        (
                            ((chunks - 1) * self.array.requantized_a_cycle) as u64,
                            lane_bits,
                        ),
                        (of_tile, 1),
                        (of_layer, 1),
                    ];
                    let word = fields
                        .iter()
                        .rev()
                        .fold(0, |word, &(value, bits)| (word << bits) | value);
                    self.host.write(address(Kind::Program, 0, steps), word);
                    steps += 1;
                }
            }
            outputs += block.outputs_a_group;
        }
        self.host.write(
            address(Kind::ProgramBlocks, 0, 0),
            ((steps as u64) << 16) | (1 << 32),
        );
        self.host.write(address(Kind::ProgramBlocks, 0, 1), 0);
        Ok(())
    }

    /// The codes under a tile: `[y, x, group of the convolution, channel]`.
    fn patch(&self, tile: &Tile, work: &Work) -> Vec<u8> {
        let window = &self.image.window;
        let [height, width] = patch_extent(self.image, tile.extent);
        let of_group = window.channels / self.layer.groups.max(1);
        let mut patch = Vec::with_capacity(height * width * work.part.inputs());
        for y in 0..height {
            for x in 0..width {
                let place = |axis: usize, at: usize| {
                    let at = tile.at[axis] * window.stride[axis] + at;
                    let at = at.checked_sub(window.pads[axis])?;
                    (at < window.input[axis]).then_some(at)
                };
                let pixel = place(0, y).zip(place(1, x)).map(|(y, x)| {
                    let pixel = (tile.image * window.input[0] + y) * window.input[1] + x;
                    &self.image.values[pixel * window.channels..][..window.channels]
                });
                for group in work.part.conv_groups.clone() {
                    for channel in work.part.channels.clone() {
                        let value = pixel.map_or(0, |values| values[group * of_group + channel]);
                        patch.push((i32::from(value) + self.layer.x.zero_point) as u8);
                    }
                }
            }
        }
        patch
    }

    fn geometry(&mut self, index: usize, geometry: &Geometry) {
        let window = &self.image.window;
        let [height, width] = geometry.tile;
        let [_, patch_width] = patch_extent(self.image, geometry.tile);
        let inputs = geometry.inputs();
        let reciprocal = (1u64 << (2 * self.at_bits())).div_ceil(geometry.channels.max(1) as u64);
        self.host
            .write(address(Kind::Reciprocals, 0, index), reciprocal);
        self.host
            .write(address(Kind::Pixels, 0, index), (height * width) as u64);
        for lane in 0..self.array.lanes {
            let offset = match lane < height * width {
                true => {
                    let (y, x) = (
                        lane / width * window.stride[0],
                        lane % width * window.stride[1],
                    );
                    (y * patch_width + x) * inputs
                }
                false => 0,
            };
            self.host
                .write(address(Kind::Offsets, lane, index), offset as u64);
        }
        let [kernel_height, kernel_width] = window.kernel;
        for tap in 0..kernel_height * kernel_width {
            let (y, x) = (
                tap / kernel_width * window.dilation[0],
                tap % kernel_width * window.dilation[1],
            );
            let skip = (y * patch_width + x) * inputs - tap * geometry.channels;
            self.host
                .write(address(Kind::Skips, 0, index * 128 + tap), skip as u64);
        }
    }

    /// Zero points and bounds.
    fn numbers(&mut self) {
        let layer = self.layer;
        let signed = u64::from(layer.x.dtype == DType::I8);
        let x_zero_point = u64::from(layer.x.zero_point as u8) | (signed << 8);
        let (lo, hi) = layer.numbers.bounds;
        let y_zero_point = layer.y.map_or(0, |y| y.zero_point);
        self.host.write(address(Kind::Control, 0, 2), x_zero_point);
        for (at, value) in [(3, y_zero_point), (4, lo), (5, hi)] {
            self.host.write(address(Kind::Control, 0, at), value as u64);
        }
    }
}

/// Sums and codes, put where they belong: groups hand them on tile by tile, output by output.
fn read_sums(
    host: &mut Host,
    array: &SparseArray,
    layer: &IntegerLayer<'_>,
    image: &Image,
    schedule: &Schedule,
    places: &Places,
    run: &mut SparseRun,
) {
    let outputs = layer.weights.rows();
    let at_once = array.requantized_a_cycle;
    run.sums = vec![0; image.batch * image.pixels() * outputs];
    run.codes = vec![0; run.sums.len()];
    let mut handed_on = vec![0; array.groups];
    for block in &schedule.blocks {
        let mut of_group = vec![Vec::new(); array.groups];
        for o in block.outputs.clone() {
            if let Some(&(group, slot)) = places.get(&o) {
                of_group[group].push((slot, o));
            }
        }
        of_group
            .iter_mut()
            .for_each(|outputs| outputs.sort_unstable());
        for tile in &schedule.tiles {
            for (group, slots) in of_group.iter().enumerate() {
                for &(_, o) in slots {
                    for lane in 0..tile.pixels() {
                        let at = tile.pixel(image, lane) * outputs + o;
                        let place = handed_on[group] + lane;
                        run.sums[at] = host.read(address(Kind::Sums, group, place)) as i32;
                        run.codes[at] = host.read(address(Kind::Codes, group, place)) as u8;
                    }
                    handed_on[group] += tile.pixels().next_multiple_of(at_once);
                }
            }
        }
    }
}
