//! Steps on codes, and steps that move elements.

use super::Call;
use crate::EngineError;
use crate::arena::views;
use crate::team::Units;
use secateur_kernels::{
    AddCodes, CodesOut, KernelError, MatmulCodes, MeanCodes, PadCount, Rearrange, Window2d, lookup,
};
use secateur_model::DType;
use secateur_plan::Operand;

/// Elements between which threads part a tensor.
const GRANULE: usize = 4096;

impl Call<'_> {
    pub(super) fn add_codes(&self, arena: &mut [u8], add: &AddCodes) -> Result<(), EngineError> {
        let isa = self.plan.isa;
        let (a, b, y) = (
            Self::range(self.input(0)?),
            Self::range(self.input(1)?),
            Self::range(self.output()?),
        );
        let work = |a: &[u8], b: &[u8], y: &mut [u8]| {
            self.elements(y, &|part, y| {
                let (a, b) = (a.get(part.clone()), b.get(part));
                let (Some(a), Some(b)) = (a, b) else {
                    return Err(self.misplaced());
                };
                self.kernel(add.run(isa, a, b, y))
            })
        };
        if a == b {
            let [a, y] = views(arena, [a, y], &self.step.name)?;
            return work(a, a, y);
        }
        let [a, b, y] = views(arena, [a, b, y], &self.step.name)?;
        work(a, b, y)
    }

    pub(super) fn lookup(&self, arena: &mut [u8], table: &[u8; 256]) -> Result<(), EngineError> {
        let [x, y, _] = self.unary(arena)?;
        let x: &[u8] = x;
        self.elements(y, &|part, y| {
            let x = x.get(part).ok_or_else(|| self.misplaced())?;
            self.kernel(lookup(self.plan.isa, table, x, y))
        })
    }

    /// Shares bytes among the threads.
    fn elements<F>(&self, y: &mut [u8], work: &F) -> Result<(), EngineError>
    where
        F: Fn(std::ops::Range<usize>, &mut [u8]) -> Result<(), EngineError> + Sync,
    {
        let units = Units {
            range: 0..y.len(),
            granule: GRANULE,
            bytes: 1,
            out: y,
            scratch: &mut [],
            scratch_each: 0,
        };
        units.share(self.threads, &|range, y, _| work(range, y))
    }

    pub(super) fn matmul_codes(
        &self,
        arena: &mut [u8],
        matmul: &MatmulCodes,
        batch: usize,
        [rows, columns, depth]: [usize; 3],
    ) -> Result<(), EngineError> {
        let item = self.output()?.dtype.size_bytes().unwrap_or(1);
        let (a, b) = (Self::range(self.input(0)?), Self::range(self.input(1)?));
        let y = Self::range(self.output()?);
        let scratch = self.step.scratch.map_or(0..0, |(at, len)| at..at + len);
        let [a_bytes, b_bytes, y, scratch] = if a == b {
            // A matrix times itself is read twice.
            let [a, y, scratch] = views(arena, [a, y, scratch], &self.step.name)?;
            return self.products(
                matmul,
                [a, a],
                y,
                scratch,
                batch,
                [rows, columns, depth, item],
            );
        } else {
            views(arena, [a, b, y, scratch], &self.step.name)?
        };
        let factors: [&[u8]; 2] = [a_bytes, b_bytes];
        self.products(
            matmul,
            factors,
            y,
            scratch,
            batch,
            [rows, columns, depth, item],
        )
    }

    fn products(
        &self,
        matmul: &MatmulCodes,
        [a, b]: [&[u8]; 2],
        y: &mut [u8],
        scratch: &mut [u8],
        batch: usize,
        [rows, columns, depth, item]: [usize; 4],
    ) -> Result<(), EngineError> {
        let units = Units {
            range: 0..batch,
            granule: 1,
            bytes: rows * columns * item,
            out: y,
            scratch,
            scratch_each: matmul.scratch_bytes().next_multiple_of(64),
        };
        units.share(self.threads, &|range, y, scratch| {
            let each = rows * columns * item;
            for (index, y) in range.zip(y.chunks_exact_mut(each.max(1))) {
                let part = |x: &'_ [u8], len: usize| index * len..((index + 1) * len).min(x.len());
                let a = a
                    .get(part(a, rows * depth))
                    .ok_or_else(|| self.misplaced())?;
                let b = b
                    .get(part(b, depth * columns))
                    .ok_or_else(|| self.misplaced())?;
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
            bytes: window.channels * item,
            out: y,
            scratch: &mut [],
            scratch_each: 0,
        };
        units.share(self.threads, &|range, out, _| {
            let mut rest = out;
            let mut at = range.start;
            while at < range.end {
                let (image, first) = (at / pixels, at % pixels);
                let pixels = first..pixels.min(first + range.end - at);
                at += pixels.len();
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

    pub(super) fn rearrange(
        &self,
        arena: &mut [u8],
        walks: &[Rearrange],
        fill: Option<&[u8]>,
    ) -> Result<(), EngineError> {
        let output = self.output()?;
        let size = output.dtype.size_bytes().unwrap_or(1);
        if let Some(value) = fill {
            let [y] = views(arena, [Self::range(output)], &self.step.name)?;
            match value {
                [byte] => y.fill(*byte),
                _ => y
                    .chunks_exact_mut(value.len().max(1))
                    .for_each(|y| y.copy_from_slice(value)),
            }
        }
        for (operand, walk) in self.step.inputs.iter().zip(walks) {
            let Operand::Buffer(index) = operand else {
                return Err(self.misplaced());
            };
            let ranges = [Self::range(self.buffer(*index)?), Self::range(output)];
            let [x, y] = views(arena, ranges, &self.step.name)?;
            match size {
                1 => self.kernel(walk.run(x, y))?,
                2 => self.walk_as::<u16>(walk, x, y)?,
                4 => self.walk_as::<u32>(walk, x, y)?,
                _ => self.walk_as::<u64>(walk, x, y)?,
            }
        }
        Ok(())
    }

    fn walk_as<T: bytemuck::Pod>(
        &self,
        walk: &Rearrange,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), EngineError> {
        let x = bytemuck::try_cast_slice::<u8, T>(x).map_err(|_| self.misplaced())?;
        let y = bytemuck::try_cast_slice_mut::<u8, T>(y).map_err(|_| self.misplaced())?;
        let done: Result<(), KernelError> = walk.run(x, y);
        self.kernel(done)
    }
}
