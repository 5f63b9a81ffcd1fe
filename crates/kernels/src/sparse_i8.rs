use std::ops::Range;

use crate::{
    IntOut, Isa, KernelError, MAX_DEPTH, Nonzeros, Patches, Rows,
    buffer::Aligned,
    error::check_len,
    passes::{BAND, Form, Last, Passes, Slot},
    range::check_outputs,
    sums16::summable,
    table::{self, Entry, Kernel, SparseI8Fn, SparseI8PatchesFn},
};

/// 64 inputs a window, 16 rows × 4 slots a pass: 64 index bytes, then 64 weights.
pub(crate) const GATHER64: Form = Form {
    window: 64,
    last: Last::Within,
    rows: 16,
    slots: 4,
};
/// 16 inputs a window, 8 rows × 2 slots a pass: 32 shuffle bytes (every odd one clears its byte), then
/// 16 weights widened to i16.
pub(crate) const GATHER16: Form = Form {
    window: 16,
    last: Last::Beyond,
    rows: 8,
    slots: 2,
};
/// 16 inputs a window, 8 rows × 4 slots a pass: 32 index bytes, then 32 weights.
pub(crate) const QUADS16X8: Form = Form {
    window: 16,
    last: Last::Beyond,
    rows: 8,
    slots: 4,
};
/// 16 inputs a window, 16 rows × 4 slots a pass: 64 index bytes, then 64 weights.
pub(crate) const QUADS16X16: Form = Form {
    window: 16,
    last: Last::Beyond,
    rows: 16,
    slots: 4,
};
/// Bytes of a [`GATHER64`] pass.
pub(crate) const PASS64: usize = 128;
/// Bytes of a [`GATHER16`] pass.
pub(crate) const PASS16: usize = 64;

/// A pruned u8 × i8 layer, packed: the same result as [`DenseI8`](crate::DenseI8), zeros skipped.
///
/// 16 outputs share a group; in a window of 64 inputs each row's non-zeros are listed in passes of 4.
/// One pass on one pixel is one `vpermb`, which picks for every row the 4 activations that it needs,
/// and one `vpdpbusd`; NEON's `tbl` picks from 64 bytes too.  `vpshufb` picks within 16 bytes, so
/// windows are 16 without VBMI, for AVX2 and for WebAssembly.
///
/// ```
/// use secateur_kernels::{IntOut, Isa, Rows, RowsMut, SparseI8};
/// let layer = SparseI8::pack(Isa::best(), &[0, -2, 0, 0], 2, 2, Some(&[10, 7]))?;
/// let mut y = [0i32; 2];
/// layer.run(Rows::new(&[8, 2], 1, 2)?, 0..2, IntOut::I32(RowsMut::new(&mut y, 1, 2)?))?;
/// assert_eq!((y, layer.nonzeros()), ([6, 7], 1));
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SparseI8 {
    kernel: &'static Kernel,
    entry: SparseEntry,
    form: Form,
    outputs: usize,
    depth: usize,
    /// Inputs that lie side by side.
    line: usize,
    /// Passes whose products are added up in 16 bits, or 0.
    sums16: usize,
    passes: Passes,
    data: Aligned<u8>,
    /// In group order, padded to whole groups.
    bias: Aligned<i32>,
    /// Band by band, where output `j` of the band lies in group order; `[bands][64]`.
    places: Aligned<u8>,
}

/// What a kernel reads its activations from.
#[derive(Debug, Clone, Copy)]
enum SparseEntry {
    Rows(SparseI8Fn),
    Patches(SparseI8PatchesFn),
}

