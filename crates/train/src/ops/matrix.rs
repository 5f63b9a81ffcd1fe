//! The matrix product on slices.

pub(super) use gemm::Parallelism;

/// A number that the product takes: f32 or f64, and no other.
pub trait Element: Copy + PartialEq + sealed::Sealed + 'static {
    /// One.
    const ONE: Self;
}

impl Element for f32 {
    const ONE: Self = 1.0;
}

impl Element for f64 {
    const ONE: Self = 1.0;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A matrix in a slice, row by row, with or without gaps between; or column by column, where it is
/// [transposed](Self::transposed).
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T = f32> {
    pub(super) values: &'a [T],
    pub(super) rows: usize,
    pub(super) columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T: Element> Matrix<'a, T> {
    /// Of these extents, or stored with rows and columns exchanged.
    pub(super) fn stored(values: &'a [T], [rows, columns]: [usize; 2], exchanged: bool) -> Self {
        match exchanged {
            true => Self::new(values, columns, rows).transposed(),
            false => Self::new(values, rows, columns),
        }
    }

    /// Rows one after the other.
    pub fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        Self {
            values,
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// Rows that begin so far from one another.
    pub(super) fn strided(values: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        Self {
            row_stride,
            ..Self::new(values, rows, columns)
        }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    fn fits(&self) -> bool {
        let last = |extent: usize, stride: usize| extent.checked_sub(1)?.checked_mul(stride);
        let row = last(self.rows, self.row_stride);
        let column = last(self.columns, self.column_stride);
        match row.zip(column) {
            None => self.rows == 0 || self.columns == 0,
            Some((row, column)) => row
                .checked_add(column)
                .is_some_and(|last| last < self.values.len()),
        }
    }
}

/// What a product does with what is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    /// `out = factor · a · b`
    Set,
    /// `out += factor · a · b`
    Add,
}

/// `out += factor · a · b`, `out` row-major, on all threads of the pool; the result does not depend
/// on their number.
///
/// ```
/// use secateur_train::{Matrix, add_product};
/// let x = [1.0f64, 2.0, 3.0];
/// let mut squares = [0.0; 9];
/// let column = Matrix::new(&x, 3, 1);
/// add_product(&mut squares, 1.0, column, column.transposed());
/// assert_eq!(squares, [1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 3.0, 6.0, 9.0]);
/// ```
///
/// Slices that are too short for their extents leave `out` as it is.
pub fn add_product<T: Element>(out: &mut [T], factor: T, a: Matrix<'_, T>, b: Matrix<'_, T>) {
    product(out, Into::Add, factor, a, b, Parallelism::Rayon(0));
}

/// `out = factor · a · b`, or `+=`, with `out` row-major. `threads` says whether
/// the work may be spread; the result is the same.
///
/// Slices that are too short for their extents leave `out` as it is.
#[expect(
    unsafe_code,
    reason = "the product takes pointers; its bounds are checked here"
)]
pub(super) fn product<T: Element>(
    out: &mut [T],
    into: Into,
    factor: T,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    threads: Parallelism,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let fits = m.checked_mul(n).is_some_and(|e| e <= out.len());
    debug_assert!(fits && a.fits() && b.fits() && b.rows == k);
    if !fits || !a.fits() || !b.fits() || b.rows != k || m == 0 || n == 0 {
        return;
    }
    // SAFETY: the last element that an operand's strides reach lies inside its slice, and `out` is
    // dense and long enough; both are checked above, and that the inner extents agree. `out` is
    // borrowed mutably, so it overlaps neither operand. The product knows both kinds of element.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            into == Into::Add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            T::ONE,
            factor,
            false,
            false,
            false,
            threads,
        );
    }
}

/// The elements of a row-major `rows x columns` matrix, column by column.
pub(super) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| values[row * columns + column]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_in_every_order_agree() {
        let a: Vec<f32> = (0..6).map(|v| v as f32).collect();
        let b: Vec<f32> = (0..12).map(|v| v as f32 - 5.0).collect();
        let mut want = vec![0.0; 8];
        for i in 0..2 {
            for j in 0..4 {
                want[i * 4 + j] = 3.0 * (0..3).map(|k| a[i * 3 + k] * b[k * 4 + j]).sum::<f32>();
            }
        }
        let (ta, tb) = (transpose(&a, 2, 3), transpose(&b, 3, 4));
        let left = [Matrix::new(&a, 2, 3), Matrix::new(&ta, 3, 2).transposed()];
        let right = [Matrix::new(&b, 3, 4), Matrix::new(&tb, 4, 3).transposed()];
        for (l, r) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut out = vec![1.0; 8];
            let mut multiply = |into, factor| {
                product(&mut out, into, factor, left[l], right[r], Parallelism::None)
            };
            multiply(Into::Set, 3.0);
            multiply(Into::Set, 1.0);
            multiply(Into::Add, 2.0);
            assert_eq!(out, want);
        }
    }
}
