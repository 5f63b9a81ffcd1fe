//! The layers of a plan, packed once all are known: side by side, and each in the form that costs
//! less.

use super::Build;
use crate::PlanError;
use crate::choice::{Chosen, Question};
use crate::draft::{Arithmetic, Fused};
use crate::integer::Integers;
use crate::layer::Linear;
use crate::packed::{Form, IntegerLayer, pack_f32, pack_i8};
use crate::plan::{Action, Operands};
use crate::weights::Weights;
use rayon::prelude::*;
use secateur_kernels::KernelError;
use secateur_model::{ModelError, Node};
use std::sync::PoisonError;

/// A multiplying layer whose step lacks its packed weights.
pub struct Packing<'p> {
    /// The step.
    pub step: usize,
    /// The node that it computes.
    pub node: &'p Node,
    /// Its weights.
    pub linear: Linear<'p>,
    /// What it computes beyond its operator.
    pub fused: Fused,
    /// The image whose channels-last order the layer's columns follow.
    pub image: Option<[usize; 3]>,
    /// Groups of channels.
    pub groups: usize,
    /// Rows that it multiplies.
    pub pixels: usize,
    /// How the operands of a convolution may lie.
    pub operands: Option<Lie>,
}

/// How the operands of a convolution may lie.
#[derive(Debug, Clone, Copy)]
pub struct Lie {
    /// As rows.
    pub rows: Operands,
    /// As lines of the image, for kernels that read patches.
    pub lines: Option<Operands>,
    /// Bytes of an operand.
    pub item: usize,
}

impl Build<'_> {
    /// Packs what lacks packing, on all threads of the pool that this runs in.
    pub(super) fn pack_layers(&mut self) -> Result<(), PlanError> {
        let packings = std::mem::take(&mut self.packings);
        let chosen = packings
            .par_iter()
            // A large layer shall not wait behind small ones in one thread.
            .with_max_len(1)
            .map(|packing| self.pack(packing))
            .collect::<Result<Vec<Chosen>, PlanError>>()?;
        packings
            .iter()
            .zip(chosen)
            .try_for_each(|(packing, chosen)| self.complete(packing, chosen))
    }

    /// The layer in its cheaper form: the one there is from an earlier plan, or a new one.
    fn pack(&self, packing: &Packing<'_>) -> Result<Chosen, PlanError> {
        let Packing {
            node,
            linear,
            fused,
            ..
        } = packing;
        let isa = self.planner.isa();
        let extents = (linear.outputs(), linear.depth(), packing.groups);
        let forms = self.planner.forms((node.name.clone(), packing.image));
        let mut forms = forms.lock().unwrap_or_else(PoisonError::into_inner);
        let question = |integer| Question {
            costs: self.planner.costs(),
            isa,
            integer,
            extents,
            pixels: packing.pixels,
            moved_bytes: self.steps[packing.step].bytes,
            network_bytes: self.planner.weight_bytes(),
        };
        let count = || linear.nonzeros();
        let chosen = match fused.arithmetic {
            Arithmetic::Float | Arithmetic::Codes(_) => {
                question(false).choose(&mut forms, count, |form| {
                    let weights = Weights::floats(linear, form)?;
                    pack_f32(isa, &weights, linear.bias.as_deref(), extents, fused.clamp)
                })
            }
            Arithmetic::Integer { x, y } => {
                let integers = Integers::derive(linear, x, y, fused.clamp)
                    .map_err(|why| ModelError::unsupported(node, why))?;
                let numbers = IntegerLayer {
                    integers: &integers,
                    x,
                    y,
                    clamp: fused.clamp,
                };
                question(true).choose(&mut forms, count, |form| {
                    let weights = packing.codes(form)?;
                    pack_i8(isa, &weights, extents, packing.line(), &numbers)
                })
            }
        };
        chosen.map_err(|e| Self::kernel_error(node, e))
    }

    /// Gives a step its layer, and the working memory that the layer's kernel needs.
    fn complete(&mut self, packing: &Packing<'_>, chosen: Chosen) -> Result<(), PlanError> {
        let Chosen {
            layer,
            choice,
            predicted_us,
        } = chosen;
        let operands = packing.operands.map(|lie| {
            let lines = lie.lines.filter(|_| layer.reads_patches());
            (lines.unwrap_or(lie.rows), lie.item)
        });
        if let Some((operands, item)) = operands {
            // Every thread has its own working memory, on its own cache lines.
            let bytes = operands
                .scratch()
                .saturating_mul(item)
                .checked_next_multiple_of(64)
                .and_then(|each| each.checked_mul(self.threads))
                .ok_or(PlanError::ArenaOverflow)?;
            self.add_scratch(packing.step, bytes);
        }
        let step = &mut self.steps[packing.step];
        step.macs = products(&[packing.pixels, layer.outputs, layer.depth]);
        step.nonzero_macs = products(&[packing.pixels, layer.nonzeros]);
        step.weight_bytes = layer.bytes();
        step.bytes = step.bytes.saturating_add(layer.bytes() as u64);
        step.choice = choice;
        step.predicted_us = Some(predicted_us);
        match (&mut step.action, operands) {
            (
                Action::Conv {
                    layer: to,
                    operands: way,
                    ..
                },
                Some((operands, _)),
            ) => {
                (*to, *way) = (layer, operands);
            }
            (Action::MatMul { layer: to, .. }, _) => *to = layer,
            _ => {}
        }
        Ok(())
    }
}

impl Packing<'_> {
    /// Operands side by side.
    fn line(&self) -> usize {
        match self.operands {
            Some(Lie {
                lines: Some(Operands::Lines { slab, .. }),
                ..
            }) => slab.line(),
            _ => self.linear.depth(),
        }
    }

    /// The codes, `[outputs, depth]`, in the order of the operands.
    fn codes(&self, form: Form) -> Result<Weights<i8>, KernelError> {
        let codes = Weights::codes(&self.linear, form)?;
        match self.image {
            // One pixel's channels lie the same either way.
            None | Some([_, 1, 1]) => Ok(codes),
            Some(image) => codes.of_image(image),
        }
    }
}

/// How many products there are; no more than can be counted, of extents whose outputs no machine
/// holds.
pub fn products(factors: &[usize]) -> u64 {
    factors
        .iter()
        .fold(1, |product, &factor| product.saturating_mul(factor as u64))
}
