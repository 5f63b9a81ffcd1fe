use std::ops::Range;

use crate::{
    IntOut, Isa, KernelError, MAX_DEPTH, Rows,
    buffer::Aligned,
    error::{check_len, product},
    passes::{BAND, Form, Passes, Slot},
    range::check_outputs,
    table::{self, Entry, Kernel, SparseI8Fn},
};

/// 64 inputs a window, 16 rows × 4 slots a pass: 64 index bytes, then 64 weights.
pub(crate) const GATHER64: Form = Form {
    window: 64,
    rows: 16,
    slots: 4,
};
/// 16 inputs a window, 8 rows × 2 slots a pass: 32 shuffle bytes (every odd one clears its byte), then
/// 16 weights widened to i16.
pub(crate) const GATHER16: Form = Form {
    window: 16,
    rows: 8,
    slots: 2,
};
/// 16 inputs a window, 8 rows × 4 slots a pass: 32 index bytes, then 32 weights.
pub(crate) const QUADS16X8: Form = Form {
    window: 16,
    rows: 8,
    slots: 4,
};
/// 16 inputs a window, 16 rows × 4 slots a pass: 64 index bytes, then 64 weights.
pub(crate) const QUADS16X16: Form = Form {
    window: 16,
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
    entry: SparseI8Fn,
    form: Form,
    outputs: usize,
    depth: usize,
    passes: Passes,
    data: Aligned<u8>,
    /// In group order, padded to whole groups.
    bias: Aligned<i32>,
    /// Band by band, where output `j` of the band lies in group order; `[bands][64]`.
    places: Aligned<u8>,
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
        let (kernel, entry) = table::find(isa, |entry| match entry {
            Entry::SparseI8(run) => Some(run),
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
        let form = match kernel.isa {
            Isa::Simd128 => GATHER16,
            Isa::Avx2 | Isa::AvxVnni => QUADS16X8,
            Isa::Avx512BwVnni => QUADS16X16,
            Isa::Generic | Isa::Neon | Isa::NeonDot | Isa::Avx512Vnni => GATHER64,
        };
        let passes = Passes::plan(form, weights, outputs, depth);
        let data = match kernel.isa {
            Isa::Simd128 => gather16(&passes, weights, depth),
            _ => quads(&passes, weights, depth, form),
        };
        if let Some(bias) = bias {
            check_len("bias", outputs, bias.len())?;
        }
        let mut ordered = Aligned::zeros(passes.groups() * form.rows);
        let mut places = Aligned::zeros(outputs.next_multiple_of(BAND));
        for g in 0..passes.groups() {
            for (lane, &row) in passes.group(g).rows.iter().enumerate() {
                let at = g * form.rows + lane;
                places.as_mut_slice()[row as usize] = (at % BAND) as u8;
                let row = row as usize;
                let constant = kernel.isa.constant(&weights[row * depth..][..depth]);
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
        check_outputs(&outputs, BAND, self.outputs)?;
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

/// Passes of one index byte a slot, `[rows][slots]`, then one weight a slot.
fn quads(passes: &Passes, weights: &[i8], depth: usize, form: Form) -> Aligned<u8> {
    let slots = form.rows * form.slots;
    let mut data = Aligned::zeros(passes.passes() * 2 * slots);
    let bytes = data.as_mut_slice();
    passes.fill(weights, depth, |s: Slot, w| {
        let at = s.pass * 2 * slots + s.lane * form.slots + s.slot;
        bytes[at] = s.index as u8;
        bytes[at + slots] = w as u8;
    });
    data
}

fn gather16(passes: &Passes, weights: &[i8], depth: usize) -> Aligned<u8> {
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
    passes.fill(weights, depth, |s: Slot, w| {
        let at = s.pass * PASS16 + (s.lane * GATHER16.slots + s.slot) * 2;
        bytes[at] = s.index as u8;
        bytes[at + PASS16 / 2..][..2].copy_from_slice(&i16::from(w).to_le_bytes());
    });
    data
}
