//! Convolution by 3x3 kernels with a quarter of the multiplications: tiles of 4x4 results are
//! products of points (Winograd's minimal filtering F(4x4, 3x3); Lavin & Gray 2016).
//!
//! With `D` a tile of 6x6 inputs and `K` a kernel, the results are `Aᵀ[(G K Gᵀ) ⊙ (Bᵀ D B)]A`. Of many
//! tiles and channels the middle is a matrix product for each of the 36 points. Gradients go the
//! same way back through the transposed matrices, so they are those of what is computed.

mod lines;
mod tiles;

use super::buffer::{Scratch, zeros};
use super::conv2d::{ConvGeometry, ConvGradients};
use super::matrix::{Into, Matrix, Parallelism, product};
use super::{WIDTH, sum_of, vectorized};
use lines::{Gradient, Input, Kernel, Output, load, map, store};
use rayon::prelude::*;
use tiles::Tiles;

/// Results of a tile along an axis.
const TILE: usize = 4;

/// Inputs of a tile along an axis, and points.
const SPAN: usize = 6;

/// Products of a tile.
const POINTS: usize = SPAN * SPAN;

/// Taps of a kernel along an axis.
const KERNEL: usize = 3;

/// Taps of a kernel.
const TAPS: usize = KERNEL * KERNEL;

/// Tiles that are multiplied at once, about.
const WIDE: usize = 256;

/// Channels below which the products are too small to be worth it.
const CHANNELS: usize = 32;

/// Whether a convolution is one that this computes, and gains by it.
pub(super) fn suits(g: &ConvGeometry) -> bool {
    g.groups == 1
        && g.kernel == [KERNEL; 2]
        && g.stride == [1; 2]
        && g.dilation == [1; 2]
        && g.input[1..].iter().all(|&extent| extent > 0)
        && g.output[1..].iter().all(|&extent| extent >= TILE)
        && g.input[0].min(g.output[0]) >= CHANNELS
}

pub(super) fn forward(x: &[f32], weight: &[f32], bias: &[f32], g: &ConvGeometry) -> Vec<f32> {
    let (inputs, outputs) = (Tiles::of_input(g), Tiles::of_output(g));
    let ([c, m], block) = (g.group_channels(), block(g));
    let kernels = points_of(weight, c);
    let most = block * inputs.area();
    let mut points = Scratch::new(c * POINTS * apart(most));
    let mut results = Scratch::new(POINTS * apart(m * most));
    let mut y = zeros(g.images * g.output_len());
    let blocks = y.chunks_mut(block * g.output_len());
    for (ys, xs) in blocks.zip(x.chunks(block * g.input_len())) {
        let wide = xs.len() / g.input_len() * inputs.area();
        let points = &mut points[..c * POINTS * apart(wide)];
        let results = &mut results[..POINTS * apart(m * wide)];
        inputs.take::<Input, SPAN>(xs, points);
        each_point(results, m * wide, |point, results| {
            let kernels = matrix_of(&kernels, point, m, c);
            let points = matrix_of(points, point, c, wide);
            product(results, Into::Set, 1.0, kernels, points, Parallelism::None);
        });
        for y in ys.chunks_exact_mut(g.output_len()) {
            for (plane, &b) in y.chunks_exact_mut(g.pixels()).zip(bias) {
                plane.fill(b);
            }
        }
        outputs.give::<Output, TILE>(results, ys);
    }
    y
}

pub(super) fn backward(
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    g: &ConvGeometry,
    input: bool,
) -> ConvGradients {
    let (inputs, outputs) = (Tiles::of_input(g), Tiles::of_output(g));
    let ([c, m], block) = (g.group_channels(), block(g));
    let kernels = points_of(weight, c);
    let most = block * inputs.area();
    let [mut points, mut dresults] =
        [c, m].map(|channels| Scratch::new(channels * POINTS * apart(most)));
    let mut dpoints = Scratch::new(if input { POINTS * apart(c * most) } else { 0 });
    let mut dkernels = vec![0.0; POINTS * apart(m * c)];
    let mut dx = zeros(if input { g.images * g.input_len() } else { 0 });
    let mut dx_blocks = dx.chunks_mut(block * g.input_len());
    let blocks = x.chunks(block * g.input_len());
    for (xs, dys) in blocks.zip(dy.chunks(block * g.output_len())) {
        let wide = xs.len() / g.input_len() * inputs.area();
        let points = &mut points[..c * POINTS * apart(wide)];
        let dresults = &mut dresults[..m * POINTS * apart(wide)];
        inputs.take::<Input, SPAN>(xs, points);
        outputs.take::<Gradient<Output>, TILE>(dys, dresults);
        each_point(&mut dkernels, m * c, |point, dkernels| {
            let dresults = matrix_of(dresults, point, m, wide);
            let points = matrix_of(points, point, c, wide).transposed();
            product(
                dkernels,
                Into::Add,
                1.0,
                dresults,
                points,
                Parallelism::None,
            );
        });
        let Some(dx) = dx_blocks.next() else { continue };
        let dpoints = &mut dpoints[..POINTS * apart(c * wide)];
        each_point(dpoints, c * wide, |point, dpoints| {
            let kernels = matrix_of(&kernels, point, m, c).transposed();
            let dresults = matrix_of(dresults, point, m, wide);
            product(
                dpoints,
                Into::Set,
                1.0,
                kernels,
                dresults,
                Parallelism::None,
            );
        });
        inputs.give::<Gradient<Input>, SPAN>(dpoints, dx);
    }
    ConvGradients {
        input: input.then_some(dx),
        weight: gradient_of(&dkernels, [m, c]),
        bias: bias_gradient(dy, g),
    }
}

