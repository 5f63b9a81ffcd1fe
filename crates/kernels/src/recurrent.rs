//! Recurrent layers: the state of a sequence from step to step.

use std::ops::Range;

use crate::{
    Clamp, DenseF32, Isa, KernelError, Rows, RowsMut, SparseF32,
    error::{check_len, product},
    math::{sigmoid, tanh},
    multiversion,
    range::check_pixels,
};

/// What computes a step, with the order of its gates (ONNX's).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// One gate, which is the state.
    Rnn,
    /// Update, reset, hidden.
    Gru(Reset),
    /// Input, output, forget, cell.
    Lstm,
}

/// Where a GRU resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The state that is multiplied by the recurrent weight.
    State,
    /// The product with the recurrent weight, bias included.
    Product,
}

impl Cell {
    /// Gates of a unit.
    pub fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru(_) => 3,
            Self::Lstm => 4,
        }
    }

    /// States that are handed from step to step: what is given out, and an LSTM's cells.
    pub fn states(self) -> usize {
        match self {
            Self::Rnn | Self::Gru(_) => 1,
            Self::Lstm => 2,
        }
    }

    /// Gates that are multiplied by the state before the step.
    fn first_gates(self) -> usize {
        match self {
            Self::Gru(Reset::State) => 2,
            _ => self.gates(),
        }
    }
}

/// A function of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Squash {
    /// `max(x, 0)`
    Relu,
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `x / (1 + |x|)`
    Softsign,
    /// The hyperbolic tangent.
    Tanh,
}

impl Squash {
    #[inline(always)]
    fn apply(self, values: &mut [f32]) {
        match self {
            Self::Relu => each(
                values,
                #[inline(always)]
                |x| if x > 0.0 { x } else { 0.0 },
            ),
            Self::Sigmoid => each(values, sigmoid),
            Self::Softsign => each(
                values,
                #[inline(always)]
                |x: f32| x / (1.0 + x.abs()),
            ),
            Self::Tanh => each(values, tanh),
        }
    }
}

#[inline(always)]
fn each(values: &mut [f32], f: impl Fn(f32) -> f32) {
    for value in values {
        *value = f(*value);
    }
}

/// What becomes of the zeros of a recurrent weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// They are multiplied.
    Multiplied,
    /// They are skipped.
    Skipped,
}

/// The product of a state and a recurrent weight.
#[derive(Debug, Clone)]
enum Product {
    Dense(DenseF32),
    Sparse(Box<SparseF32>),
}

impl Product {
    fn pack(
        isa: Isa,
        weights: &[f32],
        [outputs, depth]: [usize; 2],
        bias: Option<&[f32]>,
        zeros: Zeros,
    ) -> Result<Self, KernelError> {
        Ok(match zeros {
            Zeros::Multiplied => Self::Dense(DenseF32::pack(isa, weights, outputs, depth, bias)?),
            Zeros::Skipped => {
                let layer = SparseF32::pack(isa, weights, outputs, depth, bias)?;
                Self::Sparse(Box::new(layer))
            }
        })
    }

    fn run(&self, x: Rows<'_, f32>, y: RowsMut<'_, f32>) -> Result<(), KernelError> {
        let all = 0..y.cols();
        match self {
            Self::Dense(layer) => layer.run(x, all, Clamp::NONE, y),
            Self::Sparse(layer) => layer.run(x, all, Clamp::NONE, y),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Dense(layer) => layer.bytes(),
            Self::Sparse(layer) => layer.bytes(),
        }
    }

    fn multiplies(&self) -> usize {
        match self {
            Self::Dense(layer) => layer.macs(),
            Self::Sparse(layer) => layer.slots(),
        }
    }
}

/// What a recurrent layer is made of.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// What computes a step.
    pub cell: Cell,
    /// Functions of the gates: of a GRU's update and reset, then its hidden gate; of an LSTM's first three
    /// gates, its cell gate, and its cells.
    pub squashes: [Squash; 3],
    /// Bound of what goes into a gate's function.
    pub clip: Option<f32>,
    /// Units.
    pub hidden: usize,
    /// `[gates, hidden, hidden]`.
    pub weights: &'a [f32],
    /// What becomes of their zeros.
    pub zeros: Zeros,
    /// `[gates, hidden]`; none means zeros.
    pub bias: Option<&'a [f32]>,
    /// Weights of an LSTM's cells in its gates input, output and forget, `[3, hidden]`.
    pub peepholes: Option<&'a [f32]>,
}

