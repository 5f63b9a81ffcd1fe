//! One step of a network: who runs it, what it takes, what it moves.

use super::residency::{Need, Value};
use super::{Kind, LayerCost};
use crate::eie::{Columns, Eie};
use crate::energy::{BytePrices, EnergyParts, Moved};
use crate::machine::OUTPUT_BYTES;
use crate::mapper::Extents;
use crate::sparse::{Activity, GroupCycles};
use crate::spatial;
use crate::systolic::Product;
use crate::{AccelError, Array, Buffers, Image, Machine, Memory};
use secateur_model::{DType, Data, Node, Op, Shape, Tensor, ops, quant};
use secateur_plan::IntegerLayer;
use secateur_plan::draft::Draft;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A node that does something.
pub(super) struct Step<'a> {
    machine: &'a Machine,
    node: &'a Node,
    work: Work<'a>,
    output: &'a Tensor,
    /// Values that it reads, each once, and their bytes.
    reads: Vec<(Value, u64)>,
    /// Values that it gives, and their bytes.
    gives: Vec<(Value, u64)>,
    given_bytes: u64,
    /// Whether a host reads what it gives, or it is an answer.
    to_host: bool,
    /// [`Need::row_by_row`].
    row_by_row: bool,
    /// Spans of a layer that are recorded.
    most_spans: usize,
}

/// What is to be done.
enum Work<'a> {
    /// A layer on an array of ours or a dense one.
    Layer(IntegerLayer<'a>, Image),
    /// A product of a matrix of few values and a vector.
    Vector(IntegerLayer<'a>, Vec<i16>, Columns, Vec<f32>),
    /// An operator without weights, on codes.
    Codes,
    /// Whatever else there is: its multiply-accumulates, and the bytes of its constants.
    Host { macs: u64, constant_bytes: u64 },
}

/// The steps of a network that has been evaluated.
pub(super) fn of_network<'a>(
    machine: &'a Machine,
    draft: &'a Draft,
    values: &'a HashMap<String, Tensor>,
    most_spans: usize,
) -> Result<Vec<Step<'a>>, AccelError> {
    // Reshaped values are those that they were.
    let mut values_by_name: HashMap<&str, Value> = HashMap::new();
    let mut reshaped: HashSet<&str> = HashSet::new();
    let mut steps = Vec::new();
    for node in &draft.graph.nodes {
        let tensor = |name: Option<&str>| name.and_then(|name| values.get(name));
        let (Some(input), Some(output)) = (tensor(node.input(0)), tensor(node.output(0))) else {
            continue;
        };
        let computed = node
            .reads()
            .filter(|name| !draft.graph.constants.contains_key(*name));
        let computed: Vec<&str> = computed.collect();
        let mut reads = Vec::new();
        for &name in &computed {
            let next = values_by_name.len();
            let value = *values_by_name.entry(name).or_insert(next);
            let bytes = values.get(name).map_or(0, |t| bytes(machine, t));
            if !reads.contains(&(value, bytes)) {
                reads.push((value, bytes));
            }
        }
        if reshapes(&node.op) {
            if let (Some(name), Some((value, _))) = (node.output(0), reads.first()) {
                values_by_name.insert(name, *value);
                reshaped.insert(name);
            }
            continue;
        }
        let outputs = node.outputs.iter().map(String::as_str);
        let flows = computed.into_iter().chain(outputs);
        let flows: Vec<&str> = flows.filter(|name| !name.is_empty()).collect();
        let shown: Vec<&Tensor> = flows.iter().filter_map(|name| values.get(*name)).collect();
        let row_by_row = row_by_row(&node.op, &shown)
            && shown.len() == flows.len()
            && flows.iter().all(|name| !reshaped.contains(name));
        let mut gives = Vec::new();
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            let value = values_by_name.len();
            values_by_name.insert(name, value);
            gives.push((value, values.get(name).map_or(0, |t| bytes(machine, t))));
        }
        steps.push(Step {
            machine,
            node,
            work: Work::of(machine, draft, values, node, input, output)?,
            output,
            reads,
            given_bytes: gives.iter().map(|(_, bytes)| bytes).sum(),
            gives,
            to_host: false,
            row_by_row,
            most_spans,
        });
    }
    // What leaves: answers, and what a host reads, reshaped or not.
    let mut leaving: HashSet<&str> = draft
        .graph
        .outputs
        .iter()
        .map(|o| o.name.as_str())
        .collect();
    let hosts: HashSet<&str> = steps
        .iter()
        .filter(|step| step.kind() == Kind::Host)
        .map(|step| step.node.name.as_str())
        .collect();
    for node in draft.graph.nodes.iter().rev() {
        let leaves = node.output(0).is_some_and(|name| leaving.contains(name));
        if hosts.contains(node.name.as_str()) || reshapes(&node.op) && leaves {
            leaving.extend(node.reads());
        }
    }
    for step in &mut steps {
        let mut outputs = step.node.outputs.iter();
        step.to_host = outputs.any(|name| leaving.contains(name.as_str()));
    }
    Ok(steps)
}

