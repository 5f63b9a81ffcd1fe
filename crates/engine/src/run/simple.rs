//! Steps without weights.

use super::Call;
use crate::EngineError;
use secateur_kernels::{
    self as kernels, PadCount, RowsMut, Window2d, interleave, nchw_to_nhwc, nhwc_to_nchw,
};
use secateur_model::DType;

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
            DType::F32 => {
                let (x, y) = (self.floats(x)?, self.floats_mut(y)?);
                self.maxima(window, batch, x, y, f32::NEG_INFINITY)
            }
            DType::I8 => {
                let (x, y) = (bytemuck::cast_slice(x), bytemuck::cast_slice_mut(y));
                self.maxima(window, batch, x, y, i8::MIN)
            }
            _ => self.maxima(window, batch, x, y, u8::MIN),
        }
    }

    fn maxima<T: Copy + PartialOrd>(
        &self,
        window: &Window2d,
        batch: usize,
        x: &[T],
        y: &mut [T],
        lowest: T,
    ) -> Result<(), EngineError> {
        self.images(window, batch, x, y, |image, y| {
            let rows = RowsMut::new(y, window.pixels(), window.channels)?;
            kernels::max_pool(
                self.plan.isa,
                window,
                image,
                0..window.pixels(),
                lowest,
                rows,
            )
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
        let (x, y) = (self.floats(x)?, self.floats_mut(y)?);
        self.images(window, batch, x, y, |image, y| {
            let rows = RowsMut::new(y, window.pixels(), window.channels)?;
            kernels::average_pool(window, image, 0..window.pixels(), count, rows)
        })
    }

    /// Calls `pool` on every image of `x` and its result in `y`.
    fn images<T>(
        &self,
        window: &Window2d,
        batch: usize,
        x: &[T],
        y: &mut [T],
        pool: impl Fn(&[T], &mut [T]) -> Result<(), kernels::KernelError>,
    ) -> Result<(), EngineError> {
        let (from, to) = (window.image_len(), window.pixels() * window.channels);
        if x.len() != batch * from || y.len() != batch * to {
            return Err(self.misplaced());
        }
        x.chunks_exact(from.max(1))
            .zip(y.chunks_exact_mut(to.max(1)))
            .try_for_each(|(x, y)| self.kernel(pool(x, y)))
    }

    pub(super) fn global_average_pool(
        &self,
        arena: &mut [u8],
        batch: usize,
    ) -> Result<(), EngineError> {
        let [x, y, _] = self.unary(arena)?;
        let (x, y) = (self.floats(x)?, self.floats_mut(y)?);
        let (from, to) = (x.len() / batch.max(1), y.len() / batch.max(1));
        x.chunks_exact(from.max(1))
            .zip(y.chunks_exact_mut(to.max(1)))
            .try_for_each(|(x, y)| self.kernel(kernels::global_average_pool(x, y)))
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
