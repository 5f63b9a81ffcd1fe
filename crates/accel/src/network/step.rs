//! One step of a network: who runs it, what it takes, what it moves.

use super::timeline::{Timeline, Traffic};
use super::{Kind, LayerCost};
use crate::eie::{Columns, Eie};
use crate::energy::{Energies, EnergyParts};
use crate::sparse::Activity;
use crate::systolic::Product;
use crate::{AccelError, Array, Image, Machine};
use secateur_model::{DType, Data, Node, Op, Tensor, quant};
use secateur_plan::IntegerLayer;
use secateur_plan::draft::Draft;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A node that does something.
pub(super) struct Step<'a> {
    machine: &'a Machine,
    node: &'a Node,
    work: Work<'a>,
    output: &'a Tensor,
    /// Elements of what it reads on the chip.
    reads: usize,
    /// Of these, bytes that a host gives.
    from_host: usize,
    /// Whether a host reads what it gives, or it is an answer.
    to_host: bool,
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
    /// Whatever else there is.
    Host,
}

/// The steps of a network that has been evaluated.
pub(super) fn of_network<'a>(
    machine: &'a Machine,
    draft: &'a Draft,
    values: &'a HashMap<String, Tensor>,
    most_spans: usize,
) -> Result<Vec<Step<'a>>, AccelError> {
    let mut on_chip: HashSet<&str> = HashSet::new();
    let mut steps = Vec::new();
    for node in &draft.graph.nodes {
        let tensor = |name: Option<&str>| name.and_then(|name| values.get(name));
        let (Some(input), Some(output)) = (tensor(node.input(0)), tensor(node.output(0))) else {
            continue;
        };
        if reshapes(&node.op) {
            if node.input(0).is_some_and(|name| on_chip.contains(name)) {
                on_chip.extend(node.output(0));
            }
            continue;
        }
        let work = Work::of(machine, draft, node, input, output)?;
        let computed = node
            .reads()
            .filter(|name| !draft.graph.constants.contains_key(*name));
        let read: Vec<&str> = computed.collect();
        let elements = |name: &&str| values.get(*name).map_or(0, |t| t.shape().elements());
        let from_host = read.iter().filter(|name| !on_chip.contains(**name));
        let step = Step {
            machine,
            node,
            output,
            reads: read.iter().map(elements).sum(),
            from_host: from_host.map(elements).sum(),
            to_host: false,
            most_spans,
            work,
        };
        if step.kind() != Kind::Host {
            on_chip.extend(node.output(0));
        }
        steps.push(step);
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
        step.to_host = step
            .node
            .output(0)
            .is_some_and(|name| leaving.contains(name));
    }
    Ok(steps)
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
        node: &'a Node,
        input: &Tensor,
        output: &Tensor,
    ) -> Result<Self, AccelError> {
        let codes = |t: &Tensor| matches!(t.data().dtype(), DType::U8 | DType::I8);
        if let Some(layer) = IntegerLayer::of(draft, node)?
            && let Some(image) = Image::of(&layer, input, output.shape().dims())
        {
            let Array::Eie(engine) = &machine.array else {
                return Ok(Self::Layer(layer, image));
            };
            return Ok(match (image.vector(&layer), shared(engine, &layer)?) {
                (Some(x), Some((columns, codebook))) => Self::Vector(layer, x, columns, codebook),
                _ => Self::Host,
            });
        }
        match machine.memory.is_some() && codes(input) && codes(output) {
            true => Ok(Self::Codes),
            false => Ok(Self::Host),
        }
    }
}

