//! Plans for the branches that are taken, and for the values of small inputs: what hangs on a sampling rate,
//! a flag or a list of extents is known by them, and stands in a plan instead of its tail.

use super::{Prepared, Session};
use crate::arena::bytes_of;
use secateur_model::{DType, Op, Shape, Tensor};
use secateur_plan::{Action, Plan};
use std::sync::{Arc, PoisonError};

/// Such plans that a session keeps; inputs of ever new values are left to the general plan.
const MAX_PLANS: usize = 16;

/// Most elements of an input whose values a plan may be made for.
const MAX_ELEMENTS: usize = 64;

/// Extents of all inputs, and the bytes of those that a plan is for.
pub type Key = (Vec<Shape>, Vec<Vec<u8>>);

impl Session {
    /// The plan for these inputs that leaves fewer choices to the reference than the general one, if there
    /// is one: for their extents alone where that is enough, else for the values of the small ones.
    pub(super) fn valued(&self, inputs: &[&Tensor], general: &Plan) -> Option<Arc<Prepared>> {
        if !has_choices(general) {
            return None;
        }
        let by_extents = match self.planner.has_branches() {
            true => self.plan_with(inputs, |_| false, general),
            false => None,
        };
        if by_extents.as_ref().is_some_and(|p| !has_choices(&p.plan)) {
            return by_extents;
        }
        let by_values = match inputs.iter().any(|input| is_small(input)) {
            true => self.plan_with(inputs, is_small, general),
            false => None,
        };
        by_values.or(by_extents)
    }

    /// The plan for the values of some inputs; `None` where it does no more than the general one.
    fn plan_with(
        &self,
        inputs: &[&Tensor],
        is_used: impl Fn(&Tensor) -> bool,
        general: &Plan,
    ) -> Option<Arc<Prepared>> {
        let shapes = inputs.iter().map(|input| input.shape().clone()).collect();
        let bytes = inputs.iter().map(|input| {
            let bytes = bytes_of(input).filter(|_| is_used(input));
            bytes.unwrap_or_default().to_vec()
        });
        let key = (shapes, bytes.collect());
        let mut plans = self.valued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = plans.get(&key) {
            return found.clone();
        }
        if plans.len() >= MAX_PLANS {
            return None;
        }
        let values: Vec<Option<Arc<Tensor>>> = inputs
            .iter()
            .map(|&input| is_used(input).then(|| Arc::new(input.clone())))
            .collect();
        let prepared = self.plan_values(&key.0, &values, general);
        plans.insert(key, prepared.clone());
        prepared
    }

    fn plan_values(
        &self,
        shapes: &[Shape],
        values: &[Option<Arc<Tensor>>],
        general: &Plan,
    ) -> Option<Arc<Prepared>> {
        // What cannot be planned is met where the general plan comes to it.
        let planner = self.planner.taking_branches(shapes, values).ok()?;
        let plan = planner.as_ref().unwrap_or(&self.planner);
        let plan = plan.plan_for(shapes, values, self.threads()).ok()?;
        (in_kernels(&plan) > in_kernels(general)).then(|| self.prepare(plan, planner))
    }
}

/// Whether the reference has to see how the network goes on.
fn has_choices(plan: &Plan) -> bool {
    let is_choice = |action: &Action| match action {
        Action::Reference(node) => matches!(node.op, Op::Control(_)),
        _ => false,
    };
    plan.tail.is_some() || plan.steps.iter().any(|step| is_choice(&step.action))
}

/// Steps that the reference has no part in.
fn in_kernels(plan: &Plan) -> usize {
    let is_reference = |action: &Action| matches!(action, Action::Reference(_));
    let steps = plan.steps.iter();
    steps.filter(|step| !is_reference(&step.action)).count()
}

/// Whether an input is one that decides rather than one that is computed with.
fn is_small(input: &Tensor) -> bool {
    let decides = matches!(
        input.dtype(),
        DType::Bool | DType::I32 | DType::I64 | DType::U8 | DType::I8
    );
    decides && input.shape().elements() <= MAX_ELEMENTS
}