impl SparseI8 {
    /// Packs the non-zeros of `weights`, `[outputs, depth]` row-major, for `isa`; no bias means zeros.
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
        Self::pack_lines(isa, &Nonzeros::of(weights, outputs, depth)?, depth, bias)
    }

    /// Packs `weights`, `[outputs, depth]`, for activations of which only `line` at a time lie side by side;
    /// those that lie in rows are read as well.
    ///
    /// # Errors
    /// As [`SparseI8::pack`].
    pub fn pack_lines(
        isa: Isa,
        weights: &Nonzeros<i8>,
        line: usize,
        bias: Option<&[i32]>,
    ) -> Result<Self, KernelError> {
        let (outputs, depth) = (weights.rows(), weights.cols());
        let (kernel, entry) = table::find(isa, |entry| match entry {
            Entry::SparseI8(run) => Some(SparseEntry::Rows(run)),
            Entry::SparseI8Patches(run) => Some(SparseEntry::Patches(run)),
            _ => None,
        })?;
        check_line(line, depth)?;
        let line = match entry {
            SparseEntry::Rows(_) => depth,
            SparseEntry::Patches(_) => line,
        };
        if depth > MAX_DEPTH {
            return Err(KernelError::TooDeep {
                depth,
                max: MAX_DEPTH,
            });
        }
        let form = match kernel.isa {
            Isa::Simd128 => GATHER16,
            Isa::Avx2 | Isa::AvxVnni => QUADS16X8,
            Isa::Avx512BwVnni => QUADS16X16,
            Isa::Generic | Isa::Neon | Isa::NeonDot | Isa::Avx512Vnni => GATHER64,
        };
        let passes = Passes::plan(kernel.isa, form, weights, line);
        let data = match kernel.isa {
            Isa::Simd128 => gather16(&passes, weights),
            _ => quads(&passes, weights, form),
        };
        if let Some(bias) = bias {
            check_len("bias", outputs, bias.len())?;
        }
        let sums16 = match kernel.isa {
            Isa::Avx2 => summable_passes(&passes, data.as_slice(), form),
            _ => 0,
        };
        let mut ordered = Aligned::zeros(passes.groups() * form.rows);
        let mut places = Aligned::zeros(outputs.next_multiple_of(BAND));
        for g in 0..passes.groups() {
            for (lane, &row) in passes.group(g).rows.iter().enumerate() {
                let at = g * form.rows + lane;
                places.as_mut_slice()[row as usize] = (at % BAND) as u8;
                let row = row as usize;
                let constant = match sums16 {
                    0 => kernel.isa.constant(weights.row(row).1),
                    _ => 0,
                };
                ordered.as_mut_slice()[at] = match bias {
                    Some(bias) => bias[row].wrapping_add(constant),
                    None => constant,
                };
            }
        }
        Ok(Self {
            kernel,
            entry,
            form,
            outputs,
            depth,
            line,
            sums16,
            passes,
            data,
            bias: ordered,
            places,
        })
    }

    /// Computes `outputs` of every row of `x`, `[pixels, depth]`, into `out`, `[pixels, outputs.len()]`.
    ///
    /// # Errors
    /// When a shape does not match or the range is off [`SparseI8::granule`].
    pub fn run(
        &self,
        x: Rows<'_, u8>,
        outputs: Range<usize>,
        out: IntOut<'_>,
    ) -> Result<(), KernelError> {
        check_len("activation columns", self.depth, x.cols())?;
        self.check(x.rows(), &outputs, &out)?;
        match self.entry {
            // SAFETY: `pack` checked the instruction set, the lines above the shapes.
            SparseEntry::Rows(run) => unsafe { run(self, x, outputs, out) },
            // SAFETY: as above; a row is a line, or lines without a gap.
            SparseEntry::Patches(run) => unsafe { run(self, x.into(), outputs, out) },
        }
        Ok(())
    }

    /// Computes `outputs` of every pixel of `x` into `out`, `[pixels, outputs.len()]`.
    ///
    /// # Errors
    /// As [`SparseI8::run`], and where the kernel reads rows only or the lines are not those of
    /// [`SparseI8::pack_lines`].
    pub fn run_patches(
        &self,
        x: Patches<'_, u8>,
        outputs: Range<usize>,
        out: IntOut<'_>,
    ) -> Result<(), KernelError> {
        let SparseEntry::Patches(run) = self.entry else {
            return Err(ROWS_ONLY);
        };
        check_len("activation line", self.line, x.line())?;
        check_len("activation columns", self.depth, x.depth())?;
        self.check(x.pixels(), &outputs, &out)?;
        // SAFETY: `pack` checked the instruction set, the lines above the shapes.
        unsafe { run(self, x, outputs, out) };
        Ok(())
    }

    /// Whether [`SparseI8::run_patches`] works.
    pub fn reads_patches(&self) -> bool {
        matches!(self.entry, SparseEntry::Patches(_))
    }

    fn check(
        &self,
        pixels: usize,
        outputs: &Range<usize>,
        out: &IntOut<'_>,
    ) -> Result<(), KernelError> {
        check_outputs(outputs, BAND, self.outputs)?;
        out.check(pixels, outputs.len(), self.outputs)
    }

    /// Inputs that lie side by side.
    #[inline(always)]
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// The kernel that runs it.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Ranges of outputs begin and end on multiples of this (or at the end).
    pub fn granule(&self) -> usize {
        BAND
    }

    /// Outputs of the layer.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Inputs of the layer.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Bytes of the packed form.
    pub fn bytes(&self) -> usize {
        self.data.bytes() + self.bias.bytes() + self.places.bytes() + self.passes.bytes()
    }

    /// Multiply-accumulates a pixel, unused slots included.
    pub fn macs(&self) -> usize {
        self.slots()
    }

    /// Weights kept.
    pub fn nonzeros(&self) -> usize {
        self.passes.nonzeros()
    }

    /// Places for weights, used or not.
    pub fn slots(&self) -> usize {
        self.passes.slots()
    }

    /// Share of used slots, group of outputs by group, in packed order.
    pub fn fill_ratios(&self) -> Vec<f32> {
        self.passes.fill_ratios()
    }

    #[inline(always)]
    pub(crate) fn passes(&self) -> &Passes {
        &self.passes
    }

    /// All passes, of [`PASS64`] or [`PASS16`] bytes.
    #[inline(always)]
    pub(crate) fn data(&self) -> &[u8] {
        self.data.as_slice()
    }

    /// Passes whose products a kernel of AVX2 adds up in 16 bits, of activations as they are; 0 where
    /// weights are too large, and activations have to be shifted.
    #[inline(always)]
    pub(crate) fn sums16(&self) -> usize {
        self.sums16
    }

    /// Bias of group `g`, one a lane.
    #[inline(always)]
    pub(crate) fn group_bias(&self, g: usize) -> &[i32] {
        &self.bias.as_slice()[g * self.form.rows..][..self.form.rows]
    }

    /// Where the outputs of band `b` lie in group order, `[64]`.
    #[inline(always)]
    pub(crate) fn places(&self, b: usize) -> &[u8] {
        &self.places.as_slice()[b * BAND..][..BAND]
    }
}

