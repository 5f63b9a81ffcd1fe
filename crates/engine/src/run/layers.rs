//! Multiplying layers: rows, convolutions as rows or as lines of the image, depthwise convolutions.

use super::Call;
use crate::EngineError;
use crate::team::{ByColumns, ByRows, Units, blocks};
use secateur_kernels::{After, Im2col, IntOut, Rows, RowsMut, Slab};
use secateur_model::DType;
use secateur_plan::packed::{Depthwise, Filters, Finish, Group, Layer, Matrix};
use std::ops::Range;

/// Bytes of a cache line, which two threads shall not both write to.
const LINE: usize = 64;

/// How a layer is shared.
struct Shared<'a, 'b> {
    layer: &'a Layer,
    /// Bytes of all operands as the kernel reads them.
    operand_bytes: usize,
    /// Rows of the output that stay together.
    unit_rows: usize,
    /// Working memory of all threads.
    scratch: &'b mut [u8],
    /// Bytes of it that each needs.
    scratch_each: usize,
}

/// What a thread writes of a layer.
struct Part<'a> {
    /// Its rows.
    rows: Range<usize>,
    /// Its columns.
    outputs: Range<usize>,
    /// Where they go, in bytes.
    y: RowsMut<'a, u8>,
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
        let shared = Shared {
            layer,
            operand_bytes: x.len(),
            unit_rows: 1,
            scratch: &mut [],
            scratch_each: 0,
        };
        let row_bytes = layer.depth * operand_size(layer);
        self.share_layer(shared, rows, y, |part, _| {
            let (first, count) = (part.rows.start, part.rows.len());
            let x = x.get(first * row_bytes..(first + count) * row_bytes);
            let x = x.ok_or_else(|| self.misplaced())?;
            if is_float(layer) {
                let x = self.kernel(Rows::new(self.floats(x)?, count, layer.depth))?;
                return self.multiply_f32(group, x, part.outputs, part.y);
            }
            let x = self.kernel(Rows::new(x, count, layer.depth))?;
            self.multiply_u8(group, after, x, part.outputs, part.y)
        })
    }

    /// A convolution whose operands are rows, gathered unless the image's pixels are rows.
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
        let pixels = im2col.window().pixels();
        let row_bytes = im2col.cols() * operand_size(layer);
        let (tile, scratch_each) = match im2col.is_identity() {
            true => (pixels, 0),
            false => (tile, (tile * row_bytes).next_multiple_of(64)),
        };
        let shared = Shared {
            layer,
            operand_bytes: batch * pixels * row_bytes,
            unit_rows: 1,
            scratch,
            scratch_each,
        };
        self.share_layer(shared, batch * pixels, y, |part, scratch| {
            let mut rest = part.y;
            for (image, pixels) in blocks(part.rows, pixels, tile) {
                let (now, later) = rest.split_rows(pixels.len());
                rest = later;
                let tile = Tile {
                    layer,
                    im2col,
                    image,
                    pixels,
                    outputs: part.outputs.clone(),
                };
                if is_float(layer) {
                    let (x, scratch) = (self.floats(x)?, self.floats_mut(scratch)?);
                    self.tile(&tile, x, scratch, 0.0, now, |g, x, o, y| {
                        self.multiply_f32(g, x, o, y)
                    })?;
                } else {
                    self.tile(&tile, x, scratch, pad, now, |g, x, o, y| {
                        self.multiply_u8(g, after, x, o, y)
                    })?;
                }
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
        (batch, lines, pad): (usize, usize, u8),
        after: &After,
    ) -> Result<(), EngineError> {
        let [x, y, scratch] = self.unary(arena)?;
        let x: &[u8] = x;
        let [group] = layer.groups.as_slice() else {
            return Err(self.misplaced());
        };
        let ([height, width], length) = (slab.window().output, slab.window().image_len());
        let (most, scratch_each) = match slab.is_image() {
            true => (height, 0),
            false => (lines, slab.len(lines).next_multiple_of(64)),
        };
        let shared = Shared {
            layer,
            operand_bytes: x.len(),
            unit_rows: width,
            scratch,
            scratch_each,
        };
        self.share_layer(shared, batch * height * width, y, |part, scratch| {
            let mut rest = part.y;
            let lines = part.rows.start / width..part.rows.end / width;
            for (image, lines) in blocks(lines, height, most) {
                let count = lines.len();
                let (now, later) = rest.split_rows(count * width);
                rest = later;
                let image = x.get(image * length..(image + 1) * length);
                let image = image.ok_or_else(|| self.misplaced())?;
                let patches = if slab.is_image() {
                    slab.patches_of_image(image, lines)
                } else {
                    let copy = scratch.get_mut(..slab.len(count));
                    let copy = copy.ok_or_else(|| self.misplaced())?;
                    self.kernel(slab.fill(image, lines, pad, copy))?;
                    slab.patches(copy, count)
                };
                let patches = self.kernel(patches)?;
                let y = self.int_out(&group.finish, after, now)?;
                let outputs = part.outputs.clone();
                self.kernel(match &group.matrix {
                    Matrix::DenseI8(matrix) => matrix.run_patches(patches, outputs, y),
                    Matrix::SparseI8(matrix) => matrix.run_patches(patches, outputs, y),
                    Matrix::DenseF32(_) | Matrix::SparseF32(_) => return Err(self.misplaced()),
                })?;
            }
            Ok(())
        })
    }

    /// Shares a layer among the threads: by rows, so that each reads all weights; or by columns, so
    /// that operands and results go from one's cache to another's, where these are less.
    fn share_layer(
        &self,
        shared: Shared<'_, '_>,
        rows: usize,
        y: &mut [u8],
        work: impl Fn(Part<'_>, &mut [u8]) -> Result<(), EngineError> + Sync,
    ) -> Result<(), EngineError> {
        let Shared {
            layer,
            operand_bytes,
            unit_rows,
            scratch,
            scratch_each,
        } = shared;
        let (outputs, item) = (layer.outputs, self.item_size()?);
        let result_bytes = y.len();
        let out = self.kernel(RowsMut::new(y, rows, outputs * item))?;
        let (granule, tile) = match layer.groups.as_slice() {
            [group] => (
                group.matrix.granule().max(LINE / item),
                group.matrix.kernel().nr,
            ),
            _ => (outputs.max(1), 1),
        };
        let columns = outputs.div_ceil(granule) >= self.team.threads()
            && (rows == unit_rows || layer.bytes() > operand_bytes + result_bytes);
        if columns {
            let units = Units {
                range: 0..outputs,
                granule,
                out: ByColumns { out, each: item },
                scratch,
                scratch_each,
            };
            return units.share(self.team, &|outputs, part, scratch| {
                let y = part.out;
                let rows = 0..rows;
                work(Part { rows, outputs, y }, scratch)
            });
        }
        let units = Units {
            range: 0..rows / unit_rows.max(1),
            granule: tile.div_ceil(unit_rows.max(1)),
            out: ByRows {
                out,
                each: unit_rows,
            },
            scratch,
            scratch_each,
        };
        units.share(self.team, &|units, part, scratch| {
            let (rows, y) = (units.start * unit_rows..units.end * unit_rows, part.out);
            let outputs = 0..outputs;
            work(Part { rows, outputs, y }, scratch)
        })
    }

    /// One tile of one image, group by group.
    fn tile<T: Copy>(
        &self,
        tile: &Tile<'_>,
        x: &[T],
        scratch: &mut [T],
        pad: T,
        out: RowsMut<'_, u8>,
        multiply: impl Fn(&Group, Rows<'_, T>, Range<usize>, RowsMut<'_, u8>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let Tile { layer, im2col, .. } = *tile;
        let item = self.item_size()?;
        let length = im2col.window().image_len();
        let image = x.get(tile.image * length..(tile.image + 1) * length);
        let image = image.ok_or_else(|| self.misplaced())?;
        let (count, cols) = (tile.pixels.len(), im2col.cols());
        let mut rest = out;
        for (g, group) in layer.groups.iter().enumerate() {
            let outputs = match layer.groups.len() {
                1 => tile.outputs.clone(),
                _ => 0..group.matrix.outputs(),
            };
            let (now, later) = rest.split_columns(outputs.len() * item);
            rest = later;
            let rows = if im2col.is_identity() {
                &image[tile.pixels.start * cols..tile.pixels.end * cols]
            } else {
                let rows = scratch.get_mut(..count * cols);
                let rows = rows.ok_or_else(|| self.misplaced())?;
                self.kernel(im2col.rows(image, g, tile.pixels.clone(), pad, rows))?;
                rows
            };
            let rows = self.kernel(Rows::new(rows, count, cols))?;
            multiply(group, rows, outputs, now)?;
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
        let (window, size) = match &layer.filters {
            Filters::F32(f) => (f.window(), 4),
            Filters::I8(f) => (f.window(), 1),
        };
        let (pixels, length) = (window.pixels(), window.image_len() * size);
        let row_bytes = window.channels * self.item_size()?;
        self.share_pixels([batch, pixels], row_bytes, y, |image, pixels, y| {
            let image = x.get(image * length..(image + 1) * length);
            let image = image.ok_or_else(|| self.misplaced())?;
            match (&layer.filters, &layer.finish) {
                (Filters::F32(filters), Finish::Float(clamp)) => {
                    let (x, y) = (self.floats(image)?, self.kernel(y.cast())?);
                    self.kernel(filters.run(x, pixels, *clamp, y))
                }
                (Filters::I8(filters), finish) => {
                    let y = self.int_out(finish, &After::Nothing, y)?;
                    self.kernel(filters.run(image, pad, pixels, y))
                }
                (Filters::F32(_), _) => Err(self.misplaced()),
            }
        })
    }

    fn multiply_f32(
        &self,
        group: &Group,
        x: Rows<'_, f32>,
        outputs: Range<usize>,
        y: RowsMut<'_, u8>,
    ) -> Result<(), EngineError> {
        let Finish::Float(clamp) = group.finish else {
            return Err(self.misplaced());
        };
        let y = self.kernel(y.cast())?;
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
        y: RowsMut<'_, u8>,
    ) -> Result<(), EngineError> {
        let y = self.int_out(&group.finish, after, y)?;
        self.kernel(match &group.matrix {
            Matrix::DenseI8(matrix) => matrix.run(x, outputs, y),
            Matrix::SparseI8(matrix) => matrix.run(x, outputs, y),
            Matrix::DenseF32(_) | Matrix::SparseF32(_) => return Err(self.misplaced()),
        })
    }

    fn int_out<'b>(
        &self,
        finish: &'b Finish,
        after: &'b After,
        y: RowsMut<'b, u8>,
    ) -> Result<IntOut<'b>, EngineError> {
        match finish {
            Finish::Unsigned(to) | Finish::Signed(to) if !matches!(after, After::Nothing) => {
                Ok(IntOut::Codes(y, to, after))
            }
            Finish::Unsigned(to) => Ok(IntOut::U8(y, to)),
            Finish::Signed(to) => Ok(IntOut::I8(self.kernel(y.cast())?, to)),
            Finish::Real(to) => Ok(IntOut::F32(self.kernel(y.cast())?, to)),
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

/// Pixels of one image that are computed together, all outputs of them or some of a layer's only
/// group.
struct Tile<'a> {
    layer: &'a Layer,
    im2col: &'a Im2col,
    image: usize,
    pixels: Range<usize>,
    outputs: Range<usize>,
}

/// Whether a layer is of f32.
fn is_float(layer: &Layer) -> bool {
    let first = layer.groups.first().map(|g| &g.matrix);
    matches!(first, Some(Matrix::DenseF32(_) | Matrix::SparseF32(_)))
}

/// Bytes of an operand.
fn operand_size(layer: &Layer) -> usize {
    if is_float(layer) { 4 } else { 1 }
}
