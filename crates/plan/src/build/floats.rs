//! f32 layers whose weights no node holds as they are packed: parts of other operators.

use super::Build;
use crate::PlanError;
use crate::choice::{Chosen, Question};
use crate::draft::Clamp;
use crate::packed::{Form, pack_f32};
use crate::weights::Weights;
use secateur_kernels::Nonzeros;
use secateur_model::Node;
use std::sync::PoisonError;

/// Such a layer.
pub(super) struct FloatLayer<'a> {
    /// `[outputs, depth]`, groups one behind the other.
    pub weights: &'a [f32],
    /// One for each output.
    pub bias: Option<&'a [f32]>,
    /// Outputs, depth and groups.
    pub extents: (usize, usize, usize),
    /// Bounds of an output.
    pub clamp: Clamp,
}

impl Build<'_> {
    /// The layer in its cheaper form for so many pixels, by the name that plans for other shapes find
    /// it by.
    pub(super) fn choose_f32(
        &self,
        node: &Node,
        name: String,
        pixels: usize,
        layer: &FloatLayer<'_>,
    ) -> Result<Chosen, PlanError> {
        let forms = self.planner.forms((name, None));
        let mut forms = forms.lock().unwrap_or_else(PoisonError::into_inner);
        let FloatLayer {
            weights,
            bias,
            extents,
            clamp,
        } = *layer;
        let isa = self.planner.isa();
        let question = Question {
            costs: self.planner.costs(),
            isa,
            integer: false,
            extents,
            pixels,
            moved_bytes: 0,
            network_bytes: self.planner.weight_bytes(),
        };
        let count = || weights.iter().filter(|w| **w != 0.0).count();
        let chosen = question.choose(&mut forms, count, |form| {
            let weights = match form {
                Form::Dense => Weights::Dense(weights.to_vec()),
                Form::Sparse => Weights::Sparse(Nonzeros::of(weights, extents.0, extents.1)?),
            };
            pack_f32(isa, &weights, bias, extents, clamp)
        });
        chosen.map_err(|e| Self::kernel_error(node, e))
    }
}
