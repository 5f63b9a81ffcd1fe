use crate::{KernelError, error::product};

/// A matrix read by rows: `rows × cols`, consecutive rows `stride` elements apart.
///
/// ```
/// use secateur_kernels::Rows;
/// let data = [1, 2, 0, 3, 4];                  // the last row needs no padding
/// let x = Rows::strided(&data, 2, 2, 3)?;
/// assert_eq!(x.row(1), [3, 4]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    stride: usize,
}

/// A matrix written by rows: `rows × cols`, consecutive rows `stride` elements apart.
#[derive(Debug)]
pub struct RowsMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    cols: usize,
    stride: usize,
}

/// The elements that `rows` rows span.
fn span(rows: usize, cols: usize, stride: usize) -> Result<usize, KernelError> {
    if stride < cols {
        return Err(KernelError::Length {
            what: "row stride",
            needed: cols,
            got: stride,
        });
    }
    if rows == 0 {
        return Ok(0);
    }
    product("matrix", rows - 1, stride)?
        .checked_add(cols)
        .ok_or(KernelError::Overflow { what: "matrix" })
}

fn check(what: &'static str, needed: usize, got: usize) -> Result<(), KernelError> {
    if got < needed {
        return Err(KernelError::Length { what, needed, got });
    }
    Ok(())
}

impl<'a, T> Rows<'a, T> {
    /// `rows` rows of `cols` elements, back to back.
    ///
    /// # Errors
    /// When `data` is too short.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Result<Self, KernelError> {
        Self::strided(data, rows, cols, cols)
    }

    /// `rows` rows of `cols` elements, `stride` apart.
    ///
    /// # Errors
    /// When `data` is too short or `stride < cols`.
    pub fn strided(
        data: &'a [T],
        rows: usize,
        cols: usize,
        stride: usize,
    ) -> Result<Self, KernelError> {
        check("matrix read", span(rows, cols, stride)?, data.len())?;
        Ok(Self {
            data,
            rows,
            cols,
            stride,
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row's start to the next one's.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Row `r`, `[cols]`; as with slices, `r` out of range panics.
    pub fn row(&self, r: usize) -> &'a [T] {
        debug_assert!(r < self.rows);
        &self.data[r * self.stride..][..self.cols]
    }

    pub(crate) fn data(&self) -> &'a [T] {
        self.data
    }

    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "wasm32"
    ))]
    pub(crate) fn as_ptr(&self) -> *const T {
        self.data.as_ptr()
    }
}

impl<'a, T> RowsMut<'a, T> {
    /// `rows` rows of `cols` elements, back to back.
    ///
    /// # Errors
    /// When `data` is too short.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self, KernelError> {
        Self::strided(data, rows, cols, cols)
    }

    /// `rows` rows of `cols` elements, `stride` apart; what lies between rows is not written.
    ///
    /// # Errors
    /// When `data` is too short or `stride < cols`.
    pub fn strided(
        data: &'a mut [T],
        rows: usize,
        cols: usize,
        stride: usize,
    ) -> Result<Self, KernelError> {
        check("matrix written", span(rows, cols, stride)?, data.len())?;
        Ok(Self {
            data,
            rows,
            cols,
            stride,
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `r`, `[cols]`; as with slices, `r` out of range panics.
    #[inline(always)]
    pub fn row_mut(&mut self, r: usize) -> &mut [T] {
        debug_assert!(r < self.rows);
        &mut self.data[r * self.stride..][..self.cols]
    }
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.data.as_mut_ptr()
    }

    /// Elements from one row's start to the next one's.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_needs_no_padding() {
        assert!(Rows::strided(&[0; 5], 2, 2, 3).is_ok());
        assert!(Rows::strided(&[0; 4], 2, 2, 3).is_err());
        assert!(Rows::<u8>::new(&[], 0, 7).is_ok());
        assert!(Rows::strided(&[0; 9], 3, 3, 2).is_err());
        assert!(Rows::<u8>::strided(&[], usize::MAX, 3, usize::MAX).is_err());
    }

    #[test]
    fn rows_are_written_between_the_gaps() {
        let mut data = [0; 5];
        let mut y = RowsMut::strided(&mut data, 2, 2, 3).unwrap();
        y.row_mut(0).fill(1);
        y.row_mut(1).fill(2);
        assert_eq!(data, [1, 1, 0, 2, 2]);
    }
}