/// What patches mean to a kernel that reads rows.
pub(crate) const ROWS_ONLY: KernelError = KernelError::Parameter {
    what: "patches",
    reason: "the kernel reads rows only",
};

/// Fails unless lines of `line` make a row of `depth`.
pub(crate) fn check_line(line: usize, depth: usize) -> Result<(), KernelError> {
    if line == depth || (line > 0 && depth.is_multiple_of(line)) {
        return Ok(());
    }
    Err(KernelError::Parameter {
        what: "line",
        reason: "needed a divisor of the depth",
    })
}

/// Passes of one index byte a slot, `[rows][slots]`, then one weight a slot.
fn quads(passes: &Passes, weights: &Nonzeros<i8>, form: Form) -> Aligned<u8> {
    let slots = form.rows * form.slots;
    let mut data = Aligned::zeros(passes.passes() * 2 * slots);
    let bytes = data.as_mut_slice();
    passes.fill(weights, |s: Slot, w| {
        let at = s.pass * 2 * slots + s.lane * form.slots + s.slot;
        bytes[at] = s.index as u8;
        bytes[at + slots] = w as u8;
    });
    data
}

fn summable_passes(passes: &Passes, data: &[u8], form: Form) -> usize {
    let slots = form.rows * form.slots;
    summable((0..passes.groups()).map(|g| {
        let group = passes.group(g);
        let from = group.first_pass * 2 * slots;
        let passes = data[from..][..group.origins.len() * 2 * slots].chunks_exact(2 * slots);
        passes.map(move |pass| pass[slots..].iter().map(|&weight| weight as i8))
    }))
}

fn gather16(passes: &Passes, weights: &Nonzeros<i8>) -> Aligned<u8> {
    const CLEAR: u8 = 0x80;
    let mut data = Aligned::zeros(passes.passes() * PASS16);
    let bytes = data.as_mut_slice();
    for pass in bytes.chunks_exact_mut(PASS16) {
        pass[..PASS16 / 2]
            .iter_mut()
            .skip(1)
            .step_by(2)
            .for_each(|b| *b = CLEAR);
    }
    passes.fill(weights, |s: Slot, w| {
        let at = s.pass * PASS16 + (s.lane * GATHER16.slots + s.slot) * 2;
        bytes[at] = s.index as u8;
        bytes[at + PASS16 / 2..][..2].copy_from_slice(&i16::from(w).to_le_bytes());
    });
    data
}
