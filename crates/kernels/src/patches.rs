use crate::Rows;

/// Operands of the pixels of a convolution as they lie in an image: of every pixel some lines of
/// consecutive elements, so that no tap is copied.
///
/// Operand `k` of line `l` of pixel `(y, x)` is at `y·row_pitch + x·pixel_stride + l·line_pitch + k`.
/// Made by [`Slab`](crate::Slab), or from [`Rows`], which are pixels of one line.
#[derive(Debug, Clone, Copy)]
pub struct Patches<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) pixels: usize,
    /// Pixels of a row of the output.
    pub(crate) width: usize,
    pub(crate) pixel_stride: usize,
    pub(crate) row_pitch: usize,
    pub(crate) lines: usize,
    /// Elements of a line.
    pub(crate) line: usize,
    pub(crate) line_pitch: usize,
    /// Whether [`SLACK`] elements may be read behind every line.
    pub(crate) is_roomy: bool,
}

/// Elements that may be read, and mean nothing, behind a line of roomy patches.
pub(crate) const SLACK: usize = 64;

/// Pixels that a kernel computes together: consecutive ones, of one row or of two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<T> {
    pub(crate) pixel: usize,
    pub(crate) count: usize,
    /// Where the first half of the pixels begins, rounded up, and where the second does.
    pub(crate) halves: [*const T; 2],
}

impl<'a, T> Patches<'a, T> {
    /// Number of pixels.
    pub fn pixels(&self) -> usize {
        self.pixels
    }

    /// Operands of a pixel.
    pub fn depth(&self) -> usize {
        self.lines * self.line
    }

    /// Elements of a line.
    pub fn line(&self) -> usize {
        self.line
    }

    /// From the start of a line of `line` elements to that of the next; lines shorter than those here lie
    /// one behind the other.
    #[inline(always)]
    pub(crate) fn pitch_of(&self, line: usize) -> usize {
        match line == self.line {
            true => self.line_pitch,
            false => line,
        }
    }

    /// Index of the first operand of a pixel.
    #[inline(always)]
    pub(crate) fn start(&self, pixel: usize) -> usize {
        pixel / self.width * self.row_pitch + pixel % self.width * self.pixel_stride
    }

    /// Line `line` of a pixel.
    #[cfg(test)]
    pub(crate) fn line_of(&self, pixel: usize, line: usize) -> &'a [T] {
        &self.data[self.start(pixel) + line * self.line_pitch..][..self.line]
    }

    /// The tile that begins with `pixel`: up to `most` pixels; tiles of a row are of like size, and
    /// where half of `most` ends a row, the next row is the other half.
    #[inline(always)]
    pub(crate) fn tile(&self, pixel: usize, most: usize) -> Tile<T> {
        let first = self.data.as_ptr().wrapping_add(self.start(pixel));
        let left = (self.width - pixel % self.width).min(self.pixels - pixel);
        let two_rows = left * 2 == most && left <= self.width && self.pixels - pixel >= most;
        if two_rows {
            let next = self.data.as_ptr().wrapping_add(self.start(pixel + left));
            return Tile {
                pixel,
                count: most,
                halves: [first, next],
            };
        }
        let count = left.div_ceil(left.div_ceil(most));
        let second = first.wrapping_add(count.div_ceil(2) * self.pixel_stride);
        Tile {
            pixel,
            count,
            halves: [first, second],
        }
    }
}

impl<'a, T> From<Rows<'a, T>> for Patches<'a, T> {
    fn from(rows: Rows<'a, T>) -> Self {
        Self {
            data: rows.data(),
            pixels: rows.rows(),
            width: rows.rows().max(1),
            pixel_stride: rows.stride(),
            row_pitch: 0,
            lines: 1,
            line: rows.cols(),
            line_pitch: rows.cols(),
            is_roomy: false,
        }
    }
}
