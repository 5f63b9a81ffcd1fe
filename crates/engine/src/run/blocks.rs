//! Results of f32 that become codes block by block.

use super::Call;
use crate::EngineError;
use secateur_kernels::Affine;
use secateur_model::DType;
use secateur_plan::BLOCK;
use std::ops::Range;

impl Call<'_> {
    /// Computes some of the output, which is `y`, in whole rows of `width` elements: as f32, or some at a
    /// time as codes.
    pub(super) fn in_blocks(
        &self,
        codes: Option<Affine>,
        width: usize,
        y: &mut [u8],
        compute: impl Fn(Range<usize>, &mut [f32]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let Some(affine) = codes else {
            let y = self.floats_mut(y)?;
            return compute(0..y.len(), y);
        };
        let signed = self.output()?.dtype == DType::I8;
        let isa = self.plan.isa;
        let mut block = [0.0; BLOCK];
        let size = BLOCK / width.max(1) * width;
        for (n, y) in y.chunks_mut(size.max(1)).enumerate() {
            let reals = block.get_mut(..y.len()).ok_or_else(|| self.misplaced())?;
            compute(n * size..n * size + y.len(), reals)?;
            self.kernel(match signed {
                true => affine.quantize_i8(isa, reals, bytemuck::cast_slice_mut(y)),
                false => affine.quantize_u8(isa, reals, y),
            })?;
        }
        Ok(())
    }
}
