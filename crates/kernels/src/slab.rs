use std::ops::Range;

use crate::{
    KernelError, Patches, Window2d, error::check_len, patches::SLACK, range::check_pixels,
};

/// Convolution in place: some rows of the image with their padding around them, in which kernels find
/// the taps of every pixel as [`Patches`].  Copies an image about once, where
/// [`Im2col`](crate::Im2col) copies it once a tap.
///
/// ```
/// use secateur_kernels::{Slab, Window2d};
/// let window = Window2d { pads: [0, 1, 0, 1], ..Window2d::new([1, 3], 1, [1, 3]) }.fitted()?;
/// let slab = Slab::new(window).expect("taps lie side by side");
/// let mut lines = vec![0u8; slab.len(1)];
/// slab.fill(&[7, 8, 9], 0..1, 0, &mut lines)?;
/// assert_eq!(lines[..5], [0, 7, 8, 9, 0]);
/// assert_eq!(slab.patches(&lines, 1)?.pixels(), 3);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slab {
    window: Window2d,
}

impl Slab {
    /// Slabs for a convolution that sees all channels; `None` where the taps of a line do not lie side by
    /// side, or there are no channels.
    pub fn new(window: Window2d) -> Option<Self> {
        let side_by_side = window.dilation[1] == 1 || window.kernel[1] == 1;
        (side_by_side && window.channels > 0 && window.check().is_ok()).then_some(Self { window })
    }

    /// The geometry.
    pub fn window(&self) -> &Window2d {
        &self.window
    }

    /// Operands that lie side by side: a line of taps.
    pub fn line(&self) -> usize {
        self.window.kernel[1] * self.window.channels
    }

    /// Elements of a slab for `rows` rows of the output.
    pub fn len(&self, rows: usize) -> usize {
        self.lines(rows)
            .saturating_mul(self.pitch())
            .saturating_add(SLACK)
    }

    /// Whether the image itself serves as the slab of all rows.
    pub fn is_image(&self) -> bool {
        self.window.pads == [0; 4]
            && self.width() <= self.window.input[1]
            && self.lines(self.window.output[0]) <= self.window.input[0]
            && self.line() >= SLACK
            && self.line().is_multiple_of(4)
    }

    /// Columns of a slab.
    fn width(&self) -> usize {
        self.window.output[1].saturating_sub(1) * self.window.stride[1] + self.window.kernel[1]
    }

    /// Elements of a line of a slab.
    fn pitch(&self) -> usize {
        self.width() * self.window.channels
    }

