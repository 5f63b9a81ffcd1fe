//! Steps on lanes of elements.

use super::Call;
use crate::EngineError;
use crate::arena::Reads;
use secateur_kernels::{Affine, Axis, Moments, Reduction, add, normalize_rows, softmax};
use secateur_model::DType;
use secateur_plan::{Addend, BLOCK};
use std::ops::Range;

/// Outputs of a reduction that a thread takes at once.
const GRANULE: usize = 64;

impl Call<'_> {
    pub(super) fn softmax(
        &self,
        arena: &mut [u8],
        axis: Axis,
        codes: Option<Affine>,
    ) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.elements(self.operand(&parts.reads, 0)?)?;
        let block = axis.extent * axis.run;
        self.share(parts.out, axis.outer, 1, |range, y| {
            let x = x.get(range.start * block..range.end * block);
            let x = x.ok_or_else(|| self.misplaced())?;
            self.in_blocks(codes, block, y, |part, y| {
                self.kernel(softmax(self.plan.isa, axis.extent, axis.run, &x[part], y))
            })
        })
    }

    pub(super) fn normalize(
        &self,
        arena: &mut [u8],
        (moments, epsilon, width): (Moments, f32, usize),
        addend: Addend,
        codes: Option<Affine>,
    ) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.elements(self.operand(&parts.reads, 0)?)?;
        let scale = self.elements(self.operand(&parts.reads, 1)?)?;
        let bias = self.elements(self.operand(&parts.reads, 2)?)?;
        let isa = self.plan.isa;
        let normalize = |x: &[f32], y: &mut [f32]| {
            self.kernel(normalize_rows(isa, moments, epsilon, [scale, bias], x, y))
        };
        self.share(parts.out, x.len() / width.max(1), 1, |range, y| {
            let all = range.start * width..range.end * width;
            let x = x.get(all.clone()).ok_or_else(|| self.misplaced())?;
            if addend == Addend::None {
                return self.in_blocks(codes, width, y, |part, y| normalize(&x[part], y));
            }
            self.in_blocks(codes, width, y, |part, y| {
                let mut sums = [0.0; BLOCK];
                let rows = sums.get_mut(..width).ok_or_else(|| self.misplaced())?;
                let rows_of = x[part.clone()].chunks_exact(width.max(1));
                for (n, (x, y)) in rows_of.zip(y.chunks_exact_mut(width.max(1))).enumerate() {
                    let at = all.start + part.start + n * width;
                    self.add(&parts.reads, addend, at..at + width, x, rows)?;
                    normalize(rows, y)?;
                }
                Ok(())
            })
        })
    }

    /// `y = x` and what is added to it, of which these are some elements.
    fn add(
        &self,
        reads: &Reads<'_>,
        addend: Addend,
        part: Range<usize>,
        x: &[f32],
        y: &mut [f32],
    ) -> Result<(), EngineError> {
        let other = self.operand(reads, 3)?;
        let isa = self.plan.isa;
        let codes = || other.get(part.clone()).ok_or_else(|| self.misplaced());
        self.kernel(match addend {
            Addend::Codes(affine) if self.input(3)?.dtype == DType::I8 => {
                affine.add_dequantized(isa, x, bytemuck::cast_slice::<u8, i8>(codes()?), y)
            }
            Addend::Codes(affine) => affine.add_dequantized(isa, x, codes()?, y),
            Addend::Real => {
                let other = self.floats(other)?.get(part.clone());
                add(isa, x, other.ok_or_else(|| self.misplaced())?, y)
            }
            Addend::None => return Err(self.misplaced()),
        })
    }

    pub(super) fn reduce(
        &self,
        arena: &mut [u8],
        kind: Reduction,
        axis: Axis,
    ) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.elements(self.operand(&parts.reads, 0)?)?;
        self.share(parts.out, axis.outer * axis.run, GRANULE, |range, y| {
            let y = self.elements_mut(y)?;
            self.kernel(kind.run(self.plan.isa, axis, x, range, y))
        })
    }
}
