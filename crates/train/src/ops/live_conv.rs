//! Convolution by a weight of which few filters and taps are left: only these are unfolded and
//! multiplied.

use super::buffer::{Scratch, zeros};
use super::conv2d::{ConvGeometry, ConvGradients, total};
use super::live::Live;
use super::matrix::{Into, Matrix, Parallelism, product, transpose};
use super::unfold::{fold_some, unfold_some};
use super::{group_of, sum_of, vectorized};
use rayon::prelude::*;

pub(super) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    g: &ConvGeometry,
    live: &Live,
) -> Vec<f32> {
    let (rows, taps, pixels) = (live.rows.len(), live.columns.len(), g.pixels().max(1));
    let (reaches, weight) = (g.reaches(), live.gather(weight));
    let group = group_of(g.images);
    let mut y = zeros(g.images * g.output_len());
    y.par_chunks_mut((group * g.output_len()).max(1))
        .zip(x.par_chunks((group * g.input_len()).max(1)))
        .for_each(|(ys, xs)| {
            let mut columns = Scratch::new(taps * pixels);
            let mut part = Scratch::new(rows * pixels);
            let images = ys.chunks_exact_mut(g.output_len().max(1));
            for (y, x) in images.zip(xs.chunks_exact(g.input_len().max(1))) {
                for (plane, &b) in y.chunks_exact_mut(pixels).zip(bias) {
                    plane.fill(b);
                }
                for (plane, &row) in part.chunks_exact_mut(pixels).zip(&live.rows) {
                    plane.fill(bias[row]);
                }
                unfold_some(x, &live.columns, g, &reaches, &mut columns);
                product(
                    &mut part,
                    Into::Add,
                    1.0,
                    Matrix::new(&weight, rows, taps),
                    Matrix::new(&columns, taps, pixels),
                    Parallelism::None,
                );
                for (plane, row) in part.chunks_exact(pixels).zip(&live.rows) {
                    y[row * pixels..][..pixels].copy_from_slice(plane);
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
    live: &Live,
    input: bool,
) -> ConvGradients {
    let (rows, taps, pixels) = (live.rows.len(), live.columns.len(), g.pixels().max(1));
    let (elements, reaches) = (weight.len(), g.reaches());
    let turned = transpose(&live.gather(weight), rows, taps);
    let group = group_of(g.images);
    let mut dx = zeros(if input { g.images * g.input_len() } else { 0 });
    let dx_groups: Vec<&mut [f32]> = match input {
        true => dx.chunks_mut((group * g.input_len()).max(1)).collect(),
        false => (0..g.images.div_ceil(group))
            .map(|_| <&mut [f32]>::default())
            .collect(),
    };
    let sums: Vec<[Vec<f32>; 2]> = dx_groups
        .into_par_iter()
        .zip(x.par_chunks((group * g.input_len()).max(1)))
        .zip(dy.par_chunks((group * g.output_len()).max(1)))
        .map(|((dxs, xs), dys)| {
            let mut dw = vec![0.0; taps * rows];
            let mut db = vec![0.0; g.output[0]];
            let mut columns = Scratch::new(taps * pixels);
            let mut part = Scratch::new(rows * pixels);
            let mut dcolumns = Scratch::new(if input { taps * pixels } else { 0 });
            let mut dx_images = dxs.chunks_exact_mut(g.input_len().max(1));
            let images = xs.chunks_exact(g.input_len().max(1));
            for (x, dy) in images.zip(dys.chunks_exact(g.output_len().max(1))) {
                vectorized(
                    #[inline(always)]
                    || {
                        for (b, plane) in db.iter_mut().zip(dy.chunks_exact(pixels)) {
                            *b += sum_of(plane, |v| v);
                        }
                    },
                );
                for (plane, row) in part.chunks_exact_mut(pixels).zip(&live.rows) {
                    plane.copy_from_slice(&dy[row * pixels..][..pixels]);
                }
                let dy = Matrix::new(&part, rows, pixels);
                unfold_some(x, &live.columns, g, &reaches, &mut columns);
                product(
                    &mut dw,
                    Into::Add,
                    1.0,
                    Matrix::new(&columns, taps, pixels),
                    dy.transposed(),
                    Parallelism::None,
                );
                if let Some(dx) = dx_images.next() {
                    let weight = Matrix::new(&turned, taps, rows);
                    product(&mut dcolumns, Into::Set, 1.0, weight, dy, Parallelism::None);
                    fold_some(&dcolumns, &live.columns, g, &reaches, dx);
                }
            }
            [dw, db]
        })
        .collect();
    let [dw, bias] = total(sums, [taps * rows, g.output[0]]);
    ConvGradients {
        input: input.then_some(dx),
        weight: live.scatter(&transpose(&dw, taps, rows), elements),
        bias,
    }
}

#[cfg(test)]
mod tests {
    use super::super::conv2d;
    use super::*;

    fn noise(count: usize, seed: usize) -> Vec<f32> {
        let term = |i: usize| ((i * 7919 + seed * 104_729) % 211) as f32 / 211.0 - 0.5;
        (0..count).map(term).collect()
    }

    #[test]
    fn what_is_left_out_is_what_is_zero() {
        let g = ConvGeometry {
            images: 3,
            input: [2, 7, 6],
            output: [4, 4, 3],
            kernel: [3, 3],
            stride: [2, 2],
            dilation: [1, 1],
            before: [1, 1],
            groups: 1,
        };
        let live = Live {
            rows: vec![0, 3],
            columns: vec![1, 4, 5, 17],
            width: 18,
        };
        let weight = live.scatter(&noise(8, 1), 4 * 18);
        let (x, bias) = (noise(3 * g.input_len(), 2), noise(4, 3));
        let close = |a: &[f32], b: &[f32]| {
            assert_eq!(a.len(), b.len());
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        };
        close(
            &forward(&x, &weight, &bias, &g, &live),
            &conv2d::forward(&x, &weight, &bias, &g),
        );
        let dy = noise(3 * g.output_len(), 4);
        for input in [false, true] {
            let found = backward(&x, &weight, &dy, &g, &live, input);
            let whole = conv2d::backward(&x, &weight, &dy, &g, input);
            close(&found.bias, &whole.bias);
            close(&live.gather(&found.weight), &live.gather(&whole.weight));
            close(
                &found.weight,
                &live.scatter(&live.gather(&whole.weight), 72),
            );
            assert_eq!(found.input.is_some(), input);
            if let (Some(found), Some(whole)) = (found.input, whole.input) {
                close(&found, &whole);
            }
        }
    }
}
