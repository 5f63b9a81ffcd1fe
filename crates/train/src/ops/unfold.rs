//! Images as the columns that a convolution multiplies, and back.

use super::conv2d::ConvGeometry;
use super::matrix::transpose;
use super::reach::Reach;
use super::vectorized;

/// What each output pixel of one group multiplies: `[oh · ow, c · kh · kw]`.
pub(crate) fn operands(image: &[f32], group: usize, g: &ConvGeometry) -> Vec<f32> {
    let mut columns = vec![0.0; g.taps() * g.pixels()];
    let columns = unfold(image, group, g, &g.reaches(), &mut columns);
    transpose(columns, g.taps(), g.pixels())
}

/// The channels of one group of several images as columns: `[c · kh · kw, images · oh ·
/// ow]`.
pub(super) fn unfold<'a>(
    images: &'a [f32],
    group: usize,
    g: &ConvGeometry,
    reaches: &[Vec<Reach>; 2],
    columns: &'a mut [f32],
) -> &'a [f32] {
    let (area, length) = (g.input[1] * g.input[2], g.input_len().max(1));
    let part = group * g.group_channels()[0] * area..(group + 1) * g.group_channels()[0] * area;
    let count = images.len() / length;
    if g.pointwise() && count == 1 {
        return &images[part];
    }
    let pixels = g.pixels().max(1);
    let wide = (count * pixels).max(1);
    let taps = (g.kernel[0] * g.kernel[1]).max(1);
    let columns = &mut columns[..g.taps() * wide];
    for (index, image) in images.chunks_exact(length).enumerate() {
        let planes = image[part.clone()].chunks_exact(area.max(1));
        let at = index * pixels..(index + 1) * pixels;
        vectorized(
            #[inline(always)]
            || {
                for (plane, rows) in planes.zip(columns.chunks_exact_mut(taps * wide)) {
                    let rows = rows.chunks_exact_mut(wide);
                    let windows = reaches[0]
                        .iter()
                        .flat_map(|down| reaches[1].iter().map(move |across| (down, across)));
                    for (row, (down, across)) in rows.zip(windows) {
                        unfold_tap(plane, g, down, across, &mut row[at.clone()]);
                    }
                }
            },
        );
    }
    columns
}

/// Some taps of an image as columns: `[taps, oh · ow]`; a tap is a row of all columns.
pub(super) fn unfold_some(
    image: &[f32],
    taps: &[usize],
    g: &ConvGeometry,
    reaches: &[Vec<Reach>; 2],
    columns: &mut [f32],
) {
    vectorized(
        #[inline(always)]
        || {
            for (&tap, row) in taps.iter().zip(columns.chunks_exact_mut(g.pixels().max(1))) {
                let (plane, down, across) = place(tap, g, reaches);
                unfold_tap(&image[plane..], g, down, across, row);
            }
        },
    );
}

/// Adds such columns back to the pixels they came from.
pub(super) fn fold_some(
    columns: &[f32],
    taps: &[usize],
    g: &ConvGeometry,
    reaches: &[Vec<Reach>; 2],
    image: &mut [f32],
) {
    vectorized(
        #[inline(always)]
        || {
            for (&tap, row) in taps.iter().zip(columns.chunks_exact(g.pixels().max(1))) {
                let (plane, down, across) = place(tap, g, reaches);
                fold_tap(row, g, down, across, &mut image[plane..]);
            }
        },
    );
}

/// Where the plane of a tap begins, and what it reaches there.
#[inline(always)]
fn place<'a>(
    tap: usize,
    g: &ConvGeometry,
    reaches: &'a [Vec<Reach>; 2],
) -> (usize, &'a Reach, &'a Reach) {
    let [high, wide] = g.kernel.map(|k| k.max(1));
    let (channel, of_channel) = (tap / (high * wide), tap % (high * wide));
    let plane = channel * g.input[1] * g.input[2];
    let [down, across] = reaches;
    (plane, &down[of_channel / wide], &across[of_channel % wide])
}

/// What one tap of the kernel sees of a plane.
#[inline(always)]
fn unfold_tap(plane: &[f32], g: &ConvGeometry, down: &Reach, across: &Reach, row: &mut [f32]) {
    let (w, ow) = (g.input[2], g.output[2].max(1));
    let seen = across.to - across.from;
    if seen == 0 {
        return row.fill(0.0);
    }
    row[..down.from * ow].fill(0.0);
    row[down.to * ow..].fill(0.0);
    let step = g.stride[0] * w;
    let mut at = down.first * w + across.first;
    for line in row[down.from * ow..down.to * ow].chunks_exact_mut(ow) {
        if seen < ow {
            line[..across.from].fill(0.0);
            line[across.to..].fill(0.0);
        }
        let line = &mut line[across.from..across.to];
        if g.stride[1] == 1 {
            copy(&plane[at..at + seen], line);
        } else {
            let strided = plane[at..].iter().step_by(g.stride[1]);
            line.iter_mut().zip(strided).for_each(|(l, s)| *l = *s);
        }
        at += step;
    }
}