    /// Lines of a slab for `rows` rows of the output.
    fn lines(&self, rows: usize) -> usize {
        let Window2d {
            stride,
            kernel,
            dilation,
            ..
        } = self.window;
        match rows {
            0 => 0,
            _ => (rows - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1,
        }
    }

    /// Copies what rows `rows` of the output need, `pad` (the zero point) around it.
    ///
    /// # Errors
    /// When a length does not match or a range is out of bounds.
    pub fn fill<T: Copy>(
        &self,
        image: &[T],
        rows: Range<usize>,
        pad: T,
        slab: &mut [T],
    ) -> Result<(), KernelError> {
        check_len("image", self.window.image_len(), image.len())?;
        check_pixels(&rows, self.window.output[0])?;
        check_len("slab", self.len(rows.len()), slab.len())?;
        let Window2d {
            input: [height, width],
            channels,
            stride,
            pads,
            ..
        } = self.window;
        let left = (pads[1] * channels).min(self.pitch());
        let length = (width * channels).min(self.pitch() - left);
        let count = self.lines(rows.len());
        for (n, line) in slab.chunks_exact_mut(self.pitch()).take(count).enumerate() {
            let y = (rows.start * stride[0] + n).wrapping_sub(pads[0]);
            if y >= height {
                line.fill(pad);
                continue;
            }
            let (before, rest) = line.split_at_mut(left);
            let (inside, behind) = rest.split_at_mut(length);
            before.fill(pad);
            inside.copy_from_slice(&image[y * width * channels..][..length]);
            behind.fill(pad);
        }
        Ok(())
    }

    /// The pixels of `rows` rows of the output, of a slab that was filled for them.
    ///
    /// # Errors
    /// When the length does not match.
    pub fn patches<'a, T>(
        &self,
        slab: &'a [T],
        rows: usize,
    ) -> Result<Patches<'a, T>, KernelError> {
        check_len("slab", self.len(rows), slab.len())?;
        Ok(self.over(slab, rows, self.pitch(), true))
    }

    /// The pixels of rows `rows` of the output, where they lie in the image.
    ///
    /// # Errors
    /// When the image does not serve as a slab, or a length does not match.
    pub fn patches_of_image<'a, T>(
        &self,
        image: &'a [T],
        rows: Range<usize>,
    ) -> Result<Patches<'a, T>, KernelError> {
        if !self.is_image() {
            return Err(KernelError::Parameter {
                what: "slab",
                reason: "the image needs padding",
            });
        }
        check_len("image", self.window.image_len(), image.len())?;
        check_pixels(&rows, self.window.output[0])?;
        let pitch = self.window.input[1] * self.window.channels;
        let first = rows.start * self.window.stride[0] * pitch;
        let rest = image.get(first..).unwrap_or_default();
        Ok(self.over(rest, rows.len(), pitch, false))
    }

    fn over<'a, T>(
        &self,
        data: &'a [T],
        rows: usize,
        pitch: usize,
        is_roomy: bool,
    ) -> Patches<'a, T> {
        let Window2d {
            channels,
            kernel,
            stride,
            dilation,
            output,
            ..
        } = self.window;
        Patches {
            data,
            pixels: rows * output[1],
            width: output[1].max(1),
            pixel_stride: stride[1] * channels,
            row_pitch: stride[0] * pitch,
            lines: kernel[0],
            line: self.line(),
            line_pitch: dilation[0] * pitch,
            is_roomy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Im2col;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn patches_are_the_rows_of_im2col(
            input in [1usize..7, 1usize..7], kernel in [1usize..4, 1usize..4],
            stride in [1usize..3, 1usize..3], dilation in 1usize..3,
            pads in [0usize..3, 0usize..3, 0usize..3, 0usize..3], channels in 1usize..5,
        ) {
            let window = Window2d {
                stride, dilation: [dilation, 1], pads, ..Window2d::new(input, channels, kernel)
            };
            let Ok(window) = window.fitted() else { return Ok(()) };
            let Some(slab) = Slab::new(window) else { return Ok(()) };
            let image: Vec<u32> = (1..=window.image_len() as u32).collect();
            let im2col = Im2col::new(window, 1, channels).unwrap();
            let from = window.output[0] / 2;
            let rows = from..window.output[0];
            let pixels = from * window.output[1]..window.pixels();
            let mut expected = vec![0; pixels.len() * im2col.cols()];
            im2col.rows(&image, 0, pixels.clone(), 0, &mut expected).unwrap();
            let mut lines = vec![u32::MAX; slab.len(rows.len())];
            slab.fill(&image, rows.clone(), 0, &mut lines).unwrap();
            let patches = slab.patches(&lines, rows.len()).unwrap();
            prop_assert_eq!(patches.pixels(), pixels.len());
            let found: Vec<u32> = (0..pixels.len())
                .flat_map(|p| (0..patches.lines).flat_map(move |l| patches.line_of(p, l).to_vec()))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_image_without_padding_is_a_slab() {
        let strided = Window2d {
            stride: [2, 2],
            ..Window2d::new([4, 4], 64, [1, 1])
        };
        let slab = Slab::new(strided.fitted().unwrap()).unwrap();
        assert!(slab.is_image());
        let image: Vec<u8> = (0..4 * 4 * 64).map(|i| (i / 64) as u8).collect();
        let patches = slab.patches_of_image(&image, 1..2).unwrap();
        assert_eq!(
            [patches.line_of(0, 0)[0], patches.line_of(1, 0)[0]],
            [8, 10]
        );
        assert!(slab.patches_of_image(&image, 1..3).is_err());
    }

    #[test]
    fn taps_apart_have_no_slab() {
        let apart = Window2d {
            dilation: [1, 2],
            ..Window2d::new([5, 5], 1, [1, 3])
        };
        assert!(Slab::new(apart.fitted().unwrap()).is_none());
    }
}
