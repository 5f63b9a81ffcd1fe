//! A whole network on a machine: layers one behind the other, weights fetched ahead.

use crate::eie::Columns;
use crate::energy::EnergyParts;
use crate::sparse::{self, Activity, GroupCycles, Tiling};
use crate::systolic::Product;
use crate::{AccelError, Array, Image, Machine, Memory};
use secateur_model::{DType, Data, Node, Tensor, quant};
use secateur_plan::IntegerLayer;
use secateur_plan::draft::Draft;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// What a network costs on a machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkCost {
    /// The machine's name.
    pub machine: String,
    /// Steps in order.
    pub layers: Vec<LayerCost>,
    /// Cycles from the first byte to the last.
    pub cycles: u64,
    /// The same in microseconds.
    pub microseconds: f64,
    /// Multiply-accumulates of the dense network that the machine ran.
    pub macs: u64,
    /// Operations of the dense network a second, in 10¹²: two a multiply-accumulate.
    pub effective_tops: f64,
    /// Operations a second if every cell worked in every cycle.
    pub peak_tops: f64,
    /// Bytes from and to memory beyond the chip.
    pub dram_bytes: u64,
    /// Where the energy goes, of what the model knows the energy of.
    pub energy: EnergyParts,
    /// Operations of the dense network for a watt: a joule's worth, in 10¹².
    pub effective_tops_a_watt: f64,
}

/// Who runs a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The array.
    Array,
    /// The unit for operators without weights.
    Vector,
    /// A processor beside the machine: floats, and operators that it lacks. Its time is not counted.
    Host,
}

/// What a step costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerCost {
    /// The node of the lowered network.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Who runs it.
    pub kind: Kind,
    /// Cycles with its operands there.
    pub cycles: u64,
    /// Cycles before them in which the machine waited for bytes from beyond the chip.
    pub dram_wait_cycles: u64,
    /// Bytes from and to memory beyond the chip.
    pub dram_bytes: u64,
    /// Multiply-accumulates.
    pub activity: Activity,
    /// Where its energy goes.
    pub energy: EnergyParts,
    /// How it was cut.
    pub tiling: Option<Tiling>,
    /// Where cycles went, the groups' together, on a sparse array.
    pub groups: Option<GroupCycles>,
    /// Cells that had two operands, were it for the weights alone, over all cells in its cycles.
    pub cells_busy: f64,
    /// Whether its sums gave what the reference gives, to the bit.
    pub exact: Option<bool>,
}

/// Runs a network on an input, layer by layer.
///
/// # Errors
/// An input that the network does not take; a layer that the machine's memories cannot hold.
pub fn simulate(
    machine: &Machine,
    draft: &Draft,
    inputs: &[(&str, &Tensor)],
) -> Result<NetworkCost, AccelError> {
    let values = draft.evaluate_all(inputs)?;
    let energies = machine.process.energies();
    let mut timeline = Timeline::default();
    let mut layers = Vec::new();
    for node in &draft.graph.nodes {
        let step = Step {
            machine,
            draft,
            node,
            values: &values,
        };
        let Some((mut layer, loads)) = step.cost()? else {
            continue;
        };
        layer.dram_wait_cycles = timeline.run(machine, &loads, layer.cycles);
        layer.dram_bytes = loads.iter().sum();
        layer.energy.dram_pj = layer.dram_bytes as f64 * energies.dram_byte_pj();
        let multiplied = layer.activity.dense - layer.activity.weight_zero;
        let cells = machine.cells() as u64 * layer.cycles;
        layer.cells_busy = multiplied as f64 / cells.max(1) as f64;
        layers.push(layer);
    }
    // The answers leave the chip.
    let cycles = timeline.end.ceil() as u64;
    let microseconds = cycles as f64 / machine.clock_mhz;
    let macs = layers.iter().map(|l| l.activity.dense).sum();
    let energy = layers
        .iter()
        .fold(EnergyParts::default(), |sum, layer| sum.plus(&layer.energy));
    Ok(NetworkCost {
        machine: machine.name.clone(),
        cycles,
        microseconds,
        macs,
        effective_tops: 2.0 * macs as f64 / microseconds.max(1e-9) / 1e6,
        peak_tops: machine.peak_tops(),
        dram_bytes: layers.iter().map(|l| l.dram_bytes).sum(),
        effective_tops_a_watt: 2.0 * macs as f64 / energy.total_pj().max(1e-9),
        energy,
        layers,
    })
}

