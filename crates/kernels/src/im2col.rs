use std::ops::Range;

use crate::{
    KernelError, Window2d,
    error::{check_len, product},
    range::check_pixels,
};

/// Convolution as rows: turns an NHWC image into one row of operands an output pixel.
///
/// The k order of a row is (ky, kx, c) with the channels of one group, padded to `channels_padded`.
///
/// ```
/// use secateur_kernels::{Im2col, Window2d};
/// let window = Window2d::new([1, 3], 1, [1, 2]).fitted()?;
/// let im2col = Im2col::new(window, 1, 1)?;
/// let mut rows = [0u8; 4];
/// im2col.rows(&[7, 8, 9], 0, 0..2, 0, &mut rows)?;
/// assert_eq!(rows, [7, 8, 8, 9]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Im2col {
    window: Window2d,
    groups: usize,
    channels_padded: usize,
}

impl Im2col {
    /// Rows for a convolution of `groups` groups, each tap padded to `channels_padded` channels.
    ///
    /// # Errors
    /// When the groups do not divide the channels, the padding is too small, or a size overflows.
    pub fn new(
        window: Window2d,
        groups: usize,
        channels_padded: usize,
    ) -> Result<Self, KernelError> {
        window.check()?;
        if groups == 0 || !window.channels.is_multiple_of(groups) {
            return Err(KernelError::Parameter {
                what: "groups",
                reason: "needed a divisor of the channels",
            });
        }
        if channels_padded < window.channels / groups {
            return Err(KernelError::Length {
                what: "padded channels",
                needed: window.channels / groups,
                got: channels_padded,
            });
        }
        let cols = product("im2col", window.taps(), channels_padded)?;
        product("im2col", cols, window.pixels())?;
        Ok(Self {
            window,
            groups,
            channels_padded,
        })
    }

    /// Elements of a row: taps × padded channels.
    pub fn cols(&self) -> usize {
        self.window.taps() * self.channels_padded
    }

    /// The geometry.
    pub fn window(&self) -> &Window2d {
        &self.window
    }

    /// Whether a row is a pixel of the image as it lies there, so that no copy is needed.
    pub fn is_identity(&self) -> bool {
        self.window.taps() == 1
            && self.window.stride == [1; 2]
            && self.window.pads == [0; 4]
            && self.window.output == self.window.input
            && self.groups == 1
            && self.channels_padded == self.window.channels
    }

    /// Writes the rows of `pixels` of group `group`, `[pixels.len(), cols]`; `pad` (the zero point)
    /// stands for what lies outside of the image and in the padded channels.
    ///
    /// # Errors
    /// When a length does not match or a range is out of bounds.
    pub fn rows<T: Copy>(
        &self,
        image: &[T],
        group: usize,
        pixels: Range<usize>,
        pad: T,
        rows: &mut [T],
    ) -> Result<(), KernelError> {
        check_len("image", self.window.image_len(), image.len())?;
        check_pixels(&pixels, self.window.pixels())?;
        check_len("im2col rows", pixels.len() * self.cols(), rows.len())?;
        if group >= self.groups {
            return Err(KernelError::Length {
                what: "groups",
                needed: group.saturating_add(1),
                got: self.groups,
            });
        }
        if self.cols() == 0 {
            return Ok(());
        }
        let lines = self.window.kernel[1] * self.channels_padded;
        let inside = inside(lines);
        // A window of one line may have any dilation, which then means nothing.
        let pitch =
            (self.window.input[1] * self.window.channels).saturating_mul(self.window.dilation[0]);
        // Counted rather than divided: a short row costs less than a division.
        let width = self.window.output[1];
        let [mut oy, mut ox] = [pixels.start / width.max(1), pixels.start % width.max(1)];
        for row in rows.chunks_exact_mut(self.cols()) {
            let (top, left) = self.corner(oy, ox);
            ox += 1;
            if ox == width {
                [oy, ox] = [oy + 1, 0];
            }
            let whole = self.is_whole(left);
            if whole && self.is_tall(top) {
                let first = (top * self.window.input[1] + left) * self.window.channels;
                inside(row, &image[first..], lines, pitch);
                continue;
            }
            for (ky, line) in row.chunks_exact_mut(lines).enumerate() {
                let y = top.wrapping_add(ky * self.window.dilation[0]);
                if y >= self.window.input[0] {
                    line.fill(pad);
                } else if whole {
                    let first = (y * self.window.input[1] + left) * self.window.channels;
                    line.copy_from_slice(&image[first..first + line.len()]);
                } else {
                    self.line(image, group, y, left, pad, line);
                }
            }
        }
        Ok(())
    }

    /// Where the first tap of output pixel `oy`, `ox` lies, down and right; before the image as a
    /// negative number wrapped.
    #[inline(always)]
    fn corner(&self, oy: usize, ox: usize) -> (usize, usize) {
        let Window2d { stride, pads, .. } = self.window;
        (
            (oy * stride[0]).wrapping_sub(pads[0]),
            (ox * stride[1]).wrapping_sub(pads[1]),
        )
    }

    /// Whether the taps of a line from column `left` on lie in the image as they lie in a row.
    #[inline(always)]
    fn is_whole(&self, left: usize) -> bool {
        let right = left.wrapping_add(self.window.kernel[1] - 1);
        left < self.window.input[1]
            && right < self.window.input[1]
            && self.window.dilation[1] == 1
            && self.groups == 1
            && self.channels_padded == self.window.channels
    }

