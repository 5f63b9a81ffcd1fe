use std::ops::Range;

use crate::{
    Clamp, IntOut, Isa, KernelError, RowsMut, Window2d,
    error::{check_len, product},
    range::check_pixels,
    row_quads::RowQuads,
    table::{self, DepthwiseF32Fn, DepthwiseI8Fn, Entry, Kernel},
};

/// A depthwise f32 convolution, NHWC, one filter a channel:
/// `y[p,c] = clamp(fma chain from bias[c] over w[c,ky,kx]·x[…,c], (ky, kx) ascending)`.
///
/// ```
/// use secateur_kernels::{Clamp, DepthwiseF32, Isa, RowsMut, Window2d};
/// let window = Window2d::new([1, 3], 1, [1, 2]).fitted()?;
/// let layer = DepthwiseF32::pack(Isa::best(), window, &[1.0, 10.0], None)?;
/// let mut y = [0.0; 2];
/// layer.run(&[1.0, 2.0, 3.0], 0..2, Clamp::NONE, RowsMut::new(&mut y, 2, 1)?)?;
/// assert_eq!(y, [21.0, 32.0]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct DepthwiseF32 {
    kernel: &'static Kernel,
    entry: DepthwiseF32Fn,
    window: Window2d,
    /// `[taps][channels]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// A depthwise u8 × i8 convolution, NHWC, one filter a channel; exact i32 sums, then [`IntOut`].
#[derive(Debug, Clone)]
pub struct DepthwiseI8 {
    kernel: &'static Kernel,
    entry: DepthwiseI8Fn,
    window: Window2d,
    filters: Filters,
}

/// The packed forms of int8 filters.
#[derive(Debug, Clone)]
enum Filters {
    Taps {
        /// `[taps][channels]`.
        weights: Vec<i8>,
        bias: Vec<i32>,
    },
    Quads(RowQuads),
}

/// `[channels][taps]` to `[taps][channels]`, lengths checked.
fn by_tap<T: Copy>(window: &Window2d, weights: &[T]) -> Result<Vec<T>, KernelError> {
    window.check()?;
    let (taps, channels) = (window.taps(), window.channels);
    check_len(
        "weights",
        product("weights", taps, channels)?,
        weights.len(),
    )?;
    let at = |t: usize| (0..channels).map(move |c| weights[c * taps + t]);
    Ok((0..taps).flat_map(at).collect())
}

fn bias_or_zeros<T: Copy + Default>(
    bias: Option<&[T]>,
    channels: usize,
) -> Result<Vec<T>, KernelError> {
    let Some(bias) = bias else {
        return Ok(vec![T::default(); channels]);
    };
    check_len("bias", channels, bias.len())?;
    Ok(bias.to_vec())
}

impl DepthwiseF32 {
    /// Packs `weights`, `[channels, kh, kw]`; no bias means zeros.
    ///
    /// # Errors
    /// When the processor lacks `isa` or a length does not match.
    pub fn pack(
        isa: Isa,
        window: Window2d,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Self, KernelError> {
        let (kernel, entry) = table::find(isa, |entry| match entry {
            Entry::DepthwiseF32(run) => Some(run),
            _ => None,
        })?;
        Ok(Self {
            kernel,
            entry,
            weights: by_tap(&window, weights)?,
            bias: bias_or_zeros(bias, window.channels)?,
            window,
        })
    }

    /// Computes output `pixels` of `image`, `[h, w, channels]`, into `y`, `[pixels.len(), channels]`.
    ///
    /// # Errors
    /// When a shape does not match.
    pub fn run(
        &self,
        image: &[f32],
        pixels: Range<usize>,
        clamp: Clamp,
        y: RowsMut<'_, f32>,
    ) -> Result<(), KernelError> {
        check_len("image", self.window.image_len(), image.len())?;
        check_pixels(&pixels, self.window.pixels())?;
        check_len("output rows", pixels.len(), y.rows())?;
        check_len("output columns", self.window.channels, y.cols())?;
        // SAFETY: `pack` checked the instruction set, the lines above the shapes.
        unsafe { (self.entry)(self, image, pixels, clamp, y) };
        Ok(())
    }

    /// The kernel that runs it.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// The geometry.
    pub fn window(&self) -> &Window2d {
        &self.window
    }

    /// Bytes of the packed form.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.weights) + size_of_val(&*self.bias)
    }

    /// Multiply-accumulates a pixel.
    pub fn macs(&self) -> usize {
        self.weights.len()
    }

    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    pub(crate) fn bias(&self) -> &[f32] {
        &self.bias
    }
}

impl DepthwiseI8 {
    /// Packs `weights`, `[channels, kh, kw]`; no bias means zeros.
    ///
    /// # Errors
    /// When the processor lacks `isa` or a length does not match.
    pub fn pack(
        isa: Isa,
        window: Window2d,
        weights: &[i8],
        bias: Option<&[i32]>,
    ) -> Result<Self, KernelError> {
        let (kernel, entry) = table::find(isa, |entry| match entry {
            Entry::DepthwiseI8(run) => Some(run),
            _ => None,
        })?;
        let taps = Filters::Taps {
            weights: by_tap(&window, weights)?,
            bias: bias_or_zeros(bias, window.channels)?,
        };
        let quads = match kernel.isa {
            Isa::Avx512BwVnni => RowQuads::pack(window, weights, bias),
            _ => None,
        };
        Ok(Self {
            kernel,
            entry,
            filters: quads.map_or(taps, Filters::Quads),
            window,
        })
    }

    /// Computes output `pixels` of `image`, `[h, w, channels]`, into `out`, `[pixels.len(), channels]`;
    /// `pad`, the activations' zero point, stands for what lies outside of the image.
    ///
    /// # Errors
    /// When a shape does not match.
    pub fn run(
        &self,
        image: &[u8],
        pad: u8,
        pixels: Range<usize>,
        out: IntOut<'_>,
    ) -> Result<(), KernelError> {
        let channels = self.window.channels;
        check_len("image", self.window.image_len(), image.len())?;
        check_pixels(&pixels, self.window.pixels())?;
        out.check(pixels.len(), channels, channels)?;
        // SAFETY: `pack` checked the instruction set, the lines above the shapes.
        unsafe { (self.entry)(self, image, pad, pixels, out) };
        Ok(())
    }

    /// The kernel that runs it.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// The geometry.
    pub fn window(&self) -> &Window2d {
        &self.window
    }

    /// Bytes of the packed form.
    pub fn bytes(&self) -> usize {
        match &self.filters {
            Filters::Taps { weights, bias } => size_of_val(&**weights) + size_of_val(&**bias),
            Filters::Quads(quads) => quads.bytes(),
        }
    }

    /// Multiply-accumulates a pixel.
    pub fn macs(&self) -> usize {
        self.window.taps() * self.window.channels
    }

    /// Weights, `[taps][channels]`, and biases, for kernels that take one tap at a time.
    pub(crate) fn taps(&self) -> (&[i8], &[i32]) {
        match &self.filters {
            Filters::Taps { weights, bias } => (weights, bias),
            Filters::Quads(_) => (&[], &[]),
        }
    }

    /// What kernels take that interleave rows.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn quads(&self) -> Option<&RowQuads> {
        match &self.filters {
            Filters::Taps { .. } => None,
            Filters::Quads(quads) => Some(quads),
        }
    }
}
