//! Normalisation by the batch's own statistics (Ioffe & Szegedy 2015): two
//! passes over the batch forward, two backward.

use super::buffer::zeros;
use super::{dot, elements, into_elements, sum_of, tensor_of, vectorized};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;
use std::sync::Arc;

/// Mean and biased variance of each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Means.
    pub mean: Vec<f32>,
    /// Mean squares of what is left without the mean.
    pub variance: Vec<f32>,
}

/// How a batch `[images, channels, pixels]` is normalised.
#[derive(Debug, Clone)]
pub struct Normalization {
    /// Elements of a channel of one image.
    pixels: usize,
    moments: Arc<Moments>,
    /// Keeps the division finite.
    epsilon: f32,
}

/// The tensor library's entry to the normalisation.
#[backend_extension(Flex, Autodiff)]
pub trait NormOps: Backend {
    /// `(x − mean) / √(variance + ε) · scale + bias`; the gradient counts that
    /// mean and variance are the batch's.
    fn normalize(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        by: Normalization,
    ) -> FloatTensor<Self>;
}

/// Statistics of a batch of `[channels, pixels]` images.
pub(crate) fn moments(x: Tensor<1>, channels: usize, pixels: usize) -> Moments {
    let empty = || Moments {
        mean: vec![0.0; channels],
        variance: vec![0.0; channels],
    };
    let Ok(x) = x.inner().try_into_primitive::<Flex>() else {
        return empty();
    };
    let x = elements(&x);
    if channels * pixels == 0 || x.is_empty() {
        return empty();
    }
    let (mean, variance) = (0..channels)
        .into_par_iter()
        .map(|channel| {
            // Each plane about its own mean, then joined (Chan et al. 1983).
            let (mut count, mut mean, mut squares) = (0.0f64, 0.0f64, 0.0f64);
            for plane in x.chunks_exact(pixels).skip(channel).step_by(channels) {
                let (plane_mean, plane_squares) = vectorized(
                    #[inline(always)]
                    || {
                        let mean = sum_of(plane, |v| v) / pixels as f32;
                        (mean, sum_of(plane, |v| (v - mean) * (v - mean)))
                    },
                );
                let n = pixels as f64;
                let delta = f64::from(plane_mean) - mean;
                let all = count + n;
                mean += delta * n / all;
                squares += f64::from(plane_squares) + delta * delta * count * n / all;
                count = all;
            }
            (mean as f32, (squares / count.max(1.0)) as f32)
        })
        .unzip();
    Moments { mean, variance }
}

/// Normalises `x`, a batch of `[channels, pixels]` images, by its own `moments`.
pub(crate) fn batch_norm(
    x: Tensor<1>,
    scale: Tensor<1>,
    bias: Tensor<1>,
    moments: Arc<Moments>,
    pixels: usize,
    epsilon: f32,
) -> Tensor<1> {
    let by = Normalization {
        pixels,
        moments,
        epsilon,
    };
    Tensor::from_dispatch(<Dispatch as NormOps>::normalize(
        x.into_dispatch(),
        scale.into_dispatch(),
        bias.into_dispatch(),
        by,
    ))
}

impl Normalization {
    fn channels(&self) -> usize {
        self.moments.mean.len()
    }

    /// `1 / √(variance + ε)`.
    fn inverse_deviation(&self) -> Vec<f32> {
        let variance = self.moments.variance.iter();
        variance
            .map(|v| (v + self.epsilon).sqrt().recip())
            .collect()
    }

    fn image(&self) -> usize {
        (self.channels() * self.pixels).max(1)
    }
}

impl NormOps for Flex {
    fn normalize(
        x: FlexTensor,
        scale: FlexTensor,
        bias: FlexTensor,
        by: Normalization,
    ) -> FlexTensor {
        let shape = x.layout().shape().to_vec();
        let (x, scale, bias) = (elements(&x), elements(&scale), elements(&bias));
        let affine: Vec<[f32; 2]> = by
            .inverse_deviation()
            .iter()
            .zip(scale.iter().zip(bias.iter()))
            .zip(&by.moments.mean)
            .map(|((inverse, (s, b)), mean)| [s * inverse, b - s * inverse * mean])
            .collect();
        let mut y = zeros(x.len());
        y.par_chunks_mut(by.image())
            .zip(x.par_chunks(by.image()))
            .for_each(|(y, x)| {
                let planes = y.chunks_exact_mut(by.pixels.max(1));
                let planes = planes.zip(x.chunks_exact(by.pixels.max(1)));
                vectorized(
                    #[inline(always)]
                    || {
                        for ((y, x), &[a, b]) in planes.zip(&affine) {
                            y.iter_mut().zip(x).for_each(|(y, x)| *y = a * x + b);
                        }
                    },
                );
            });
        tensor_of(y, &shape)
    }
}