/// When memory and array are busy. Weights arrive a block ahead: while one block is worked on, the next is
/// fetched into the other half of the scratchpad.
#[derive(Debug, Default)]
struct Timeline {
    /// When the array is free.
    end: f64,
    /// When it was free before its last block.
    before: f64,
    /// When memory is free.
    fetched: f64,
}

impl Timeline {
    /// Blocks of a step one behind the other, each with its bytes and an equal share of the cycles; gives the cycles
    /// in which the array waited.
    fn run(&mut self, machine: &Machine, loads: &[u64], cycles: u64) -> u64 {
        let rate = machine
            .memory
            .as_ref()
            .map_or(f64::INFINITY, |m| m.dram_bytes_a_cycle);
        let blocks = loads.len().max(1);
        let mut waited = 0.0;
        for block in 0..blocks {
            let bytes = loads.get(block).copied().unwrap_or(0);
            let mut start = self.end;
            if bytes > 0 {
                self.fetched = self.fetched.max(self.before) + bytes as f64 / rate;
                start = start.max(self.fetched);
            }
            waited += start - self.end;
            self.before = self.end;
            self.end = start + cycles as f64 / blocks as f64;
        }
        waited.round() as u64
    }
}

/// A node to be costed.
struct Step<'a> {
    machine: &'a Machine,
    draft: &'a Draft,
    node: &'a Node,
    values: &'a HashMap<String, Tensor>,
}

impl Step<'_> {
    /// What it costs, and the bytes of its blocks; `None` for what only changes a shape.
    fn cost(&self) -> Result<Option<(LayerCost, Vec<u64>)>, AccelError> {
        let mut cost = LayerCost {
            name: self.node.name.clone(),
            operator: self.node.op.name().to_owned(),
            kind: Kind::Host,
            cycles: 0,
            dram_wait_cycles: 0,
            dram_bytes: 0,
            activity: Activity::default(),
            energy: EnergyParts::default(),
            tiling: None,
            groups: None,
            cells_busy: 0.0,
            exact: None,
        };
        let tensor = |name: Option<&str>| name.and_then(|name| self.values.get(name));
        let (Some(input), Some(output)) = (tensor(self.node.input(0)), tensor(self.node.output(0)))
        else {
            return Ok(Some((cost, Vec::new())));
        };
        if let Some(layer) = IntegerLayer::of(self.draft, self.node)?
            && let Some(image) = Image::of(&layer, input, output.shape().dims())
        {
            let loads = self.multiply(&layer, &image, output, &mut cost)?;
            return Ok(Some((cost, loads)));
        }
        let codes = |t: &Tensor| matches!(t.data().dtype(), DType::U8 | DType::I8);
        if let (true, Some(memory)) = (codes(input) && codes(output), &self.machine.memory) {
            cost.kind = Kind::Vector;
            let reads: usize = self
                .node
                .reads()
                .filter_map(|name| self.values.get(name))
                .map(elements)
                .sum();
            let moved = reads.max(elements(output));
            cost.cycles = match input.data() == output.data() {
                true => return Ok(None),
                false => (moved as f64 / memory.vector_elements_a_cycle).ceil() as u64,
            };
        }
        Ok(Some((cost, Vec::new())))
    }

    /// A layer that multiplies; gives the bytes of its blocks.
    fn multiply(
        &self,
        layer: &IntegerLayer<'_>,
        image: &Image,
        output: &Tensor,
        cost: &mut LayerCost,
    ) -> Result<Vec<u64>, AccelError> {
        let depth = layer.weights.cols();
        let outputs = layer.weights.rows();
        let dense = (image.batch * image.pixels() * depth * outputs) as u64;
        let mut loads = match (&self.machine.array, &self.machine.memory) {
            (Array::Sparse(array), Some(memory)) => {
                let run = array.run(layer, image, memory)?;
                (cost.cycles, cost.activity, cost.tiling) =
                    (run.cycles, run.activity, Some(run.tiling));
                cost.groups = Some(sum(&run.groups));
                cost.energy = run.energy(array, memory, &self.machine.process.energies());
                run.block_bytes.iter().map(|&b| b as u64).collect()
            }
            (Array::Systolic(array), Some(memory)) => {
                let product = Product {
                    pixels: image.batch * image.pixels(),
                    depth,
                    outputs: outputs / layer.groups.max(1),
                };
                let cycles = array.cycles(&product);
                cost.cycles = cycles.total() * layer.groups as u64;
                cost.energy = array.energy(&product, memory, &self.machine.process.energies());
                cost.energy = cost.energy.times(layer.groups as f64);
                cost.activity = Activity {
                    dense,
                    done: dense,
                    ..Activity::default()
                };
                vec![(depth * outputs + 8 * outputs) as u64]
            }
            (Array::Eie(array), _) if image.batch * image.pixels() == 1 => {
                let Some((columns, codebook)) = shared(array, layer)? else {
                    return Ok(Vec::new());
                };
                let x: Vec<f32> = image.values.iter().map(|&x| f32::from(x)).collect();
                let run = array.run(&columns, &codebook, &x)?;
                cost.cycles = run.cycles;
                cost.activity = Activity {
                    dense,
                    done: run.multiplies,
                    weight_zero: dense - layer.weights.len() as u64,
                    input_zero: layer.weights.len() as u64 - run.multiplies,
                    no_pixel: 0,
                };
                Vec::new()
            }
            _ => return Ok(Vec::new()),
        };
        cost.kind = Kind::Array;
        cost.exact = Some(matches(layer, image, output));
        if let Some(memory) = &self.machine.memory {
            self.spill(memory, image.values.len(), elements(output), &mut loads);
        }
        Ok(loads)
    }

    /// Adds the bytes of activations that come from beyond the chip or go there: the network's own, and those that the
    /// scratchpad does not hold.
    fn spill(&self, memory: &Memory, input: usize, output: usize, loads: &mut [u64]) {
        let all = input + output > memory.activation_bytes;
        let graph = &self.draft.graph;
        let first = self.node.input(0).is_some_and(|x| {
            let made = self.draft.producer(x);
            made.is_none_or(|node| {
                node.reads().all(|i| {
                    graph.inputs.iter().any(|g| g.name == i) || graph.constants.contains_key(i)
                })
            })
        });
        let bytes = if all || first { input } else { 0 } + if all { output } else { 0 };
        let blocks = loads.len().max(1) as u64;
        loads
            .iter_mut()
            .for_each(|load| *load += bytes as u64 / blocks);
    }
}

