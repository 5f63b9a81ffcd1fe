use std::ops::Range;

use crate::{
    IntOut, Isa, KernelError, MAX_DEPTH, Rows,
    buffer::Aligned,
    error::{check_len, product},
    range::check_outputs,
    table::{self, DenseI8Fn, Entry, Kernel},
};

/// Depth steps that a packed vector holds.
pub(crate) const QUAD: usize = 4;
/// Outputs of a panel.
pub(crate) const PANEL: usize = 16;

/// A dense u8 × i8 layer, packed: `acc[p,o] = bias[o] + Σ w[o,k]·x[p,k]`, exact in i32, then [`IntOut`].
///
/// Weights lie in panels of 16 outputs, each `[depth/4]` vectors of 64 bytes.  The order in a
/// vector is the kernel's: `[16 outputs][4 k]` for dot products and portable code, and for
/// WebAssembly twice
/// `[even, odd k][8 outputs][2 k]`, which widens to operands of 16 bits.
///
/// A zero point of the activations is the caller's to fold: `bias[o] - zx·Σ w[o,k]`.
///
/// ```
/// use secateur_kernels::{DenseI8, IntOut, Isa, Requantize, Rows, RowsMut};
/// let layer = DenseI8::pack(Isa::best(), &[1, -2, 3, 4], 2, 2, Some(&[10, 0]))?;
/// let requantize = Requantize::new(vec![0.5; 2], 0, 0, 255)?;
/// let mut y = [0u8; 2];
/// let out = IntOut::U8(RowsMut::new(&mut y, 1, 2)?, &requantize);
/// layer.run(Rows::new(&[8, 2], 1, 2)?, 0..2, out)?;
/// assert_eq!(y, [7, 16]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct DenseI8 {
    kernel: &'static Kernel,
    entry: DenseI8Fn,
    outputs: usize,
    depth: usize,
    panels: Aligned<i8>,
    bias: Aligned<i32>,
}

impl DenseI8 {
    /// Packs `weights`, `[outputs, depth]` row-major, for `isa`; no bias means zeros.
    ///
    /// # Errors
    /// When the processor lacks `isa`, a length does not match, or `depth` exceeds [`MAX_DEPTH`].
    pub fn pack(
        isa: Isa,
        weights: &[i8],
        outputs: usize,
        depth: usize,
        bias: Option<&[i32]>,
    ) -> Result<Self, KernelError> {
        let (kernel, entry) = table::find(isa, |entry| match entry {
            Entry::DenseI8(run) => Some(run),
            _ => None,
        })?;
        if depth > MAX_DEPTH {
            return Err(KernelError::TooDeep {
                depth,
                max: MAX_DEPTH,
            });
        }
        check_len(
            "weights",
            product("weights", outputs, depth)?,
            weights.len(),
        )?;
        let padded = outputs.next_multiple_of(PANEL);
        let padded_depth = depth.next_multiple_of(QUAD);
        let mut panels = Aligned::zeros(product("weights", padded, padded_depth)?);
        let place = match kernel.isa {
            Isa::Simd128 => widened,
            _ => quads,
        };
        let slots = panels.as_mut_slice();
        for o in 0..outputs {
            let panel = o / PANEL * PANEL * padded_depth;
            for (k, &w) in weights[o * depth..][..depth].iter().enumerate() {
                let vector = panel + k / QUAD * QUAD * PANEL;
                slots[vector + place(o % PANEL, k % QUAD)] = w;
            }
        }
        let mut padded_bias = Aligned::zeros(padded);
        if let Some(bias) = bias {
            check_len("bias", outputs, bias.len())?;
            padded_bias.as_mut_slice()[..outputs].copy_from_slice(bias);
        }
        for (o, bias) in padded_bias.as_mut_slice()[..outputs].iter_mut().enumerate() {
            let constant = kernel.isa.constant(&weights[o * depth..][..depth]);
            *bias = bias.wrapping_add(constant);
        }
        Ok(Self {
            kernel,
            entry,
            outputs,
            depth,
            panels,
            bias: padded_bias,
        })
    }

    /// Computes `outputs` of every row of `x`, `[pixels, depth]`, into `out`, `[pixels, outputs.len()]`.
    ///
    /// # Errors
    /// When a shape does not match or the range is off [`DenseI8::granule`].
    pub fn run(
        &self,
        x: Rows<'_, u8>,
        outputs: Range<usize>,
        out: IntOut<'_>,
    ) -> Result<(), KernelError> {
        check_outputs(&outputs, self.granule(), self.outputs)?;
        check_len("activation columns", self.depth, x.cols())?;
        out.check(x.rows(), outputs.len(), self.outputs)?;
        if outputs.is_empty() {
            return Ok(());
        }
        // SAFETY: `pack` checked the instruction set, the lines above the shapes.
        unsafe { (self.entry)(self, x, outputs, out) };
        Ok(())
    }

    /// The kernel that runs it.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Ranges of outputs begin and end on multiples of this (or at the end).
    pub fn granule(&self) -> usize {
        PANEL
    }

    /// Outputs of the layer.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Products of an output.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Bytes of the packed form.
    pub fn bytes(&self) -> usize {
        self.panels.bytes() + self.bias.bytes()
    }

    /// Multiply-accumulates a pixel.
    pub fn macs(&self) -> usize {
        self.outputs * self.depth
    }

    /// Weights of panel `index`, `[depth/4][64]`.
    #[inline(always)]
    pub(crate) fn panel(&self, index: usize) -> &[i8] {
        let len = self.depth.next_multiple_of(QUAD) * PANEL;
        &self.panels.as_slice()[index * len..][..len]
    }

    /// Bias of panel `index`, `[16]`.
    #[inline(always)]
    pub(crate) fn panel_bias(&self, index: usize) -> &[i32] {
        &self.bias.as_slice()[index * PANEL..][..PANEL]
    }
}

/// `[16 outputs][4 k]`.
fn quads(o: usize, k: usize) -> usize {
    o * QUAD + k
}

/// `[2 halves][even, odd k][8 outputs][2 k]`.
fn widened(o: usize, k: usize) -> usize {
    o / 8 * 32 + k % 2 * 16 + o % 8 * 2 + k / 2
}
