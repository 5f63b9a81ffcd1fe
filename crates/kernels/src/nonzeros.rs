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
        let word = |elements: &[T]| {
            let bits = elements.iter().enumerate();
            bits.fold(0, |word, (bit, w)| {
                word | u64::from(*w != T::default()) << bit
            })
        };
        let mask: Vec<u64> = matrix.chunks(64).map(word).collect();
        let mut values = Vec::with_capacity(count(&mask));
        for (elements, &word) in matrix.chunks(64).zip(&mask) {
            values.extend(bits(word).map(|bit| elements[bit as usize]));
        }
        Self::masked(&mask, values, rows, cols)
    }

    /// Those among `values`, which stand where `mask` has ones: a bit for each element of `[rows, cols]`,
    /// row-major, in words from the lowest bit on.
    ///
    /// # Errors
    /// When a length does not match, a bit lies beyond the matrix, or there are more columns than 32 bits
    /// count.
    pub fn masked(
        mask: &[u64],
        values: Vec<T>,
        rows: usize,
        cols: usize,
    ) -> Result<Self, KernelError> {
        let elements = product("weights", rows, cols)?;
        check_cols(cols)?;
        check_len("words of the mask", elements.div_ceil(64), mask.len())?;
        check_len("values of the mask", count(mask), values.len())?;
        let last = mask.last().filter(|_| !elements.is_multiple_of(64));
        if last.is_some_and(|last| last >> (elements % 64) != 0) {
            return Err(KernelError::Parameter {
                what: "mask",
                reason: "needed bits within the matrix",
            });
        }
        let mut starts = Vec::with_capacity(rows + 1);
        let mut columns = Vec::with_capacity(values.len());
        for row in 0..rows {
            starts.push(columns.len());
            let mut column = 0;
            while column < cols {
                let at = row * cols + column;
                let len = (64 - at % 64).min(cols - column);
                let word = mask[at / 64] >> (at % 64) & (u64::MAX >> (64 - len));
                columns.extend(bits(word).map(|bit| column as u32 + bit));
                column += len;
            }
        }
        starts.push(columns.len());
        let mut nonzeros = Self {
            cols,
            starts,
            columns,
            values,
        };
        if nonzeros.values.contains(&T::default()) {
            nonzeros.drop_zeros();
        }
        Ok(nonzeros)
    }

    fn drop_zeros(&mut self) {
        let (mut start, mut kept) = (0, 0);
        for row_end in &mut self.starts[1..] {
            for at in start..*row_end {
                if self.values[at] != T::default() {
                    self.columns[kept] = self.columns[at];
                    self.values[kept] = self.values[at];
                    kept += 1;
                }
            }
            start = *row_end;
            *row_end = kept;
        }
        self.columns.truncate(kept);
        self.values.truncate(kept);
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
                for bit in bits(std::mem::take(word)) {
                    let place = index * 64 + bit as usize;
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

fn count(mask: &[u64]) -> usize {
    mask.iter().map(|word| word.count_ones() as usize).sum()
}

/// The places of a word's ones, ascending.
#[inline]
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(bit)
    })
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
    fn a_mask_says_where_and_zeros_are_dropped() {
        let masked = |mask: u64, values: &[i8]| Nonzeros::masked(&[mask], values.to_vec(), 2, 3);
        let nonzeros = masked(0b110_101, &[1, 0, 3, 4]).unwrap();
        assert_eq!(dense(&nonzeros), [1, 0, 0, 0, 3, 4]);
        assert_eq!(nonzeros.len(), 3);
        assert!(masked(0b1, &[1, 2]).is_err());
        assert!(masked(0b100_0000, &[1]).is_err());
        assert!(Nonzeros::masked(&[], vec![1], 2, 3).is_err());
    }
}
