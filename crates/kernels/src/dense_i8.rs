use std::ops::Range;

use crate::{
    After, IntOut, Isa, KernelError, MAX_DEPTH, Patches, Rows,
    buffer::Aligned,
    error::{check_len, product},
    lookup::look_up_in_place,
    range::check_outputs,
    sparse_i8::{ROWS_ONLY, check_line},
    sums16::summable,
    table::{self, DenseI8Fn, DenseI8PatchesFn, Entry, Kernel},
};

/// Depth steps that a packed vector holds.
pub(crate) const QUAD: usize = 4;
/// Outputs of a panel.
pub(crate) const PANEL: usize = 16;

/// A dense u8 × i8 layer, packed: `acc[p,o] = bias[o] + Σ w[o,k]·x[p,k]`, exact in i32, then [`IntOut`].
///
/// Weights lie in panels of 16 outputs, each of `[line/4]` vectors of 64 bytes a line.  The order in a
/// vector is the kernel's: `[16 outputs][4 k]` for dot products and portable code, and for
/// WebAssembly twice `[even, odd k][8 outputs][2 k]`, which widens to operands of 16 bits.
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
    /// What was packed for; its kernel may be of a lesser set.
    isa: Isa,
    kernel: &'static Kernel,
    entry: DenseEntry,
    outputs: usize,
    depth: usize,
    /// Inputs that lie side by side.
    line: usize,
    /// Quads whose products are added up in 16 bits, or 0.
    sums16: usize,
    panels: Aligned<i8>,
    bias: Aligned<i32>,
}