/// A recurrent layer in one direction, packed: from the products of its inputs, `[gates, hidden]` a step,
/// to its states. Rows of a batch go together through the recurrent product.
#[derive(Debug, Clone)]
pub struct Recurrence {
    isa: Isa,
    cell: Cell,
    squashes: [Squash; 3],
    clip: f32,
    hidden: usize,
    zeros: Zeros,
    nonzeros: usize,
    /// Of the gates that are multiplied by the state before the step.
    first: Product,
    /// Of a GRU's hidden gate, by the state that is reset.
    second: Option<Product>,
    peepholes: Option<Vec<f32>>,
}

/// Sequences of a batch, and where their steps lie.
#[derive(Debug, Clone, Copy)]
pub struct Sequences<'a> {
    /// Products of the inputs, bias included.
    pub inputs: &'a [f32],
    /// Elements of `inputs` from step to step, and from row to row.
    pub strides: [usize; 2],
    /// Steps.
    pub steps: usize,
    /// Rows of the batch.
    pub batch: usize,
    /// Which way the steps go.
    pub way: Way,
    /// Steps of each row; all where not given.
    pub lengths: Option<&'a [i32]>,
    /// The first states, a row each; zeros where not given.
    pub states: [Option<Rows<'a, f32>>; 2],
}

/// Which way the steps go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the first.
    Forward,
    /// From the last of each row.
    Backward,
}

impl Recurrence {
    /// Packs the weights for `isa`.
    ///
    /// # Errors
    /// When the processor lacks `isa`, a length does not match or a size overflows.
    pub fn pack(isa: Isa, recipe: Recipe<'_>) -> Result<Self, KernelError> {
        let Recipe {
            cell,
            hidden,
            weights,
            bias,
            ..
        } = recipe;
        let gates = product("recurrent weight", cell.gates(), hidden)?;
        check_len(
            "recurrent weight",
            product("recurrent weight", gates, hidden)?,
            weights.len(),
        )?;
        if let Some(bias) = bias {
            check_len("recurrent bias", gates, bias.len())?;
        }
        if let Some(peepholes) = recipe.peepholes {
            check_len("peepholes", 3 * hidden, peepholes.len())?;
        }
        let pack = |gates: Range<usize>| {
            let weights = &weights[gates.start * hidden..gates.end * hidden];
            let bias = bias.map(|bias| &bias[gates.clone()]);
            Product::pack(isa, weights, [gates.len(), hidden], bias, recipe.zeros)
        };
        let first = cell.first_gates() * hidden;
        Ok(Self {
            isa,
            cell,
            squashes: recipe.squashes,
            clip: recipe.clip.unwrap_or(f32::INFINITY),
            hidden,
            zeros: recipe.zeros,
            nonzeros: weights.iter().filter(|w| **w != 0.0).count(),
            first: pack(0..first)?,
            second: (first < gates).then(|| pack(first..gates)).transpose()?,
            peepholes: recipe.peepholes.map(<[f32]>::to_vec),
        })
    }

    /// What computes a step.
    pub fn cell(&self) -> Cell {
        self.cell
    }

    /// Units.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// What becomes of the zeros of its weights.
    pub fn zeros(&self) -> Zeros {
        self.zeros
    }

    /// Weights that are not zero.
    pub fn nonzeros(&self) -> usize {
        self.nonzeros
    }

    /// Bytes of the packed form.
    pub fn bytes(&self) -> usize {
        self.first.bytes() + self.second.as_ref().map_or(0, Product::bytes)
    }

    /// Multiplies of a step of a row, zeros and unused slots that the packed form holds included.
    pub fn multiplies(&self) -> usize {
        self.first.multiplies() + self.second.as_ref().map_or(0, Product::multiplies)
    }

    /// Elements of working memory for so many rows.
    pub fn scratch(&self, rows: usize) -> usize {
        let gates = self.cell.gates() * self.hidden;
        let kept = self.second.as_ref().map_or(0, |_| self.hidden);
        rows.saturating_mul(gates + kept)
    }