/// What a value takes on the chip and beyond it.
fn bytes(machine: &Machine, tensor: &Tensor) -> u64 {
    let of_element = match tensor.data() {
        Data::U8(_) | Data::I8(_) => machine.operand_bytes(),
        _ => 4,
    };
    tensor.shape().elements() as u64 * of_element
}

/// Whether an operator goes through images row by row: windows, and operators on places of maps of equal height.
fn row_by_row(op: &Op, flows: &[&Tensor]) -> bool {
    let height = |tensor: &&Tensor| match *tensor.shape().dims() {
        [_, _, height, _] => Some(height),
        _ => None,
    };
    let heights: Option<Vec<usize>> = flows.iter().map(height).collect();
    let Some(heights) = heights else { return false };
    match op {
        Op::Conv { .. } | Op::MaxPool { .. } | Op::AveragePool { .. } => true,
        Op::Transpose { .. } | Op::Gather { .. } | Op::GatherElements { .. } | Op::MatMul => false,
        _ => heights.iter().all(|h| Some(h) == heights.first()),
    }
}

/// Whether an operator gives what it is given, under another shape.
fn reshapes(op: &Op) -> bool {
    matches!(
        op,
        Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze | Op::Unsqueeze
    )
}

impl<'a> Work<'a> {
    fn of(
        machine: &Machine,
        draft: &'a Draft,
        values: &HashMap<String, Tensor>,
        node: &'a Node,
        input: &Tensor,
        output: &Tensor,
    ) -> Result<Self, AccelError> {
        let host = || Self::of_host(draft, values, node);
        let codes = |t: &Tensor| matches!(t.data().dtype(), DType::U8 | DType::I8);
        if let Some(layer) = IntegerLayer::of(draft, node)?
            && let Some(image) = Image::of(&layer, input, output.shape().dims())
        {
            let Array::Eie(engine) = &machine.array else {
                return Ok(Self::Layer(layer, image));
            };
            return Ok(match (image.vector(&layer), shared(engine, &layer)?) {
                (Some(x), Some((columns, codebook))) => Self::Vector(layer, x, columns, codebook),
                _ => host(),
            });
        }
        let on_codes = machine.memory.is_some() && codes(input) && codes(output);
        match &node.op {
            // What multiplies without being such a layer: two computed operands, or extents that the arrays lack.
            Op::MatMul | Op::Conv { .. } | Op::Gemm { .. } | Op::ConvTranspose(_) => Ok(host()),
            _ if on_codes => Ok(Self::Codes),
            _ => Ok(host()),
        }
    }
}

impl Work<'_> {
    fn of_host(draft: &Draft, values: &HashMap<String, Tensor>, node: &Node) -> Self {
        let constants = &draft.graph.constants;
        let shape = |name: &String| match (values.get(name), constants.get(name)) {
            (Some(value), _) => Some(value.shape()),
            (None, Some(constant)) => Some(constant.shape()),
            (None, None) => None,
        };
        let shapes: Vec<Option<&Shape>> = node.inputs.iter().map(shape).collect();
        let read = node.inputs.iter().filter_map(|name| constants.get(name));
        Self::Host {
            macs: ops::macs(node, &shapes),
            constant_bytes: read.map(|c| 4 * c.shape().elements() as u64).sum(),
        }
    }
}

