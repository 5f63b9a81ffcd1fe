use std::ops::Range;

use crate::{
    Clamp, Isa, KernelError, Rows, RowsMut,
    buffer::Aligned,
    error::{check_len, product},
    passes::{BAND, Form, Passes},
    range::check_outputs,
    table::{self, Entry, Kernel, SparseF32Fn},
};

/// Lanes of a group, and of a pass.
pub(crate) const LANES: usize = 16;
/// Depth positions of a window: two AVX-512 registers, from which `vpermt2ps` picks.
pub(crate) const WINDOW: usize = 32;
const MAX_DEPTH: usize = 1 << 30;

/// A pruned f32 layer, packed: the same result as [`DenseF32`](crate::DenseF32), zeros skipped.
///
/// 16 outputs are the lanes of a vector; each lane walks its own row's non-zeros in k order, so the
/// chain of every output is that of the dense form.  The AVX-512 form works in windows of 32 inputs
/// held in two registers; the others gather over the whole depth.  Activations must be finite:
/// an unused slot multiplies one by zero.
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
    passes: Passes,
    indices: Indices,
    /// `[passes][16]`.
    values: Aligned<f32>,
    /// In group order, padded to whole groups.
    bias: Aligned<f32>,
}

/// Which activation a slot multiplies, `[passes][16]`.
#[derive(Debug, Clone)]
pub(crate) enum Indices {
    /// Offsets in the pass's window of 32.
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
        check_len(
            "weights",
            product("weights", outputs, depth)?,
            weights.len(),
        )?;
        let windowed = kernel.isa == Isa::Avx512Vnni;
        let form = Form {
            window: if windowed { WINDOW } else { depth },
            rows: LANES,
            slots: 1,
        };
        let passes = Passes::plan(form, weights, outputs, depth);
        let slots = passes.slots();
        let mut values = Aligned::<f32>::zeros(slots);
        let mut indices = if windowed {
            Indices::Window(Aligned::zeros(slots))
        } else {
            Indices::Depth(Aligned::zeros(slots))
        };
        passes.fill(weights, depth, |s, w| {
            let at = s.pass * LANES + s.lane;
            values.as_mut_slice()[at] = w;
            match &mut indices {
                Indices::Window(indices) => indices.as_mut_slice()[at] = s.index as u8,
                Indices::Depth(indices) => indices.as_mut_slice()[at] = s.index as u32,
            }
        });
        let mut ordered = Aligned::zeros(passes.groups() * LANES);
        if let Some(bias) = bias {
            check_len("bias", outputs, bias.len())?;
            for g in 0..passes.groups() {
                let lanes = &mut ordered.as_mut_slice()[g * LANES..];
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

    /// Share of used slots, group of 16 outputs by group, in packed order.
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

    /// `[passes][16]`.
    #[inline(always)]
    pub(crate) fn values(&self) -> &[f32] {
        self.values.as_slice()
    }

    /// Bias of group `g`, `[16]`.
    #[inline(always)]
    pub(crate) fn group_bias(&self, g: usize) -> &[f32] {
        &self.bias.as_slice()[g * LANES..][..LANES]
    }
}