    /// Whether every line of taps from line `top` on lies in the image.
    #[inline(always)]
    fn is_tall(&self, top: usize) -> bool {
        let bottom = top.wrapping_add((self.window.kernel[0] - 1) * self.window.dilation[0]);
        top < self.window.input[0] && bottom < self.window.input[0]
    }

    /// A line of taps in image line `y`, tap by tap.
    fn line<T: Copy>(
        &self,
        image: &[T],
        group: usize,
        y: usize,
        left: usize,
        pad: T,
        line: &mut [T],
    ) {
        let channels = self.window.channels / self.groups;
        for (kx, to) in line.chunks_exact_mut(self.channels_padded).enumerate() {
            let x = left.wrapping_add(kx * self.window.dilation[1]);
            if x >= self.window.input[1] {
                to.fill(pad);
                continue;
            }
            let (values, padding) = to.split_at_mut(channels);
            let at = y * self.window.input[1] + x;
            let first = at * self.window.channels + group * channels;
            values.copy_from_slice(&image[first..first + channels]);
            padding.fill(pad);
        }
    }
}

/// Fills a row with the lines of taps, `length` elements each, that begin `pitch` elements apart in the
/// image.
type Inside<T> = fn(row: &mut [T], image: &[T], length: usize, pitch: usize);

/// How rows of lines of a length are filled: the short lines of one and three channels are copied as
/// values, since each would otherwise pay for a call.
fn inside<T: Copy>(length: usize) -> Inside<T> {
    match length {
        1 => lines::<T, 1>,
        3 => lines::<T, 3>,
        5 => lines::<T, 5>,
        7 => lines::<T, 7>,
        9 => lines::<T, 9>,
        15 => lines::<T, 15>,
        18 => lines::<T, 18>,
        21 => lines::<T, 21>,
        _ => |row, image, length, pitch| {
            for (to, from) in row.chunks_exact_mut(length).zip(image.chunks(pitch)) {
                to.copy_from_slice(&from[..length]);
            }
        },
    }
}

fn lines<T: Copy, const N: usize>(row: &mut [T], image: &[T], _: usize, pitch: usize) {
    let (lines, _) = row.as_chunks_mut::<N>();
    for (to, from) in lines.iter_mut().zip(image.chunks(pitch)) {
        if let Some(from) = from.first_chunk() {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_line_may_have_any_dilation() {
        let window = Window2d {
            dilation: [1 << (usize::BITS - 4), 1],
            ..Window2d::new([1, 16], 1, [1, 2])
        };
        let im2col = Im2col::new(window.fitted().unwrap(), 1, 1).unwrap();
        let image: Vec<u8> = (0..16).collect();
        let mut rows = [0; 4];
        im2col.rows(&image, 0, 3..5, 0, &mut rows).unwrap();
        assert_eq!(rows, [3, 4, 4, 5]);
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            input in [1usize..6, 1usize..6], kernel in [1usize..4, 1usize..4],
            stride in [1usize..3, 1usize..3], dilation in [1usize..3, 1usize..3],
            pads in [0usize..3, 0usize..3, 0usize..3, 0usize..3],
            groups in 1usize..3, per_group in 1usize..4, more in 0usize..3,
        ) {
            let channels = groups * per_group;
            let window = Window2d { stride, dilation, pads, ..Window2d::new(input, channels, kernel) };
            let Ok(window) = window.fitted() else { return Ok(()) };
            let image: Vec<u32> = (1..=window.image_len() as u32).collect();
            let im2col = Im2col::new(window, groups, per_group + more).unwrap();
            let from = window.pixels() / 2;
            let mut rows = vec![u32::MAX; (window.pixels() - from) * im2col.cols()];
            let group = groups - 1;
            im2col.rows(&image, group, from..window.pixels(), 0, &mut rows).unwrap();
            let mut expected = Vec::new();
            for pixel in from..window.pixels() {
                for ky in 0..kernel[0] {
                    for kx in 0..kernel[1] {
                        let y = (pixel / window.output[1] * stride[0] + ky * dilation[0]) as isize - pads[0] as isize;
                        let x = (pixel % window.output[1] * stride[1] + kx * dilation[1]) as isize - pads[1] as isize;
                        for c in 0..per_group + more {
                            let inside = (0..input[0] as isize).contains(&y) && (0..input[1] as isize).contains(&x) && c < per_group;
                            expected.push(if inside {
                                image[(y as usize * input[1] + x as usize) * channels + group * per_group + c]
                            } else { 0 });
                        }
                    }
                }
            }
            prop_assert_eq!(rows, expected);
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let window = Window2d::new([2, 2], 2, [1, 1]).fitted().unwrap();
        let im2col = Im2col::new(window, 2, 1).unwrap();
        assert!(im2col.rows(&[0; 8], 2, 0..1, 0, &mut [0; 1]).is_err());
        assert!(im2col.rows(&[0; 7], 0, 0..1, 0, &mut [0; 1]).is_err());
        assert!(im2col.rows(&[0; 8], 0, 3..5, 0, &mut [0; 2]).is_err());
        assert!(Im2col::new(window, 3, 1).is_err());
        assert!(Im2col::new(window, 1, 1).is_err());
        assert!(Im2col::new(window, 1, 2).unwrap().is_identity());
    }
}
