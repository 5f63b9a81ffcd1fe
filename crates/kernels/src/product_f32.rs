use crate::{
    Clamp, Isa, KernelError, Rows, RowsMut,
    dense_f32::PanelsF32,
    error::{check_len, product},
    multiversion,
    rearrange::turn,
    table::{self, DenseF32Fn, Entry, Kernel},
};

/// A product of two matrices that are both computed: the right one is packed into working memory, then
/// the kernel of [`DenseF32`](crate::DenseF32) runs on it.
///
/// ```
/// use secateur_kernels::{Clamp, Isa, ProductF32, Rows, RowsMut};
/// let right = [1.0, 2.0, 3.0, 4.0];                              // [2 columns, 2 deep]
/// let product = ProductF32::new(Isa::best(), 2, 2)?;
/// let mut packed = vec![0.0; product.packed_len()];
/// product.pack(&right, [1, 2], &mut packed)?;
/// let mut y = [0.0; 2];
/// product.run(&packed, Rows::new(&[1.0, 10.0], 1, 2)?, Clamp::NONE, RowsMut::new(&mut y, 1, 2)?)?;
/// assert_eq!(y, [21.0, 43.0]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ProductF32 {
    isa: Isa,
    kernel: &'static Kernel,
    entry: DenseF32Fn,
    depth: usize,
    columns: usize,
    packed_len: usize,
}

impl ProductF32 {
    /// For right matrices `[depth, columns]`.
    ///
    /// # Errors
    /// When the processor lacks `isa` or a size overflows.
    pub fn new(isa: Isa, depth: usize, columns: usize) -> Result<Self, KernelError> {
        let (kernel, entry) = table::find(isa, |entry| match entry {
            Entry::DenseF32(run) => Some(run),
            _ => None,
        })?;
        let padded = columns
            .checked_next_multiple_of(kernel.mr)
            .ok_or(KernelError::Overflow { what: "product" })?;
        Ok(Self {
            isa,
            kernel,
            entry,
            depth,
            columns,
            packed_len: product("product", padded, depth)?,
        })
    }

    /// Products of an output.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Columns of the right matrix.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Elements of the packed matrix.
    pub fn packed_len(&self) -> usize {
        self.packed_len
    }

    /// Bytes of working memory for the packed matrix, in whole cache lines.
    pub fn scratch_bytes(&self) -> usize {
        self.packed_len
            .saturating_mul(size_of::<f32>())
            .div_ceil(64)
            .saturating_mul(64)
    }

    /// The kernel that runs it.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Packs `right`, whose element `[k, n]` is at `k·steps[0] + n·steps[1]`.
    ///
    /// # Errors
    /// When a slice is too short.
    pub fn pack(
        &self,
        right: &[f32],
        steps: [usize; 2],
        packed: &mut [f32],
    ) -> Result<(), KernelError> {
        check_len("packed matrix", self.packed_len, packed.len())?;
        if self.depth == 0 || self.columns == 0 {
            packed.fill(0.0);
            return Ok(());
        }
        let reach = product("matrix", self.depth - 1, steps[0])?
            .checked_add(product("matrix", self.columns - 1, steps[1])?)
            .filter(|&reach| reach < isize::MAX as usize)
            .ok_or(KernelError::Overflow { what: "matrix" })?;
        if right.len() <= reach {
            return Err(KernelError::Length {
                what: "right matrix",
                needed: reach + 1,
                got: right.len(),
            });
        }
        let width = self.kernel.mr;
        multiversion::run(
            self.isa,
            #[inline(always)]
            || {
                let panels = packed.chunks_exact_mut(self.depth * width);
                for (panel, first) in panels.zip((0..self.columns).step_by(width)) {
                    let count = width.min(self.columns - first);
                    if count < width {
                        panel.fill(0.0);
                    }
                    fill(&right[first * steps[1]..], steps, count, width, panel);
                }
            },
        );
        Ok(())
    }

    /// `y[p, n] = clamp(fma chain from 0 over right[k, n]·x[p, k], k ascending)`.
    ///
    /// # Errors
    /// When a shape does not match.
    pub fn run(
        &self,
        packed: &[f32],
        x: Rows<'_, f32>,
        clamp: Clamp,
        y: RowsMut<'_, f32>,
    ) -> Result<(), KernelError> {
        check_len("packed matrix", self.packed_len, packed.len())?;
        check_len("left columns", self.depth, x.cols())?;
        check_len("product rows", x.rows(), y.rows())?;
        check_len("product columns", self.columns, y.cols())?;
        if self.columns == 0 {
            return Ok(());
        }
        let panels = PanelsF32::without_bias(packed, self.depth, self.kernel.mr);
        // SAFETY: `new` checked the instruction set, the lines above the shapes.
        unsafe { (self.entry)(panels, x, 0..self.columns, clamp, y) };
        Ok(())
    }
}

/// One panel: `panel[k, j] = right[k, j]` of `count` columns, `width` apart.
#[inline(always)]
fn fill(right: &[f32], [down, across]: [usize; 2], count: usize, width: usize, panel: &mut [f32]) {
    let depth = panel.len() / width;
    if down == 1 {
        turn([depth, count], right, across as isize, panel, width);
        return;
    }
    for (k, row) in panel.chunks_exact_mut(width).enumerate() {
        let right = &right[k * down..];
        if across == 1 {
            row[..count].copy_from_slice(&right[..count]);
        } else {
            for (j, to) in row[..count].iter_mut().enumerate() {
                *to = right[j * across];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_are_chains_of_multiply_adds(
            rows in 1usize..30,
            depth in 0usize..40,
            columns in 1usize..70,
            form in 0usize..3,
        ) {
            let steps = [[columns, 1], [1, depth.max(1)], [2, 2 * depth.max(1) + 1]][form];
            let wave = |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect::<Vec<f32>>();
            let reach = depth.max(1) * steps[0] + columns * steps[1];
            let (x, right) = (wave(rows * depth, 0.9), wave(reach, 1.1));
            let mut expected = Vec::new();
            for p in 0..rows {
                for n in 0..columns {
                    expected.push((0..depth).fold(0.0f32, |acc, k| {
                        right[k * steps[0] + n * steps[1]].mul_add(x[p * depth + k], acc)
                    }));
                }
            }
            for isa in Isa::available() {
                let product = ProductF32::new(isa, depth, columns).unwrap();
                let mut packed = vec![f32::NAN; product.packed_len()];
                product.pack(&right, steps, &mut packed).unwrap();
                let mut y = vec![f32::NAN; rows * columns];
                let to = RowsMut::new(&mut y, rows, columns).unwrap();
                product.run(&packed, Rows::new(&x, rows, depth).unwrap(), Clamp::NONE, to).unwrap();
                prop_assert_eq!(&y, &expected);
            }
        }
    }

    #[test]
    fn short_operands_are_refused() {
        let product = ProductF32::new(Isa::best(), 3, 2).unwrap();
        let mut packed = vec![0.0; product.packed_len()];
        assert!(product.pack(&[0.0; 5], [2, 1], &mut packed).is_err());
        assert!(
            product
                .pack(&[0.0; 6], [usize::MAX, 1], &mut packed)
                .is_err()
        );
        assert!(product.pack(&[0.0; 6], [2, 1], &mut packed[1..]).is_err());
        assert!(ProductF32::new(Isa::best(), usize::MAX, 2).is_err());
    }
}
