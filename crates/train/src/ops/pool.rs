//! Pooling over windows of an image; planes in parallel.

use super::buffer::zeros;
use super::reach::{Axis, Reach, each_line};
use super::{elements, tensor_of, vectorized};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Extents of a pooling of `planes` images of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Images times channels.
    pub planes: usize,
    /// Height and width of a plane.
    pub input: [usize; 2],
    /// Height and width of a result.
    pub output: [usize; 2],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Distance of the window's taps.
    pub dilation: [usize; 2],
    /// Padding before and after, down and across.
    pub padding: [(usize, usize); 2],
}

/// The tensor library's entry to the poolings; results are flat.
#[backend_extension(Flex, Autodiff)]
pub trait PoolOps: Backend {
    /// The largest element of each window.
    fn maximum(x: FloatTensor<Self>, geometry: PoolGeometry) -> FloatTensor<Self>;
    /// The mean of each window.
    fn mean(x: FloatTensor<Self>, geometry: PoolGeometry, padded: bool) -> FloatTensor<Self>;
}

/// The largest element of each window, padding left out; flat.
pub(crate) fn max_pool(x: Tensor<1>, geometry: PoolGeometry) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as PoolOps>::maximum(x.into_dispatch(), geometry))
}

/// The mean of each window, with its padding counted as zeros or left out; flat.
pub(crate) fn average_pool(x: Tensor<1>, g: PoolGeometry, count_padding: bool) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as PoolOps>::mean(
        x.into_dispatch(),
        g,
        count_padding,
    ))
}

impl PoolGeometry {
    fn areas(&self) -> [usize; 2] {
        [self.input, self.output].map(|[h, w]| h * w)
    }

    /// Taps inside the input for output `at` of an axis: positions from, to, in
    /// steps of the dilation.
    fn span(&self, axis: usize, at: usize) -> (usize, usize) {
        let (start, before) = (at * self.stride[axis], self.padding[axis].0);
        let dilation = self.dilation[axis].max(1);
        let skipped = before.saturating_sub(start).div_ceil(dilation);
        let end = start + self.kernel[axis] * dilation;
        let from = start + skipped * dilation;
        (
            from.saturating_sub(before),
            end.saturating_sub(before).min(self.input[axis]),
        )
    }

    /// Whether every window sees at least one element.
    pub(crate) fn covered(&self) -> bool {
        [0, 1]
            .iter()
            .all(|&axis| self.spans(axis).iter().all(|(from, to)| from < to))
    }

    fn reaches(&self) -> [Vec<Reach>; 2] {
        [0, 1].map(|axis| {
            Axis {
                input: self.input[axis],
                output: self.output[axis],
                kernel: self.kernel[axis],
                stride: self.stride[axis],
                dilation: self.dilation[axis],
                before: self.padding[axis].0,
            }
            .reaches()
        })
    }

    /// Calls `f` with each tap's lines of outputs, and where they read.
    #[inline(always)]
    fn each_line(&self, reaches: &[Vec<Reach>; 2], mut f: impl FnMut(Range<usize>, usize)) {
        let widths = [self.input[1], self.output[1]];
        each_line(
            reaches,
            widths,
            self.stride[0],
            #[inline(always)]
            |_, out, at| f(out, at),
        );
    }

    fn spans(&self, axis: usize) -> Vec<(usize, usize)> {
        (0..self.output[axis])
            .map(|at| self.span(axis, at))
            .collect()
    }

    /// One divided by the elements that count in each output's window.
    fn shares(&self, count_padding: bool) -> Vec<f32> {
        let counts = [0, 1].map(|axis| -> Vec<usize> {
            let padded = self.input[axis] + self.padding[axis].0 + self.padding[axis].1;
            let dilation = self.dilation[axis].max(1);
            (0..self.output[axis])
                .map(|at| match count_padding {
                    // What ceil mode adds beyond the padding does not count.
                    true => (padded.saturating_sub(at * self.stride[axis]))
                        .div_ceil(dilation)
                        .min(self.kernel[axis]),
                    false => {
                        let (from, to) = self.span(axis, at);
                        to.saturating_sub(from).div_ceil(dilation)
                    }
                })
                .collect()
        });
        let down = counts[0].iter();
        down.flat_map(|h| counts[1].iter().map(move |w| 1.0 / (h * w).max(1) as f32))
            .collect()
    }
}

/// The largest elements and where in their plane they are. Of equals the first
/// in row-major order; a NaN loses to every number.
fn largest(x: &[f32], g: &PoolGeometry) -> (Vec<f32>, Vec<u32>) {
    let [area, out_area] = g.areas().map(|a| a.max(1));
    let mut values = vec![f32::NEG_INFINITY; g.planes * out_area];
    let mut positions = vec![0u32; g.planes * out_area];
    let reaches = g.reaches();
    values
        .par_chunks_mut(out_area)
        .zip(positions.par_chunks_mut(out_area))
        .zip(x.par_chunks(area))
        .for_each(|((values, positions), plane)| {
            vectorized(
                #[inline(always)]
                || {
                    g.each_line(
                        &reaches,
                        #[inline(always)]
                        |out, at| {
                            let (values, positions) =
                                (&mut values[out.clone()], &mut positions[out]);
                            // Known strides vectorize.
                            match g.stride[1] {
                                1 => raise(values, positions, &plane[at..], at, 1),
                                2 => raise(values, positions, &plane[at..], at, 2),
                                stride => raise(values, positions, &plane[at..], at, stride),
                            }
                        },
                    );
                },
            );
        });
    (values, positions)
}

