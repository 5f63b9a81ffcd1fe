//! The rectifier, in place where nothing else reads what it is given; on all threads.

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

/// The tensor library's entry to the rectifier.
#[backend_extension(Flex, Autodiff)]
pub trait RectifyOps: Backend {
    /// What is not negative, 0 for the rest; NaN stays.
    fn rectify(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// `max(x, 0)`; NaN stays.
pub(crate) fn relu(x: Tensor<1>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as RectifyOps>::rectify(x.into_dispatch()))
}

/// Whether a value, or a gradient to it, goes through.
#[inline(always)]
fn passes(x: f32) -> bool {
    x > 0.0 || x.is_nan()
}

impl RectifyOps for Flex {
    fn rectify(x: FlexTensor) -> FlexTensor {
        let shape = x.layout().shape().to_vec();
        let mut values = into_elements(x);
        values.par_chunks_mut(CHUNK).for_each(|values| {
            vectorized(
                #[inline(always)]
                || {
                    for v in values {
                        *v = if passes(*v) { *v } else { 0.0 };
                    }
                },
            );
        });
        tensor_of(values, &shape)
    }
}

impl<C: CheckpointStrategy> RectifyOps for Autodiff<Flex, C> {
    fn rectify(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let output = Flex::rectify(x.into_primitive());
        match Rectifier.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(output.clone(), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct Rectifier;

impl Backward<Flex, 1> for Rectifier {
    type State = FlexTensor;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let y = ops.state;
        let dy = grads.consume::<Flex>(&ops.node);
        let Some(node) = node else { return };
        let mut dx = into_elements(dy);
        dx.par_chunks_mut(CHUNK)
            .zip(elements(&y).par_chunks(CHUNK))
            .for_each(|(dx, y)| {
                vectorized(
                    #[inline(always)]
                    || {
                        for (d, &y) in dx.iter_mut().zip(y) {
                            *d = if passes(y) { *d } else { 0.0 };
                        }
                    },
                );
            });
        grads.register::<Flex>(node.id, tensor_of(dx, &y.layout().shape().to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Value, to_vec};

    #[test]
    fn what_is_not_negative_passes_and_so_do_gradients_to_it() {
        let x = vec![-1.5f32, 0.0, 2.0, f32::NAN, -0.0, f32::INFINITY];
        let upstream = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        // In place, as nothing else has it.
        let alone = to_vec(relu(Value::new(x.clone(), &[6]).flat));
        let values = Value::parameter(x.clone(), &[6]);
        let y = relu(values.flat.clone());
        let found = to_vec(y.clone());
        assert_eq!(
            (found[0], found[1], found[2], found[5]),
            (0.0, 0.0, 2.0, f32::INFINITY)
        );
        assert!(found[3].is_nan() && found[4].to_bits() == 0);
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&alone), bits(&found));
        // What it was given is still there for others.
        assert_eq!(to_vec(values.flat.clone())[..3], x[..3]);

        let weights = Value::new(upstream.to_vec(), &[6]);
        let gradients = (y * weights.flat.autodiff()).sum().backward();
        let dx = values.flat.grad(&gradients).map(to_vec);
        assert_eq!(dx, Some(vec![0.0, 0.0, 3.0, 4.0, 0.0, 6.0]));
    }
}
