//! Steps without weights.

use super::Call;
use crate::EngineError;
use secateur_kernels::{
    self as kernels, Element, KernelError, PadCount, RowsMut, Window2d, interleave, nchw_to_nhwc,
    nhwc_to_nchw,
};
use secateur_model::DType;
use std::ops::Range;

impl Call<'_> {
    pub(super) fn max_pool(
        &self,
        arena: &mut [u8],
        window: &Window2d,
        batch: usize,
    ) -> Result<(), EngineError> {
        let dtype = self.output()?.dtype;
        let [x, y, _] = self.unary(arena)?;
        match dtype {
            DType::F32 => self.maxima(window, batch, self.floats(x)?, y, f32::NEG_INFINITY),
            DType::I8 => self.maxima(window, batch, self.elements::<i8>(x)?, y, i8::MIN),
            _ => self.maxima(window, batch, x, y, u8::MIN),
        }
    }

    fn maxima<T: Copy + PartialOrd + Sync + Element>(
        &self,
        window: &Window2d,
        batch: usize,
        x: &[T],
        y: &mut [u8],
        lowest: T,
    ) -> Result<(), EngineError> {
        self.windows(window, batch, x, y, |image, pixels, y| {
            kernels::max_pool(self.plan.isa, window, image, pixels, lowest, y)
        })
    }

    pub(super) fn average_pool(
        &self,
        arena: &mut [u8],
        window: &Window2d,
        batch: usize,
        count: PadCount,
    ) -> Result<(), EngineError> {
        let [x, y, _] = self.unary(arena)?;
        self.windows(window, batch, self.floats(x)?, y, |image, pixels, y| {
            kernels::average_pool(self.plan.isa, window, image, pixels, count, y)
        })
    }

    /// Shares the windows of all images: `pool(image, pixels, y)`.
    fn windows<T: Sync + Element>(
        &self,
        window: &Window2d,
        batch: usize,
        x: &[T],
        y: &mut [u8],
        pool: impl Fn(&[T], Range<usize>, RowsMut<'_, T>) -> Result<(), KernelError> + Sync,
    ) -> Result<(), EngineError> {
        let (pixels, length) = (window.pixels(), window.image_len());
        let row_bytes = window.channels * size_of::<T>();
        self.share_pixels([batch, pixels], row_bytes, y, |image, pixels, y| {
            let image = x.get(image * length..(image + 1) * length);
            let image = image.ok_or_else(|| self.misplaced())?;
            self.kernel(pool(image, pixels, self.kernel(y.cast())?))
        })
    }

    pub(super) fn global_average_pool(
        &self,
        arena: &mut [u8],
        batch: usize,
    ) -> Result<(), EngineError> {
        let [x, y, _] = self.unary(arena)?;
        let x = self.floats(x)?;
        let (image, each) = (x.len() / batch.max(1), y.len() / batch.max(1));
        self.share(y, batch, 1, |range, y| {
            let x = x.get(range.start * image..range.end * image);
            let x = x
                .ok_or_else(|| self.misplaced())?
                .chunks_exact(image.max(1));
            for (x, y) in x.zip(y.chunks_exact_mut(each.max(1))) {
                let y = self.floats_mut(y)?;
                self.kernel(kernels::global_average_pool(self.plan.isa, x, y))?;
            }
            Ok(())
        })
    }

    pub(super) fn transpose(
        &self,
        arena: &mut [u8],
        batch: usize,
        channels: usize,
        to_last: bool,
    ) -> Result<(), EngineError> {
        let size = self.output()?.dtype.size_bytes().unwrap_or(1);
        let [x, y, _] = self.unary(arena)?;
        let image = x.len() / batch.max(1);
        x.chunks_exact(image.max(1))
            .zip(y.chunks_exact_mut(image.max(1)))
            .try_for_each(|(x, y)| match size {
                1 if to_last => self.kernel(interleave(self.plan.isa, channels, x, y)),
                1 => self.turn(channels, x, y, to_last),
                2 => self.turn_as::<u16>(channels, x, y, to_last),
                4 => self.turn_as::<u32>(channels, x, y, to_last),
                _ => self.turn_as::<u64>(channels, x, y, to_last),
            })
    }

    fn turn_as<T: bytemuck::Pod>(
        &self,
        channels: usize,
        x: &[u8],
        y: &mut [u8],
        to_last: bool,
    ) -> Result<(), EngineError> {
        let x = bytemuck::try_cast_slice::<u8, T>(x).map_err(|_| self.misplaced())?;
        let y = bytemuck::try_cast_slice_mut::<u8, T>(y).map_err(|_| self.misplaced())?;
        self.turn(channels, x, y, to_last)
    }

    fn turn<T: Copy>(
        &self,
        channels: usize,
        x: &[T],
        y: &mut [T],
        to_last: bool,
    ) -> Result<(), EngineError> {
        self.kernel(match to_last {
            true => nchw_to_nhwc(channels, x, y),
            false => nhwc_to_nchw(channels, x, y),
        })
    }
}
