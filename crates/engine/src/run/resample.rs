//! Steps that resize.

use super::Call;
use crate::EngineError;
use crate::team::Units;
use secateur_kernels::Resample;

impl Call<'_> {
    pub(super) fn resample(&self, arena: &mut [u8], pass: &Resample) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.floats(self.operand(&parts.reads, 0)?)?;
        let units = Units {
            range: 0..pass.rows(),
            granule: 1,
            bytes: pass.line() * size_of::<f32>(),
            out: parts.out,
            scratch: parts.scratch,
            scratch_each: (pass.scratch() * size_of::<f32>()).next_multiple_of(64),
        };
        units.share(self.threads, &|rows, y, scratch| {
            let scratch = self.floats_mut(scratch)?.get_mut(..pass.scratch());
            let scratch = scratch.ok_or_else(|| self.misplaced())?;
            self.kernel(pass.run(self.plan.isa, x, rows, scratch, self.floats_mut(y)?))
        })
    }
}