impl Step<'_> {
    /// Who runs it.
    pub fn kind(&self) -> Kind {
        match self.work {
            Work::Layer(..) | Work::Vector(..) => Kind::Array,
            Work::Codes => Kind::Vector,
            Work::Host { .. } => Kind::Host,
        }
    }

    /// What it costs with its operands there, and what it needs to have there; `None` for a host's.
    pub fn run(&self) -> Result<(LayerCost, Option<Need>), AccelError> {
        let mut cost = LayerCost {
            name: self.node.name.clone(),
            operator: self.node.op.name().to_owned(),
            kind: self.kind(),
            cycles: 0,
            host_microseconds: 0.0,
            band_wait_cycles: 0,
            dram_wait_cycles: 0,
            dram_least_bytes: 0,
            moved: Moved::default(),
            activity: Activity::default(),
            energy: None,
            tiling: None,
            mapping: None,
            together: 1,
            groups: None,
            folds: None,
            elements: None,
            exact: None,
            spans: Vec::new(),
        };
        let mut edges = GroupCycles::default();
        let extents = match &self.work {
            Work::Layer(layer, image) => {
                let blocks;
                (blocks, edges) = self.multiply(layer, image, &mut cost)?;
                Extents {
                    blocks,
                    ..self.rows_of(image)
                }
            }
            Work::Vector(layer, x, columns, codebook) => {
                self.multiply_vector(layer, x, columns, codebook, &mut cost)?;
                self.rows_of_codes()
            }
            Work::Codes => {
                self.pass(&mut cost);
                self.rows_of_codes()
            }
            Work::Host {
                macs,
                constant_bytes,
            } => {
                let flows: u64 = self.reads.iter().map(|(_, bytes)| bytes).sum();
                let bytes = flows + self.given_bytes + constant_bytes;
                cost.host_microseconds = self.machine.host.microseconds(*macs, bytes);
                return Ok((cost, None));
            }
        };
        let need = Need {
            extents,
            reads: self.reads.clone(),
            gives: self.gives.clone(),
            leaves: self.to_host,
            row_by_row: self.row_by_row,
            tile_rows: cost.tiling.map_or(1, |tiling| tiling.tile[0] as u64),
            edges,
        };
        Ok((cost, Some(need)))
    }

    /// Where the energy of a step that has run and been placed goes.
    pub fn energy(&self, cost: &LayerCost) -> Option<EnergyParts> {
        let memory = self.machine.memory.as_ref()?;
        let energies = self.machine.process.energies();
        let (multiplies, bits, weight_bytes, buffer_bytes) = match &self.machine.array {
            Array::Sparse(array) => (
                array.multiplies(&cost.activity),
                array.operand_bits,
                memory.weight_bytes / array.groups,
                array.patch_bytes,
            ),
            // What its memories take is not known.
            Array::Eie(_) => return None,
            Array::Systolic(_) | Array::Spatial(_) | Array::RowStationary(_) => {
                (cost.activity.done, 8, memory.weight_bytes, 1)
            }
        };
        // One memory of both sizes is as dear as its size.
        let both = memory.activation_bytes + memory.weight_bytes;
        let (activation_bytes, weight_bytes) = match memory.buffers {
            Buffers::Parted => (memory.activation_bytes, weight_bytes),
            Buffers::Shared | Buffers::Cache => (both, both),
        };
        let prices = BytePrices {
            activations_pj: energies.sram_byte_pj(activation_bytes),
            weights_pj: energies.sram_byte_pj(weight_bytes),
            buffers_pj: energies.sram_byte_pj(buffer_bytes),
            dram_pj: energies.dram_byte_pj(),
        };
        let mac_pj = energies.mac_pj(bits);
        Some(EnergyParts::of(multiplies, mac_pj, &cost.moved, &prices))
    }

    /// A layer on an array of ours or a dense one; gives the bytes of its blocks, and what a group waits at its edges.
    fn multiply(
        &self,
        layer: &IntegerLayer<'_>,
        image: &Image,
        cost: &mut LayerCost,
    ) -> Result<(Vec<u64>, GroupCycles), AccelError> {
        let nothing = (Vec::new(), GroupCycles::default());
        let Some(memory) = &self.machine.memory else {
            return Ok(nothing);
        };
        let shape = spatial::Shape::of(layer, image);
        let dense = shape.macs();
        let (cycles, moved, outputs_at_once) = match &self.machine.array {
            Array::Sparse(array) => {
                let run = array.run_recording(layer, image, memory, self.most_spans)?;
                cost.cycles = run.cycles;
                cost.activity = run.activity;
                cost.tiling = Some(run.tiling);
                cost.groups = run.groups.iter().copied().reduce(|a, b| a.plus(&b));
                cost.moved = run.moved(array);
                cost.exact = Some(self.agrees(layer, &run.sums, image.pixels()));
                cost.spans = run.spans;
                let blocks = run.block_bytes.iter().map(|&b| b as u64);
                return Ok((blocks.collect(), run.edges));
            }
            Array::Systolic(array) => {
                let product = Product {
                    pixels: shape.pixels,
                    depth: layer.weights.cols(),
                    outputs: shape.outputs,
                };
                let groups = shape.groups as u64;
                let folds = array.cycles(&product).times(groups);
                cost.activity = Activity::all_done(dense);
                cost.folds = Some(folds);
                let moved = array.moved(&product).times(groups);
                (folds.total(), moved, array.columns)
            }
            Array::Spatial(array) => {
                let halved =
                    array.skips_two_of_four && spatial::is_two_of_four(layer, shape.channels);
                let mut moved = array.moved(&shape, image.window.output[1]);
                cost.activity = Activity::all_done(dense);
                if halved {
                    cost.activity = Activity::half_left_out(dense);
                    moved.weights_read_bytes = moved.weights_read_bytes * 5 / 8;
                }
                (array.cycles(&shape, halved), moved, array.outputs)
            }
            Array::RowStationary(array) => {
                let moved = array.moved(&shape, image.window.output);
                cost.activity = Activity::all_done(dense);
                (array.cycles(&shape, image.window.output), moved, 1)
            }
            Array::Eie(_) => return Ok(nothing),
        };
        cost.cycles = cycles;
        cost.moved = moved;
        let halved = cost.activity.skipped > 0;
        let blocks = self.dense_blocks(layer, halved, outputs_at_once, memory)?;
        Ok((blocks, GroupCycles::default()))
    }

    /// The weights of a dense layer, their biases and factors, in as few blocks as fit half of their scratchpad each; `halved`:
    /// of four weights two, and two bits for each that say which.
    fn dense_blocks(
        &self,
        layer: &IntegerLayer<'_>,
        halved: bool,
        outputs_at_once: usize,
        memory: &Memory,
    ) -> Result<Vec<u64>, AccelError> {
        let (outputs, depth) = (layer.weights.rows(), layer.weights.cols());
        let depth_bytes = if halved {
            (depth * 5).div_ceil(8)
        } else {
            depth
        };
        let of_output = depth_bytes + OUTPUT_BYTES;
        let (blocks, half) = match memory.buffers {
            // Small ones, which are joined where it is parted.
            Buffers::Shared => {
                let half = (memory.activation_bytes + memory.weight_bytes) / 4;
                (outputs.div_ceil(outputs_at_once.max(1)), half)
            }
            Buffers::Parted | Buffers::Cache => (1, memory.weight_bytes / 2),
        };
        if of_output > half {
            return Err(AccelError::TileTooLarge {
                layer: layer.node.name.clone(),
                what: "the weights of one output channel, twice,",
                needed_bytes: 2 * of_output,
                setting: "weight_bytes",
                bytes: 2 * half,
            });
        }
        let bytes = outputs * of_output;
        let blocks = blocks.max(bytes.div_ceil(half)).max(1);
        Ok(shares(bytes as u64, blocks as u64))
    }

    /// A layer on EIE, which holds its weights.
    fn multiply_vector(
        &self,
        layer: &IntegerLayer<'_>,
        x: &[i16],
        columns: &Columns,
        codebook: &[f32],
        cost: &mut LayerCost,
    ) -> Result<(), AccelError> {
        let Array::Eie(engine) = &self.machine.array else {
            return Ok(());
        };
        let x: Vec<f32> = x.iter().map(|&x| f32::from(x)).collect();
        let run = engine.run(columns, codebook, &x)?;
        let weights = layer.weights.len() as u64;
        let dense = (layer.weights.rows() * layer.weights.cols()) as u64;
        cost.cycles = run.cycles;
        cost.elements = run.elements.iter().copied().reduce(|a, b| a.plus(&b));
        cost.activity = Activity {
            dense,
            weight_zero: dense - weights,
            input_zero: weights - run.multiplies,
            skipped: dense - run.multiplies,
            done: run.multiplies,
            no_pixel: 0,
        };
        let biased = run.outputs.iter().zip(&layer.numbers.bias);
        let sums: Vec<i32> = biased.map(|(&sum, bias)| sum as i32 + bias).collect();
        cost.exact = Some(self.agrees(layer, &sums, 1));
        Ok(())
    }

    /// An operator without weights.
    fn pass(&self, cost: &mut LayerCost) {
        let Some(memory) = &self.machine.memory else {
            return;
        };
        let read: u64 = self.reads.iter().map(|(_, bytes)| bytes).sum();
        let elements = read.max(self.given_bytes) / self.machine.operand_bytes();
        cost.cycles = (elements as f64 / memory.vector_elements_a_cycle).ceil() as u64;
        cost.moved = Moved {
            activations_read_bytes: read,
            activations_written_bytes: self.given_bytes,
            ..Moved::default()
        };
    }

    /// What a layer reads and gives, row by row of its outputs.
    fn rows_of(&self, image: &Image) -> Extents {
        let window = &image.window;
        let inputs: u64 = self.reads.iter().map(|(_, bytes)| bytes).sum();
        let taps = (window.kernel[0].saturating_sub(1) * window.dilation[0] + 1) as u64;
        let row = inputs / (image.batch * window.input[0]).max(1) as u64;
        Extents {
            inputs,
            outputs: self.given_bytes,
            rows: (image.batch * window.output[0]) as u64,
            halo: row * taps.saturating_sub(window.stride[0] as u64),
            held_blocks: 2,
            ..Extents::default()
        }
    }

    /// What an operator without weights reads and gives, in rows of its outputs.
    fn rows_of_codes(&self) -> Extents {
        let inputs = self.reads.iter().map(|(_, bytes)| bytes).sum();
        let rows = match (&self.node.op, self.output.shape().dims()) {
            // Its first output may need its last input.
            (Op::Transpose { .. }, _) => 1,
            (_, &[n, _, h, _]) => n * h,
            (_, dims) => dims.iter().product::<usize>().min(64),
        };
        // Of rows of the input, of which there are so many as its stride to one of the output.
        let (shared_rows, stride) = match &self.node.op {
            Op::MaxPool { window, .. } | Op::AveragePool { window, .. } => {
                let extent = |list: &[usize]| list.first().copied().unwrap_or(1).max(1);
                let (kernel, stride) = (extent(&window.kernel), extent(&window.strides));
                (kernel.saturating_sub(stride), stride)
            }
            _ => (0, 1),
        };
        Extents {
            inputs,
            outputs: self.given_bytes,
            rows: rows as u64,
            halo: inputs / (rows * stride).max(1) as u64 * shared_rows as u64,
            held_blocks: 2,
            ..Extents::default()
        }
    }

    /// Whether sums, `[n · pixels, outputs]`, are what the reference gave, as codes or reals.
    fn agrees(&self, layer: &IntegerLayer<'_>, sums: &[i32], pixels: usize) -> bool {
        let outputs = layer.weights.rows().max(1);
        let numbers = &layer.numbers;
        let place = |row: usize, o: usize| match layer.is_conv() {
            true => (row / pixels * outputs + o) * pixels + row % pixels,
            false => row * outputs + o,
        };
        let (lo, hi) = numbers.bounds;
        let zero_point = layer.y.map_or(0, |y| y.zero_point);
        sums.iter().enumerate().all(|(i, &sum)| {
            let (row, o) = (i / outputs, i % outputs);
            let at = place(row, o);
            let code = || quant::requantize(sum, numbers.factor[o], zero_point, lo, hi);
            match self.output.data() {
                Data::U8(codes) => i32::from(codes[at]) == code(),
                Data::I8(codes) => i32::from(codes[at]) == code(),
                Data::F32(reals) => reals[at] == layer.clamp.apply(sum as f32 * numbers.factor[o]),
                _ => false,
            }
        })
    }
}

/// A number in so many parts as equal as can be.
fn shares(all: u64, parts: u64) -> Vec<u64> {
    (0..parts)
        .map(|i| all * (i + 1) / parts - all * i / parts)
        .collect()
}

/// A layer's weights as codes of few values; `None` where it has too many for the engine.
fn shared(
    engine: &Eie,
    layer: &IntegerLayer<'_>,
) -> Result<Option<(Columns, Vec<f32>)>, AccelError> {
    let rows = layer.weights.rows();
    let values: BTreeSet<i8> = (0..rows)
        .flat_map(|o| layer.weights.row(o).1.iter().copied())
        .collect();
    if values.len() >= 1 << engine.code_bits {
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
    let columns = Columns::new(engine, rows, layer.weights.cols(), code)?;
    let codebook = std::iter::once(0.0).chain(values.iter().map(|&v| f32::from(v)));
    Ok(Some((columns, codebook.collect())))
}
