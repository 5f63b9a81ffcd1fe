use crate::{KernelError, error::product};
use std::marker::PhantomData;
use std::ptr::NonNull;

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
///
/// ```
/// use secateur_kernels::RowsMut;
/// let mut data = [0; 4];
/// let (mut left, mut right) = RowsMut::new(&mut data, 2, 2)?.split_columns(1);
/// left.row_mut(1).fill(1);
/// right.row_mut(1).fill(2);
/// assert_eq!(data, [0, 0, 1, 2]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug)]
pub struct RowsMut<'a, T> {
    /// A pointer, and not a slice: the rows of matrices side by side lie between each other.
    start: *mut T,
    rows: usize,
    cols: usize,
    stride: usize,
    data: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for the `&mut [T]` of its rows, which no other matrix has.
unsafe impl<T: Send> Send for RowsMut<'_, T> {}
// SAFETY: as above; a shared one gives no elements.
unsafe impl<T: Sync> Sync for RowsMut<'_, T> {}

/// What bytes of a matrix may be read and written as.
pub trait Element: sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($t:ty),*) => {$(
        impl Element for $t {}
        impl sealed::Sealed for $t {}
    )*};
}

elements!(u8, i8, i32, f32);

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
            start: data.as_mut_ptr(),
            rows,
            cols,
            stride,
            data: PhantomData,
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

    /// The first `at` rows, and the others; as with slices, more than there are panic.
    pub fn split_rows(self, at: usize) -> (Self, Self) {
        assert!(at <= self.rows, "row {at} of {}", self.rows);
        let part = |first: usize, rows| Self {
            // Without rows it may point beyond the data.
            start: self.start.wrapping_add(first * self.stride),
            rows,
            ..self
        };
        (part(0, at), part(at, self.rows - at))
    }

    /// The first `at` columns, and the others; as with slices, more than there are panic.
    pub fn split_columns(self, at: usize) -> (Self, Self) {
        assert!(at <= self.cols, "column {at} of {}", self.cols);
        let part = |first: usize, cols| Self {
            start: self.start.wrapping_add(first),
            cols,
            ..self
        };
        (part(0, at), part(at, self.cols - at))
    }

    /// Row `r`, `[cols]`; as with slices, `r` out of range panics.
    #[inline(always)]
    pub fn row_mut(&mut self, r: usize) -> &mut [T] {
        assert!(r < self.rows, "row {r} of {}", self.rows);
        // SAFETY: the data held all rows when this was made, which no other matrix has, and it is
        // borrowed for as long as they are.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(r * self.stride), self.cols) }
    }

    /// The same rows, for a while.
    pub(crate) fn reborrow(&mut self) -> RowsMut<'_, T> {
        RowsMut { ..*self }
    }

    /// Calls `body` with all rows, with those that lie back to back as one.
    pub(crate) fn each_run<E>(
        &mut self,
        mut body: impl FnMut(&mut [T]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.cols != self.stride {
            return (0..self.rows).try_for_each(|r| body(self.row_mut(r)));
        }
        let (rows, cols) = (1, self.rows * self.cols);
        let mut all = RowsMut {
            rows,
            cols,
            stride: cols,
            ..*self
        };
        body(all.row_mut(0))
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.start
    }

    /// Elements from one row's start to the next one's.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }
}

impl<'a> RowsMut<'a, u8> {
    /// The same bytes as elements of another type.
    ///
    /// # Errors
    /// When rows do not begin and end where elements do.
    pub fn cast<T: Element>(self) -> Result<RowsMut<'a, T>, KernelError> {
        let size = size_of::<T>();
        let start = self.start.cast::<T>();
        let whole = self.cols.is_multiple_of(size) && self.stride.is_multiple_of(size);
        let empty = self.rows == 0 || self.cols == 0;
        if !whole || !(empty || start.is_aligned()) {
            return Err(KernelError::Parameter {
                what: "matrix written",
                reason: "needed rows of whole, aligned elements",
            });
        }
        Ok(RowsMut {
            start: if empty {
                NonNull::dangling().as_ptr()
            } else {
                start
            },
            rows: self.rows,
            cols: self.cols / size,
            stride: self.stride / size,
            data: PhantomData,
        })
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
        let mut y = RowsMut::strided(&mut data, 2, 2, 3).unwrap();
        let fill = |row: &mut [i32]| {
            row.fill(3);
            Ok::<(), ()>(())
        };
        y.reborrow().each_run(fill).unwrap();
        assert_eq!(data, [3, 3, 0, 3, 3]);
        let mut y = RowsMut::new(&mut data, 2, 2).unwrap();
        let mut lengths = Vec::new();
        y.each_run(|run| {
            lengths.push(run.len());
            Ok::<(), ()>(())
        })
        .unwrap();
        assert_eq!(lengths, [4]);
    }

    #[test]
    fn parts_write_what_is_theirs() {
        let mut data = [0; 3 * 5 - 1];
        let all = RowsMut::strided(&mut data, 3, 4, 5).unwrap();
        let (top, rest) = all.split_rows(1);
        let (left, right) = rest.split_columns(3);
        for (n, mut part) in [top, left, right].into_iter().enumerate() {
            (0..part.rows()).for_each(|r| part.row_mut(r).fill(n + 1));
        }
        assert_eq!(data, [1, 1, 1, 1, 0, 2, 2, 2, 3, 0, 2, 2, 2, 3]);
        let (none, all) = RowsMut::new(&mut data, 7, 2).unwrap().split_rows(0);
        assert_eq!((none.rows(), all.rows()), (0, 7));
        let (all, none) = all.split_columns(2);
        assert_eq!((all.cols(), none.cols()), (2, 0));
    }

    #[test]
    fn bytes_are_elements_where_they_may() {
        let mut data = [0i32; 6];
        let bytes = data.as_mut_ptr().cast::<u8>();
        // SAFETY: 24 bytes that nothing else refers to.
        let bytes = unsafe { std::slice::from_raw_parts_mut(bytes, 24) };
        let all = RowsMut::strided(bytes, 2, 8, 12).unwrap();
        let (none, all) = all.split_rows(0);
        assert!(none.cast::<f32>().is_ok());
        let (left, right) = all.split_columns(4);
        left.cast::<i32>().unwrap().row_mut(1)[0] = -7;
        let (odd, rest) = right.split_columns(1);
        assert!(odd.cast::<f32>().is_err() && rest.cast::<i32>().is_err());
        assert_eq!(data, [0, 0, 0, -7, 0, 0]);
    }
}
