//! Pooling over windows of an image; planes in parallel.

use super::{Reach, elements, tensor_of};
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

/// The tensor library's entry to the poolings.
#[backend_extension(Flex, Autodiff)]
pub trait PoolOps: Backend {
    /// Elements of `x` at `sources`; each gradient goes back where its element
    /// came from.
    fn select(x: FloatTensor<Self>, sources: Sources) -> FloatTensor<Self>;
    /// Mean over each window.
    fn mean(x: FloatTensor<Self>, geometry: PoolGeometry, padded: bool) -> FloatTensor<Self>;
}

/// Where in its plane each output element comes from.
#[derive(Debug, Clone)]
pub struct Sources {
    positions: Arc<Vec<u32>>,
    /// Elements of an input and of an output plane.
    plane: [usize; 2],
}

/// The largest element of each window, padding left out; flat.
pub(crate) fn max_pool(x: Tensor<1>, g: PoolGeometry) -> Tensor<1> {
    let sources = Sources {
        positions: Arc::new(largest(x.clone(), &g)),
        plane: g.areas(),
    };
    Tensor::from_dispatch(<Dispatch as PoolOps>::select(x.into_dispatch(), sources))
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

fn largest(x: Tensor<1>, g: &PoolGeometry) -> Vec<u32> {
    let [area, out_area] = g.areas();
    let mut positions = vec![0u32; g.planes * out_area];
    let Ok(x) = x.inner().try_into_primitive::<Flex>() else {
        return positions;
    };
    let x = elements(&x);
    let [down, across] = [0, 1].map(|axis| g.spans(axis));
    let [dy, dx] = g.dilation.map(|d| d.max(1));
    positions
        .par_chunks_mut(out_area.max(1))
        .zip(x.par_chunks(area.max(1)))
        .for_each(|(positions, plane)| {
            let lines = positions.chunks_exact_mut(g.output[1].max(1));
            for (line, &(top, bottom)) in lines.zip(&down) {
                for (position, &(left, right)) in line.iter_mut().zip(&across) {
                    let mut best = f32::NEG_INFINITY;
                    *position = (top * g.input[1] + left) as u32;
                    for y in (top..bottom).step_by(dy) {
                        for at in (y * g.input[1] + left..y * g.input[1] + right).step_by(dx) {
                            if plane[at] > best {
                                best = plane[at];
                                *position = at as u32;
                            }
                        }
                    }
                }
            }
        });
    positions
}

impl PoolOps for Flex {
    fn select(x: FlexTensor, sources: Sources) -> FlexTensor {
        let x = elements(&x);
        let [area, out_area] = sources.plane.map(|p| p.max(1));
        let mut y = vec![0.0; sources.positions.len()];
        y.par_chunks_mut(out_area)
            .zip(sources.positions.par_chunks(out_area))
            .zip(x.par_chunks(area))
            .for_each(|((y, positions), plane)| {
                for (y, &at) in y.iter_mut().zip(positions) {
                    *y = plane[at as usize];
                }
            });
        let elements = y.len();
        tensor_of(y, &[elements])
    }

    fn mean(x: FlexTensor, g: PoolGeometry, padded: bool) -> FlexTensor {
        let x = elements(&x);
        let [area, out_area] = g.areas().map(|a| a.max(1));
        let shares = g.shares(padded);
        let mut y = vec![0.0; g.planes * out_area];
        y.par_chunks_mut(out_area)
            .zip(x.par_chunks(area))
            .for_each(|(y, plane)| {
                each_tap(&g, |out, at| y[out] += plane[at]);
                y.iter_mut().zip(&shares).for_each(|(y, s)| *y *= s);
            });
        let elements = y.len();
        tensor_of(y, &[elements])
    }
}

/// Every output element with every input element of its window.
fn each_tap(g: &PoolGeometry, mut f: impl FnMut(usize, usize)) {
    let reach = |axis: usize, tap: usize| {
        Reach::new(
            g.input[axis],
            g.output[axis],
            g.stride[axis],
            g.padding[axis].0,
            tap * g.dilation[axis],
        )
    };
    for ky in 0..g.kernel[0] {
        let down = reach(0, ky);
        for kx in 0..g.kernel[1] {
            let across = reach(1, kx);
            for y in down.from..down.to {
                let row = down.first + (y - down.from) * g.stride[0];
                for x in across.from..across.to {
                    let column = across.first + (x - across.from) * g.stride[1];
                    f(y * g.output[1] + x, row * g.input[1] + column);
                }
            }
        }
    }
}

impl<C: CheckpointStrategy> PoolOps for Autodiff<Flex, C> {
    fn select(x: FloatTensor<Self>, sources: Sources) -> FloatTensor<Self> {
        let node = x.node();
        let shape = x.primitive().layout().shape().to_vec();
        let output = Flex::select(x.into_primitive(), sources.clone());
        match Selection.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((shape, sources), output),
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
struct Selection;

impl Backward<Flex, 1> for Selection {
    type State = (Vec<usize>, Sources);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let dy = grads.consume::<Flex>(&ops.node);
        let [Some(node)] = ops.parents else { return };
        let (shape, sources) = ops.state;
        let dy = elements(&dy);
        let [area, out_area] = sources.plane.map(|p| p.max(1));
        let mut dx = vec![0.0; shape.iter().product()];
        dx.par_chunks_mut(area)
            .zip(dy.par_chunks(out_area))
            .zip(sources.positions.par_chunks(out_area))
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
        let shares = g.shares(padded);
        let mut dx = vec![0.0; shape.iter().product()];
        dx.par_chunks_mut(area)
            .zip(dy.par_chunks(out_area))
            .for_each(|(dx, dy)| each_tap(&g, |out, at| dx[at] += dy[out] * shares[out]));
        grads.register::<Flex>(node.id, tensor_of(dx, &shape));
    }
}
