//! An image as the columns that a convolution multiplies, and back.

use super::conv2d::ConvGeometry;
use super::reach::Reach;
use super::vectorized;

/// The channels of one group as columns: `[c · kh · kw, oh · ow]`.
pub(super) fn unfold<'a>(
    image: &'a [f32],
    group: usize,
    g: &ConvGeometry,
    reaches: &[Vec<Reach>; 2],
    columns: &'a mut [f32],
) -> &'a [f32] {
    let area = g.input[1] * g.input[2];
    let channels = g.group_channels()[0];
    let image = &image[group * channels * area..][..channels * area];
    if g.pointwise() {
        return image;
    }
    let (pixels, taps) = (g.pixels().max(1), (g.kernel[0] * g.kernel[1]).max(1));
    let planes = image.chunks_exact(area.max(1));
    vectorized(
        #[inline(always)]
        || {
            for (plane, rows) in planes.zip(columns.chunks_exact_mut(taps * pixels)) {
                let rows = rows.chunks_exact_mut(pixels);
                let windows = reaches[0]
                    .iter()
                    .flat_map(|down| reaches[1].iter().map(move |across| (down, across)));
                for (row, (down, across)) in rows.zip(windows) {
                    unfold_tap(plane, g, down, across, row);
                }
            }
        },
    );
    columns
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

/// Adds columns back to the pixels they came from.
pub(super) fn fold(
    columns: &[f32],
    group: usize,
    g: &ConvGeometry,
    reaches: &[Vec<Reach>; 2],
    image: &mut [f32],
) {
    let area = g.input[1] * g.input[2];
    let channels = g.group_channels()[0];
    let image = &mut image[group * channels * area..][..channels * area];
    let (pixels, taps) = (g.pixels().max(1), (g.kernel[0] * g.kernel[1]).max(1));
    let planes = image.chunks_exact_mut(area.max(1));
    vectorized(
        #[inline(always)]
        || {
            for (plane, rows) in planes.zip(columns.chunks_exact(taps * pixels)) {
                let rows = rows.chunks_exact(pixels);
                let windows = reaches[0]
                    .iter()
                    .flat_map(|down| reaches[1].iter().map(move |across| (down, across)));
                for (row, (down, across)) in rows.zip(windows) {
                    fold_tap(row, g, down, across, plane);
                }
            }
        },
    );
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
