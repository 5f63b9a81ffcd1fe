//! Where the taps of a sliding window meet the input.

use std::ops::Range;

/// A window's walk along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    /// Elements of the input.
    pub input: usize,
    /// Positions of the window.
    pub output: usize,
    /// Taps of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Distance of the taps.
    pub dilation: usize,
    /// Padding before the first element.
    pub before: usize,
}

impl Axis {
    /// The reach of each tap.
    pub fn reaches(&self) -> Vec<Reach> {
        (0..self.kernel)
            .map(|tap| Reach::new(self, tap * self.dilation))
            .collect()
    }
}

/// Along one axis: for each tap of the window, the outputs that see the input
/// and where the first of them reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Outputs `from..to` lie inside.
    pub from: usize,
    pub to: usize,
    /// Input position of output `from`.
    pub first: usize,
}

impl Reach {
    /// Of the tap `offset` elements behind the window's first.
    fn new(axis: &Axis, offset: usize) -> Self {
        let &Axis {
            input,
            output,
            before,
            ..
        } = axis;
        let stride = axis.stride.max(1);
        let from = before.saturating_sub(offset).div_ceil(stride).min(output);
        let to = (input + before)
            .saturating_sub(offset)
            .div_ceil(stride)
            .clamp(from, output);
        Self {
            from,
            to,
            first: (from * stride + offset).saturating_sub(before),
        }
    }
}

/// Every tap's lines of outputs that see the input: the tap, the outputs'
/// positions in their plane, and where in its plane the first of them reads.
/// `widths` are those of an input and an output row, `stride` goes down.
#[inline(always)]
pub(super) fn each_line(
    [down, across]: &[Vec<Reach>; 2],
    [input_width, output_width]: [usize; 2],
    stride: usize,
    mut f: impl FnMut(usize, Range<usize>, usize),
) {
    for (ky, rows) in down.iter().enumerate() {
        for (kx, columns) in across.iter().enumerate() {
            // A tap that lies wholly in the padding reads nowhere.
            if columns.from == columns.to {
                continue;
            }
            for y in rows.from..rows.to {
                let row = rows.first + (y - rows.from) * stride;
                let line = y * output_width;
                f(
                    ky * across.len() + kx,
                    line + columns.from..line + columns.to,
                    row * input_width + columns.first,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_reaches_what_lies_inside() {
        for (input, output, stride, before, offset) in
            [(5, 5, 1, 1, 0), (7, 4, 2, 1, 2), (3, 6, 1, 2, 4)]
        {
            let axis = Axis {
                input,
                output,
                kernel: 1,
                stride,
                dilation: 1,
                before,
            };
            let reach = Reach::new(&axis, offset);
            for o in 0..output {
                let at = (o * stride + offset) as isize - before as isize;
                let inside = at >= 0 && (at as usize) < input;
                assert_eq!(inside, (reach.from..reach.to).contains(&o), "{input} {o}");
                if o == reach.from && inside {
                    assert_eq!(reach.first as isize, at);
                }
            }
        }
    }
}
