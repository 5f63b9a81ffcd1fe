use crate::{KernelError, error::product};

/// A sliding window over an NHWC image: the geometry of convolutions and pools.
///
/// ```
/// use secateur_kernels::Window2d;
/// let same = Window2d { pads: [1; 4], ..Window2d::new([28, 28], 16, [3, 3]) }.fitted()?;
/// assert_eq!(same.output, [28, 28]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window2d {
    /// Height and width of the image.
    pub input: [usize; 2],
    /// Channels of the image, all groups together.
    pub channels: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps down and right.
    pub stride: [usize; 2],
    /// Distances between taps.
    pub dilation: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Height and width of the result; windows may end beyond the padding (ONNX's `ceil_mode`).
    pub output: [usize; 2],
}

impl Window2d {
    /// A window with stride 1, dilation 1, no padding; `output` is 0 until [`Window2d::fitted`].
    pub fn new(input: [usize; 2], channels: usize, kernel: [usize; 2]) -> Self {
        Self {
            input,
            channels,
            kernel,
            stride: [1; 2],
            dilation: [1; 2],
            pads: [0; 4],
            output: [0; 2],
        }
    }

    /// With the `output` that fits: `(input + pads - ((kernel - 1)·dilation + 1)) / stride + 1`.
    ///
    /// # Errors
    /// When a kernel, stride or dilation is zero, the window does not fit, or a size overflows.
    pub fn fitted(mut self) -> Result<Self, KernelError> {
        self.check()?;
        for axis in 0..2 {
            let padded = self.input[axis] + self.pads[axis] + self.pads[axis + 2];
            let extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            let room = padded.checked_sub(extent).ok_or(KernelError::Length {
                what: "padded image",
                needed: extent,
                got: padded,
            })?;
            self.output[axis] = room / self.stride[axis] + 1;
        }
        self.check()?;
        Ok(self)
    }

    /// Output pixels.
    pub fn pixels(&self) -> usize {
        self.output[0].saturating_mul(self.output[1])
    }

    /// Taps of the window.
    pub fn taps(&self) -> usize {
        self.kernel[0].saturating_mul(self.kernel[1])
    }

    /// Elements of the image.
    pub fn image_len(&self) -> usize {
        let pixels = self.input[0].saturating_mul(self.input[1]);
        pixels.saturating_mul(self.channels)
    }

    /// Fails when a size is zero that may not be, or any coordinate or product would overflow.
    pub(crate) fn check(&self) -> Result<(), KernelError> {
        let positive = [self.kernel, self.stride, self.dilation];
        if positive.as_flattened().contains(&0) {
            return Err(KernelError::Parameter {
                what: "window",
                reason: "needed a kernel, stride and dilation of at least 1",
            });
        }
        let what = "window";
        product(
            what,
            product(what, self.input[0], self.input[1])?,
            self.channels,
        )?;
        product(what, self.output[0], self.output[1])?;
        let taps = product(what, self.kernel[0], self.kernel[1])?;
        product(what, taps, self.channels)?;
        for axis in 0..2 {
            let reach = product(what, self.output[axis], self.stride[axis])?
                .checked_add(product(what, self.kernel[axis], self.dilation[axis])?)
                .and_then(|reach| reach.checked_add(self.input[axis]))
                .and_then(|reach| reach.checked_add(self.pads[axis]))
                .and_then(|reach| reach.checked_add(self.pads[axis + 2]));
            if reach.is_none_or(|reach| reach > isize::MAX as usize) {
                return Err(KernelError::Overflow { what });
            }
        }
        Ok(())
    }

    /// Where the taps of output pixel `pixel` lie in the image, `(ky, kx)` ascending: the pixel's
    /// index, or `None` in the padding.
    #[inline(always)]
    pub(crate) fn taps_of(&self, pixel: usize) -> impl Iterator<Item = Option<usize>> + use<> {
        let Self {
            input,
            kernel,
            stride,
            dilation,
            pads,
            output,
            ..
        } = *self;
        let (top, left) = (pixel / output[1] * stride[0], pixel % output[1] * stride[1]);
        (0..kernel[0]).flat_map(move |ky| {
            let y = (top + ky * dilation[0]).wrapping_sub(pads[0]);
            (0..kernel[1]).map(move |kx| {
                let x = (left + kx * dilation[1]).wrapping_sub(pads[1]);
                (y < input[0] && x < input[1]).then(|| y * input[1] + x)
            })
        })
    }

    /// Taps of output pixel `pixel` that lie in the image or its declared padding.
    pub(crate) fn padded_taps(&self, pixel: usize) -> usize {
        let at = [pixel / self.output[1], pixel % self.output[1]];
        (0..2)
            .map(|axis| {
                let end = self.pads[axis] + self.input[axis] + self.pads[axis + 2];
                let room = end.saturating_sub(at[axis] * self.stride[axis]);
                room.div_ceil(self.dilation[axis]).min(self.kernel[axis])
            })
            .product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_know_the_padding() {
        let window = Window2d {
            pads: [1, 1, 0, 0],
            ..Window2d::new([2, 3], 1, [2, 2])
        };
        let window = window.fitted().unwrap();
        assert_eq!(window.output, [2, 3]);
        let taps: Vec<_> = window.taps_of(0).collect();
        assert_eq!(taps, [None, None, None, Some(0)]);
        let taps: Vec<_> = window.taps_of(5).collect();
        assert_eq!(taps, [Some(1), Some(2), Some(4), Some(5)]);
    }

    #[test]
    fn a_ceiling_window_counts_only_declared_padding() {
        let mut window = Window2d::new([3, 3], 1, [2, 2]);
        window.stride = [2, 2];
        window.output = [2, 2];
        let counts: Vec<_> = (0..4).map(|p| window.padded_taps(p)).collect();
        assert_eq!(counts, [4, 2, 2, 1]);
    }

    #[test]
    fn hostile_sizes_are_refused() {
        let huge = Window2d::new([usize::MAX, 2], 2, [1, 1]);
        assert!(matches!(huge.fitted(), Err(KernelError::Overflow { .. })));
        assert!(Window2d::new([2, 2], 1, [3, 3]).fitted().is_err());
        assert!(Window2d::new([2, 2], 1, [0, 1]).fitted().is_err());
        let mut padded = Window2d::new([1, 1], 1, [1, 1]);
        padded.pads = [usize::MAX; 4];
        assert!(padded.fitted().is_err());
    }
}
