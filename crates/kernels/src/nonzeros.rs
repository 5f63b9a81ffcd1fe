use std::ops::Range;

use crate::KernelError;
use crate::error::{check_len, product};

/// A matrix without its zeros: row by row the columns and values of what is left (CSR), columns ascending.
///
/// ```
/// use secateur_kernels::Nonzeros;
/// let matrix = Nonzeros::of(&[0, 3, 0, 5, 0, 7], 2, 3)?;
/// assert_eq!(matrix.row(1), (&[0, 2][..], &[5, 7][..]));
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Nonzeros<T> {
    cols: usize,
    /// Where the elements of each row begin, and where those of the last one end.
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<T>,
}

impl<T: Copy + Default + PartialEq> Nonzeros<T> {
    /// Those of `matrix`, `[rows, cols]` row-major.
    ///
    /// # Errors
    /// When the length does not match, or there are more columns than 32 bits count.
    pub fn of(matrix: &[T], rows: usize, cols: usize) -> Result<Self, KernelError> {
        check_len("weights", product("weights", rows, cols)?, matrix.len())?;
        let nonzero = |w: &T| *w != T::default();
        let count = matrix.iter().filter(|w| nonzero(w)).count();
        let elements = matrix.iter().copied().enumerate();
        let elements = elements.filter(|(_, w)| nonzero(w)).take(count);
        Self::gather(rows, cols, elements)
    }

    /// Those among `elements`: row-major positions in `[rows, cols]`, ascending, with their values.
    ///
    /// # Errors
    /// When a position does not follow the one before or lies beyond the matrix, or there are more columns
    /// than 32 bits count.
    pub fn gather(
        rows: usize,
        cols: usize,
        elements: impl Iterator<Item = (usize, T)>,
    ) -> Result<Self, KernelError> {
        let end = product("weights", rows, cols)?;
        check_cols(cols)?;
        let mut starts = Vec::with_capacity(rows + 1);
        let most = elements.size_hint().1.unwrap_or_default();
        let (mut columns, mut values) = (Vec::with_capacity(most), Vec::with_capacity(most));
        // Positions ascend, so that their row needs no division.
        let (mut next, mut row_start, mut row_end) = (0, 0, 0);
        let mut in_order = true;
        elements.for_each(|(position, value)| {
            in_order &= (next..end).contains(&position);
            if !in_order || value == T::default() {
                return;
            }
            while position >= row_end {
                starts.push(columns.len());
                (row_start, row_end) = (row_end, row_end + cols);
            }
            columns.push((position - row_start) as u32);
            values.push(value);
            next = position + 1;
        });
        if !in_order {
            return Err(KernelError::Parameter {
                what: "positions",
                reason: "needed ascending ones within the matrix",
            });
        }
        starts.resize(rows + 1, columns.len());
        Ok(Self {
            cols,
            starts,
            columns,
            values,
        })
    }

    /// Rows become columns.
    ///
    /// # Errors
    /// When there are more rows than 32 bits count.
    pub fn transposed(&self) -> Result<Self, KernelError> {
        check_cols(self.rows())?;
        let mut starts = vec![0; self.cols + 1];
        for &column in &self.columns {
            starts[column as usize + 1] += 1;
        }
        for row in 0..self.cols {
            starts[row + 1] += starts[row];
        }
        let mut ends = starts.clone();
        let mut columns = vec![0; self.len()];
        let mut values = vec![T::default(); self.len()];
        for row in 0..self.rows() {
            let (of_row, with) = self.row(row);
            for (&column, &value) in of_row.iter().zip(with) {
                let end = &mut ends[column as usize];
                (columns[*end], values[*end]) = (row as u32, value);
                *end += 1;
            }
        }
        Ok(Self {
            cols: self.rows(),
            starts,
            columns,
            values,
        })
    }

    /// Column `c` becomes column `places[c]`.
    ///
    /// # Errors
    /// When `places` are not each column once.
    pub fn reordered(mut self, places: &[usize]) -> Result<Self, KernelError> {
        check_len("places of columns", self.cols, places.len())?;
        let mut taken = vec![0u64; self.cols.div_ceil(64)];
        for &place in places {
            let free = place < self.cols && taken[place / 64] >> (place % 64) & 1 == 0;
            if !free {
                return Err(KernelError::Parameter {
                    what: "places of columns",
                    reason: "needed each column once",
                });
            }
            taken[place / 64] |= 1 << (place % 64);
        }
        // Words of bits sort the columns of a row.
        let mut kept = taken;
        kept.fill(0);
        let mut at_place = vec![T::default(); self.cols];
        for range in self.starts.windows(2) {
            let columns = &mut self.columns[range[0]..range[1]];
            let values = &mut self.values[range[0]..range[1]];
            for (&column, &value) in columns.iter().zip(values.iter()) {
                let place = places[column as usize];
                kept[place / 64] |= 1 << (place % 64);
                at_place[place] = value;
            }
            let mut to = columns.iter_mut().zip(values);
            for (index, word) in kept.iter_mut().enumerate() {
                while *word != 0 {
                    let place = index * 64 + word.trailing_zeros() as usize;
                    *word &= *word - 1;
                    if let Some((column, value)) = to.next() {
                        (*column, *value) = (place as u32, at_place[place]);
                    }
                }
            }
        }
        Ok(self)
    }

