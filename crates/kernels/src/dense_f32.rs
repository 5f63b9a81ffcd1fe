use std::ops::Range;

use crate::{
    Clamp, Isa, KernelError, Rows, RowsMut,
    buffer::Aligned,
    error::{check_len, product},
    range::check_outputs,
    table::{self, DenseF32Fn, Entry, Kernel},
};

/// A dense f32 layer, packed: `y[p,o] = clamp(fma chain from bias[o] over w[o,k]·x[p,k], k ascending)`.
///
/// Weights lie in panels of [`DenseF32::granule`] outputs, `[outputs/granule][depth][granule]`, the
/// last one padded with zeros.
///
/// ```
/// use secateur_kernels::{Clamp, DenseF32, Isa, Rows, RowsMut};
/// let w = [1.0, 2.0, -3.0, 4.0];                                  // [2 outputs, 2 deep]
/// let layer = DenseF32::pack(Isa::best(), &w, 2, 2, Some(&[0.5, 0.0]))?;
/// let mut y = [0.0; 2];
/// layer.run(Rows::new(&[1.0, 1.0], 1, 2)?, 0..2, Clamp::RELU, RowsMut::new(&mut y, 1, 2)?)?;
/// assert_eq!(y, [3.5, 1.0]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct DenseF32 {
    kernel: &'static Kernel,
    entry: DenseF32Fn,
    outputs: usize,
    depth: usize,
    panels: Aligned<f32>,
    /// One a padded output.
    bias: Aligned<f32>,
}

impl DenseF32 {
    /// Packs `weights`, `[outputs, depth]` row-major, for `isa`; no bias means zeros.
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
            Entry::DenseF32(run) => Some(run),
            _ => None,
        })?;
        check_len(
            "weights",
            product("weights", outputs, depth)?,
            weights.len(),
        )?;
        let granule = kernel.mr;
        let padded = outputs.next_multiple_of(granule);
        let mut panels = Aligned::zeros(product("weights", padded, depth)?);
        let slots = panels.as_mut_slice();
        for o in 0..outputs {
            let panel = o / granule * granule * depth;
            for (k, &w) in weights[o * depth..][..depth].iter().enumerate() {
                slots[panel + k * granule + o % granule] = w;
            }
        }
        let mut padded_bias = Aligned::zeros(padded);
        if let Some(bias) = bias {
            check_len("bias", outputs, bias.len())?;
            padded_bias.as_mut_slice()[..outputs].copy_from_slice(bias);
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

    /// Computes `outputs` of every row of `x`, `[pixels, depth]`, into `y`, `[pixels, outputs.len()]`.
    ///
    /// # Errors
    /// When a shape does not match or the range is off [`DenseF32::granule`].
    pub fn run(
        &self,
        x: Rows<'_, f32>,
        outputs: Range<usize>,
        clamp: Clamp,
        y: RowsMut<'_, f32>,
    ) -> Result<(), KernelError> {
        check_outputs(&outputs, self.granule(), self.outputs)?;
        check_len("activation columns", self.depth, x.cols())?;
        check_len("output rows", x.rows(), y.rows())?;
        check_len("output columns", outputs.len(), y.cols())?;
        if outputs.is_empty() {
            return Ok(());
        }
        // SAFETY: `pack` checked the instruction set, the lines above the shapes.
        unsafe { (self.entry)(self.view(), x, outputs, clamp, y) };
        Ok(())
    }

    /// The kernel that runs it.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Ranges of outputs begin and end on multiples of this (or at the end).
    pub fn granule(&self) -> usize {
        self.kernel.mr
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

    /// The packed weights as kernels read them.
    fn view(&self) -> PanelsF32<'_> {
        PanelsF32 {
            panels: self.panels.as_slice(),
            bias: self.bias.as_slice(),
            depth: self.depth,
            width: self.kernel.mr,
        }
    }
}

/// Widest panel of any kernel.
const MAX_WIDTH: usize = 64;

/// Panels of weights, `[depth][width]` each, and their biases, wherever they lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanelsF32<'a> {
    panels: &'a [f32],
    /// One a padded output; empty for zeros.
    bias: &'a [f32],
    depth: usize,
    width: usize,
}

impl<'a> PanelsF32<'a> {
    /// Panels of a product without bias; `width` is at most [`MAX_WIDTH`].
    pub fn without_bias(panels: &'a [f32], depth: usize, width: usize) -> Self {
        Self {
            panels,
            bias: &[],
            depth,
            width,
        }
    }

    /// Products of an output.
    #[cfg_attr(
        target_arch = "wasm32",
        allow(dead_code, reason = "its kernels walk the panel")
    )]
    #[inline(always)]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Weights of panel `index`, `[depth][width]`.
    #[inline(always)]
    pub fn panel(&self, index: usize) -> &'a [f32] {
        let len = self.depth * self.width;
        &self.panels[index * len..][..len]
    }

    /// Bias of panel `index`, `[width]`.
    #[inline(always)]
    pub fn panel_bias(&self, index: usize) -> &'a [f32] {
        static ZEROS: [f32; MAX_WIDTH] = [0.0; MAX_WIDTH];
        match self.bias {
            [] => &ZEROS[..self.width],
            bias => &bias[index * self.width..][..self.width],
        }
    }
}
