//! Convolution of each channel with its own kernel, tap by tap.

use super::buffer::zeros;
use super::conv2d::{ConvGeometry, ConvGradients, total};
use super::reach::{Reach, each_line};
use super::{dot, group_of, sum_of, vectorized};
use rayon::prelude::*;
use std::ops::Range;

pub(super) fn forward(x: &[f32], weight: &[f32], bias: &[f32], g: &ConvGeometry) -> Vec<f32> {
    let reaches = g.reaches();
    let (taps, pixels, area) = (g.taps().max(1), g.pixels().max(1), g.input[1] * g.input[2]);
    let (iw, ow) = (g.input[2], g.output[2]);
    let outputs = three(g, &reaches[1], |r| (r.from..r.to, r.first));
    let mut y = zeros(g.images * g.output_len());
    y.par_chunks_mut(g.output_len().max(1))
        .zip(x.par_chunks(g.input_len().max(1)))
        .for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || {
                    let planes = y.chunks_exact_mut(pixels).zip(x.chunks_exact(area.max(1)));
                    for (((y, x), w), &b) in planes.zip(weight.chunks_exact(taps)).zip(bias) {
                        y.fill(b);
                        if let Some(spans) = &outputs {
                            each_row(
                                g,
                                &reaches,
                                #[inline(always)]
                                |ky, out, at| {
                                    let w = &w[ky * 3..][..3];
                                    add_three(
                                        &mut y[out * ow..][..ow],
                                        &x[at * iw..][..iw],
                                        spans,
                                        w,
                                    );
                                },
                            );
                            continue;
                        }
                        each_tap(
                            g,
                            &reaches,
                            #[inline(always)]
                            |tap, out, at| {
                                add_scaled(&mut y[out.clone()], w[tap], &x[at..], g.stride[1]);
                            },
                        );
                    }
                },
            );
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
    let reaches = g.reaches();
    let (taps, pixels, area) = (g.taps().max(1), g.pixels().max(1), g.input[1] * g.input[2]);
    let group = group_of(g.images);
    let (iw, ow) = (g.input[2], g.output[2]);
    let inputs = three(g, &reaches[1], |r| {
        (r.first..r.first + r.to - r.from, r.from)
    });
    let dx = input.then(|| {
        let mut dx = zeros(g.images * g.input_len());
        dx.par_chunks_mut(g.input_len().max(1))
            .zip(dy.par_chunks(g.output_len().max(1)))
            .for_each(|(dx, dy)| {
                vectorized(
                    #[inline(always)]
                    || {
                        let planes = dx.chunks_exact_mut(area.max(1));
                        let planes = planes.zip(dy.chunks_exact(pixels));
                        for ((dx, dy), w) in planes.zip(weight.chunks_exact(taps)) {
                            if let Some(spans) = &inputs {
                                each_row(
                                    g,
                                    &reaches,
                                    #[inline(always)]
                                    |ky, out, at| {
                                        let w = &w[ky * 3..][..3];
                                        let dy = &dy[out * ow..][..ow];
                                        add_three(&mut dx[at * iw..][..iw], dy, spans, w);
                                    },
                                );
                                continue;
                            }
                            each_tap(
                                g,
                                &reaches,
                                #[inline(always)]
                                |tap, out, at| {
                                    scatter_scaled(&mut dx[at..], w[tap], &dy[out], g.stride[1]);
                                },
                            );
                        }
                    },
                );
            });
        dx
    });
    let sums: Vec<[Vec<f32>; 2]> = x
        .par_chunks((group * g.input_len()).max(1))
        .zip(dy.par_chunks((group * g.output_len()).max(1)))
        .map(|(xs, dys)| {
            let mut dw = vec![0.0; weight.len()];
            let mut db = vec![0.0; g.output[0]];
            let images = xs.chunks_exact(g.input_len().max(1));
            for (x, dy) in images.zip(dys.chunks_exact(g.output_len().max(1))) {
                vectorized(
                    #[inline(always)]
                    || {
                        let planes = x.chunks_exact(area.max(1)).zip(dy.chunks_exact(pixels));
                        let sums = dw.chunks_exact_mut(taps).zip(&mut db);
                        for ((x, dy), (dw, db)) in planes.zip(sums) {
                            *db += sum_of(dy, |v| v);
                            each_tap(
                                g,
                                &reaches,
                                #[inline(always)]
                                |tap, out, at| {
                                    dw[tap] += product(&dy[out], &x[at..], g.stride[1]);
                                },
                            );
                        }
                    },
                );
            }
            [dw, db]
        })
        .collect();
    let [weight, bias] = total(sums, [weight.len(), g.output[0]]);
    ConvGradients {
        input: dx,
        weight,
        bias,
    }
}