    /// Runs some rows. Of each, `y` takes what is given out after every step, zeros beyond the row's
    /// length, and the last states: `[rows.len(), steps + states, hidden]`.
    ///
    /// # Errors
    /// When a length does not match, or that of a row is more than the steps.
    pub fn run(
        &self,
        sequences: &Sequences<'_>,
        rows: Range<usize>,
        scratch: &mut [f32],
        y: &mut [f32],
    ) -> Result<(), KernelError> {
        let each = (sequences.steps + self.cell.states()) * self.hidden;
        self.check(sequences, &rows)?;
        check_len("recurrent outputs", rows.len() * each, y.len())?;
        let needed = self.scratch(rows.len());
        if scratch.len() < needed {
            let (what, got) = ("working memory", scratch.len());
            return Err(KernelError::Length { what, needed, got });
        }
        if y.is_empty() {
            return Ok(());
        }
        let (sums, kept) =
            scratch[..needed].split_at_mut(rows.len() * self.cell.gates() * self.hidden);
        let length = |row: usize| match sequences.lengths {
            Some(lengths) => lengths[row] as usize,
            None => sequences.steps,
        };
        for (row, y) in rows.clone().zip(y.chunks_exact_mut(each)) {
            let (outputs, states) = y.split_at_mut(sequences.steps * self.hidden);
            outputs[length(row) * self.hidden..].fill(0.0);
            for (state, to) in states.chunks_exact_mut(self.hidden).enumerate() {
                match sequences.states[state] {
                    Some(first) => to.copy_from_slice(first.row(row)),
                    None => to.fill(0.0),
                }
            }
        }
        let longest = rows.clone().map(length).max().unwrap_or(0);
        for turn in 0..longest {
            let step = |row: usize| {
                let length = length(row);
                (turn < length).then(|| match sequences.way {
                    Way::Forward => turn,
                    Way::Backward => length - 1 - turn,
                })
            };
            self.step(sequences, &rows, step, (sums, kept), y)?;
        }
        Ok(())
    }

    fn check(&self, sequences: &Sequences<'_>, rows: &Range<usize>) -> Result<(), KernelError> {
        let Sequences {
            steps,
            batch,
            strides,
            ..
        } = *sequences;
        check_pixels(rows, batch)?;
        let gates = self.cell.gates() * self.hidden;
        if steps > 0 && batch > 0 {
            let needed = product("inputs", steps - 1, strides[0])?
                .checked_add(product("inputs", batch - 1, strides[1])?)
                .and_then(|last| last.checked_add(gates))
                .ok_or(KernelError::Overflow { what: "inputs" })?;
            let (what, got) = ("products of inputs", sequences.inputs.len());
            if got < needed {
                return Err(KernelError::Length { what, needed, got });
            }
        }
        if let Some(lengths) = sequences.lengths {
            check_len("lengths", batch, lengths.len())?;
            let fits = |length: i32| usize::try_from(length).is_ok_and(|l| l <= steps);
            if let Some(&length) = lengths.iter().find(|&&length| !fits(length)) {
                let (index, extent) = (length.into(), steps.saturating_add(1));
                return Err(KernelError::Index { index, extent });
            }
        }
        for state in sequences.states.iter().flatten() {
            check_len("rows of states", batch, state.rows())?;
            check_len("units of states", self.hidden, state.cols())?;
        }
        Ok(())
    }

