//! Multiplying layers: rows, convolutions as rows, depthwise convolutions.

use super::Call;
use crate::EngineError;
use crate::team::Units;
use secateur_kernels::{After, Im2col, IntOut, Rows, RowsMut, Slab};
use secateur_model::DType;
use secateur_plan::packed::{Depthwise, Filters, Finish, Group, Layer, Matrix};
use std::ops::Range;

/// Where a matrix writes: `rows` rows of its outputs, `stride` elements apart.
struct Target<'a> {
    bytes: &'a mut [u8],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl Call<'_> {
    pub(super) fn matmul(
        &self,
        arena: &mut [u8],
        layer: &Layer,
        rows: usize,
        after: &After,
    ) -> Result<(), EngineError> {
        let [x, y, _] = self.unary(arena)?;
        let x: &[u8] = x;
        let group = layer.groups.first().ok_or_else(|| self.misplaced())?;
        let item = self.item_size()?;
        let single = rows == 1;
        let units = Units {
            range: 0..if single { layer.outputs } else { rows },
            granule: if single { group.matrix.granule() } else { 1 },
            bytes: if single { item } else { layer.outputs * item },
            out: y,
            scratch: &mut [],
            scratch_each: 0,
        };
        let floats = matches!(group.matrix, Matrix::DenseF32(_) | Matrix::SparseF32(_));
        let row_bytes = layer.depth * if floats { 4 } else { 1 };
        units.share(self.threads, &|range, out, _| {
            let (of_x, outputs) = match single {
                true => (0..1, range),
                false => (range, 0..layer.outputs),
            };
            let (rows, cols) = (of_x.len(), outputs.len());
            let x = x
                .get(of_x.start * row_bytes..of_x.end * row_bytes)
                .ok_or_else(|| self.misplaced())?;
            let target = Target {
                bytes: out,
                rows,
                cols,
                stride: cols,
            };
            match floats {
                true => {
                    let x = self.kernel(Rows::new(self.floats(x)?, rows, layer.depth))?;
                    self.multiply_f32(group, x, outputs, target)
                }
                false => {
                    let x = self.kernel(Rows::new(x, rows, layer.depth))?;
                    self.multiply_u8(group, after, x, outputs, target)
                }
            }
        })
    }

    pub(super) fn conv(
        &self,
        arena: &mut [u8],
        layer: &Layer,
        im2col: &Im2col,
        (batch, tile, pad): (usize, usize, u8),
        after: &After,
    ) -> Result<(), EngineError> {
        let [x, y, scratch] = self.unary(arena)?;
        let x: &[u8] = x;
        let item = self.item_size()?;
        let pixels = im2col.window().pixels();
        let scratch_each = match &layer.groups.first().map(|g| &g.matrix) {
            _ if im2col.is_identity() => 0,
            Some(Matrix::DenseF32(_) | Matrix::SparseF32(_)) => 4 * tile * im2col.cols(),
            _ => tile * im2col.cols(),
        };
        let units = Units {
            range: 0..batch * pixels,
            granule: 1,
            bytes: layer.outputs * item,
            out: y,
            scratch,
            scratch_each: scratch_each.next_multiple_of(64),
        };
        units.share(self.threads, &|range, out, scratch| {
            let mut rest = out;
            let mut at = range.start;
            while at < range.end {
                // Within one image, and of one tile where rows are gathered.
                let first = at % pixels;
                let room = (range.end - at).min(pixels - first);
                let count = if im2col.is_identity() {
                    room
                } else {
                    room.min(tile)
                };
                let (now, later) = rest.split_at_mut(count * layer.outputs * item);
                rest = later;
                let image = at / pixels;
                let tile = Tile {
                    layer,
                    im2col,
                    image,
                    pixels: first..first + count,
                    item,
                };
                match layer.groups.first().map(|g| &g.matrix) {
                    Some(Matrix::DenseF32(_) | Matrix::SparseF32(_)) => {
                        let scratch = self.floats_mut(scratch)?;
                        self.tile(&tile, self.floats(x)?, scratch, 0.0, now, |g, x, o, y| {
                            self.multiply_f32(g, x, o, y)
                        })?;
                    }
                    _ => self.tile(&tile, x, scratch, pad, now, |g, x, o, y| {
                        self.multiply_u8(g, after, x, o, y)
                    })?,
                }
                at += count;
            }
            Ok(())
        })
    }

    /// A convolution whose kernel finds its operands in the image, or in a copy of some lines of it.
    pub(super) fn conv_lines(
        &self,
        arena: &mut [u8],
        layer: &Layer,
        slab: &Slab,
        (batch, rows, pad): (usize, usize, u8),
        after: &After,
    ) -> Result<(), EngineError> {
        let [x, y, scratch] = self.unary(arena)?;
        let x: &[u8] = x;
        let [group] = layer.groups.as_slice() else {
            return Err(self.misplaced());
        };
        let item = self.item_size()?;
        let ([height, width], length) = (slab.window().output, slab.window().image_len());
        let row_bytes = width * layer.outputs * item;
        let scratch_each = if slab.is_image() { 0 } else { slab.len(rows) };
        let units = Units {
            range: 0..batch * height,
            granule: 1,
            bytes: row_bytes,
            out: y,
            scratch,
            scratch_each: scratch_each.next_multiple_of(64),
        };
        units.share(self.threads, &|range, mut out, scratch| {
            let mut at = range.start;
            while at < range.end {
                let first = at % height;
                let left = (range.end - at).min(height - first);
                let count = if slab.is_image() {
                    left
                } else {
                    left.min(rows)
                };
                let image = x
                    .get(at / height * length..(at / height + 1) * length)
                    .ok_or_else(|| self.misplaced())?;
                let (now, later) = out.split_at_mut(count * row_bytes);
                out = later;
                let patches = if slab.is_image() {
                    slab.patches_of_image(image, first..first + count)
                } else {
                    let lines = scratch
                        .get_mut(..slab.len(count))
                        .ok_or_else(|| self.misplaced())?;
                    self.kernel(slab.fill(image, first..first + count, pad, lines))?;
                    slab.patches(lines, count)
                };
                let target = Target {
                    bytes: now,
                    rows: count * width,
                    cols: layer.outputs,
                    stride: layer.outputs,
                };
                let y = self.int_out(&group.finish, after, target)?;
                let patches = self.kernel(patches)?;
                self.kernel(match &group.matrix {
                    Matrix::DenseI8(matrix) => matrix.run_patches(patches, 0..layer.outputs, y),
                    Matrix::SparseI8(matrix) => matrix.run_patches(patches, 0..layer.outputs, y),
                    Matrix::DenseF32(_) | Matrix::SparseF32(_) => return Err(self.misplaced()),
                })?;
                at += count;
            }
            Ok(())
        })
    }

    /// One tile of one image, group by group.
    fn tile<T: Copy>(
        &self,
        tile: &Tile<'_>,
        x: &[T],
        scratch: &mut [T],
        pad: T,
        out: &mut [u8],
        multiply: impl Fn(&Group, Rows<'_, T>, Range<usize>, Target<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let Tile {
            layer,
            im2col,
            item,
            ..
        } = *tile;
        let length = im2col.window().image_len();
        let image = x
            .get(tile.image * length..(tile.image + 1) * length)
            .ok_or_else(|| self.misplaced())?;
        let (count, cols) = (tile.pixels.len(), im2col.cols());
        for (g, group) in layer.groups.iter().enumerate() {
            let each = group.matrix.outputs();
            let rows = if im2col.is_identity() {
                &image[tile.pixels.start * cols..tile.pixels.end * cols]
            } else {
                let rows = scratch
                    .get_mut(..count * cols)
                    .ok_or_else(|| self.misplaced())?;
                self.kernel(im2col.rows(image, g, tile.pixels.clone(), pad, rows))?;
                rows
            };
            let target = Target {
                bytes: &mut out[g * each * item..],
                rows: count,
                cols: each,
                stride: layer.outputs,
            };
            let rows = self.kernel(Rows::new(rows, count, cols))?;
            multiply(group, rows, 0..each, target)?;
        }
        Ok(())
    }

    pub(super) fn depthwise(
        &self,
        arena: &mut [u8],
        layer: &Depthwise,
        batch: usize,
        pad: u8,
    ) -> Result<(), EngineError> {
        let [x, y, _] = self.unary(arena)?;
        let x: &[u8] = x;
        let item = self.item_size()?;
        let (window, size) = match &layer.filters {
            Filters::F32(f) => (f.window(), 4),
            Filters::I8(f) => (f.window(), 1),
        };
        let (pixels, length) = (window.pixels(), window.image_len() * size);
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
                let count = (range.end - at).min(pixels - first);
                let (now, later) = rest.split_at_mut(count * window.channels * item);
                rest = later;
                let image = x
                    .get(image * length..(image + 1) * length)
                    .ok_or_else(|| self.misplaced())?;
                let part = first..first + count;
                let target = Target {
                    bytes: now,
                    rows: count,
                    cols: window.channels,
                    stride: window.channels,
                };
                match (&layer.filters, &layer.finish) {
                    (Filters::F32(filters), Finish::Float(clamp)) => {
                        let y = self.rows_mut(target)?;
                        self.kernel(filters.run(self.floats(image)?, part, *clamp, y))?;
                    }
                    (Filters::I8(filters), finish) => {
                        let out = self.int_out(finish, &After::Nothing, target)?;
                        self.kernel(filters.run(image, pad, part, out))?;
                    }
                    (Filters::F32(_), _) => return Err(self.misplaced()),
                }
                at += count;
            }
            Ok(())
        })
    }

    fn multiply_f32(
        &self,
        group: &Group,
        x: Rows<'_, f32>,
        outputs: Range<usize>,
        target: Target<'_>,
    ) -> Result<(), EngineError> {
        let Finish::Float(clamp) = group.finish else {
            return Err(self.misplaced());
        };
        let y = self.rows_mut(target)?;
        self.kernel(match &group.matrix {
            Matrix::DenseF32(matrix) => matrix.run(x, outputs, clamp, y),
            Matrix::SparseF32(matrix) => matrix.run(x, outputs, clamp, y),
            Matrix::DenseI8(_) | Matrix::SparseI8(_) => return Err(self.misplaced()),
        })
    }

    fn multiply_u8(
        &self,
        group: &Group,
        after: &After,
        x: Rows<'_, u8>,
        outputs: Range<usize>,
        target: Target<'_>,
    ) -> Result<(), EngineError> {
        let out = self.int_out(&group.finish, after, target)?;
        self.kernel(match &group.matrix {
            Matrix::DenseI8(matrix) => matrix.run(x, outputs, out),
            Matrix::SparseI8(matrix) => matrix.run(x, outputs, out),
            Matrix::DenseF32(_) | Matrix::SparseF32(_) => return Err(self.misplaced()),
        })
    }

    fn rows_mut<'b>(&self, target: Target<'b>) -> Result<RowsMut<'b, f32>, EngineError> {
        let y = self.floats_mut(target.bytes)?;
        self.kernel(RowsMut::strided(y, target.rows, target.cols, target.stride))
    }

    fn int_out<'b>(
        &self,
        finish: &'b Finish,
        after: &'b After,
        target: Target<'b>,
    ) -> Result<IntOut<'b>, EngineError> {
        let Target {
            bytes,
            rows,
            cols,
            stride,
        } = target;
        match finish {
            Finish::Unsigned(to) | Finish::Signed(to) if !matches!(after, After::Nothing) => {
                let y = self.kernel(RowsMut::strided(bytes, rows, cols, stride))?;
                Ok(IntOut::Codes(y, to, after))
            }
            Finish::Unsigned(to) => {
                let y = self.kernel(RowsMut::strided(bytes, rows, cols, stride))?;
                Ok(IntOut::U8(y, to))
            }
            Finish::Signed(to) => {
                let y = bytemuck::cast_slice_mut(bytes);
                let y = self.kernel(RowsMut::strided(y, rows, cols, stride))?;
                Ok(IntOut::I8(y, to))
            }
            Finish::Real(to) => {
                let y = self.floats_mut(bytes)?;
                let y = self.kernel(RowsMut::strided(y, rows, cols, stride))?;
                Ok(IntOut::F32(y, to))
            }
            Finish::Float(_) => Err(self.misplaced()),
        }
    }

    /// Bytes of an element of the output.
    fn item_size(&self) -> Result<usize, EngineError> {
        match self.output()?.dtype {
            DType::F32 => Ok(4),
            DType::U8 | DType::I8 => Ok(1),
            _ => Err(self.misplaced()),
        }
    }
}

/// Pixels of one image that are computed together.
struct Tile<'a> {
    layer: &'a Layer,
    im2col: &'a Im2col,
    image: usize,
    pixels: Range<usize>,
    /// Bytes of an element of the output.
    item: usize,
}