/// Images that are multiplied at once; depends on nothing but extents.
fn block(g: &ConvGeometry) -> usize {
    let tiles = Tiles::of_input(g).area();
    WIDE.div_ceil(tiles.max(1)).clamp(1, g.images.max(1))
}

/// How far points are from one another where each has so many elements: an odd number of cache lines,
/// since those a power of two apart would turn one another out of the cache.
fn apart(elements: usize) -> usize {
    const LINE: usize = 64 / size_of::<f32>();
    (elements.div_ceil(LINE) | 1) * LINE
}

/// Visits the parts of `[points, elements]`, points [apart], on all threads.
fn each_point(values: &mut [f32], elements: usize, visit: impl Fn(usize, &mut [f32]) + Sync) {
    let parts = values.par_chunks_exact_mut(apart(elements)).enumerate();
    parts.for_each(|(point, part)| visit(point, &mut part[..elements]));
}

/// One point of `[rows, points, columns]`, points [apart].
fn matrix_of(values: &[f32], point: usize, rows: usize, columns: usize) -> Matrix<'_> {
    let apart = apart(columns);
    Matrix::strided(&values[point * apart..], rows, columns, POINTS * apart)
}

/// Kernels as points: `[m, points, c]`, points [apart].
fn points_of(weight: &[f32], c: usize) -> Vec<f32> {
    let apart = apart(c);
    let mut points = vec![0.0; weight.len() / (TAPS * c).max(1) * POINTS * apart];
    let rows = points.par_chunks_exact_mut(POINTS * apart);
    rows.zip(weight.par_chunks_exact((TAPS * c).max(1)))
        .for_each(|(points, weight)| {
            vectorized(
                #[inline(always)]
                || {
                    for (index, kernels) in weight.chunks(TAPS * WIDTH).enumerate() {
                        let mut squares = [[[0.0; WIDTH]; KERNEL]; KERNEL];
                        for (lane, kernel) in kernels.chunks_exact(TAPS).enumerate() {
                            let taps = squares.as_flattened_mut().iter_mut();
                            taps.zip(kernel).for_each(|(to, tap)| to[lane] = *tap);
                        }
                        let at = index * WIDTH;
                        let squares = map::<Kernel, KERNEL, SPAN>(&squares);
                        store(&squares, &mut points[at..], apart, c - at);
                    }
                },
            );
        });
    points
}

/// Kernels' gradient `[m, c, 3, 3]` from that of their points, `[points, m, c]`, [apart].
fn gradient_of(points: &[f32], [m, c]: [usize; 2]) -> Vec<f32> {
    let mut weight = vec![0.0; m * c * TAPS];
    let rows = weight.par_chunks_exact_mut((TAPS * c).max(1)).enumerate();
    rows.for_each(|(row, weight)| {
        vectorized(
            #[inline(always)]
            || {
                for (index, kernels) in weight.chunks_mut(TAPS * WIDTH).enumerate() {
                    let at = index * WIDTH;
                    let squares = load::<SPAN>(&points[row * c + at..], apart(m * c), c - at);
                    let squares = map::<Gradient<Kernel>, SPAN, KERNEL>(&squares);
                    for (lane, kernel) in kernels.chunks_exact_mut(TAPS).enumerate() {
                        let taps = squares.as_flattened().iter();
                        kernel
                            .iter_mut()
                            .zip(taps)
                            .for_each(|(tap, from)| *tap = from[lane]);
                    }
                }
            },
        );
    });
    weight
}

/// The sum of each channel.
fn bias_gradient(dy: &[f32], g: &ConvGeometry) -> Vec<f32> {
    let channels = (0..g.output[0]).into_par_iter();
    let sum = |channel: usize| {
        let planes = dy
            .chunks_exact(g.pixels())
            .skip(channel)
            .step_by(g.output[0]);
        vectorized(
            #[inline(always)]
            || planes.map(|plane| sum_of(plane, |v| v)).sum(),
        )
    };
    channels.map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::super::conv2d;
    use super::*;

    fn noise(count: usize, seed: usize) -> Vec<f32> {
        let term = |i: usize| ((i * 7919 + seed * 104_729) % 211) as f32 / 211.0 - 0.5;
        (0..count).map(term).collect()
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        let largest = b.iter().fold(1.0f32, |most, v| most.max(v.abs()));
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-5 * largest, "{a} {b} of {largest}");
        }
    }

    #[test]
    fn results_and_gradients_are_those_of_columns() {
        for (images, [h, w], before, [oh, ow]) in [
            (1, [4, 4], [1, 1], [4, 4]),
            (3, [9, 6], [1, 1], [9, 6]),
            (17, [8, 13], [0, 0], [6, 11]),
            // Several blocks, the last of them smaller.
            (20, [16, 16], [1, 1], [16, 16]),
            (2, [7, 8], [0, 2], [5, 9]),
        ] {
            let g = ConvGeometry {
                images,
                input: [33, h, w],
                output: [35, oh, ow],
                kernel: [3, 3],
                stride: [1, 1],
                dilation: [1, 1],
                before,
                groups: 1,
            };
            assert!(suits(&g));
            let (x, bias) = (noise(images * g.input_len(), 2), noise(35, 3));
            let (weight, dy) = (noise(35 * 33 * 9, 1), noise(images * g.output_len(), 4));
            close(
                &forward(&x, &weight, &bias, &g),
                &conv2d::forward(&x, &weight, &bias, &g),
            );
            for input in [false, true] {
                let found = backward(&x, &weight, &dy, &g, input);
                let want = conv2d::backward(&x, &weight, &dy, &g, input);
                close(&found.bias, &want.bias);
                close(&found.weight, &want.weight);
                assert_eq!(found.input.is_some(), input);
                if let (Some(found), Some(want)) = (found.input, want.input) {
                    close(&found, &want);
                }
            }
        }
    }
}