/// Whether the sums of the cells, as codes or reals, are what the reference gave.
fn matches(layer: &IntegerLayer<'_>, image: &Image, output: &Tensor) -> bool {
    let outputs = layer.weights.rows();
    let pixels = image.pixels();
    let numbers = &layer.numbers;
    let sums = sparse::sums(layer, image);
    let at = |n: usize, pixel: usize, o: usize| match layer.is_conv() {
        true => (n * outputs + o) * pixels + pixel,
        false => (n * pixels + pixel) * outputs + o,
    };
    let (lo, hi) = numbers.bounds;
    let zero_point = layer.y.map_or(0, |y| y.zero_point);
    (0..image.batch * pixels * outputs).all(|i| {
        let (row, o) = (i / outputs, i % outputs);
        let at = at(row / pixels.max(1), row % pixels.max(1), o);
        let code = || quant::requantize(sums[i], numbers.factor[o], zero_point, lo, hi);
        match output.data() {
            Data::U8(codes) => i32::from(codes[at]) == code(),
            Data::I8(codes) => i32::from(codes[at]) == code(),
            Data::F32(reals) => reals[at] == layer.clamp.apply(sums[i] as f32 * numbers.factor[o]),
            _ => false,
        }
    })
}

/// A layer's weights as codes of few values; `None` where it has too many for the engine.
fn shared(
    array: &crate::eie::Eie,
    layer: &IntegerLayer<'_>,
) -> Result<Option<(Columns, Vec<f32>)>, AccelError> {
    let rows = layer.weights.rows();
    let values: BTreeSet<i8> = (0..rows)
        .flat_map(|o| layer.weights.row(o).1.iter().copied())
        .collect();
    if values.len() >= 1 << array.code_bits.min(16) {
        return Ok(None);
    }
    let values: Vec<i8> = values.into_iter().collect();
    let code = |row: usize, column: usize| {
        let (columns, weights) = layer.weights.row(row);
        let found = columns.binary_search(&(column as u32)).ok();
        found.map_or(0, |at| {
            values.partition_point(|&v| v < weights[at]) as u16 + 1
        })
    };
    let columns = Columns::new(array, rows, layer.weights.cols(), code)?;
    let codebook = std::iter::once(0.0).chain(values.iter().map(|&v| f32::from(v)));
    Ok(Some((columns, codebook.collect())))
}

fn elements(tensor: &Tensor) -> usize {
    tensor.shape().elements()
}

fn sum(groups: &[GroupCycles]) -> GroupCycles {
    groups
        .iter()
        .fold(GroupCycles::default(), |a, b| GroupCycles {
            busy: a.busy + b.busy,
            filler: a.filler + b.filler,
            pointer: a.pointer + b.pointer,
            imbalance: a.imbalance + b.imbalance,
            patch: a.patch + b.patch,
            drain: a.drain + b.drain,
        })
}
