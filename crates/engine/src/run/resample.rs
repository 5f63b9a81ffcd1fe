//! Steps that resize.

use super::Call;
use crate::EngineError;
use crate::team::{Flat, Units};
use secateur_kernels::Resample;

impl Call<'_> {
    pub(super) fn resample(&self, arena: &mut [u8], pass: &Resample) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.floats(self.operand(&parts.reads, 0)?)?;
        let units = Units {
            range: 0..pass.rows(),
            granule: 1,
            out: Flat {
                bytes: parts.out,
                each: pass.line() * size_of::<f32>(),
            },
            scratch: parts.scratch,
            scratch_each: (pass.scratch() * size_of::<f32>()).next_multiple_of(64),
        };
        units.share(self.team, &|rows, y, scratch| {
            let y = self.floats_mut(y.bytes)?;
            let scratch = self.floats_mut(scratch)?.get_mut(..pass.scratch());
            let scratch = scratch.ok_or_else(|| self.misplaced())?;
            self.kernel(pass.run(self.plan.isa, x, rows, scratch, y))
        })
    }
}
