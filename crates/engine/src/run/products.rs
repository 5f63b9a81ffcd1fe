//! Products of matrices that are both computed.

use super::Call;
use crate::EngineError;
use crate::team::{Flat, Units, blocks};
use secateur_kernels::{Clamp, Rows, RowsMut};
use secateur_plan::Product;

impl Call<'_> {
    pub(super) fn product(&self, arena: &mut [u8], product: &Product) -> Result<(), EngineError> {
        let Product {
            kernel,
            factors,
            rows,
        } = product;
        let (depth, columns) = (kernel.depth(), kernel.columns());
        let parts = self.apart(arena)?;
        let left = self.elements::<f32>(self.operand(&parts.reads, 0)?)?;
        let right = self.elements::<f32>(self.operand(&parts.reads, 1)?)?;
        let units = Units {
            range: 0..factors.len() * rows,
            // Each thread packs the right matrices of its own products.
            granule: if factors.len() > 1 { *rows } else { 1 },
            out: Flat {
                bytes: parts.out,
                each: columns * size_of::<f32>(),
            },
            scratch: parts.scratch,
            scratch_each: kernel.scratch_bytes(),
        };
        units.share(self.team, &|range, out, scratch| {
            let packed = self.elements_mut(scratch)?;
            let packed = packed.get_mut(..kernel.packed_len());
            let packed = packed.ok_or_else(|| self.misplaced())?;
            let mut rest = self.elements_mut::<f32>(out.bytes)?;
            let mut held = None;
            for (index, part) in blocks(range, *rows, *rows) {
                let (first, count) = (part.start, part.len());
                let (now, later) = rest.split_at_mut(count * columns);
                rest = later;
                let [from_left, from_right] = factors[index];
                if held != Some(from_right) {
                    let right = right.get(from_right..).ok_or_else(|| self.misplaced())?;
                    self.kernel(kernel.pack(right, [columns, 1], packed))?;
                    held = Some(from_right);
                }
                let x = from_left + first * depth;
                let x = left.get(x..x + count * depth);
                let x = self.kernel(Rows::new(x.ok_or_else(|| self.misplaced())?, count, depth))?;
                let y = self.kernel(RowsMut::new(now, count, columns))?;
                self.kernel(kernel.run(packed, x, Clamp::NONE, y))?;
            }
            Ok(())
        })
    }
}
