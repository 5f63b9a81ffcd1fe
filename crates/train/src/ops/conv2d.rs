//! Convolution: images are unfolded into columns (im2col; Chellapilla et al. 2006)
//! and multiplied, small ones several at once; groups of them in parallel.

use super::buffer::{Scratch, zeros};
use super::live::Live;
use super::matrix::{Into, Matrix, Parallelism, product, transpose};
use super::reach::{Axis, Reach};
use super::unfold::{fold, gather, scatter, unfold};
use super::{depthwise, elements, group_of, live_conv, sum_of, tensor_of, vectorized, winograd};
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

/// Columns that make a product worth its while.
const WIDE: usize = 256;

/// Extents of a convolution of `[images, c, h, w]` with `[m, c / groups, kh, kw]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Images in the batch.
    pub images: usize,
    /// Channels, height, width of an image.
    pub input: [usize; 3],
    /// Channels, height, width of a result.
    pub output: [usize; 3],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Distance of the kernel's taps.
    pub dilation: [usize; 2],
    /// Zeros before the first row and column.
    pub before: [usize; 2],
    /// Channel groups that do not see each other.
    pub groups: usize,
}

impl ConvGeometry {
    /// Elements of an image.
    pub(super) fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    /// Elements of a result.
    pub(super) fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    /// Elements of a result's channel.
    pub(super) fn pixels(&self) -> usize {
        self.output[1] * self.output[2]
    }

    /// Input and output channels of a group.
    pub(super) fn group_channels(&self) -> [usize; 2] {
        [self.input[0], self.output[0]].map(|c| c / self.groups.max(1))
    }

    /// Rows of the unfolded image: taps that one output element sums.
    pub(super) fn taps(&self) -> usize {
        self.group_channels()[0] * self.kernel[0] * self.kernel[1]
    }

    /// Reach of the kernel's rows and columns.
    pub(super) fn reaches(&self) -> [Vec<Reach>; 2] {
        [0, 1].map(|axis| {
            Axis {
                input: self.input[axis + 1],
                output: self.output[axis + 1],
                kernel: self.kernel[axis],
                stride: self.stride[axis],
                dilation: self.dilation[axis],
                before: self.before[axis],
            }
            .reaches()
        })
    }

    /// Whether an image is its own unfolding.
    pub(super) fn pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.input[1..] == self.output[1..]
    }

    /// Images, of a group of so many, that are multiplied at once: a product of few
    /// columns would read its weights for little.
    fn block(&self, group: usize) -> usize {
        WIDE.div_ceil(self.pixels().max(1)).clamp(1, group.max(1))
    }

    /// Elements of so many images' columns, where they are not the images themselves.
    fn columns(&self, block: usize) -> usize {
        match self.pointwise() && block == 1 {
            true => 0,
            false => self.taps() * block * self.pixels(),
        }
    }

    fn depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.input[0] && self.groups == self.output[0]
    }
}

/// Gradients of a convolution; `input` only where it was asked for.
pub(super) struct ConvGradients {
    pub input: Option<Vec<f32>>,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// The tensor library's entry to the convolution.
#[backend_extension(Flex, Autodiff)]
pub trait ConvOps: Backend {
    /// `[images, m, oh, ow]`.
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: ConvGeometry,
        live: Option<Arc<Live>>,
    ) -> FloatTensor<Self>;
}

/// Convolution with a bias for each output channel. Extents must agree with
/// the geometry. Only the `live` rows and columns of the weight are not zero, and have gradients.
pub(crate) fn conv2d(
    x: Tensor<1>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    geometry: ConvGeometry,
    live: Option<Arc<Live>>,
) -> Tensor<4> {
    let live = live.filter(|_| geometry.groups == 1);
    Tensor::from_dispatch(<Dispatch as ConvOps>::convolve(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        geometry,
        live,
    ))
}