    /// Some of the rows, as a matrix of their own.
    ///
    /// # Errors
    /// When they are not among the rows.
    pub fn slice(&self, rows: Range<usize>) -> Result<Self, KernelError> {
        let starts =
            self.starts[..self.rows()]
                .get(rows.clone())
                .ok_or(KernelError::Parameter {
                    what: "rows",
                    reason: "needed some of the matrix",
                })?;
        let elements = self.starts[rows.start]..self.starts[rows.end];
        let starts = starts.iter().map(|start| start - elements.start);
        Ok(Self {
            cols: self.cols,
            starts: starts.chain([elements.len()]).collect(),
            columns: self.columns[elements.clone()].to_vec(),
            values: self.values[elements].to_vec(),
        })
    }
}

impl<T> Nonzeros<T> {
    /// Rows, empty ones included.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Columns, empty ones included.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements that are not zero.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether all elements are zero.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Columns and values of a row.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> (&[u32], &[T]) {
        let range = self.starts[row]..self.starts[row + 1];
        (&self.columns[range.clone()], &self.values[range])
    }
}

fn check_cols(cols: usize) -> Result<(), KernelError> {
    const MAX: usize = u32::MAX as usize;
    if cols <= MAX {
        return Ok(());
    }
    Err(KernelError::TooDeep {
        depth: cols,
        max: MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> (Vec<i8>, Nonzeros<i8>) {
        let elements: Vec<i8> = (0..5 * 130)
            .map(|i| if i % 7 < 2 { (i % 100) as i8 } else { 0 })
            .collect();
        let nonzeros = Nonzeros::of(&elements, 5, 130).unwrap();
        (elements, nonzeros)
    }

    fn dense(nonzeros: &Nonzeros<i8>) -> Vec<i8> {
        let mut elements = vec![0; nonzeros.rows() * nonzeros.cols()];
        for row in 0..nonzeros.rows() {
            let (columns, values) = nonzeros.row(row);
            assert!(columns.is_sorted_by(|a, b| a < b));
            for (&column, &value) in columns.iter().zip(values) {
                elements[row * nonzeros.cols() + column as usize] = value;
            }
        }
        elements
    }

    #[test]
    fn nothing_but_zeros_is_left_out() {
        let (elements, nonzeros) = matrix();
        assert_eq!(dense(&nonzeros), elements);
        assert_eq!(nonzeros.len(), elements.iter().filter(|w| **w != 0).count());
        for (rows, cols) in [(0, 3), (3, 0), (3, 4)] {
            let empty = Nonzeros::of(&vec![0i8; rows * cols], rows, cols).unwrap();
            assert_eq!(
                (empty.rows(), empty.cols(), empty.is_empty()),
                (rows, cols, true)
            );
        }
    }

    #[test]
    fn rows_become_columns() {
        let (elements, nonzeros) = matrix();
        let transposed = nonzeros.transposed().unwrap();
        let expected: Vec<i8> = (0..130)
            .flat_map(|c| (0..5).map(move |r| r * 130 + c))
            .map(|at| elements[at])
            .collect();
        assert_eq!(dense(&transposed), expected);
        assert_eq!(transposed.transposed().unwrap(), nonzeros);
    }

    #[test]
    fn columns_go_to_their_places() {
        let (elements, nonzeros) = matrix();
        let places: Vec<usize> = (0..130).map(|c| c * 7 % 130).collect();
        let mut expected = vec![0; elements.len()];
        for (at, &w) in elements.iter().enumerate() {
            expected[at / 130 * 130 + places[at % 130]] = w;
        }
        let reordered = nonzeros.clone().reordered(&places).unwrap();
        assert_eq!(dense(&reordered), expected);
        assert!(nonzeros.clone().reordered(&places[1..]).is_err());
        assert!(nonzeros.clone().reordered(&[3; 130]).is_err());
        assert!(nonzeros.reordered(&[130; 130]).is_err());
    }

    #[test]
    fn rows_of_a_group_are_a_matrix() {
        let (elements, nonzeros) = matrix();
        let slice = nonzeros.slice(1..3).unwrap();
        assert_eq!(dense(&slice), elements[130..390]);
        assert_eq!(nonzeros.slice(5..5).unwrap().rows(), 0);
        assert!(nonzeros.slice(4..6).is_err());
    }

    #[test]
    fn positions_ascend_within_the_matrix() {
        let gather = |positions: &[usize]| {
            Nonzeros::gather(2, 3, positions.iter().map(|&at| (at, 1i8))).map(|n| n.len())
        };
        assert_eq!(gather(&[0, 3, 5]), Ok(3));
        assert!(gather(&[3, 3]).is_err());
        assert!(gather(&[6]).is_err());
    }
}