    /// One step of the rows that have one.
    fn step(
        &self,
        sequences: &Sequences<'_>,
        rows: &Range<usize>,
        step: impl Fn(usize) -> Option<usize>,
        (sums, kept): (&mut [f32], &mut [f32]),
        y: &mut [f32],
    ) -> Result<(), KernelError> {
        let Self { cell, hidden, .. } = *self;
        let (steps, count) = (sequences.steps, rows.len());
        let (gates, each) = (cell.gates() * hidden, (steps + cell.states()) * hidden);
        let states = Rows::strided(&y[steps * hidden..], count, hidden, each)?;
        let first = cell.first_gates() * hidden;
        let to = RowsMut::strided(sums, count, first, gates)?;
        self.first.run(states, to)?;
        let input = |row: usize, step: usize| {
            let at = step * sequences.strides[0] + row * sequences.strides[1];
            &sequences.inputs[at..at + gates]
        };
        if let Some(second) = &self.second {
            multiversion::run(
                self.isa,
                #[inline(always)]
                || {
                    for (index, row) in rows.clone().enumerate() {
                        let Some(step) = step(row) else {
                            continue;
                        };
                        let sums = &mut sums[index * gates..][..first];
                        self.gate(0, &input(row, step)[..first], sums);
                        let state = &y[index * each + steps * hidden..][..hidden];
                        let kept = &mut kept[index * hidden..][..hidden];
                        for ((kept, &reset), &h) in kept.iter_mut().zip(&sums[hidden..]).zip(state)
                        {
                            *kept = reset * h;
                        }
                    }
                },
            );
            let kept = Rows::new(kept, count, hidden)?;
            let to = RowsMut::strided(&mut sums[first..], count, gates - first, gates)?;
            second.run(kept, to)?;
        }
        multiversion::run(
            self.isa,
            #[inline(always)]
            || {
                for (index, row) in rows.clone().enumerate() {
                    let Some(step) = step(row) else {
                        continue;
                    };
                    let sums = &mut sums[index * gates..][..gates];
                    let (outputs, states) = y[index * each..][..each].split_at_mut(steps * hidden);
                    self.finish(input(row, step), sums, states);
                    outputs[step * hidden..][..hidden].copy_from_slice(&states[..hidden]);
                }
            },
        );
        Ok(())
    }

    /// `sums = f(sums + input)`, its argument within the bound.
    #[inline(always)]
    fn gate(&self, function: usize, input: &[f32], sums: &mut [f32]) {
        for (sum, &input) in sums.iter_mut().zip(input) {
            let x = *sum + input;
            let x = if x < -self.clip { -self.clip } else { x };
            *sum = if x > self.clip { self.clip } else { x };
        }
        self.squashes[function].apply(sums);
    }

    /// The states after a step, from the recurrent products.
    #[inline(always)]
    fn finish(&self, input: &[f32], sums: &mut [f32], states: &mut [f32]) {
        let n = self.hidden;
        match self.cell {
            Cell::Rnn => {
                self.gate(0, input, sums);
                states.copy_from_slice(sums);
            }
            Cell::Gru(reset) => {
                let (gates, new) = sums.split_at_mut(2 * n);
                if reset == Reset::Product {
                    self.gate(0, &input[..2 * n], gates);
                    for (new, &reset) in new.iter_mut().zip(&gates[n..]) {
                        *new *= reset;
                    }
                }
                self.gate(1, &input[2 * n..], new);
                for ((h, &new), &update) in states.iter_mut().zip(&*new).zip(&*gates) {
                    *h = update.mul_add(*h, (1.0 - update) * new);
                }
            }
            Cell::Lstm => {
                let (h, c) = states.split_at_mut(n);
                let (input_o, input_new) = (&input[n..2 * n], &input[3 * n..]);
                let (i, rest) = sums.split_at_mut(n);
                let (o, rest) = rest.split_at_mut(n);
                let (f, new) = rest.split_at_mut(n);
                if let Some(peepholes) = &self.peepholes {
                    add_products(i, &peepholes[..n], c);
                    add_products(f, &peepholes[2 * n..], c);
                }
                self.gate(0, &input[..n], i);
                self.gate(0, &input[2 * n..3 * n], f);
                self.gate(1, input_new, new);
                for (((c, &f), &i), &new) in c.iter_mut().zip(&*f).zip(&*i).zip(&*new) {
                    *c = f.mul_add(*c, i * new);
                }
                if let Some(peepholes) = &self.peepholes {
                    add_products(o, &peepholes[n..2 * n], c);
                }
                self.gate(0, input_o, o);
                h.copy_from_slice(c);
                self.squashes[2].apply(h);
                for (h, &o) in h.iter_mut().zip(&*o) {
                    *h *= o;
                }
            }
        }
    }
}

