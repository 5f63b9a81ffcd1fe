//! Steps on lanes of elements.

use super::Call;
use crate::EngineError;
use secateur_kernels::{Axis, Moments, Reduction, normalize_rows, softmax};

/// Outputs of a reduction that a thread takes at once.
const GRANULE: usize = 64;

impl Call<'_> {
    pub(super) fn softmax(&self, arena: &mut [u8], axis: Axis) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.elements(self.operand(&parts.reads, 0)?)?;
        let block = axis.extent * axis.run;
        self.share(parts.out, axis.outer, 1, |range, y| {
            let x = x.get(range.start * block..range.end * block);
            let x = x.ok_or_else(|| self.misplaced())?;
            let y = self.elements_mut(y)?;
            self.kernel(softmax(self.plan.isa, axis.extent, axis.run, x, y))
        })
    }

    pub(super) fn normalize(
        &self,
        arena: &mut [u8],
        moments: Moments,
        epsilon: f32,
        width: usize,
    ) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.elements(self.operand(&parts.reads, 0)?)?;
        let scale = self.elements(self.operand(&parts.reads, 1)?)?;
        let bias = self.elements(self.operand(&parts.reads, 2)?)?;
        self.share(parts.out, x.len() / width.max(1), 1, |range, y| {
            let x = x.get(range.start * width..range.end * width);
            let x = x.ok_or_else(|| self.misplaced())?;
            let (isa, y) = (self.plan.isa, self.elements_mut(y)?);
            self.kernel(normalize_rows(isa, moments, epsilon, [scale, bias], x, y))
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