/// Where a tap adds along a line, and where on the other line it begins to read.
type Span = (Range<usize>, usize);

/// The spans of a kernel of three columns that moves one step at a time: the
/// usual one, whose taps share their loads and stores.
fn three(g: &ConvGeometry, across: &[Reach], span: impl Fn(&Reach) -> Span) -> Option<[Span; 3]> {
    match across {
        [a, b, c] if g.stride[1] == 1 => Some([span(a), span(b), span(c)]),
        _ => None,
    }
}

/// The rows of the kernel with the lines of output and input that they join.
#[inline(always)]
fn each_row(g: &ConvGeometry, reaches: &[Vec<Reach>; 2], mut f: impl FnMut(usize, usize, usize)) {
    for (ky, down) in reaches[0].iter().enumerate() {
        for y in down.from..down.to {
            f(ky, y, down.first + (y - down.from) * g.stride[0]);
        }
    }
}

/// Adds three taps to a line: together where all of them reach, one by one at
/// its ends.
#[inline(always)]
fn add_three(target: &mut [f32], source: &[f32], spans: &[Span; 3], w: &[f32]) {
    let start = spans.iter().map(|(to, _)| to.start).max().unwrap_or(0);
    let end = spans.iter().map(|(to, _)| to.end).min().unwrap_or(0);
    let end = end.max(start);
    for ((to, from), &w) in spans.iter().zip(w) {
        // A tap that lies wholly in the padding reads nowhere.
        if to.is_empty() {
            continue;
        }
        let head = to.start..start.clamp(to.start, to.end);
        let tail = end.clamp(head.end, to.end)..to.end;
        for part in [head, tail] {
            let seen = &source[from + part.start - to.start..];
            add_scaled(&mut target[part], w, seen, 1);
        }
    }
    if start == end {
        return;
    }
    let [a, b, c] = [0, 1, 2].map(|tap| {
        let (to, from) = &spans[tap];
        &source[from + start - to.start..][..end - start]
    });
    let sources = a.iter().zip(b).zip(c);
    for (t, ((a, b), c)) in target[start..end].iter_mut().zip(sources) {
        *t += w[0] * a + w[1] * b + w[2] * c;
    }
}

/// Calls `f` with each tap, its lines of outputs, and where they read.
#[inline(always)]
fn each_tap(
    g: &ConvGeometry,
    reaches: &[Vec<Reach>; 2],
    f: impl FnMut(usize, Range<usize>, usize),
) {
    each_line(reaches, [g.input[2], g.output[2]], g.stride[0], f);
}

#[inline(always)]
fn add_scaled(out: &mut [f32], weight: f32, x: &[f32], stride: usize) {
    if stride == 1 {
        out.iter_mut().zip(x).for_each(|(o, x)| *o += weight * x);
    } else {
        let strided = x.iter().step_by(stride);
        out.iter_mut()
            .zip(strided)
            .for_each(|(o, x)| *o += weight * x);
    }
}

#[inline(always)]
fn scatter_scaled(out: &mut [f32], weight: f32, dy: &[f32], stride: usize) {
    if stride == 1 {
        out.iter_mut().zip(dy).for_each(|(o, d)| *o += weight * d);
    } else {
        let strided = out.iter_mut().step_by(stride);
        strided.zip(dy).for_each(|(o, d)| *o += weight * d);
    }
}

#[inline(always)]
fn product(dy: &[f32], x: &[f32], stride: usize) -> f32 {
    if stride == 1 {
        dot(dy, &x[..dy.len()])
    } else {
        dy.iter()
            .zip(x.iter().step_by(stride))
            .map(|(d, x)| d * x)
            .sum()
    }
}