impl ConvOps for Flex {
    fn convolve(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        g: ConvGeometry,
        live: Option<Arc<Live>>,
    ) -> FlexTensor {
        let (x, weight, bias) = (elements(&x), elements(&weight), elements(&bias));
        let values = match live {
            Some(live) => live_conv::forward(&x, &weight, &bias, &g, &live),
            None if g.depthwise() => depthwise::forward(&x, &weight, &bias, &g),
            None if winograd::suits(&g) => winograd::forward(&x, &weight, &bias, &g),
            None => forward(&x, &weight, &bias, &g),
        };
        let [m, h, w] = g.output;
        tensor_of(values, &[g.images, m, h, w])
    }
}

impl<C: CheckpointStrategy> ConvOps for Autodiff<Flex, C> {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: ConvGeometry,
        live: Option<Arc<Live>>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let (bias, kept) = (bias.into_primitive(), live.clone());
        let output = Flex::convolve(x.clone(), weight.clone(), bias, geometry, kept);
        match Convolution.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weight, geometry, live), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct Convolution;

impl Backward<Flex, 3> for Convolution {
    type State = (FlexTensor, FlexTensor, ConvGeometry, Option<Arc<Live>>);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let (x, weight, g, live) = ops.state;
        let dy = grads.consume::<Flex>(&ops.node);
        let (xs, ws, dys) = (elements(&x), elements(&weight), elements(&dy));
        let input = x_node.is_some();
        let found = match live {
            Some(live) => live_conv::backward(&xs, &ws, &dys, &g, &live, input),
            None if g.depthwise() => depthwise::backward(&xs, &ws, &dys, &g, input),
            None if winograd::suits(&g) => winograd::backward(&xs, &ws, &dys, &g, input),
            None => backward(&xs, &ws, &dys, &g, input),
        };
        // Gradients have the shapes of what they belong to.
        let shaped = |values, like: &FlexTensor| tensor_of(values, &like.layout().shape().to_vec());
        if let (Some(node), Some(values)) = (x_node, found.input) {
            grads.register::<Flex>(node.id, shaped(values, &x));
        }
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, shaped(found.weight, &weight));
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, tensor_of(found.bias, &[g.output[0]]));
        }
    }
}

pub(super) fn forward(x: &[f32], weight: &[f32], bias: &[f32], g: &ConvGeometry) -> Vec<f32> {
    let (taps, pixels, [_, m]) = (g.taps(), g.pixels(), g.group_channels());
    let reaches = g.reaches();
    let mut y = zeros(g.images * g.output_len());
    let group = group_of(g.images);
    let block = g.block(group);
    let (input, output) = (g.input_len().max(1), g.output_len().max(1));
    y.par_chunks_mut(group * output)
        .zip(x.par_chunks(group * input))
        .for_each(|(ys, xs)| {
            let mut columns = Scratch::new(g.columns(block));
            let mut result = Scratch::new(if block > 1 { m * block * pixels } else { 0 });
            let blocks = ys.chunks_mut(block * output);
            for (ys, xs) in blocks.zip(xs.chunks(block * input)) {
                let wide = xs.len() / input * pixels;
                for y in ys.chunks_exact_mut(output) {
                    for (plane, &b) in y.chunks_exact_mut(pixels.max(1)).zip(bias) {
                        plane.fill(b);
                    }
                }
                for index in 0..g.groups {
                    let columns = unfold(xs, index, g, &reaches, &mut columns);
                    let weight = Matrix::new(&weight[index * m * taps..][..m * taps], m, taps);
                    let columns = Matrix::new(columns, taps, wide);
                    if wide == pixels {
                        let y = &mut ys[index * m * pixels..][..m * pixels];
                        product(y, Into::Add, 1.0, weight, columns, Parallelism::None);
                    } else {
                        let result = &mut result[..m * wide];
                        product(result, Into::Set, 1.0, weight, columns, Parallelism::None);
                        scatter(result, index, g, ys);
                    }
                }
            }
        });
    y
}

