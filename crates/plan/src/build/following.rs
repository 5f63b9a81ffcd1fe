//! Sums and tables of codes that the layer before them takes along: its codes are never written and
//! read again.

use super::Build;
use crate::plan::{Action, Buffer, Layout, Operand};
use secateur_kernels::{AddCodes, After, Held};
use secateur_model::{DType, Node, Shape};
use std::sync::Arc;

/// What a step on codes gives, whatever computes it.
#[derive(Clone, Copy)]
pub struct Result<'a> {
    /// The node.
    pub node: &'a Node,
    /// The value.
    pub name: &'a str,
    /// The type of its codes.
    pub dtype: DType,
    /// Its extents.
    pub shape: &'a Shape,
    /// How its elements lie.
    pub layout: Layout,
}

impl Build<'_> {
    /// Lets the layer that computes one of two addends add the other, in the memory of that one;
    /// `false` where either is needed elsewhere.
    pub(super) fn add_behind_layer(
        &mut self,
        result: Result<'_>,
        add: AddCodes,
        addends: [usize; 2],
    ) -> bool {
        let names = [result.node.input(0), result.node.input(1)];
        let layers = [0, 1].map(|i| {
            let layer = names[i].and_then(|name| self.layer_before(result.node, name, addends[i]));
            layer.map(|step| (step, i))
        });
        // The later layer: the other addend is there before it.
        let Some((step, own)) = layers.into_iter().flatten().max() else {
            return false;
        };
        let other = addends[1 - own];
        if !self.may_be_overwritten(other, step, result.node) {
            return false;
        }
        let held = match own {
            0 => Held::Second,
            _ => Held::First,
        };
        self.follow(step, After::Add { add, held }, result, other);
        let layer = &mut self.steps[step];
        layer.inputs.push(Operand::Buffer(other));
        layer.bytes = layer.bytes.saturating_add(self.buffers[other].bytes as u64);
        self.pieces[self.pieces_of[other]].last = step;
        // The layer's own codes are nowhere.
        let unused = addends[own];
        self.buffers[unused].bytes = 0;
        self.pieces[self.pieces_of[unused]].bytes = 0;
        true
    }

    /// Lets the layer that computes codes look them up in a table; `false` where they are needed
    /// elsewhere.
    pub(super) fn look_up_behind_layer(
        &mut self,
        result: Result<'_>,
        table: &Arc<[u8; 256]>,
        codes: usize,
    ) -> bool {
        let name = result.node.input(0);
        let layer = name.and_then(|name| self.layer_before(result.node, name, codes));
        let Some(step) = layer else {
            return false;
        };
        self.follow(step, After::Table(table.clone()), result, codes);
        true
    }

    /// The step that computes what is in a buffer, if only this node reads it.
    pub(super) fn step_before(&self, node: &Node, name: &str, buffer: usize) -> Option<usize> {
        let reader = self.planner.draft().only_reader(name)?;
        let piece = self.pieces_of[buffer];
        let writes = |outputs: &[usize]| outputs.iter().any(|&b| self.pieces_of[b] == piece);
        let step = self.steps.iter().rposition(|s| writes(&s.outputs))?;
        let is_read = self.pieces[piece].last > step;
        (reader.name == node.name && !is_read).then_some(step)
    }

    /// The step of the layer that computes the codes in a buffer, if only this node reads them.
    fn layer_before(&self, node: &Node, name: &str, buffer: usize) -> Option<usize> {
        let step = self.step_before(node, name, buffer)?;
        let is_codes = matches!(self.buffers[buffer].dtype, DType::U8 | DType::I8);
        let is_layer = matches!(
            self.steps[step].action,
            Action::Conv {
                after: After::Nothing,
                ..
            } | Action::MatMul {
                after: After::Nothing,
                ..
            }
        );
        (is_codes && is_layer).then_some(step)
    }

    /// Whether a buffer is there before a step, is not read by it, and by nothing behind it but
    /// this node.
    fn may_be_overwritten(&self, buffer: usize, step: usize, node: &Node) -> bool {
        let piece = self.pieces_of[buffer];
        let lifetime = &self.pieces[piece];
        if lifetime.first >= step || lifetime.last >= step {
            return false;
        }
        let draft = self.planner.draft();
        let is_planned = |n: &Node| n.outputs.iter().all(|o| self.values.contains_key(o));
        self.values
            .iter()
            .filter(|(_, value)| {
                let buffers = [value.plain, value.last.map(|(buffer, _)| buffer)];
                let mut pieces = buffers.into_iter().flatten().map(|b| self.pieces_of[b]);
                pieces.any(|p| p == piece)
            })
            .all(|(name, _)| {
                let mut later = draft.readers(name).into_iter();
                !draft.is_output(name) && later.all(|n| n.name == node.name || is_planned(n))
            })
    }

    /// Gives a layer's step what follows it; the result lies in `place`.
    fn follow(&mut self, step: usize, follows: After, result: Result<'_>, place: usize) {
        let alias = self.alias(place, result.name, result.shape, result.layout);
        self.buffers[alias] = Buffer {
            dtype: result.dtype,
            ..self.buffers[alias].clone()
        };
        self.define_in(result.name, alias);
        let layer = &mut self.steps[step];
        layer.name = format!("{} + {}", layer.name, result.node.name);
        layer.outputs = vec![alias];
        if let Action::Conv { after, .. } | Action::MatMul { after, .. } = &mut layer.action {
            *after = follows;
        }
    }
}
