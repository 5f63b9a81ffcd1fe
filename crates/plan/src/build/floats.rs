//! f32 layers whose weights no node holds as they are packed: parts of other operators.

use super::Build;
use crate::PlanError;
use crate::choice::{Chosen, Question};
use crate::packed::{Form, Layer};
use secateur_kernels::KernelError;
use secateur_model::Node;
use std::sync::PoisonError;

impl Build<'_> {
    /// The layer in its cheaper form, by the name that plans for other shapes find it by.
    pub(super) fn choose_f32(
        &self,
        node: &Node,
        name: String,
        extents: (usize, usize, usize),
        pixels: usize,
        weights: &[f32],
        pack: impl Fn(Form) -> Result<Layer, KernelError>,
    ) -> Result<Chosen, PlanError> {
        let forms = self.planner.forms((name, None));
        let mut forms = forms.lock().unwrap_or_else(PoisonError::into_inner);
        let question = Question {
            costs: self.planner.costs(),
            isa: self.planner.isa(),
            integer: false,
            extents,
            pixels,
            moved_bytes: 0,
            network_bytes: self.planner.weight_bytes(),
        };
        let count = || weights.iter().filter(|w| **w != 0.0).count();
        question
            .choose(&mut forms, count, pack)
            .map_err(|e| Self::kernel_error(node, e))
    }
}
