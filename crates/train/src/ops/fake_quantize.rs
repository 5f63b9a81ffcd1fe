//! Rounding to a grid of integers and back, with gradients for the values and for
//! the grid's step (LSQ: Esser et al. 2020).

use super::{elements, into_elements, tensor_of};
use crate::steps::step_slope;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Codes of a quantizer, counted from its zero point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Codes {
    /// The lowest and the highest.
    pub range: [f32; 2],
}

/// The tensor library's entry to the rounding.
#[backend_extension(Flex, Autodiff)]
pub trait QuantizeOps: Backend {
    /// `clamp(round(x / step)) · step`, one step for all.
    fn round_to(x: FloatTensor<Self>, step: FloatTensor<Self>, codes: Codes) -> FloatTensor<Self>;
}

/// `clamp(round_half_even(x / step), codes) · step`: the value that quantizing and
/// dequantizing gives. Straight through the rounding inside the range; nothing flows
/// to a value outside.
pub(crate) fn fake_quantize(x: Tensor<1>, step: Tensor<1>, codes: Codes) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as QuantizeOps>::round_to(
        x.into_dispatch(),
        step.into_dispatch(),
        codes,
    ))
}

/// Elements that are summed as one: the gradient of a step is the sum over the
/// chunks in order, on any number of threads.
const CHUNK: usize = 1 << 14;

impl Codes {
    fn of(self, ratio: f32) -> f32 {
        let [low, high] = self.range;
        match ratio.is_nan() {
            true => 0.0,
            false => ratio.round_ties_even().clamp(low, high),
        }
    }
}

fn step_of(step: &FlexTensor) -> f32 {
    elements(step).first().copied().unwrap_or(1.0)
}

impl QuantizeOps for Flex {
    fn round_to(x: FlexTensor, step: FlexTensor, codes: Codes) -> FlexTensor {
        let dims = x.layout().shape().to_vec();
        let step = step_of(&step);
        let mut values = into_elements(x);
        values.par_chunks_mut(CHUNK).for_each(|values| {
            for v in values {
                *v = codes.of(*v / step) * step;
            }
        });
        tensor_of(values, &dims)
    }
}

impl<C: CheckpointStrategy> QuantizeOps for Autodiff<Flex, C> {
    fn round_to(x: FloatTensor<Self>, step: FloatTensor<Self>, codes: Codes) -> FloatTensor<Self> {
        let nodes = [x.node(), step.node()];
        let (x, step) = (x.into_primitive(), step.into_primitive());
        let output = Flex::round_to(x.clone(), step.clone(), codes);
        match Rounding.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, step, codes), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct Rounding;

impl Backward<Flex, 2> for Rounding {
    type State = (FlexTensor, FlexTensor, Codes);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node, step_node] = ops.parents;
        let (x, step_tensor, codes) = ops.state;
        let step = step_of(&step_tensor);
        let mut dy = into_elements(grads.consume::<Flex>(&ops.node));
        let xs = elements(&x);
        let [low, high] = codes.range;
        let sums: Vec<f64> = dy
            .par_chunks_mut(CHUNK)
            .zip(xs.par_chunks(CHUNK))
            .map(|(dy, x)| {
                let mut sum = 0.0;
                for (d, &x) in dy.iter_mut().zip(x) {
                    let ratio = x / step;
                    sum += f64::from(*d * step_slope(ratio, codes.of(ratio), codes.range));
                    if !(low..=high).contains(&ratio) {
                        *d = 0.0;
                    }
                }
                sum
            })
            .collect();
        if let Some(node) = x_node {
            let dims = x.layout().shape().to_vec();
            grads.register::<Flex>(node.id, tensor_of(dy, &dims));
        }
        if let Some(node) = step_node {
            let sum = sums.iter().sum::<f64>() as f32;
            grads.register::<Flex>(node.id, tensor_of(vec![sum], &[1]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Value, to_vec};

    /// With the rounding's error at this point held fixed, the output is
    /// differentiable; its central differences are the gradients.
    #[test]
    fn gradients_are_those_of_the_held_rounding() {
        let codes = Codes {
            range: [-3.0, 12.0],
        };
        let (x, step) = (vec![-0.9f32, -0.34, 0.0, 0.07, 0.55, 1.23, 7.0], 0.2f32);
        let upstream = [0.5f32, -1.0, 2.0, 1.5, -0.7, 0.9, -0.4];
        let (values, s) = (
            Value::parameter(x.clone(), &[7]),
            Value::parameter(vec![step], &[1]),
        );
        let y = fake_quantize(values.flat.clone(), s.flat.clone(), codes);
        let weights = Value::new(upstream.to_vec(), &[7]);
        let mut gradients = (y.clone() * weights.flat).sum().backward();

        let y = to_vec(y.inner());
        for (y, x) in y.iter().zip(&x) {
            let code = (x / step).round_ties_even().clamp(-3.0, 12.0);
            assert_eq!(*y, code * step);
        }
        let clipped = |x: f32, s: f64| (f64::from(x) / s).clamp(-3.0, 12.0);
        let errors: Vec<f64> = x
            .iter()
            .zip(&y)
            .map(|(&x, &y)| f64::from(y / step) - clipped(x, f64::from(step)))
            .collect();
        let loss = |x: &[f32], s: f64| -> f64 {
            let terms = x.iter().zip(&errors).zip(&upstream);
            terms
                .map(|((&x, e), &u)| f64::from(u) * s * (clipped(x, s) + e))
                .sum()
        };
        let wide = f64::from(step);
        let slope = (loss(&x, wide + 1e-5) - loss(&x, wide - 1e-5)) / 2e-5;
        let found = to_vec(s.flat.grad_remove(&mut gradients).unwrap());
        assert!(
            (f64::from(found[0]) - slope).abs() < 1e-4,
            "{found:?} {slope}"
        );
        let found = to_vec(values.flat.grad_remove(&mut gradients).unwrap());
        for i in 0..x.len() {
            let moved = |by: f32| {
                let mut x = x.clone();
                x[i] += by;
                loss(&x, wide)
            };
            let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            assert!(
                (f64::from(found[i]) - slope).abs() < 1e-3,
                "{i}: {} {slope}",
                found[i]
            );
        }
    }
}
