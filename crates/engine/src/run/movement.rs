//! Steps that move elements.

use super::Call;
use crate::EngineError;
use secateur_kernels::{Rearrange, gather};
use secateur_model::DType;
use secateur_plan::Operand;

impl Call<'_> {
    pub(super) fn rearrange(
        &self,
        arena: &mut [u8],
        walks: &[Rearrange],
        fill: Option<&[u8]>,
    ) -> Result<(), EngineError> {
        match self.output()?.dtype.size_bytes() {
            Some(1) => self.rearrange_as::<u8>(arena, walks, fill),
            Some(2) => self.rearrange_as::<u16>(arena, walks, fill),
            Some(4) => self.rearrange_as::<u32>(arena, walks, fill),
            _ => self.rearrange_as::<u64>(arena, walks, fill),
        }
    }

    fn rearrange_as<T: bytemuck::Pod + Sync>(
        &self,
        arena: &mut [u8],
        walks: &[Rearrange],
        fill: Option<&[u8]>,
    ) -> Result<(), EngineError> {
        let isa = self.plan.isa;
        let parts = self.apart(arena)?;
        let out = self.elements_mut::<T>(parts.out)?;
        if let Some(value) = fill {
            let value = bytemuck::try_pod_read_unaligned(value);
            out.fill(value.map_err(|_| self.misplaced())?);
        }
        if let [walk] = walks {
            let x = self.elements::<T>(self.operand(&parts.reads, 0)?)?;
            let turns = walk.parts(out.len());
            if turns > 1 {
                let out = bytemuck::cast_slice_mut(out);
                return self.share(out, turns, 1, |part, y| {
                    self.kernel(walk.run_part(isa, x, part, self.elements_mut(y)?))
                });
            }
        }
        for (index, walk) in walks.iter().enumerate() {
            let x = self.elements::<T>(self.operand(&parts.reads, index)?)?;
            self.kernel(walk.run(isa, x, out))?;
        }
        Ok(())
    }

    pub(super) fn gather(
        &self,
        arena: &mut [u8],
        extent: usize,
        bytes: usize,
    ) -> Result<(), EngineError> {
        let dtype = match self.step.inputs.get(1) {
            Some(Operand::Buffer(index)) => self.buffer(*index)?.dtype,
            Some(Operand::Constant(tensor)) => tensor.dtype(),
            _ => return Err(self.misplaced()),
        };
        match dtype {
            DType::I32 => self.gather_by::<i32>(arena, extent, bytes),
            _ => self.gather_by::<i64>(arena, extent, bytes),
        }
    }

    fn gather_by<I: bytemuck::Pod + Into<i64> + Sync>(
        &self,
        arena: &mut [u8],
        extent: usize,
        bytes: usize,
    ) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.operand(&parts.reads, 0)?;
        let indices = self.elements::<I>(self.operand(&parts.reads, 1)?)?;
        let slices = parts.out.len().checked_div(bytes).unwrap_or(0);
        self.share(parts.out, slices, 1, |part, y| {
            self.kernel(gather(x, extent, bytes, indices, part, y))
        })
    }
}
