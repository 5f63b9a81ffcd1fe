//! RNN, GRU and LSTM. Everything is computed in f64 and rounded once, where it
//! leaves the operator.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors};
use crate::{DType, ModelError, Shape, Tensor};

/// A recurrent layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrent {
    /// What computes a step.
    pub cell: Cell,
    /// Which way the steps go.
    pub direction: Direction,
    /// Activations of the first direction, then those of the second; the cell's
    /// own when empty.
    pub activations: Vec<CellActivation>,
    /// Bound of what goes into an activation.
    pub clip: Option<f32>,
    /// Hidden units, if said; they follow from the weights.
    pub hidden: Option<usize>,
    /// Whether the batch is the first axis, before the steps.
    pub batch_first: bool,
    /// Whether a GRU multiplies by the recurrent weight before it resets.
    pub linear_before_reset: bool,
}

/// What computes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// One activation.
    Rnn,
    /// Gates in the order update, reset, hidden (Cho et al. 2014).
    Gru,
    /// Gates in the order input, output, forget, cell (Hochreiter & Schmidhuber
    /// 1997), with peepholes.
    Lstm,
}

/// Which way the steps go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first.
    Forward,
    /// From the last.
    Reverse,
    /// Both, one beside the other.
    Bidirectional,
}

/// An activation without parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellActivation {
    /// `max(x, 0)`.
    Relu,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `ln(1 + eˣ)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `tanh x`.
    Tanh,
}

impl CellActivation {
    fn apply(self, x: f64) -> f64 {
        match self {
            Self::Relu => x.max(0.0),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Tanh => x.tanh(),
        }
    }
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }

    fn activations(self) -> &'static [CellActivation] {
        match self {
            Self::Rnn => &[CellActivation::Tanh],
            Self::Gru => &[CellActivation::Sigmoid, CellActivation::Tanh],
            Self::Lstm => &[
                CellActivation::Sigmoid,
                CellActivation::Tanh,
                CellActivation::Tanh,
            ],
        }
    }
}

impl Direction {
    fn count(self) -> usize {
        match self {
            Self::Forward | Self::Reverse => 1,
            Self::Bidirectional => 2,
        }
    }
}

struct Extents {
    steps: usize,
    batch: usize,
    features: usize,
    hidden: usize,
    directions: usize,
}

impl Extents {
    fn new(args: &Shapes<'_>, layer: &Recurrent, x: &Shape, r: &Shape) -> Result<Self, ModelError> {
        let (&[first, second, features], &[_, _, hidden]) = (x.dims(), r.dims()) else {
            return Err(args.wrong(format!("input {x} and recurrent weight {r}")));
        };
        let (steps, batch) = match layer.batch_first {
            true => (second, first),
            false => (first, second),
        };
        if hidden == 0 || layer.hidden.is_some_and(|needed| needed != hidden) {
            return Err(args.wrong(format!("{hidden} hidden units")));
        }
        Ok(Self {
            steps,
            batch,
            features,
            hidden,
            directions: layer.direction.count(),
        })
    }

    /// Extents of a state.
    fn state(&self, batch_first: bool) -> [usize; 3] {
        match batch_first {
            true => [self.batch, self.directions, self.hidden],
            false => [self.directions, self.batch, self.hidden],
        }
    }
}

pub(super) fn infer(args: &Shapes<'_>, layer: &Recurrent) -> Result<Vec<TypedShape>, ModelError> {
    let (x, r) = (args.typed(0, FLOATS)?, args.need(2)?);
    let e = Extents::new(args, layer, &x.shape, &r.shape)?;
    let needed = layer.cell.activations().len() * e.directions;
    if !layer.activations.is_empty() && layer.activations.len() != needed {
        return Err(args.wrong(format!("{needed} activations are needed")));
    }
    let state = e.state(layer.batch_first);
    let rows = e
        .hidden
        .checked_mul(2 * layer.cell.gates())
        .ok_or_else(|| args.wrong("the hidden units overflow"))?;
    let check = |index: usize, dims: &[usize]| {
        let Some(input) = args.get(index) else {
            return Ok(());
        };
        args.same_type(index)?;
        match input.shape.dims() == dims {
            true => Ok(()),
            false => Err(args.wrong(format!(
                "input {index} must be {dims:?}, found {}",
                input.shape
            ))),
        }
    };
    args.need(1)?;
    check(1, &[e.directions, rows / 2, e.features])?;
    check(2, &[e.directions, rows / 2, e.hidden])?;
    check(3, &[e.directions, rows])?;
    check(5, &state)?;
    if layer.cell == Cell::Lstm {
        check(6, &state)?;
        check(7, &[e.directions, 3 * e.hidden])?;
    }
    if args.get(4).is_some() {
        let lengths = args.typed(4, &[DType::I32])?;
        if lengths.shape.dims() != [e.batch] {
            return Err(args.wrong(format!(
                "lengths (input 4) must be [{}], found {}",
                e.batch, lengths.shape
            )));
        }
    }
    let all = match layer.batch_first {
        true => [e.batch, e.steps, e.directions, e.hidden],
        false => [e.steps, e.directions, e.batch, e.hidden],
    };
    let state = (x.dtype, args.shape(&state)?);
    let mut outputs = vec![(x.dtype, args.shape(&all)?), state.clone()];
    if layer.cell == Cell::Lstm {
        outputs.push(state);
    }
    Ok(outputs)
}

/// The hidden state after each step, the last one, and an LSTM's last cell
/// state. Rows end at their length (input 4): then the state stays, and the
/// first output is zero.
pub(super) fn evaluate(args: &Tensors<'_>, layer: &Recurrent) -> Result<Vec<Tensor>, ModelError> {
    let shapes = Shapes {
        node: args.node,
        inputs: &[],
    };
    let e = Extents::new(&shapes, layer, args.need(0)?.shape(), args.need(2)?.shape())?;
    let optional = |index: usize| args.get(index).map(|_| args.doubles(index)).transpose();
    let (x, w, r) = (args.doubles(0)?, args.doubles(1)?, args.doubles(2)?);
    let (bias, hidden) = (optional(3)?, optional(5)?);
    let (cell, peepholes) = match layer.cell {
        Cell::Lstm => (optional(6)?, optional(7)?),
        _ => (None, None),
    };
    let outputs: Vec<usize> = args.outputs.iter().map(|(_, s)| s.elements()).collect();
    let mut values: Vec<Vec<f64>> = outputs.iter().map(|&n| vec![0.0; n]).collect();
    let of = |list: &Option<Vec<f64>>, start: usize, count: usize| match list {
        Some(list) => list[start..start + count].to_vec(),
        None => vec![0.0; count],
    };
    // An empty batch may still have many directions or steps.
    let lengths = match args.get(4) {
        Some(_) => args.integers(4)?,
        None if x.is_empty() && values.iter().all(Vec::is_empty) => Vec::new(),
        None => vec![e.steps as i32; e.batch],
    };
    let gates = layer.cell.gates() * e.hidden;
    for d in 0..e.directions {
        let weights = Weights {
            layer,
            activations: layer.activations_of(d),
            hidden: e.hidden,
            w: &w[d * gates * e.features..][..gates * e.features],
            r: &r[d * gates * e.hidden..][..gates * e.hidden],
            bias: of(&bias, d * 2 * gates, 2 * gates),
            peepholes: of(&peepholes, d * 3 * e.hidden, 3 * e.hidden),
        };
        let reverse = layer.direction == Direction::Reverse || d == 1;
        for (b, &length) in lengths.iter().enumerate() {
            let length = usize::try_from(length)
                .ok()
                .filter(|&length| length <= e.steps)
                .ok_or_else(|| args.wrong(format!("a length of {length} for {} steps", e.steps)))?;
            let state_at = match layer.batch_first {
                true => (b * e.directions + d) * e.hidden,
                false => (d * e.batch + b) * e.hidden,
            };
            let mut h = of(&hidden, state_at, e.hidden);
            let mut c = of(&cell, state_at, e.hidden);
            for i in 0..length {
                let step = if reverse { length - 1 - i } else { i };
                let (row, at) = match layer.batch_first {
                    true => (b * e.steps + step, (b * e.steps + step) * e.directions + d),
                    false => (step * e.batch + b, (step * e.directions + d) * e.batch + b),
                };
                weights.step(&x[row * e.features..][..e.features], &mut h, &mut c);
                values[0][at * e.hidden..][..e.hidden].copy_from_slice(&h);
            }
            for (values, state) in values.iter_mut().skip(1).zip([&h, &c]) {
                values[state_at..][..e.hidden].copy_from_slice(state);
            }
        }
    }
    let typed = args.outputs.iter().zip(values);
    typed
        .map(|((dtype, shape), values)| {
            Tensor::new(shape.clone(), args.round_doubles(*dtype, values)?)
        })
        .collect()
}

impl Recurrent {
    /// The activations of a direction, the first one's or the second one's.
    pub fn activations_of(&self, direction: usize) -> &[CellActivation] {
        let own = self.cell.activations();
        let start = direction * own.len();
        self.activations
            .get(start..start + own.len())
            .unwrap_or(own)
    }
}

/// The parameters of one direction.
struct Weights<'a> {
    layer: &'a Recurrent,
    activations: &'a [CellActivation],
    hidden: usize,
    w: &'a [f64],
    r: &'a [f64],
    bias: Vec<f64>,
    peepholes: Vec<f64>,
}

impl Weights<'_> {
    /// One step: from the state before to the state after.
    fn step(&self, x: &[f64], h: &mut [f64], c: &mut [f64]) {
        let n = self.hidden;
        match self.layer.cell {
            Cell::Rnn => {
                let next: Vec<f64> = (0..n)
                    .map(|i| self.activate(0, self.input(x, i) + self.recurrent(h, i)))
                    .collect();
                h.copy_from_slice(&next);
            }
            Cell::Gru => {
                let gate = |i| self.activate(0, self.input(x, i) + self.recurrent(h, i));
                let update: Vec<f64> = (0..n).map(gate).collect();
                let reset: Vec<f64> = (n..2 * n).map(gate).collect();
                let kept: Vec<f64> = reset.iter().zip(&*h).map(|(r, h)| r * h).collect();
                let next: Vec<f64> = (0..n)
                    .map(|i| {
                        let past = match self.layer.linear_before_reset {
                            true => reset[i] * self.recurrent(h, 2 * n + i),
                            false => self.recurrent(&kept, 2 * n + i),
                        };
                        let new = self.activate(1, self.input(x, 2 * n + i) + past);
                        (1.0 - update[i]) * new + update[i] * h[i]
                    })
                    .collect();
                h.copy_from_slice(&next);
            }
            Cell::Lstm => {
                let sum = |gate: usize, i: usize| {
                    self.input(x, gate * n + i) + self.recurrent(h, gate * n + i)
                };
                let mut next = vec![0.0; n];
                for i in 0..n {
                    let peephole = |gate: usize, c: f64| self.peepholes[gate * n + i] * c;
                    let input = self.activate(0, sum(0, i) + peephole(0, c[i]));
                    let forget = self.activate(0, sum(2, i) + peephole(2, c[i]));
                    let new = self.activate(1, sum(3, i));
                    c[i] = forget * c[i] + input * new;
                    let output = self.activate(0, sum(1, i) + peephole(1, c[i]));
                    // The last activation's input is the state; it is not bounded.
                    next[i] = output * self.activations[2].apply(c[i]);
                }
                h.copy_from_slice(&next);
            }
        }
    }

    /// `(W · x + b)` of a row of the gates.
    fn input(&self, x: &[f64], row: usize) -> f64 {
        let w = &self.w[row * x.len()..][..x.len()];
        let products = w.iter().zip(x).map(|(w, x)| w * x);
        products.sum::<f64>() + self.bias[row]
    }

    /// `(R · h + b)` of a row of the gates.
    fn recurrent(&self, h: &[f64], row: usize) -> f64 {
        let r = &self.r[row * h.len()..][..h.len()];
        let products = r.iter().zip(h).map(|(r, h)| r * h);
        products.sum::<f64>() + self.bias[self.bias.len() / 2 + row]
    }

    fn activate(&self, index: usize, x: f64) -> f64 {
        let bounded = match self.layer.clip.map(f64::from) {
            Some(clip) => x.max(-clip).min(clip),
            None => x,
        };
        self.activations[index].apply(bounded)
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::*;
    use crate::{Node, Op};

    fn layer(cell: Cell, direction: Direction) -> Recurrent {
        Recurrent {
            cell,
            direction,
            activations: vec![],
            clip: None,
            hidden: Some(1),
            batch_first: false,
            linear_before_reset: false,
        }
    }

    fn run(layer: Recurrent, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, ModelError> {
        let outputs: &[&str] = match layer.cell {
            Cell::Lstm => &["y", "h", "c"],
            _ => &["y", "h"],
        };
        let names = ["x", "w", "r", "b", "l", "h0", "c0", "p"];
        let op = Op::Recurrent(Box::new(layer));
        evaluate(&Node::new("r", op, &names, outputs), inputs)
    }

    fn cube(dims: [usize; 3], values: &[f32]) -> Tensor {
        Tensor::f32(&dims, values.to_vec()).unwrap()
    }

    #[test]
    fn steps_go_either_way_and_rows_end() {
        let mut both = layer(Cell::Rnn, Direction::Bidirectional);
        both.activations = vec![CellActivation::Relu; 2];
        let x = cube([3, 2, 1], &[1., 10., 2., 20., 3., 30.]);
        let w = cube([2, 1, 1], &[1., 1.]);
        let r = cube([2, 1, 1], &[2., 2.]);
        let lengths = Tensor::i32(&[2], vec![3, 2]).unwrap();
        let y = run(
            both.clone(),
            &[Some(&x), Some(&w), Some(&r), None, Some(&lengths)],
        )
        .unwrap();
        // Forward 1, 2 + 2, 3 + 8; backward 3, 2 + 6, 1 + 16.
        let steps = [1., 10., 17., 50., 4., 40., 8., 20., 11., 0., 3., 0.];
        assert_eq!(y[0].as_f32().unwrap(), steps);
        assert_eq!(y[1].as_f32().unwrap(), [11., 40., 17., 50.]);
        both.activations.pop();
        assert!(run(both, &[Some(&x), Some(&w), Some(&r)]).is_err());
    }

    #[test]
    fn a_gru_keeps_what_its_gate_says() {
        let x = cube([1, 1, 1], &[1.]);
        let w = cube([1, 3, 1], &[0., 0., 1.]);
        let r = cube([1, 3, 1], &[0., 0., 1.]);
        let h = cube([1, 1, 1], &[2.]);
        let gru = layer(Cell::Gru, Direction::Forward);
        let y = run(gru, &[Some(&x), Some(&w), Some(&r), None, None, Some(&h)]).unwrap();
        // Both gates are ½: ½ · tanh(1 + ½ · 2) + ½ · 2.
        let needed = 0.5 * 2f64.tanh() + 1.0;
        assert_eq!(y[1].as_f32().unwrap(), [needed as f32]);
    }

    #[test]
    fn an_lstm_has_a_cell() {
        let x = cube([1, 1, 1], &[1.]);
        let w = cube([1, 4, 1], &[0., 0., 0., 1.]);
        let r = cube([1, 4, 1], &[0.; 4]);
        let c = cube([1, 1, 1], &[2.]);
        let lstm = layer(Cell::Lstm, Direction::Forward);
        let inputs = [Some(&x), Some(&w), Some(&r), None, None, None, Some(&c)];
        let y = run(lstm, &inputs).unwrap();
        let cell = 0.5 * 2.0 + 0.5 * 1f64.tanh();
        assert_eq!(y[2].as_f32().unwrap(), [cell as f32]);
        assert_eq!(y[1].as_f32().unwrap(), [(0.5 * cell.tanh()) as f32]);
        let mut narrow = layer(Cell::Lstm, Direction::Forward);
        narrow.hidden = Some(2);
        assert!(run(narrow, &inputs).is_err());
    }
}