/// `sums += a·b`
#[inline(always)]
fn add_products(sums: &mut [f32], a: &[f32], b: &[f32]) {
    for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
        *sum = a.mul_add(b, *sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wave(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin()).collect()
    }

    /// One row in f64, as the recipe says.
    fn expected(
        recipe: &Recipe<'_>,
        inputs: &[&[f32]],
        [h, c]: [&mut Vec<f64>; 2],
    ) -> Vec<Vec<f64>> {
        let n = recipe.hidden;
        let clip = f64::from(recipe.clip.unwrap_or(f32::INFINITY));
        let squash = |function: usize, x: f64| match recipe.squashes[function] {
            Squash::Relu => x.max(0.0),
            Squash::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Squash::Softsign => x / (1.0 + x.abs()),
            Squash::Tanh => x.tanh(),
        };
        let gate = |function, x: f64| squash(function, x.clamp(-clip, clip));
        let dot = |row: usize, h: &[f64]| {
            let weights = &recipe.weights[row * n..][..n];
            let products = weights.iter().zip(h).map(|(&w, h)| f64::from(w) * h);
            products.sum::<f64>() + recipe.bias.map_or(0.0, |b| f64::from(b[row]))
        };
        let peephole = |at: usize, c: f64| recipe.peepholes.map_or(0.0, |p| f64::from(p[at]) * c);
        let mut outputs = Vec::new();
        for input in inputs {
            let x = |row: usize| f64::from(input[row]);
            let next: Vec<f64> = match recipe.cell {
                Cell::Rnn => (0..n).map(|u| gate(0, x(u) + dot(u, h))).collect(),
                Cell::Gru(reset) => {
                    let r: Vec<f64> = (n..2 * n).map(|u| gate(0, x(u) + dot(u, h))).collect();
                    let kept: Vec<f64> = r.iter().zip(&*h).map(|(r, h)| r * h).collect();
                    (0..n)
                        .map(|u| {
                            let past = match reset {
                                Reset::State => dot(2 * n + u, &kept),
                                Reset::Product => r[u] * dot(2 * n + u, h),
                            };
                            let update = gate(0, x(u) + dot(u, h));
                            (1.0 - update) * gate(1, x(2 * n + u) + past) + update * h[u]
                        })
                        .collect()
                }
                Cell::Lstm => (0..n)
                    .map(|u| {
                        let sum = |g: usize| x(g * n + u) + dot(g * n + u, h);
                        let i = gate(0, sum(0) + peephole(u, c[u]));
                        let f = gate(0, sum(2) + peephole(2 * n + u, c[u]));
                        c[u] = f * c[u] + i * gate(1, sum(3));
                        gate(0, sum(1) + peephole(n + u, c[u])) * squash(2, c[u])
                    })
                    .collect(),
            };
            *h = next;
            outputs.push(h.clone());
        }
        outputs
    }

    const CELLS: [Cell; 4] = [
        Cell::Rnn,
        Cell::Gru(Reset::State),
        Cell::Gru(Reset::Product),
        Cell::Lstm,
    ];
    const SQUASHES: [Squash; 4] = [
        Squash::Relu,
        Squash::Sigmoid,
        Squash::Softsign,
        Squash::Tanh,
    ];

    proptest! {
        #[test]
        fn states_are_those_of_f64(
            cell in prop::sample::select(&CELLS[..]),
            squashes in [0usize..4, 0usize..4, 0usize..4],
            hidden in 1usize..40, steps in 0usize..6, batch in 1usize..4,
            clip in prop_oneof![Just(None), Just(Some(0.4f32))],
            backward: bool, batch_first: bool, given_bias: bool, given_states: bool, ragged: bool,
            density in 0.0f32..1.2,
        ) {
            let gates = cell.gates() * hidden;
            let weights: Vec<f32> = wave(gates * hidden, 0.7)
                .iter()
                .map(|w| if w.abs() < density { w / hidden as f32 } else { 0.0 })
                .collect();
            let (bias, peepholes) = (wave(gates, 1.3), wave(3 * hidden, 0.9));
            let recipe = Recipe {
                cell,
                squashes: squashes.map(|s| SQUASHES[s]),
                clip,
                hidden,
                weights: &weights,
                zeros: Zeros::Multiplied,
                bias: given_bias.then_some(&bias[..]),
                peepholes: (given_bias && cell == Cell::Lstm).then_some(&peepholes[..]),
            };
            let strides = match batch_first {
                true => [gates, steps * gates],
                false => [batch * gates, gates],
            };
            let inputs = wave(steps * batch * gates, 1.1);
            let lengths: Vec<i32> = (0..batch).map(|b| (b * 3 % (steps + 1)) as i32).collect();
            let first = [wave(batch * hidden, 0.5), wave(batch * hidden, 0.6)];
            let state = |s: usize| Rows::new(&first[s], batch, hidden).unwrap();
            let sequences = Sequences {
                inputs: &inputs,
                strides,
                steps,
                batch,
                way: if backward { Way::Backward } else { Way::Forward },
                lengths: ragged.then_some(&lengths[..]),
                states: [0, 1].map(|s| given_states.then(|| state(s))),
            };
            let each = (steps + cell.states()) * hidden;
            let mut bits: Option<Vec<f32>> = None;
            for (isa, zeros) in Isa::available()
                .flat_map(|isa| [(isa, Zeros::Multiplied), (isa, Zeros::Skipped)])
            {
                let layer = Recurrence::pack(isa, Recipe { zeros, ..recipe }).unwrap();
                let mut y = vec![f32::NAN; batch * each];
                let (first, others) = y.split_at_mut(each);
                for (part, y) in [(0..1, first), (1..batch, others)] {
                    let mut scratch = vec![f32::NAN; layer.scratch(part.len())];
                    layer.run(&sequences, part, &mut scratch, y).unwrap();
                }
                prop_assert_eq!(bits.get_or_insert(y.clone()), &y);
            }
            let y = bits.unwrap_or_default();
            for row in 0..batch {
                let length = if ragged { lengths[row] as usize } else { steps };
                let mut order: Vec<usize> = (0..length).collect();
                if backward {
                    order.reverse();
                }
                let at = |s: usize| &inputs[s * strides[0] + row * strides[1]..][..gates];
                let inputs: Vec<&[f32]> = order.iter().map(|&s| at(s)).collect();
                let begin = |s: usize| -> Vec<f64> {
                    let own = &first[s][row * hidden..][..hidden];
                    own.iter().map(|&v| if given_states { v.into() } else { 0.0 }).collect()
                };
                let (mut h, mut c) = (begin(0), begin(1));
                let outputs = expected(&recipe, &inputs, [&mut h, &mut c]);
                let mut all = vec![vec![0.0; hidden]; steps];
                for (output, &step) in outputs.iter().zip(&order) {
                    all[step] = output.clone();
                }
                all.extend([h, c].into_iter().take(cell.states()));
                let found = &y[row * each..][..each];
                for (&found, exact) in found.iter().zip(all.concat()) {
                    let near = (f64::from(found) - exact).abs() < 1e-5 * exact.abs().max(1.0);
                    prop_assert!(near, "{found} {exact}");
                }
            }
        }
    }

    #[test]
    fn misfits_are_refused() {
        let recipe = Recipe {
            cell: Cell::Lstm,
            squashes: [Squash::Sigmoid, Squash::Tanh, Squash::Tanh],
            clip: None,
            hidden: 2,
            weights: &[0.5; 16],
            zeros: Zeros::Multiplied,
            bias: None,
            peepholes: None,
        };
        let pack = |recipe| Recurrence::pack(Isa::Generic, recipe);
        let weights = &[0.5; 15];
        assert!(pack(Recipe { weights, ..recipe }).is_err());
        let bias = Some(&[0.0; 9][..]);
        assert!(pack(Recipe { bias, ..recipe }).is_err());
        let layer = pack(recipe).unwrap();
        let sequences = Sequences {
            inputs: &[0.0; 24],
            strides: [8, 24],
            steps: 3,
            batch: 1,
            way: Way::Forward,
            lengths: None,
            states: [None; 2],
        };
        let run = |sequences: Sequences<'_>, scratch: usize, y: usize| {
            let (mut scratch, mut y) = (vec![0.0; scratch], vec![0.0; y]);
            layer.run(&sequences, 0..1, &mut scratch, &mut y).is_ok()
        };
        assert!(run(sequences, 8, 10));
        assert!(!run(sequences, 7, 10) && !run(sequences, 8, 9));
        let inputs = &[0.0; 23];
        assert!(!run(
            Sequences {
                inputs,
                ..sequences
            },
            8,
            10
        ));
        for length in [-1, 4] {
            let lengths = Some(&[length][..]);
            let sequences = Sequences {
                lengths,
                ..sequences
            };
            assert!(!run(sequences, 8, 10));
        }
    }
}