impl Step<'_> {
    fn kind(&self) -> Kind {
        match self.work {
            Work::Layer(..) | Work::Vector(..) => Kind::Array,
            Work::Codes => Kind::Vector,
            Work::Host => Kind::Host,
        }
    }

    /// What it costs; goes on in time.
    pub fn cost(&self, timeline: &mut Timeline) -> Result<LayerCost, AccelError> {
        let energies = self.machine.process.energies();
        let mut cost = LayerCost {
            name: self.node.name.clone(),
            operator: self.node.op.name().to_owned(),
            kind: self.kind(),
            cycles: 0,
            dram_wait_cycles: 0,
            dram_bytes: 0,
            activity: Activity::default(),
            energy: None,
            tiling: None,
            groups: None,
            folds: None,
            elements: None,
            exact: None,
            spans: Vec::new(),
        };
        let weights = match &self.work {
            Work::Layer(layer, image) => self.multiply(layer, image, &energies, &mut cost)?,
            Work::Vector(layer, x, columns, codebook) => {
                self.multiply_vector(layer, x, columns, codebook, &mut cost)?;
                Vec::new()
            }
            Work::Codes => {
                self.pass(&energies, &mut cost);
                Vec::new()
            }
            Work::Host => return Ok(cost),
        };
        let traffic = self.traffic(&weights);
        let share = cost.cycles as f64 / traffic.len() as f64;
        let waited: f64 = traffic.iter().map(|t| timeline.block(t, share)).sum();
        cost.dram_wait_cycles = waited.round() as u64;
        cost.dram_bytes = traffic.iter().map(Traffic::total).sum();
        if let Some(energy) = &mut cost.energy {
            energy.dram_pj = cost.dram_bytes as f64 * energies.dram_byte_pj();
        }
        Ok(cost)
    }

    /// A layer on an array of ours or a dense one; gives the bytes of its blocks.
    fn multiply(
        &self,
        layer: &IntegerLayer<'_>,
        image: &Image,
        energies: &Energies,
        cost: &mut LayerCost,
    ) -> Result<Vec<u64>, AccelError> {
        let (outputs, depth) = (layer.weights.rows(), layer.weights.cols());
        let pixels = image.batch * image.pixels();
        match (&self.machine.array, &self.machine.memory) {
            (Array::Sparse(array), Some(memory)) => {
                let run = array.run_recording(layer, image, memory, self.most_spans)?;
                cost.cycles = run.cycles;
                cost.activity = run.activity;
                cost.tiling = Some(run.tiling);
                cost.groups = run.groups.iter().copied().reduce(|a, b| a.plus(&b));
                cost.energy = Some(run.energy(array, memory, energies));
                cost.exact = Some(self.agrees(layer, &run.sums, pixels / image.batch.max(1)));
                cost.spans = run.spans;
                Ok(run.block_bytes.iter().map(|&b| b as u64).collect())
            }
            (Array::Systolic(array), Some(memory)) => {
                let groups = layer.groups.max(1);
                let product = Product {
                    pixels,
                    depth,
                    outputs: outputs / groups,
                };
                let dense = product.macs() * groups as u64;
                let folds = array.cycles(&product).times(groups as u64);
                cost.cycles = folds.total();
                cost.folds = Some(folds);
                let energy = array.energy(&product, memory, energies);
                cost.energy = Some(energy.times(groups as f64));
                cost.activity = Activity {
                    dense,
                    done: dense,
                    ..Activity::default()
                };
                // Weights of 8 bits, biases and factors, in blocks of half the scratchpad.
                let bytes = (depth * outputs + 8 * outputs) as u64;
                let block = (memory.weight_bytes as u64 / 2).max(1);
                Ok(shares(bytes, bytes.div_ceil(block).max(1)))
            }
            _ => Ok(Vec::new()),
        }
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
            skipped: weights - run.multiplies,
            done: run.multiplies,
            no_pixel: 0,
        };
        let biased = run.outputs.iter().zip(&layer.numbers.bias);
        let sums: Vec<i32> = biased.map(|(&sum, bias)| sum as i32 + bias).collect();
        cost.exact = Some(self.agrees(layer, &sums, 1));
        Ok(())
    }

    /// An operator without weights.
    fn pass(&self, energies: &Energies, cost: &mut LayerCost) {
        if let Some(memory) = &self.machine.memory {
            let given = self.output.shape().elements();
            let moved = self.reads.max(given) as f64;
            cost.cycles = (moved / memory.vector_elements_a_cycle).ceil() as u64;
            let byte = energies.sram_byte_pj(memory.activation_bytes);
            cost.energy = Some(EnergyParts {
                inputs_pj: self.reads as f64 * byte,
                outputs_pj: given as f64 * byte,
                ..EnergyParts::default()
            });
        }
    }

    /// What each block moves. Where the scratchpad does not hold a step's inputs and outputs, the former come anew for
    /// every block and the latter leave.
    fn traffic(&self, weights: &[u64]) -> Vec<Traffic> {
        let width = match self.output.data() {
            Data::U8(_) | Data::I8(_) => 1,
            _ => 4,
        };
        let given = self.output.shape().elements() * width;
        let memory = self.machine.memory.as_ref();
        let spills = memory.is_some_and(|m| self.reads + given > m.activation_bytes);
        let blocks = weights.len().max(1);
        let leaving = match memory.is_some() && (self.to_host || spills) {
            true => shares(given as u64, blocks as u64),
            false => vec![0; blocks],
        };
        (0..blocks)
            .map(|block| Traffic {
                weights: weights.get(block).copied().unwrap_or(0),
                inputs: match (memory, spills, block) {
                    (Some(_), true, _) => self.reads as u64,
                    (Some(_), false, 0) => self.from_host as u64,
                    _ => 0,
                },
                outputs: leaving[block],
            })
            .collect()
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