/// Takes what is larger of every `stride`-th element, counted from `at`.
#[inline(always)]
fn raise(values: &mut [f32], positions: &mut [u32], plane: &[f32], at: usize, stride: usize) {
    let take = |value: &mut f32, position: &mut u32, x: f32, from: u32| {
        let larger = x > *value;
        *value = if larger { x } else { *value };
        *position = if larger { from } else { *position };
    };
    // The last element of a plane need not be followed by a whole stride.
    let (mut from, mut whole) = (at as u32, 0);
    let best = values.iter_mut().zip(positions.iter_mut());
    for ((value, position), part) in best.zip(plane.chunks_exact(stride)) {
        take(value, position, part[0], from);
        from += stride as u32;
        whole += 1;
    }
    if let (Some(value), Some(position)) = (values.get_mut(whole), positions.get_mut(whole)) {
        take(value, position, plane[whole * stride], from);
    }
}

impl PoolOps for Flex {
    fn maximum(x: FlexTensor, g: PoolGeometry) -> FlexTensor {
        let (values, _) = largest(&elements(&x), &g);
        let elements = values.len();
        tensor_of(values, &[elements])
    }

    fn mean(x: FlexTensor, g: PoolGeometry, padded: bool) -> FlexTensor {
        let x = elements(&x);
        let [area, out_area] = g.areas().map(|a| a.max(1));
        let (shares, reaches) = (g.shares(padded), g.reaches());
        let mut y = zeros(g.planes * out_area);
        y.par_chunks_mut(out_area)
            .zip(x.par_chunks(area))
            .for_each(|(y, plane)| {
                g.each_line(&reaches, |out, at| {
                    let seen = plane[at..].iter().step_by(g.stride[1]);
                    y[out].iter_mut().zip(seen).for_each(|(y, x)| *y += x);
                });
                y.iter_mut().zip(&shares).for_each(|(y, s)| *y *= s);
            });
        let elements = y.len();
        tensor_of(y, &[elements])
    }
}

impl<C: CheckpointStrategy> PoolOps for Autodiff<Flex, C> {
    fn maximum(x: FloatTensor<Self>, g: PoolGeometry) -> FloatTensor<Self> {
        let node = x.node();
        let x = x.into_primitive();
        let (values, positions) = largest(&elements(&x), &g);
        let outputs = values.len();
        let output = tensor_of(values, &[outputs]);
        match Maximum.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let shape = x.layout().shape().to_vec();
                prep.finish((shape, Arc::new(positions), g), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn mean(x: FloatTensor<Self>, geometry: PoolGeometry, padded: bool) -> FloatTensor<Self> {
        let node = x.node();
        let shape = x.primitive().layout().shape().to_vec();
        let output = Flex::mean(x.into_primitive(), geometry, padded);
        match Mean.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((shape, geometry, padded), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct Maximum;

impl Backward<Flex, 1> for Maximum {
    type State = (Vec<usize>, Arc<Vec<u32>>, PoolGeometry);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let dy = grads.consume::<Flex>(&ops.node);
        let [Some(node)] = ops.parents else { return };
        let (shape, positions, g) = ops.state;
        let dy = elements(&dy);
        let [area, out_area] = g.areas().map(|a| a.max(1));
        let mut dx = zeros(shape.iter().product());
        dx.par_chunks_mut(area)
            .zip(dy.par_chunks(out_area))
            .zip(positions.par_chunks(out_area))
            .for_each(|((dx, dy), positions)| {
                for (d, &at) in dy.iter().zip(positions) {
                    dx[at as usize] += d;
                }
            });
        grads.register::<Flex>(node.id, tensor_of(dx, &shape));
    }
}

#[derive(Debug)]
struct Mean;

impl Backward<Flex, 1> for Mean {
    type State = (Vec<usize>, PoolGeometry, bool);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let dy = grads.consume::<Flex>(&ops.node);
        let [Some(node)] = ops.parents else { return };
        let (shape, g, padded) = ops.state;
        let dy = elements(&dy);
        let [area, out_area] = g.areas().map(|a| a.max(1));
        let (shares, reaches) = (g.shares(padded), g.reaches());
        let mut dx = zeros(shape.iter().product());
        dx.par_chunks_mut(area)
            .zip(dy.par_chunks(out_area))
            .for_each(|(dx, dy)| {
                g.each_line(&reaches, |out, at| {
                    let seen = dx[at..].iter_mut().step_by(g.stride[1]);
                    let given = dy[out.clone()].iter().zip(&shares[out]);
                    seen.zip(given)
                        .for_each(|(dx, (dy, share))| *dx += dy * share);
                });
            });
        grads.register::<Flex>(node.id, tensor_of(dx, &shape));
    }
}
