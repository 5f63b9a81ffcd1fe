//! Matrix products whose operands are both computed.

use super::{Build, Cost};
use crate::PlanError;
use crate::plan::{Action, Choice, Layout, Product};
use secateur_kernels::{ProductF32, What};
use secateur_model::ops::TypedShape;
use secateur_model::{DType, Node, Op};

/// Most products of one node: where each begins is listed.
const MAX_PRODUCTS: usize = 1 << 20;

/// Which factor of a product a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// A factor as matrices: their batch, and the extents of each.
pub fn matrices(dims: &[usize], side: Side) -> (&[usize], [usize; 2]) {
    match (dims, side) {
        (&[k], Side::Left) => (&[], [1, k]),
        (&[k], Side::Right) => (&[], [k, 1]),
        ([batch @ .., rows, columns], _) => (batch, [*rows, *columns]),
        ([], _) => (&[], [1, 1]),
    }
}

impl Build<'_> {
    /// Adds the step of a MatMul of two tensors of f32 that are not both known;
    /// `false` for anything else.
    pub(super) fn product(
        &mut self,
        node: &Node,
        outputs: &[TypedShape],
    ) -> Result<bool, PlanError> {
        let (Op::MatMul, Some(a), Some(b), Some(y), [(DType::F32, shape)]) = (
            &node.op,
            node.input(0),
            node.input(1),
            node.output(0),
            outputs,
        ) else {
            return Ok(false);
        };
        let (of_a, of_b) = (self.shape_of_value(a)?, self.shape_of_value(b)?);
        let (batch_a, [rows, depth]) = matrices(of_a.dims(), Side::Left);
        let (batch_b, [_, columns]) = matrices(of_b.dims(), Side::Right);
        let batch = &shape.dims()[..batch_a.len().max(batch_b.len())];
        let count: usize = batch.iter().product();
        if node.inputs.len() != 2 || count > MAX_PRODUCTS || shape.elements() == 0 {
            return Ok(false);
        }
        let kernel = ProductF32::new(self.planner.isa(), depth, columns)
            .map_err(|e| Self::kernel_error(node, e))?;
        // Every thread packs the right matrices that it needs.
        let scratch_bytes = kernel
            .scratch_bytes()
            .checked_mul(self.threads)
            .ok_or(PlanError::ArenaOverflow)?;
        let macs = (shape.elements() as u64).saturating_mul(depth as u64);
        let cost = Cost {
            macs,
            nonzero_macs: macs,
            weight_bytes: 0,
            scratch_bytes,
            compute_us: macs as f64 / self.planner.costs().peak_gmacs(What::DenseF32) / 1e3,
        };
        let begin = |own: &[usize], each: usize| {
            let own = own.to_vec();
            move |index| each * broadcast_index(index, batch, &own)
        };
        let (left, right) = (
            begin(batch_a, rows * depth),
            begin(batch_b, depth * columns),
        );
        let factors = (0..count)
            .map(|index| [left(index), right(index)])
            .collect();
        let choice = Choice {
            kernel: kernel.kernel().name.into(),
            reason: "both factors are computed; the right one is packed each time".into(),
            refused: Vec::new(),
        };
        let inputs = vec![self.operand(Some(a))?, self.operand(Some(b))?];
        let to = self.define(y, DType::F32, shape, Layout::Plain)?;
        let action = Action::Product(Box::new(Product {
            kernel,
            factors,
            rows,
        }));
        self.step(&node.name, action, inputs, vec![to], choice, cost);
        Ok(true)
    }
}

/// The place of element `index` of a shape in a shape that broadcasts to it.
fn broadcast_index(index: usize, shape: &[usize], own: &[usize]) -> usize {
    let (mut rest, mut stride, mut at) = (index, 1, 0);
    for (axis, &extent) in shape.iter().enumerate().rev() {
        let place = rest % extent;
        rest /= extent;
        if let Some(&own) = (axis + own.len())
            .checked_sub(shape.len())
            .and_then(|a| own.get(a))
            && own == extent
        {
            at += place * stride;
            stride *= own;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_matrices_with_a_batch() {
        assert_eq!(matrices(&[5], Side::Left), (&[][..], [1, 5]));
        assert_eq!(matrices(&[5], Side::Right), (&[][..], [5, 1]));
        assert_eq!(matrices(&[2, 3, 5], Side::Left), (&[2][..], [3, 5]));
        let places = |own: &[usize]| -> Vec<usize> {
            (0..6).map(|i| broadcast_index(i, &[2, 3], own)).collect()
        };
        assert_eq!(places(&[2, 3]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(places(&[3]), [0, 1, 2, 0, 1, 2]);
        assert_eq!(places(&[2, 1]), [0, 0, 0, 1, 1, 1]);
        assert_eq!(places(&[]), [0; 6]);
    }
}