/// Copies a line; short ones, which most are, without a call.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    const BLOCK: usize = 8;
    let blocks = (
        from.first_chunk::<BLOCK>(),
        from.last_chunk::<BLOCK>(),
        to.len() <= 2 * BLOCK,
    );
    if let (Some(first), Some(last), true) = blocks {
        // The two overlap where the line is no whole number of blocks.
        if let Some(to) = to.first_chunk_mut() {
            *to = *first;
        }
        if let Some(to) = to.last_chunk_mut() {
            *to = *last;
        }
    } else {
        to.copy_from_slice(from);
    }
}

/// Adds columns back to the pixels that they came from.
pub(super) fn fold(
    columns: &[f32],
    group: usize,
    g: &ConvGeometry,
    reaches: &[Vec<Reach>; 2],
    images: &mut [f32],
) {
    let (area, length) = (g.input[1] * g.input[2], g.input_len().max(1));
    let part = group * g.group_channels()[0] * area..(group + 1) * g.group_channels()[0] * area;
    let pixels = g.pixels().max(1);
    let wide = (images.len() / length * pixels).max(1);
    let taps = (g.kernel[0] * g.kernel[1]).max(1);
    for (index, image) in images.chunks_exact_mut(length).enumerate() {
        let planes = image[part.clone()].chunks_exact_mut(area.max(1));
        let at = index * pixels..(index + 1) * pixels;
        vectorized(
            #[inline(always)]
            || {
                for (plane, rows) in planes.zip(columns.chunks_exact(taps * wide)) {
                    let rows = rows.chunks_exact(wide);
                    let windows = reaches[0]
                        .iter()
                        .flat_map(|down| reaches[1].iter().map(move |across| (down, across)));
                    for (row, (down, across)) in rows.zip(windows) {
                        fold_tap(&row[at.clone()], g, down, across, plane);
                    }
                }
            },
        );
    }
}

/// The channels of one group of several results as a matrix: `[m, images · oh · ow]`.
pub(super) fn gather<'a>(
    results: &'a [f32],
    group: usize,
    g: &ConvGeometry,
    matrix: &'a mut [f32],
) -> &'a [f32] {
    let (pixels, m, length) = (
        g.pixels().max(1),
        g.group_channels()[1],
        g.output_len().max(1),
    );
    let part = group * m * pixels..(group + 1) * m * pixels;
    let count = results.len() / length;
    if count == 1 {
        return &results[part];
    }
    let matrix = &mut matrix[..m * count * pixels];
    for (index, result) in results.chunks_exact(length).enumerate() {
        let rows = matrix.chunks_exact_mut(count * pixels);
        for (row, plane) in rows.zip(result[part.clone()].chunks_exact(pixels)) {
            row[index * pixels..(index + 1) * pixels].copy_from_slice(plane);
        }
    }
    matrix
}

/// Adds such a matrix to the results.
pub(super) fn scatter(matrix: &[f32], group: usize, g: &ConvGeometry, results: &mut [f32]) {
    let (pixels, m, length) = (
        g.pixels().max(1),
        g.group_channels()[1],
        g.output_len().max(1),
    );
    let part = group * m * pixels..(group + 1) * m * pixels;
    let wide = (results.len() / length * pixels).max(1);
    for (index, result) in results.chunks_exact_mut(length).enumerate() {
        let rows = matrix.chunks_exact(wide);
        for (row, plane) in rows.zip(result[part.clone()].chunks_exact_mut(pixels)) {
            let row = &row[index * pixels..(index + 1) * pixels];
            plane.iter_mut().zip(row).for_each(|(p, r)| *p += r);
        }
    }
}

#[inline(always)]
fn fold_tap(row: &[f32], g: &ConvGeometry, down: &Reach, across: &Reach, plane: &mut [f32]) {
    let (w, ow) = (g.input[2], g.output[2].max(1));
    if across.from == across.to {
        return;
    }
    let seen = across.to - across.from;
    let step = g.stride[0] * w;
    let mut at = down.first * w + across.first;
    for line in row[down.from * ow..down.to * ow].chunks_exact(ow) {
        let line = &line[across.from..across.to];
        if g.stride[1] == 1 {
            let target = &mut plane[at..at + seen];
            target.iter_mut().zip(line).for_each(|(t, l)| *t += l);
        } else {
            let strided = plane[at..].iter_mut().step_by(g.stride[1]);
            strided.zip(line).for_each(|(t, l)| *t += l);
        }
        at += step;
    }
}