impl<C: CheckpointStrategy> NormOps for Autodiff<Flex, C> {
    fn normalize(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        by: Normalization,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), scale.node(), bias.node()];
        let (x, scale) = (x.into_primitive(), scale.into_primitive());
        let output = Flex::normalize(x.clone(), scale.clone(), bias.into_primitive(), by.clone());
        match BatchNorm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, scale, by), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct BatchNorm;

impl Backward<Flex, 3> for BatchNorm {
    type State = (FlexTensor, FlexTensor, Normalization);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node, scale_node, bias_node] = ops.parents;
        let (x, scale, by) = ops.state;
        let dy = grads.consume::<Flex>(&ops.node);
        let (xs, scales, dy) = (elements(&x), elements(&scale), into_elements(dy));
        let inverse = by.inverse_deviation();
        let sums = sums(&xs, &dy, &by, &inverse);
        if let Some(node) = x_node {
            let dx = input_gradient(&xs, dy, &scales, &by, &inverse, &sums);
            grads.register::<Flex>(node.id, tensor_of(dx, &x.layout().shape().to_vec()));
        }
        for (node, index) in [(bias_node, 0), (scale_node, 1)] {
            if let Some(node) = node {
                let values = sums.iter().map(|s| s[index]).collect();
                grads.register::<Flex>(node.id, tensor_of(values, &[sums.len()]));
            }
        }
    }
}

/// For each channel `Σ dy` and `Σ dy · x̂`: the gradients of bias and scale.
fn sums(x: &[f32], dy: &[f32], by: &Normalization, inverse: &[f32]) -> Vec<[f32; 2]> {
    let (channels, pixels) = (by.channels(), by.pixels.max(1));
    (0..channels)
        .into_par_iter()
        .map(|channel| {
            let mean = f64::from(by.moments.mean[channel]);
            let (mut plain, mut weighted) = (0.0f64, 0.0f64);
            let planes = x.chunks_exact(pixels).zip(dy.chunks_exact(pixels));
            for (x, dy) in planes.skip(channel).step_by(channels) {
                let [sum, product] = vectorized(
                    #[inline(always)]
                    || [sum_of(dy, |v| v), dot(dy, x)],
                );
                plain += f64::from(sum);
                weighted += f64::from(product);
            }
            let weighted = (weighted - mean * plain) * f64::from(inverse[channel]);
            [plain as f32, weighted as f32]
        })
        .collect()
}

/// `scale / σ · (dy − mean(dy) − x̂ · mean(dy · x̂))`, as `a·dy + b·x + c` for
/// each channel, written over `dy`.
fn input_gradient(
    x: &[f32],
    mut dy: Vec<f32>,
    scale: &[f32],
    by: &Normalization,
    inverse: &[f32],
    sums: &[[f32; 2]],
) -> Vec<f32> {
    let pixels = by.pixels.max(1);
    let count = (x.len() / by.channels().max(1)).max(1) as f32;
    let factors: Vec<[f32; 3]> = (0..by.channels())
        .map(|channel| {
            let [plain, weighted] = sums[channel];
            let a = scale[channel] * inverse[channel];
            let b = -a * inverse[channel] * weighted / count;
            let c = -a * plain / count - b * by.moments.mean[channel];
            [a, b, c]
        })
        .collect();
    dy.par_chunks_mut(by.image())
        .zip(x.par_chunks(by.image()))
        .for_each(|(dy, x)| {
            let planes = dy.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels));
            vectorized(
                #[inline(always)]
                || {
                    for ((dy, x), &[a, b, c]) in planes.zip(&factors) {
                        dy.iter_mut()
                            .zip(x)
                            .for_each(|(d, x)| *d = a * *d + b * x + c);
                    }
                },
            );
        });
    dy
}
