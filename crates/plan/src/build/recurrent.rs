//! Recurrent layers: the products of all inputs at once, then the steps.

use super::floats::FloatLayer;
use super::{Build, Cost};
use crate::PlanError;
use crate::cost::Load;
use crate::draft::Clamp;
use crate::plan::{Action, Choice, Layout, Operand, Recurrent};
use secateur_kernels::{
    After, Cell, KernelError, Rearrange, Recipe, Recurrence, Reset, Squash, Walk, Way, What, Zeros,
};
use secateur_model::ops::{self as model, CellActivation, Direction, TypedShape};
use secateur_model::{DType, Node, Op, Shape, Tensor};
use std::sync::Arc;

/// What an element of a gate takes beside the products, in nanoseconds.
const GATE_NS: f64 = 1.0;

/// A recurrent node, as far as there are kernels for it.
struct Parts<'a> {
    layer: &'a model::Recurrent,
    cell: Cell,
    squashes: Vec<[Squash; 3]>,
    weights: [Arc<Tensor>; 2],
    bias: Option<Arc<Tensor>>,
    peepholes: Option<Arc<Tensor>>,
    steps: usize,
    batch: usize,
    features: usize,
    hidden: usize,
}

impl Build<'_> {
    /// Adds the steps of a recurrent layer of f32 whose weights are known; `false` for anything else.
    pub(super) fn recurrent(
        &mut self,
        node: &Node,
        outputs: &[TypedShape],
    ) -> Result<bool, PlanError> {
        let Op::Recurrent(layer) = &node.op else {
            return Ok(false);
        };
        let Some(parts) = self.parts(node, layer)? else {
            return Ok(false);
        };
        let mut inputs = Vec::with_capacity(5);
        for index in [4, 5, 6] {
            let used = index != 6 || parts.cell == Cell::Lstm;
            inputs.push(self.operand(node.input(index).filter(|_| used))?);
        }
        let mut directions = Vec::with_capacity(parts.squashes.len());
        for direction in 0..parts.squashes.len() {
            let products = self.input_products(node, &parts, direction)?;
            inputs.push(Operand::Buffer(products));
            directions.push(self.direction(node, &parts, direction)?);
        }
        self.states(node, &parts, directions, inputs, outputs)?;
        Ok(true)
    }

    fn parts<'a>(
        &self,
        node: &Node,
        layer: &'a model::Recurrent,
    ) -> Result<Option<Parts<'a>>, PlanError> {
        let cell = match layer.cell {
            model::Cell::Rnn => Cell::Rnn,
            model::Cell::Gru if layer.linear_before_reset => Cell::Gru(Reset::Product),
            model::Cell::Gru => Cell::Gru(Reset::State),
            model::Cell::Lstm => Cell::Lstm,
        };
        let directions = match layer.direction {
            Direction::Forward | Direction::Reverse => 1,
            Direction::Bidirectional => 2,
        };
        let squashes: Option<Vec<[Squash; 3]>> = (0..directions)
            .map(|direction| squashes(layer, direction))
            .collect();
        let known = |index: usize| node.input(index).and_then(|name| self.known(name));
        let unknown = |index: usize| node.input(index).is_some() && known(index).is_none();
        let (Some(x), Some(w), Some(r), Some(squashes)) =
            (node.input(0), known(1), known(2), squashes)
        else {
            return Ok(None);
        };
        let (dtype, shape) = self.described(x)?;
        let (&[first, second, features], &[_, _, hidden]) = (shape.dims(), r.shape().dims()) else {
            return Ok(None);
        };
        if dtype != DType::F32 || shape.elements() == 0 || unknown(3) || unknown(7) {
            return Ok(None);
        }
        let (steps, batch) = match layer.batch_first {
            true => (second, first),
            false => (first, second),
        };
        Ok(Some(Parts {
            layer,
            cell,
            squashes,
            weights: [w, r],
            bias: known(3),
            peepholes: known(7).filter(|_| cell == Cell::Lstm),
            steps,
            batch,
            features,
            hidden,
        }))
    }

    /// The step that multiplies the inputs of all steps; gives the buffer of the gates.
    fn input_products(
        &mut self,
        node: &Node,
        parts: &Parts<'_>,
        direction: usize,
    ) -> Result<usize, PlanError> {
        let (gates, features) = (parts.cell.gates() * parts.hidden, parts.features);
        let weights = parts.of(&parts.weights[0], direction, gates * features)?;
        let bias = match &parts.bias {
            Some(bias) => Some(&parts.of(bias, direction, 2 * gates)?[..gates]),
            None => None,
        };
        let from = self.plain(node.input(0).unwrap_or_default())?;
        let rows = parts.steps * parts.batch;
        let name = format!("{}: inputs of direction {direction}", node.name);
        let shape = Shape::new(&[rows, gates])?;
        let to = self.buffer(&name, DType::F32, &shape, Layout::Plain)?;
        let layer = FloatLayer {
            weights,
            bias,
            extents: (gates, features, 1),
            clamp: Clamp::NONE,
        };
        let chosen = self.choose_f32(node, name.clone(), rows, &layer)?;
        let cost = Cost {
            macs: (rows as u64).saturating_mul((gates * features) as u64),
            nonzero_macs: (rows as u64).saturating_mul(chosen.layer.nonzeros as u64),
            weight_bytes: chosen.layer.bytes(),
            scratch_bytes: 0,
            compute_us: chosen.predicted_us,
        };
        let action = Action::MatMul {
            layer: chosen.layer,
            rows,
            after: After::Nothing,
        };
        let inputs = vec![Operand::Buffer(from)];
        self.step(&name, action, inputs, vec![to], chosen.choice, cost);
        Ok(to)
    }

    /// The packed recurrent weights of a direction, and which way it goes.
    fn direction(
        &self,
        node: &Node,
        parts: &Parts<'_>,
        direction: usize,
    ) -> Result<(Arc<Recurrence>, Way), PlanError> {
        let way = match parts.layer.direction {
            Direction::Reverse => Way::Backward,
            _ if direction == 1 => Way::Backward,
            _ => Way::Forward,
        };
        let gates = parts.cell.gates() * parts.hidden;
        let recipe = Recipe {
            cell: parts.cell,
            squashes: parts.squashes[direction],
            clip: parts.layer.clip,
            hidden: parts.hidden,
            weights: parts.of(&parts.weights[1], direction, gates * parts.hidden)?,
            zeros: Zeros::Multiplied,
            bias: match &parts.bias {
                Some(bias) => Some(&parts.of(bias, direction, 2 * gates)?[gates..]),
                None => None,
            },
            peepholes: match &parts.peepholes {
                Some(peepholes) => Some(parts.of(peepholes, direction, 3 * parts.hidden)?),
                None => None,
            },
        };
        let pack = || {
            self.cheaper(recipe, parts.batch)
                .map_err(|e| Self::kernel_error(node, e))
        };
        let packed = self
            .planner
            .recurrence((node.name.clone(), direction), pack)?;
        Ok((packed, way))
    }

    /// The form that costs less for so many rows.
    fn cheaper(&self, recipe: Recipe<'_>, rows: usize) -> Result<Recurrence, KernelError> {
        let isa = self.planner.isa();
        let nonzeros = recipe.weights.iter().filter(|w| **w != 0.0).count();
        let size = |count: usize, item: usize| (count, count * item);
        let dense = size(recipe.weights.len(), size_of::<f32>());
        let dense_us = self.product_us(What::DenseF32, dense, rows);
        // No fewer slots than non-zeros, each with a byte that says where its operand lies.
        let least = size(nonzeros, size_of::<f32>() + 1);
        if self.product_us(What::SparseF32, least, rows) < dense_us {
            let zeros = Zeros::Skipped;
            let sparse = Recurrence::pack(isa, Recipe { zeros, ..recipe })?;
            let packed = (sparse.multiplies(), sparse.bytes());
            if self.product_us(What::SparseF32, packed, rows) < dense_us {
                return Ok(sparse);
            }
        }
        Recurrence::pack(isa, recipe)
    }

    /// Microseconds of a recurrent product of some rows, whose weights are read every step.
    fn product_us(&self, what: What, (multiplies, bytes): (usize, usize), rows: usize) -> f64 {
        let load = Load {
            multiplies,
            outputs: 0,
            pixels: rows,
            weight_bytes: bytes,
            moved_bytes: 0,
        };
        self.planner.costs().streamed_us(what, load, bytes)
    }

    /// The step that goes through the sequences, and those that put what it gives in its places.
    fn states(
        &mut self,
        node: &Node,
        parts: &Parts<'_>,
        directions: Vec<(Arc<Recurrence>, Way)>,
        inputs: Vec<Operand>,
        outputs: &[TypedShape],
    ) -> Result<(), PlanError> {
        let Parts {
            layer,
            cell,
            steps,
            batch,
            hidden,
            ..
        } = *parts;
        let (count, length) = (directions.len(), steps + cell.states());
        let name = format!("{}: states", node.name);
        let shape = Shape::new(&[count, batch, length, hidden])?;
        let from = self.buffer(&name, DType::F32, &shape, Layout::Plain)?;
        let (mut macs, mut nonzero_macs, mut bytes) = (0u64, 0u64, 0);
        let (mut compute_us, mut scratch) = (0.0, 0);
        for (recurrence, _) in &directions {
            let what = match recurrence.zeros() {
                Zeros::Multiplied => What::DenseF32,
                Zeros::Skipped => What::SparseF32,
            };
            let packed = (recurrence.multiplies(), recurrence.bytes());
            let product = self.product_us(what, packed, batch);
            let gates = (batch * cell.gates() * hidden) as f64 * GATE_NS / 1e3;
            compute_us += steps as f64 * (product + gates);
            let dense = (cell.gates() * hidden * hidden) as u64;
            macs = macs.saturating_add(((steps * batch) as u64).saturating_mul(dense));
            nonzero_macs = nonzero_macs.saturating_add(
                ((steps * batch) as u64).saturating_mul(recurrence.nonzeros() as u64),
            );
            bytes += recurrence.bytes();
            scratch = recurrence.scratch(batch);
        }
        let scratch_bytes = scratch
            .checked_mul(size_of::<f32>())
            .and_then(|bytes| bytes.checked_next_multiple_of(64))
            .and_then(|each| each.checked_mul(self.threads))
            .ok_or(PlanError::ArenaOverflow)?;
        let cost = Cost {
            macs,
            nonzero_macs,
            weight_bytes: bytes,
            scratch_bytes,
            compute_us,
        };
        let skips = directions.iter().any(|(r, _)| r.zeros() == Zeros::Skipped);
        let choice = Choice {
            kernel: "recurrence".into(),
            reason: match skips {
                true => "its steps skip the zeros of the recurrent weight".into(),
                false => "the products of its steps cost less than slots of a sparse form".into(),
            },
            refused: Vec::new(),
        };
        let action = Action::Recurrent(Box::new(Recurrent {
            directions,
            steps,
            batch,
            batch_first: layer.batch_first,
        }));
        self.step(&node.name, action, inputs, vec![from], choice, cost);

        for (index, (dtype, shape)) in outputs.iter().enumerate() {
            let Some(output) = node.output(index) else {
                continue;
            };
            // Axes of the states: direction, row, step, unit; those of an output stand in its order.
            let turns = if index == 0 { steps } else { 1 };
            let extents = [count, batch, turns, hidden];
            let order = match (layer.batch_first, index) {
                (true, _) => [1, 2, 0, 3],
                (false, 0) => [2, 0, 1, 3],
                (false, _) => [0, 1, 2, 3],
            };
            let mut stride = 1;
            let mut walks = Vec::with_capacity(4);
            for &axis in order.iter().rev() {
                let lies = [batch * length * hidden, length * hidden, hidden, 1][axis];
                walks.push(Walk {
                    extent: extents[axis],
                    from: lies as isize,
                    to: stride,
                });
                stride *= extents[axis];
            }
            let begin = if index == 0 { 0 } else { steps + index - 1 };
            let walk = Rearrange::new(&walks, begin * hidden, 0)
                .map_err(|e| Self::kernel_error(node, e))?;
            let to = self.define(output, *dtype, shape, Layout::Plain)?;
            let name = format!("{}: output {index}", node.name);
            self.rearrange(&name, vec![from], vec![walk], None, to);
        }
        Ok(())
    }
}

impl Parts<'_> {
    /// What a direction has of a parameter.
    fn of<'t>(
        &self,
        tensor: &'t Tensor,
        direction: usize,
        count: usize,
    ) -> Result<&'t [f32], PlanError> {
        let all = tensor.as_f32()?;
        // The shape rule has checked the extents.
        Ok(all
            .get(direction * count..(direction + 1) * count)
            .unwrap_or_default())
    }
}

/// The functions of a direction's gates; `None` where one has no kernel.
fn squashes(layer: &model::Recurrent, direction: usize) -> Option<[Squash; 3]> {
    let mut squashes = [Squash::Tanh; 3];
    let own = layer.activations_of(direction);
    for (squash, activation) in squashes.iter_mut().zip(own) {
        *squash = match activation {
            CellActivation::Relu => Squash::Relu,
            CellActivation::Sigmoid => Squash::Sigmoid,
            CellActivation::Softsign => Squash::Softsign,
            CellActivation::Tanh => Squash::Tanh,
            CellActivation::Softplus => return None,
        };
    }
    Some(squashes)
}
