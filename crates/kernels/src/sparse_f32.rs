use std::ops::Range;

use crate::{
    Clamp, Isa, KernelError, Nonzeros, Rows, RowsMut,
    buffer::Aligned,
    error::check_len,
    passes::{BAND, Form, Last, Passes},
    range::check_outputs,
    table::{self, Entry, Kernel, SparseF32Fn},
};

/// Two AVX-512 registers of inputs, from which `vpermt2ps` picks for 16 rows.
pub(crate) const WINDOW32: Form = Form {
    window: 32,
    last: Last::Beyond,
    rows: 16,
    slots: 1,
};
/// One AVX2 register of inputs, from which `vpermps` picks for 8 rows.
pub(crate) const WINDOW8: Form = Form {
    window: 8,
    last: Last::Beyond,
    rows: 8,
    slots: 1,
};
/// Four NEON registers of inputs, from which `tbl` picks for 4 of 8 rows at a time.
pub(crate) const WINDOW16: Form = Form {
    window: 16,
    last: Last::Beyond,
    rows: 8,
    slots: 1,
};
/// Rows of a group that picks from the whole depth.
const GATHER_ROWS: usize = 16;
const MAX_DEPTH: usize = 1 << 30;

/// A pruned f32 layer, packed: the same result as [`DenseF32`](crate::DenseF32), zeros skipped.
///
/// Outputs are the lanes of a vector; each lane walks its own row's non-zeros in k order, so the chain
/// of every output is that of the dense form.  Inputs come in windows that fit registers, 32 for AVX-512,
/// 16 for NEON and 8 for AVX2, so that a slot costs one permutation and no gather; the portable form
/// picks from the whole depth.  Activations must be finite: an unused slot multiplies one by zero.
///
/// ```
/// use secateur_kernels::{Clamp, Isa, Rows, RowsMut, SparseF32};
/// let layer = SparseF32::pack(Isa::best(), &[0.0, 2.0, 0.0, 0.0], 2, 2, Some(&[0.5, -1.0]))?;
/// let mut y = [0.0; 2];
/// layer.run(Rows::new(&[1.0, 3.0], 1, 2)?, 0..2, Clamp::NONE, RowsMut::new(&mut y, 1, 2)?)?;
/// assert_eq!((y, layer.nonzeros()), ([6.5, -1.0], 1));
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SparseF32 {
    kernel: &'static Kernel,
    entry: SparseF32Fn,
    outputs: usize,
    depth: usize,
    form: Form,
    passes: Passes,
    indices: Indices,
    /// `[passes][rows of a group]`.
    values: Aligned<f32>,
    /// In group order, padded to whole groups.
    bias: Aligned<f32>,
}

/// Which activation a slot multiplies, `[passes][rows of a group]`.
#[derive(Debug, Clone)]
pub(crate) enum Indices {
    /// Offsets in the pass's window.
    Window(Aligned<u8>),
    /// Positions in the depth.
    Depth(Aligned<u32>),
}

impl SparseF32 {
    /// Packs the non-zeros of `weights`, `[outputs, depth]` row-major, for `isa`; no bias means zeros.
    ///
    /// # Errors
    /// When the processor lacks `isa` or a length does not match.
    pub fn pack(
        isa: Isa,
        weights: &[f32],
        outputs: usize,
        depth: usize,
        bias: Option<&[f32]>,
    ) -> Result<Self, KernelError> {
        Self::pack_nonzeros(isa, &Nonzeros::of(weights, outputs, depth)?, bias)
    }

    /// Packs `weights`, `[outputs, depth]`, for `isa`; no bias means zeros.
    ///
    /// # Errors
    /// As [`SparseF32::pack`].
    pub fn pack_nonzeros(
        isa: Isa,
        weights: &Nonzeros<f32>,
        bias: Option<&[f32]>,
    ) -> Result<Self, KernelError> {
        let (outputs, depth) = (weights.rows(), weights.cols());
        let (kernel, entry) = table::find(isa, |entry| match entry {
            Entry::SparseF32(run) => Some(run),
            _ => None,
        })?;
        if depth > MAX_DEPTH {
            return Err(KernelError::TooDeep {
                depth,
                max: MAX_DEPTH,
            });
        }
        let form = match kernel.isa {
            Isa::Avx512BwVnni | Isa::Avx512Vnni => WINDOW32,
            Isa::Neon | Isa::NeonDot => WINDOW16,
            Isa::Avx2 | Isa::AvxVnni => WINDOW8,
            Isa::Generic | Isa::Simd128 => Form {
                window: depth.max(1),
                last: Last::Beyond,
                rows: GATHER_ROWS,
                slots: 1,
            },
        };
        let passes = Passes::plan(kernel.isa, form, weights, depth);
        let slots = passes.slots();
        let mut values = Aligned::<f32>::zeros(slots);
        let mut indices = match kernel.isa {
            Isa::Generic | Isa::Simd128 => Indices::Depth(Aligned::zeros(slots)),
            _ => Indices::Window(Aligned::zeros(slots)),
        };
        passes.fill(weights, |s, w| {
            let at = s.pass * form.rows + s.lane;
            values.as_mut_slice()[at] = w;
            match &mut indices {
                Indices::Window(indices) => indices.as_mut_slice()[at] = s.index as u8,
                Indices::Depth(indices) => indices.as_mut_slice()[at] = s.index as u32,
            }
        });
        let mut ordered = Aligned::zeros(passes.groups() * form.rows);
        if let Some(bias) = bias {
            check_len("bias", outputs, bias.len())?;
            for g in 0..passes.groups() {
                let lanes = &mut ordered.as_mut_slice()[g * form.rows..];
                for (lane, &row) in lanes.iter_mut().zip(passes.group(g).rows) {
                    *lane = bias[row as usize];
                }
            }
        }
        Ok(Self {
            kernel,
            entry,
            outputs,
            depth,
            form,
            passes,
            indices,
            values,
            bias: ordered,
        })
    }

    /// Computes `outputs` of every row of `x`, `[pixels, depth]`, into `y`, `[pixels, outputs.len()]`.
    ///
    /// # Errors
    /// When a shape does not match or the range is off [`SparseF32::granule`].
    pub fn run(
        &self,
        x: Rows<'_, f32>,
        outputs: Range<usize>,
        clamp: Clamp,
        y: RowsMut<'_, f32>,
    ) -> Result<(), KernelError> {
        check_outputs(&outputs, BAND, self.outputs)?;
        check_len("activation columns", self.depth, x.cols())?;
        check_len("output rows", x.rows(), y.rows())?;
        check_len("output columns", outputs.len(), y.cols())?;
        if outputs.is_empty() {
            return Ok(());
        }
        // SAFETY: `pack` checked the instruction set, the lines above the shapes.
        unsafe { (self.entry)(self, x, outputs, clamp, y) };
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
        let indices = match &self.indices {
            Indices::Window(indices) => indices.bytes(),
            Indices::Depth(indices) => indices.bytes(),
        };
        indices + self.values.bytes() + self.bias.bytes() + self.passes.bytes()
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

    #[inline(always)]
    pub(crate) fn indices(&self) -> &Indices {
        &self.indices
    }

    /// `[passes][rows of a group]`.
    #[inline(always)]
    pub(crate) fn values(&self) -> &[f32] {
        self.values.as_slice()
    }

    /// Bias of group `g`, one a lane.
    #[inline(always)]
    pub(crate) fn group_bias(&self, g: usize) -> &[f32] {
        &self.bias.as_slice()[g * self.form.rows..][..self.form.rows]
    }
}
