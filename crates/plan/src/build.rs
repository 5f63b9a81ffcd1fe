//! One plan being made: values, the buffers that hold them, and steps.

mod borders;
mod chain;
mod codes;
mod elementwise;
mod floats;
mod following;
mod gather;
mod lanes;
mod layers;
mod movement;
mod nodes;
mod packing;
mod place;
mod products;
mod recurrent;
mod resample;
mod transposed;
mod values;

use crate::PlanError;
use crate::memory::{Lifetime, arrange};
use crate::plan::{Action, Buffer, Choice, Layout, Operand, Plan, Port, Step, Tail};
use crate::planner::Planner;
use packing::Packing;
use secateur_model::{DType, ModelError, Node, Shape, Tensor};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use values::Value;

/// The state of a plan in the making.
pub struct Build<'p> {
    planner: &'p Planner,
    threads: usize,
    values: HashMap<String, Value>,
    buffers: Vec<Buffer>,
    /// The piece of memory behind each buffer.
    pieces_of: Vec<usize>,
    pieces: Vec<Lifetime>,
    steps: Vec<Step>,
    /// Steps whose work others have taken over.
    dropped: BTreeSet<usize>,
    /// Layers whose steps lack their packed weights.
    packings: Vec<Packing<'p>>,
    /// The piece that is each step's working memory.
    scratch_of: Vec<Option<usize>>,
    inputs: Vec<Port>,
    /// Elements of all values that are known when the plan is made.
    folded: usize,
}

/// What a step says of its cost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    macs: u64,
    nonzero_macs: u64,
    weight_bytes: usize,
    /// Bytes of working memory, of all threads together.
    scratch_bytes: usize,
    /// Microseconds on one thread, beside those in which bytes are moved.
    compute_us: f64,
}

impl<'p> Build<'p> {
    /// Begins with the inputs in their buffers, and the values of those that are known.
    pub fn new(
        planner: &'p Planner,
        shapes: &[Shape],
        values: &[Option<Arc<Tensor>>],
        threads: usize,
    ) -> Result<Self, PlanError> {
        let mut build = Self {
            planner,
            threads,
            values: HashMap::new(),
            buffers: Vec::new(),
            pieces_of: Vec::new(),
            pieces: Vec::new(),
            steps: Vec::new(),
            dropped: BTreeSet::new(),
            packings: Vec::new(),
            scratch_of: Vec::new(),
            inputs: Vec::new(),
            folded: 0,
        };
        let values = values.iter().chain(std::iter::repeat(&None));
        let inputs = planner.draft().graph.inputs.iter();
        for ((input, shape), known) in inputs.zip(shapes).zip(values) {
            let buffer = build.buffer(&input.name, input.dtype, shape, Layout::Plain)?;
            build.inputs.push(Port {
                name: input.name.clone(),
                dtype: input.dtype,
                shape: shape.clone(),
                buffer,
            });
            let mut value = Value::new(input.dtype, shape.clone());
            value.plain = Some(buffer);
            value.known.clone_from(known);
            build.values.insert(input.name.clone(), value);
        }
        Ok(build)
    }

    /// Plans every node, then the memory.
    pub fn finish(mut self) -> Result<Plan, PlanError> {
        let draft = self.planner.draft();
        let tail = self.nodes(&draft.graph.nodes)?;
        self.pack_layers()?;
        let computed_later: HashSet<&str> = tail
            .iter()
            .flat_map(|node| node.outputs.iter().map(String::as_str))
            .collect();
        let mut outputs = Vec::new();
        for output in &draft.graph.outputs {
            if !computed_later.contains(output.name.as_str()) {
                outputs.push(self.port(&output.name)?);
            }
        }
        let reads: BTreeSet<&str> = tail
            .iter()
            .flat_map(|node| node.reads())
            .filter(|name| !computed_later.contains(name))
            .filter(|name| !draft.graph.constants.contains_key(*name))
            .collect();
        let reads = reads
            .into_iter()
            .map(|name| self.port(name))
            .collect::<Result<Vec<Port>, PlanError>>()?;
        let end = self.steps.len();
        for port in outputs.iter().chain(&reads) {
            self.pieces[self.pieces_of[port.buffer]].last = end;
        }
        let (offsets, arena_bytes) = arrange(&self.pieces)?;
        for (buffer, &piece) in self.buffers.iter_mut().zip(&self.pieces_of) {
            buffer.offset = offsets[piece];
        }
        for (step, scratch) in self.steps.iter_mut().zip(&self.scratch_of) {
            step.scratch = scratch.map(|piece| (offsets[piece], self.pieces[piece].bytes));
        }
        let is_kept = |(index, step)| (!self.dropped.contains(&index)).then_some(step);
        Ok(Plan {
            isa: self.planner.isa(),
            inputs: self.inputs,
            outputs,
            steps: self
                .steps
                .into_iter()
                .enumerate()
                .filter_map(is_kept)
                .collect(),
            buffers: self.buffers,
            arena_bytes,
            fork_us: self.planner.costs().fork_us,
            tail: (!tail.is_empty()).then(|| Tail {
                nodes: tail.into_iter().cloned().collect(),
                reads,
            }),
        })
    }