pub(super) fn backward(
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    g: &ConvGeometry,
    input: bool,
) -> ConvGradients {
    let (taps, pixels, [_, m]) = (g.taps(), g.pixels(), g.group_channels());
    let reaches = g.reaches();
    let group = group_of(g.images);
    let block = g.block(group);
    let (in_length, out_length) = (g.input_len().max(1), g.output_len().max(1));
    // Taps first: both products then read their operands in order.
    let turned: Vec<f32> = weight
        .chunks_exact((m * taps).max(1))
        .flat_map(|w| transpose(w, m, taps))
        .collect();
    let mut dx = zeros(if input { g.images * g.input_len() } else { 0 });
    let dx_groups: Vec<&mut [f32]> = if input {
        dx.chunks_mut(group * in_length).collect()
    } else {
        (0..g.images.div_ceil(group))
            .map(|_| <&mut [f32]>::default())
            .collect()
    };
    let sums: Vec<[Vec<f32>; 2]> = dx_groups
        .into_par_iter()
        .zip(x.par_chunks(group * in_length))
        .zip(dy.par_chunks(group * out_length))
        .map(|((dxs, xs), dys)| {
            let mut dw = vec![0.0; weight.len()];
            let mut db = vec![0.0; g.output[0]];
            let mut columns = Scratch::new(g.columns(block));
            let mut dcolumns = Scratch::new(if input { taps * block * pixels } else { 0 });
            let mut gathered = Scratch::new(if block > 1 { m * block * pixels } else { 0 });
            let mut dx_blocks = dxs.chunks_mut(block * in_length);
            let blocks = xs.chunks(block * in_length);
            for (xs, dys) in blocks.zip(dys.chunks(block * out_length)) {
                let mut dx = dx_blocks.next();
                let wide = xs.len() / in_length * pixels;
                vectorized(
                    #[inline(always)]
                    || {
                        for dy in dys.chunks_exact(out_length) {
                            for (b, plane) in db.iter_mut().zip(dy.chunks_exact(pixels.max(1))) {
                                *b += sum_of(plane, |v| v);
                            }
                        }
                    },
                );
                for index in 0..g.groups {
                    let dy = Matrix::new(gather(dys, index, g, &mut gathered), m, wide);
                    let columns = unfold(xs, index, g, &reaches, &mut columns);
                    let part = index * m * taps..(index + 1) * m * taps;
                    product(
                        &mut dw[part.clone()],
                        Into::Add,
                        1.0,
                        Matrix::new(columns, taps, wide),
                        dy.transposed(),
                        Parallelism::None,
                    );
                    if let Some(dx) = &mut dx {
                        let weight = Matrix::new(&turned[part], taps, m);
                        let dcolumns = &mut dcolumns[..taps * wide];
                        product(dcolumns, Into::Set, 1.0, weight, dy, Parallelism::None);
                        fold(dcolumns, index, g, &reaches, dx);
                    }
                }
            }
            [dw, db]
        })
        .collect();
    let [dw, bias] = total(sums, [weight.len(), g.output[0]]);
    let weight = dw
        .chunks_exact((m * taps).max(1))
        .flat_map(|w| transpose(w, taps, m))
        .collect();
    ConvGradients {
        input: input.then_some(dx),
        weight,
        bias,
    }
}

/// The groups' sums, added in order.
pub(super) fn total(parts: Vec<[Vec<f32>; 2]>, lengths: [usize; 2]) -> [Vec<f32>; 2] {
    let mut parts = parts.into_iter();
    let mut sums = parts
        .next()
        .unwrap_or_else(|| lengths.map(|length| vec![0.0; length]));
    let rest: Vec<[Vec<f32>; 2]> = parts.collect();
    for (which, sum) in sums.iter_mut().enumerate() {
        let chunks = sum.par_chunks_mut(CHUNK).enumerate();
        chunks.for_each(|(index, sum)| {
            let (from, to) = (index * CHUNK, index * CHUNK + sum.len());
            for part in &rest {
                let part = &part[which][from..to];
                sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
            }
        });
    }
    sums
}

/// Elements that one thread adds up.
const CHUNK: usize = 1 << 14;
