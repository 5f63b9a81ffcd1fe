//! Plans for the values of small inputs: what hangs on a sampling rate, a flag or a list of extents is known
//! by them, and stands in a plan instead of its tail.

use super::{Prepared, Session};
use crate::arena::bytes_of;
use secateur_model::{DType, Shape, Tensor};
use secateur_plan::Plan;
use std::sync::{Arc, PoisonError};

/// Plans for values that a session keeps; inputs of ever new values are left to the general plan.
const MAX_PLANS: usize = 8;

/// Most elements of an input whose values a plan may be made for.
const MAX_ELEMENTS: usize = 64;

/// Extents of all inputs, and the bytes of the small ones.
pub type Key = (Vec<Shape>, Vec<Vec<u8>>);

impl Session {
    /// The plan for the values of these inputs; `None` where it has no more steps than the general one.
    pub(super) fn valued(&self, inputs: &[&Tensor], general: &Plan) -> Option<Arc<Prepared>> {
        general.tail.as_ref()?;
        let small: Vec<bool> = inputs.iter().map(|input| is_small(input)).collect();
        if !small.contains(&true) && !self.planner.has_branches() {
            return None;
        }
        let shapes = inputs.iter().map(|input| input.shape().clone()).collect();
        let bytes = inputs.iter().zip(&small).map(|(input, &small)| {
            let bytes = bytes_of(input).filter(|_| small);
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
            .zip(small)
            .map(|(&input, small)| small.then(|| Arc::new(input.clone())))
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
        let plan = plan.plan_for(shapes, values, self.threads).ok()?;
        (plan.steps.len() > general.steps.len()).then(|| self.prepare(plan, planner))
    }
}

/// Whether an input is one that decides rather than one that is computed with.
fn is_small(input: &Tensor) -> bool {
    let decides = matches!(
        input.dtype(),
        DType::Bool | DType::I32 | DType::I64 | DType::U8 | DType::I8
    );
    decides && input.shape().elements() <= MAX_ELEMENTS
}
