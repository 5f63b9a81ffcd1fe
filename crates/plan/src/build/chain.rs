//! Steps without weights that take the one before or behind them along: what lies between is never
//! written to memory and read again.

use super::{Build, following};
use crate::PlanError;
use crate::plan::{Action, Addend, BLOCK, Buffer, Operand};
use secateur_kernels::{Affine, Binary, Clamp};
use secateur_model::{Node, Shape};

/// The sum that a step begins with.
pub struct Sum {
    /// The buffer of the first addend, f32.
    pub first: usize,
    /// The buffer of the second.
    pub second: usize,
    /// What the second is.
    pub addend: Addend,
}

impl Build<'_> {
    /// Lets the step that computes f32 in a buffer quantize them; `false` where they are needed
    /// elsewhere or the step cannot.
    pub(super) fn quantize_behind(
        &mut self,
        result: following::Result<'_>,
        affine: Affine,
        reals: usize,
    ) -> bool {
        let name = result.node.input(0);
        let before = name.and_then(|name| self.step_before(result.node, name, reals));
        let Some(index) = before else {
            return false;
        };
        let step = &mut self.steps[index];
        let codes = match &mut step.action {
            Action::Map { codes, .. } => codes,
            Action::Softmax { axis, codes } if axis.run == 1 && axis.extent <= BLOCK => codes,
            Action::Normalize { width, codes, .. } if *width <= BLOCK => codes,
            _ => return false,
        };
        if codes.is_some() {
            return false;
        }
        *codes = Some(affine);
        let saved = self.buffers[reals].bytes - result.shape.elements();
        step.bytes = step.bytes.saturating_sub(saved as u64);
        self.give_instead(index, result, reals);
        true
    }

    /// Lets a product of codes multiply its results by a number, where that gives the same bits; `false`
    /// where it does not, or the results are needed elsewhere.
    pub(super) fn scale_behind_product(
        &mut self,
        node: &Node,
        function: Binary,
        shape: &Shape,
    ) -> Result<bool, PlanError> {
        let (Some(a), Some(b), Some(name)) = (node.input(0), node.input(1), node.output(0)) else {
            return Ok(false);
        };
        let (x, factor) = match function {
            Binary::Mul if self.is_known(a) => (b, a),
            Binary::Mul | Binary::Div => (a, b),
            _ => return Ok(false),
        };
        if self.is_known(x) || self.shape_of_value(x)? != *shape {
            return Ok(false);
        }
        let factor = self.known(factor);
        let Some(&[by]) = factor.as_ref().and_then(|t| t.as_f32().ok()) else {
            return Ok(false);
        };
        // The inverse of a power of two is exact; of others, nothing is scaled by.
        let by = match function {
            Binary::Div => 1.0 / by,
            _ => by,
        };
        let Some(reals) = self.value(x)?.plain else {
            return Ok(false);
        };
        let Some(index) = self.step_before(node, x, reals) else {
            return Ok(false);
        };
        let Action::MatMulCodes { matmul, .. } = &mut self.steps[index].action else {
            return Ok(false);
        };
        let Some(scaled) = matmul.scaled(by) else {
            return Ok(false);
        };
        *matmul = scaled;
        let result = following::Result {
            node,
            name,
            dtype: self.buffers[reals].dtype,
            shape,
            layout: self.buffers[reals].layout,
        };
        self.give_instead(index, result, reals);
        Ok(true)
    }

    /// Takes over the sum that a buffer is computed by, if only this node reads it: of two f32, or of
    /// f32 and codes that are dequantized for it.
    pub(super) fn sum_before(&mut self, node: &Node, name: &str, buffer: usize) -> Option<Sum> {
        let index = self.step_before(node, name, buffer)?;
        let step = &self.steps[index];
        let (
            Action::Binary {
                function: Binary::Add,
                clamp: Clamp::NONE,
                ..
            },
            [Operand::Buffer(a), Operand::Buffer(b)],
        ) = (&step.action, &step.inputs[..])
        else {
            return None;
        };
        let (a, b) = (*a, *b);
        let held = &self.buffers[buffer];
        let is_like = |b: usize| {
            let addend = &self.buffers[b];
            (addend.dtype, &addend.shape, addend.layout) == (held.dtype, &held.shape, held.layout)
        };
        if !(is_like(a) && is_like(b) && self.is_written_once(a) && self.is_written_once(b)) {
            return None;
        }
        let add = self.planner.draft().producer(name)?;
        let reals = [b, a].into_iter().find_map(|real| {
            let value = add.reads().find(|value| {
                let value = self.values.get(*value);
                value.and_then(|v| v.plain) == Some(real)
            })?;
            let dequantized = self.dequantized_for(index, add, value, real)?;
            Some((real, dequantized))
        });
        let sum = match reals {
            Some((real, (dequantize, codes, affine))) => {
                self.drop_step(dequantize);
                Sum {
                    first: if real == b { a } else { b },
                    second: codes,
                    addend: Addend::Codes(affine),
                }
            }
            None => Sum {
                first: a,
                second: b,
                addend: Addend::Real,
            },
        };
        self.drop_step(index);
        Some(sum)
    }

    /// The step that dequantizes codes into a buffer that only step `reader`, of node `add`, reads.
    fn dequantized_for(
        &self,
        reader: usize,
        add: &Node,
        value: &str,
        buffer: usize,
    ) -> Option<(usize, usize, Affine)> {
        let only = self.planner.draft().only_reader(value)?;
        let step = self.steps.iter().position(|s| s.outputs == [buffer])?;
        let (Action::Dequantize(affine), [Operand::Buffer(codes)]) =
            (&self.steps[step].action, &self.steps[step].inputs[..])
        else {
            return None;
        };
        let is_read_once = self.pieces[self.pieces_of[buffer]].last == reader;
        let twice = add.reads().filter(|name| *name == value).count() > 1;
        (only.name == add.name && is_read_once && !twice && self.is_written_once(*codes))
            .then_some((step, *codes, *affine))
    }

    /// Whether no step writes where another one has written what a buffer holds.
    fn is_written_once(&self, buffer: usize) -> bool {
        let piece = self.pieces_of[buffer];
        let writes = |outputs: &[usize]| outputs.iter().any(|&b| self.pieces_of[b] == piece);
        self.steps.iter().filter(|s| writes(&s.outputs)).count() <= 1
    }

    /// Leaves out a step with what it writes.
    fn drop_step(&mut self, index: usize) {
        self.dropped.insert(index);
        for buffer in std::mem::take(&mut self.steps[index].outputs) {
            self.leave_out(buffer);
        }
    }

    /// Gives up the memory of a buffer that nothing reads or writes.
    fn leave_out(&mut self, buffer: usize) {
        self.buffers[buffer].bytes = 0;
        self.pieces[self.pieces_of[buffer]].bytes = 0;
    }

    /// Lets a step write a value in place of the one that it wrote, in the same memory.
    fn give_instead(&mut self, step: usize, result: following::Result<'_>, place: usize) {
        let alias = self.alias(place, result.name, result.shape, result.layout);
        let bytes = result.shape.elements() * result.dtype.size_bytes().unwrap_or(1);
        self.buffers[alias] = Buffer {
            dtype: result.dtype,
            bytes,
            ..self.buffers[alias].clone()
        };
        self.leave_out(place);
        self.pieces[self.pieces_of[alias]].bytes = bytes;
        self.define_in(result.name, alias);
        let step = &mut self.steps[step];
        step.name = format!("{} + {}", step.name, result.node.name);
        step.outputs = vec![alias];
    }
}
