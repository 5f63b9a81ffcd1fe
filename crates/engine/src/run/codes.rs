//! Steps on codes.

use super::Call;
use crate::EngineError;
use crate::team::{Flat, Units, blocks};
use secateur_kernels::{AddCodes, CodesOut, MatmulCodes, MeanCodes, PadCount, Window2d, lookup};
use secateur_model::DType;

/// Elements between which threads part a tensor.
const GRANULE: usize = 4096;

impl Call<'_> {
    pub(super) fn add_codes(&self, arena: &mut [u8], add: &AddCodes) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let a = self.operand(&parts.reads, 0)?;
        let b = self.operand(&parts.reads, 1)?;
        self.share(parts.out, a.len(), GRANULE, |range, y| {
            let (Some(a), Some(b)) = (a.get(range.clone()), b.get(range)) else {
                return Err(self.misplaced());
            };
            self.kernel(add.run(self.plan.isa, a, b, y))
        })
    }

    pub(super) fn lookup(&self, arena: &mut [u8], table: &[u8; 256]) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.operand(&parts.reads, 0)?;
        self.share(parts.out, x.len(), GRANULE, |range, y| {
            let x = x.get(range).ok_or_else(|| self.misplaced())?;
            self.kernel(lookup(self.plan.isa, table, x, y))
        })
    }

    pub(super) fn matmul_codes(
        &self,
        arena: &mut [u8],
        matmul: &MatmulCodes,
        batch: usize,
        [rows, columns, depth]: [usize; 3],
    ) -> Result<(), EngineError> {
        let item = self.output()?.dtype.size_bytes().unwrap_or(1);
        let parts = self.apart(arena)?;
        let a = self.operand(&parts.reads, 0)?;
        let b = self.operand(&parts.reads, 1)?;
        let each = rows * columns * item;
        let units = Units {
            range: 0..batch,
            granule: 1,
            out: Flat {
                bytes: parts.out,
                each,
            },
            scratch: parts.scratch,
            scratch_each: matmul.scratch_bytes().next_multiple_of(64),
        };
        units.share(self.team, &|range, y, scratch| {
            for (index, y) in range.zip(y.bytes.chunks_exact_mut(each.max(1))) {
                let a = a.get(index * rows * depth..(index + 1) * rows * depth);
                let b = b.get(index * depth * columns..(index + 1) * depth * columns);
                let (Some(a), Some(b)) = (a, b) else {
                    return Err(self.misplaced());
                };
                let y = self.codes_out(y)?;
                self.kernel(matmul.run(self.plan.isa, a, b, scratch, y))?;
            }
            Ok(())
        })
    }

    pub(super) fn mean_codes(
        &self,
        arena: &mut [u8],
        mean: &MeanCodes,
        extents: (usize, usize),
    ) -> Result<(), EngineError> {
        let [x, y, _] = self.unary(arena)?;
        let y = self.codes_out(y)?;
        self.kernel(mean.axis(self.plan.isa, x, extents, y))
    }

    pub(super) fn average_codes(
        &self,
        arena: &mut [u8],
        mean: &MeanCodes,
        window: &Window2d,
        (batch, count): (usize, PadCount),
    ) -> Result<(), EngineError> {
        let item = self.output()?.dtype.size_bytes().unwrap_or(1);
        let [x, y, _] = self.unary(arena)?;
        let x: &[u8] = x;
        let (pixels, length) = (window.pixels(), window.image_len());
        let units = Units {
            range: 0..batch * pixels,
            granule: 1,
            out: Flat {
                bytes: y,
                each: window.channels * item,
            },
            scratch: &mut [],
            scratch_each: 0,
        };
        units.share(self.team, &|range, out, _| {
            let mut rest = out.bytes;
            for (image, pixels) in blocks(range, pixels, pixels) {
                let (now, later) = rest.split_at_mut(pixels.len() * window.channels * item);
                rest = later;
                let image = x.get(image * length..(image + 1) * length);
                let image = image.ok_or_else(|| self.misplaced())?;
                let y = self.codes_out(now)?;
                let done = mean.windows(self.plan.isa, window, image, pixels, count, y);
                self.kernel(done)?;
            }
            Ok(())
        })
    }

    /// The output as what a kernel on codes writes to.
    fn codes_out<'b>(&self, y: &'b mut [u8]) -> Result<CodesOut<'b>, EngineError> {
        Ok(match self.output()?.dtype {
            DType::F32 => CodesOut::Real(self.floats_mut(y)?),
            _ => CodesOut::Codes(y),
        })
    }
}