    /// Plans the nodes, and gives those that hang on values which are computed.
    fn nodes(&mut self, nodes: &'p [Node]) -> Result<Vec<&'p Node>, PlanError> {
        let mut tail: Vec<&Node> = Vec::new();
        let mut computed_later = HashSet::new();
        for node in nodes {
            let is_later = node.reads().any(|name| computed_later.contains(name));
            if !is_later {
                match self.node(node) {
                    Err(PlanError::Model(ModelError::ValueNeeded { .. })) => {}
                    planned => {
                        planned?;
                        continue;
                    }
                }
            }
            computed_later.extend(node.outputs.iter().map(String::as_str));
            tail.push(node);
        }
        Ok(tail)
    }

    /// A value as it leaves the arena.
    fn port(&mut self, name: &str) -> Result<Port, PlanError> {
        let buffer = self.plain(name)?;
        Ok(Port {
            name: name.into(),
            dtype: self.buffers[buffer].dtype,
            shape: self.buffers[buffer].shape.clone(),
            buffer,
        })
    }

    /// A buffer with memory of its own, written by the next step.
    fn buffer(
        &mut self,
        name: &str,
        dtype: DType,
        shape: &Shape,
        layout: Layout,
    ) -> Result<usize, PlanError> {
        let size = dtype.size_bytes().ok_or_else(|| ModelError::Type {
            what: format!("value `{name}`"),
            needed: DType::F32,
            found: dtype,
        })?;
        let bytes = shape
            .elements()
            .checked_mul(size)
            .ok_or(PlanError::ArenaOverflow)?;
        let now = self.steps.len();
        self.pieces_of.push(self.pieces.len());
        self.pieces.push(Lifetime {
            bytes,
            first: now,
            last: now,
        });
        self.buffers.push(Buffer {
            name: name.into(),
            dtype,
            shape: shape.clone(),
            layout,
            offset: 0,
            bytes,
        });
        Ok(self.buffers.len() - 1)
    }

    /// The same memory under another name, shape and layout.
    fn alias(&mut self, buffer: usize, name: &str, shape: &Shape, layout: Layout) -> usize {
        let alias = Buffer {
            name: name.into(),
            shape: shape.clone(),
            layout,
            ..self.buffers[buffer].clone()
        };
        self.pieces_of.push(self.pieces_of[buffer]);
        self.buffers.push(alias);
        self.buffers.len() - 1
    }

    /// Adds a step.
    fn step(
        &mut self,
        name: &str,
        action: Action,
        inputs: Vec<Operand>,
        outputs: Vec<usize>,
        choice: Choice,
        cost: Cost,
    ) {
        let now = self.steps.len();
        // Buffers that no machine holds are refused later; their sum may not fit here.
        let mut bytes = cost.weight_bytes as u64;
        let mut count = |more: usize| bytes = bytes.saturating_add(more as u64);
        for operand in &inputs {
            match operand {
                Operand::Buffer(buffer) => {
                    self.pieces[self.pieces_of[*buffer]].last = now;
                    count(self.buffers[*buffer].bytes);
                }
                Operand::Constant(tensor) => count(tensor.bytes()),
                Operand::Absent => {}
            }
        }
        let mut elements = 0;
        for &buffer in &outputs {
            count(self.buffers[buffer].bytes);
            elements += self.buffers[buffer].shape.elements();
        }
        self.scratch_of.push(None);
        let predicted_us = cost.compute_us
            + self.planner.costs().moved_us(bytes)
            + elements as f64 * typical_ns(&action) / 1e3;
        // The reference goes through its operands element by element, as no cost tells.
        let is_known = !matches!(action, Action::Reference(_));
        self.steps.push(Step {
            name: name.into(),
            action,
            inputs,
            outputs,
            scratch: None,
            choice,
            macs: cost.macs,
            nonzero_macs: cost.nonzero_macs,
            weight_bytes: cost.weight_bytes,
            bytes,
            predicted_us: is_known.then_some(predicted_us),
        });
        self.add_scratch(now, cost.scratch_bytes);
    }

    /// Gives a step working memory.
    fn add_scratch(&mut self, step: usize, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.scratch_of[step] = Some(self.pieces.len());
        self.pieces.push(Lifetime {
            bytes,
            first: step,
            last: step,
        });
    }

    /// A step of buffers to one buffer, without weights.
    fn simple(&mut self, name: &str, action: Action, from: &[usize], to: usize, kernel: &str) {
        let inputs = from.iter().map(|&b| Operand::Buffer(b)).collect();
        self.unweighted(name, action, inputs, to, kernel);
    }

    /// A step of operands to one buffer, without weights, by the only kernel there is for it.
    fn unweighted(
        &mut self,
        name: &str,
        action: Action,
        inputs: Vec<Operand>,
        to: usize,
        kernel: &str,
    ) {
        let choice = Choice::only(kernel);
        self.step(name, action, inputs, vec![to], choice, Cost::default());
    }

    fn kernel_error(node: &Node, source: secateur_kernels::KernelError) -> PlanError {
        PlanError::Kernel {
            node: node.name.clone(),
            source,
        }
    }
}

/// What an element of the output takes beside what is moved, in nanoseconds, of steps whose kernels are
/// not measured: enough to know which are worth several threads.
fn typical_ns(action: &Action) -> f64 {
    match action {
        Action::Softmax { .. } => 1.2,
        Action::Map { .. } => 0.7,
        Action::Normalize { .. } | Action::Reduce { .. } => 0.5,
        Action::Binary { .. } | Action::Select(_) | Action::Cast | Action::Rearrange { .. } => 0.2,
        // Single elements are looked up one by one.
        Action::Resample(pass) if pass.run_len() == 1 => 1.5,
        Action::Resample(_) => 0.5,
        Action::MaxPool { .. } | Action::AveragePool { .. } | Action::AverageCodes { .. } => 0.3,
        _ => 0.0,
    }
}
