//! The sum of two values of equal extents, as of a residual block: written over one of them where nothing else
//! reads it; on all threads.

use super::{elements, into_elements, tensor_of, vectorized};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Elements that a thread takes at once.
const CHUNK: usize = 1 << 14;

/// The tensor library's entry to the sum.
#[backend_extension(Flex, Autodiff)]
pub trait SumOps: Backend {
    /// `a + b`, of equal extents.
    fn sum_of_two(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// `a + b`, of equal extents.
pub(crate) fn sum_of_two(a: Tensor<1>, b: Tensor<1>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as SumOps>::sum_of_two(
        a.into_dispatch(),
        b.into_dispatch(),
    ))
}

impl SumOps for Flex {
    fn sum_of_two(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        let shape = a.layout().shape().to_vec();
        // Addition commutes.
        let (to, from) = if a.is_unique() { (a, b) } else { (b, a) };
        let mut sums = into_elements(to);
        sums.par_chunks_mut(CHUNK)
            .zip(elements(&from).par_chunks(CHUNK))
            .for_each(|(sums, from)| {
                vectorized(
                    #[inline(always)]
                    || sums.iter_mut().zip(from).for_each(|(sum, v)| *sum += v),
                );
            });
        tensor_of(sums, &shape)
    }
}

impl<C: CheckpointStrategy> SumOps for Autodiff<Flex, C> {
    fn sum_of_two(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [a.node(), b.node()];
        let output = Flex::sum_of_two(a.into_primitive(), b.into_primitive());
        match Sum.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct Sum;

impl Backward<Flex, 2> for Sum {
    type State = ();

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let dy = grads.consume::<Flex>(&ops.node);
        for node in ops.parents.into_iter().flatten() {
            grads.register::<Flex>(node.id, dy.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Value, to_vec};

    #[test]
    fn gradients_go_to_both_and_what_is_read_again_stays() {
        let (a, b) = ([1.0f32, 2.0, 3.0], [0.5f32, -2.0, 4.0]);
        let (x, y) = (
            Value::parameter(a.to_vec(), &[3]),
            Value::parameter(b.to_vec(), &[3]),
        );
        // Twice the first: once as it was given, once of the sum.
        let sum = sum_of_two(sum_of_two(x.flat.clone(), y.flat.clone()), x.flat.clone());
        assert_eq!(to_vec(sum.clone()), [2.5, 2.0, 10.0]);
        assert_eq!(to_vec(x.flat.clone()), a);
        let gradients = sum.sum().backward();
        assert_eq!(x.flat.grad(&gradients).map(to_vec), Some(vec![2.0; 3]));
        assert_eq!(y.flat.grad(&gradients).map(to_vec), Some(vec![1.0; 3]));
        let kept = Value::new(a.to_vec(), &[3]).flat;
        assert_eq!(
            to_vec(sum_of_two(kept.clone(), kept.clone())),
            [2.0, 4.0, 6.0]
        );
        assert_eq!(to_vec(kept), a);
    }
}
