//! Steps on elements by themselves.

use super::Call;
use crate::EngineError;
use secateur_kernels::{Affine, Binary, Clamp, Function, Nest, select};
use secateur_model::DType;

/// Elements between which threads part a tensor: cache lines stay whole.
const GRANULE: usize = 64;

impl Call<'_> {
    pub(super) fn map(
        &self,
        arena: &mut [u8],
        function: Function,
        codes: Option<Affine>,
    ) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.elements::<f32>(self.operand(&parts.reads, 0)?)?;
        self.share(parts.out, x.len(), GRANULE, |range, y| {
            let x = x.get(range).ok_or_else(|| self.misplaced())?;
            self.in_blocks(codes, 1, y, |part, y| {
                self.kernel(function.map(self.plan.isa, &x[part], y))
            })
        })
    }

    pub(super) fn binary(
        &self,
        arena: &mut [u8],
        function: Binary,
        nest: &Nest<2>,
        clamp: Clamp,
    ) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let a = self.elements(self.operand(&parts.reads, 0)?)?;
        let b = self.elements(self.operand(&parts.reads, 1)?)?;
        self.share(parts.out, nest.outer(), granule(nest), |turns, y| {
            let y = self.elements_mut(y)?;
            self.kernel(function.run(self.plan.isa, nest, [a, b], turns, clamp, y))
        })
    }

    pub(super) fn select(&self, arena: &mut [u8], nest: &Nest<3>) -> Result<(), EngineError> {
        match self.output()?.dtype.size_bytes() {
            Some(1) => self.select_as::<u8>(arena, nest),
            Some(2) => self.select_as::<u16>(arena, nest),
            Some(4) => self.select_as::<u32>(arena, nest),
            _ => self.select_as::<u64>(arena, nest),
        }
    }

    fn select_as<T: bytemuck::Pod + Sync>(
        &self,
        arena: &mut [u8],
        nest: &Nest<3>,
    ) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let condition = self.operand(&parts.reads, 0)?;
        let a = self.elements::<T>(self.operand(&parts.reads, 1)?)?;
        let b = self.elements::<T>(self.operand(&parts.reads, 2)?)?;
        self.share(parts.out, nest.outer(), granule(nest), |turns, y| {
            let y = self.elements_mut(y)?;
            self.kernel(select(self.plan.isa, nest, condition, [a, b], turns, y))
        })
    }

    pub(super) fn cast(&self, arena: &mut [u8]) -> Result<(), EngineError> {
        use DType::{Bool, F32, I32, I64, U8};
        match (self.input(0)?.dtype, self.output()?.dtype) {
            (I64, F32) => self.each(arena, |x: i64| x as f32),
            (I32, F32) => self.each(arena, |x: i32| x as f32),
            (U8, F32) => self.each(arena, |x: u8| f32::from(x)),
            (Bool, F32) => self.each(arena, |x: u8| f32::from(u8::from(x != 0))),
            // Towards zero; beyond the type its nearest, as the reference does.
            (F32, I64) => self.each(arena, |x: f32| x as i64),
            (F32, I32) => self.each(arena, |x: f32| x as i32),
            (I32, I64) => self.each(arena, |x: i32| i64::from(x)),
            (Bool, I64) => self.each(arena, |x: u8| i64::from(x != 0)),
            (I64, I32) => self.each(arena, |x: i64| x as i32),
            _ => Err(self.misplaced()),
        }
    }

    pub(super) fn quantize(&self, arena: &mut [u8], affine: Affine) -> Result<(), EngineError> {
        let signed = self.output()?.dtype == DType::I8;
        let parts = self.apart(arena)?;
        let x = self.elements::<f32>(self.operand(&parts.reads, 0)?)?;
        self.share(parts.out, x.len(), GRANULE, |range, y| {
            let x = x.get(range).ok_or_else(|| self.misplaced())?;
            self.kernel(match signed {
                true => affine.quantize_i8(self.plan.isa, x, self.elements_mut(y)?),
                false => affine.quantize_u8(self.plan.isa, x, y),
            })
        })
    }

    pub(super) fn dequantize(&self, arena: &mut [u8], affine: Affine) -> Result<(), EngineError> {
        match self.input(0)?.dtype {
            DType::I8 => self.dequantize_as::<i8>(arena, affine),
            _ => self.dequantize_as::<u8>(arena, affine),
        }
    }

    fn dequantize_as<T: bytemuck::Pod + Into<i32> + Sync>(
        &self,
        arena: &mut [u8],
        affine: Affine,
    ) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.elements::<T>(self.operand(&parts.reads, 0)?)?;
        self.share(parts.out, x.len(), GRANULE, |range, y| {
            let x = x.get(range).ok_or_else(|| self.misplaced())?;
            self.kernel(affine.dequantize(self.plan.isa, x, self.elements_mut(y)?))
        })
    }

    fn each<X: bytemuck::Pod + Sync, Y: bytemuck::Pod>(
        &self,
        arena: &mut [u8],
        f: impl Fn(X) -> Y + Sync,
    ) -> Result<(), EngineError> {
        let parts = self.apart(arena)?;
        let x = self.elements::<X>(self.operand(&parts.reads, 0)?)?;
        self.share(parts.out, x.len(), GRANULE, |range, y| {
            let x = x.get(range).ok_or_else(|| self.misplaced())?;
            let y = self.elements_mut::<Y>(y)?;
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x));
            Ok(())
        })
    }
}

/// Turns of the first loop that are some elements together.
fn granule<const N: usize>(nest: &Nest<N>) -> usize {
    let each = nest.elements() / nest.outer().max(1);
    GRANULE.div_ceil(each.max(1))
}
