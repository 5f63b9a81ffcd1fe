//! Slices by indices that are only known when the network runs, or that are at no
//! even distances.

use super::Build;
use super::place::axis_of;
use crate::PlanError;
use crate::plan::{Action, Layout};
use secateur_model::ops::TypedShape;
use secateur_model::{DType, Node, Op};

impl Build<'_> {
    /// Adds the step of a Gather; `false` for anything else.
    pub(super) fn gather(
        &mut self,
        node: &Node,
        outputs: &[TypedShape],
    ) -> Result<bool, PlanError> {
        let (Op::Gather { axis }, Some(x), Some(index), Some(y), [(dtype, shape)]) = (
            &node.op,
            node.input(0),
            node.input(1),
            node.output(0),
            outputs,
        ) else {
            return Ok(false);
        };
        let source = self.shape_of_value(x)?;
        let integers = matches!(self.described(index)?.0, DType::I64 | DType::I32);
        let halves = matches!(dtype, DType::F16 | DType::BF16);
        let (Some(axis), Some(size)) = (axis_of(*axis, source.rank()), dtype.size_bytes()) else {
            return Ok(false);
        };
        if !integers || halves {
            return Ok(false);
        }
        let inner: usize = source.dims()[axis + 1..].iter().product();
        let action = Action::Gather {
            extent: source.dims()[axis],
            bytes: inner * size,
        };
        let inputs = vec![self.operand(Some(x))?, self.operand(Some(index))?];
        let to = self.define(y, *dtype, shape, Layout::Plain)?;
        self.unweighted(&node.name, action, inputs, to, "gather");
        Ok(true)
    }
}