/// What a kernel reads its activations from.
#[derive(Debug, Clone, Copy)]
enum DenseEntry {
    Rows(DenseI8Fn),
    Patches(DenseI8PatchesFn),
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
        Self::pack_lines(isa, weights, outputs, depth, depth, bias)
    }

    /// As [`DenseI8::pack`], for activations of which only `line` at a time lie side by side; where
    /// the kernel reads patches, those and no rows, unless they are of one line.
    ///
    /// Packs `weights`, `[outputs, depth]` row-major, for `isa`; no bias means zeros.
    ///
    /// # Errors
    /// When the processor lacks `isa`, a length does not match, or `depth` exceeds [`MAX_DEPTH`].
    pub fn pack_lines(
        isa: Isa,
        weights: &[i8],
        outputs: usize,
        depth: usize,
        line: usize,
        bias: Option<&[i32]>,
    ) -> Result<Self, KernelError> {
        let (kernel, entry) = table::find(isa, |entry| match entry {
            Entry::DenseI8(run) => Some(DenseEntry::Rows(run)),
            Entry::DenseI8Patches(run) => Some(DenseEntry::Patches(run)),
            _ => None,
        })?;
        check_line(line, depth)?;
        let line = match entry {
            DenseEntry::Rows(_) => depth,
            DenseEntry::Patches(_) => line,
        };
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
        let padded_line = line.next_multiple_of(QUAD);
        let lines = depth.checked_div(line).unwrap_or(1);
        let padded_depth = product("weights", lines, padded_line)?;
        let mut panels = Aligned::zeros(product("weights", padded, padded_depth)?);
        let place = match kernel.isa {
            Isa::Simd128 => widened,
            _ => quads,
        };
        let slots = panels.as_mut_slice();
        for o in 0..outputs {
            let panel = o / PANEL * PANEL * padded_depth;
            let row = &weights[o * depth..][..depth];
            for (number, line) in row.chunks(line.max(1)).enumerate() {
                let vectors = &mut slots[panel + number * padded_line * PANEL..];
                let vectors = vectors.chunks_exact_mut(QUAD * PANEL);
                for (vector, weights) in vectors.zip(line.chunks(QUAD)) {
                    for (k, &w) in weights.iter().enumerate() {
                        vector[place(o % PANEL, k)] = w;
                    }
                }
            }
        }
        let sums16 = match kernel.isa {
            Isa::Avx2 => summable_quads(panels.as_slice(), padded_depth),
            _ => 0,
        };
        let mut padded_bias = Aligned::zeros(padded);
        if let Some(bias) = bias {
            check_len("bias", outputs, bias.len())?;
            padded_bias.as_mut_slice()[..outputs].copy_from_slice(bias);
        }
        for (o, bias) in padded_bias.as_mut_slice()[..outputs].iter_mut().enumerate() {
            if sums16 == 0 {
                let constant = kernel.isa.constant(&weights[o * depth..][..depth]);
                *bias = bias.wrapping_add(constant);
            }
        }
        Ok(Self {
            isa,
            kernel,
            entry,
            outputs,
            depth,
            line,
            sums16,
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
        check_len("activation columns", self.depth, x.cols())?;
        match self.entry {
            DenseEntry::Rows(run) => {
                self.check(x.rows(), &outputs, &out)?;
                // SAFETY: `pack` checked the instruction set, the lines above the shapes.
                unsafe { run(self, x, outputs, out) };
                Ok(())
            }
            DenseEntry::Patches(_) => self.run_patches(x.into(), outputs, out),
        }
    }

    /// Computes `outputs` of every pixel of `x` into `out`, `[pixels, outputs.len()]`.
    ///
    /// # Errors
    /// As [`DenseI8::run`], and where the kernel reads rows only or the lines are not those of
    /// [`DenseI8::pack_lines`].
    pub fn run_patches(
        &self,
        x: Patches<'_, u8>,
        outputs: Range<usize>,
        out: IntOut<'_>,
    ) -> Result<(), KernelError> {
        let DenseEntry::Patches(run) = self.entry else {
            return Err(ROWS_ONLY);
        };
        check_len("activation line", self.line, x.line())?;
        check_len("activation columns", self.depth, x.depth())?;
        self.check(x.pixels(), &outputs, &out)?;
        if let IntOut::Codes(mut y, requantize, After::Table(table)) = out {
            // A tile has some codes of each pixel, which would be looked up one by one.
            let codes = IntOut::Codes(y.reborrow(), requantize, &After::Nothing);
            // SAFETY: as below.
            unsafe { run(self, x, outputs, codes) };
            return y.each_run(|run| look_up_in_place(self.isa, table, run));
        }
        // SAFETY: `pack` checked the instruction set, the lines above the shapes.
        unsafe { run(self, x, outputs, out) };
        Ok(())
    }

    /// Whether [`DenseI8::run_patches`] works.
    pub fn reads_patches(&self) -> bool {
        matches!(self.entry, DenseEntry::Patches(_))
    }

    fn check(
        &self,
        pixels: usize,
        outputs: &Range<usize>,
        out: &IntOut<'_>,
    ) -> Result<(), KernelError> {
        check_outputs(outputs, self.granule(), self.outputs)?;
        out.check(pixels, outputs.len(), self.outputs)
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

    /// Inputs that lie side by side.
    #[inline(always)]
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// Quads whose products a kernel of AVX2 adds up in 16 bits, of activations as they are; 0 where
    /// weights are too large, and activations have to be shifted.
    #[inline(always)]
    pub(crate) fn sums16(&self) -> usize {
        self.sums16
    }

    /// Weights of panel `index`, `[lines][line/4][64]`.
    #[inline(always)]
    pub(crate) fn panel(&self, index: usize) -> &[i8] {
        let lines = self.depth.checked_div(self.line).unwrap_or(1);
        let len = lines * self.line.next_multiple_of(QUAD) * PANEL;
        &self.panels.as_slice()[index * len..][..len]
    }

    /// Bias of panel `index`, `[16]`.
    #[inline(always)]
    pub(crate) fn panel_bias(&self, index: usize) -> &[i32] {
        &self.bias.as_slice()[index * PANEL..][..PANEL]
    }
}

fn summable_quads(panels: &[i8], padded_depth: usize) -> usize {
    let panels = panels.chunks_exact((PANEL * padded_depth).max(1));
    summable(panels.map(|panel| {
        let vectors = panel.chunks_exact(PANEL * QUAD);
        vectors.map(|vector| vector.iter().copied())
    }))
}

/// `[16 outputs][4 k]`.
fn quads(o: usize, k: usize) -> usize {
    o * QUAD + k
}

/// `[2 halves][even, odd k][8 outputs][2 k]`.
fn widened(o: usize, k: usize) -> usize {
    o / 8 * 32 + k % 2 * 16 + o % 8 * 2 + k / 2
}
