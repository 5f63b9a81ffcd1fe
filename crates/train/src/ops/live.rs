//! Which rows and columns of a weight are there at all: products leave the others out.

use secateur_model::Support;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Rows and columns of a weight's matrix that may have values; all others are zero and stay so,
/// and need no gradient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Rows, ascending.
    pub rows: Vec<usize>,
    /// Columns, ascending.
    pub columns: Vec<usize>,
    /// Columns of the whole matrix.
    pub width: usize,
}

impl Live {
    /// None where so much is left that leaving the rest out gains nothing.
    pub(crate) fn new(
        rows: Vec<usize>,
        columns: Vec<usize>,
        (height, width): (usize, usize),
    ) -> Option<Arc<Self>> {
        let worth = 4 * rows.len() * columns.len() <= 3 * height * width;
        worth.then(|| {
            Arc::new(Self {
                rows,
                columns,
                width,
            })
        })
    }

    /// The rows and columns where a support keeps anything.
    pub(crate) fn of(support: &Support, (height, width): (usize, usize)) -> Option<Arc<Self>> {
        let mask = support.mask()?;
        let (mut in_row, mut in_column) = (vec![false; height], vec![false; width]);
        for position in mask.ones() {
            in_row[position / width] = true;
            in_column[position % width] = true;
        }
        let kept = |all: Vec<bool>| {
            let kept = all.iter().enumerate().filter(|(_, kept)| **kept);
            kept.map(|(index, _)| index).collect()
        };
        Self::new(kept(in_row), kept(in_column), (height, width))
    }

    /// Whether these are of a matrix of such extents.
    pub(crate) fn fits(&self, (height, width): (usize, usize)) -> bool {
        let within = |indices: &[usize], end: usize| {
            indices.is_sorted() && indices.last().is_none_or(|&last| last < end)
        };
        self.width == width && within(&self.rows, height) && within(&self.columns, width)
    }

    /// What is left of a matrix: `[rows, columns]`.
    pub(super) fn gather(&self, matrix: &[f32]) -> Vec<f32> {
        let rows = self.rows.iter().map(|row| &matrix[row * self.width..]);
        rows.flat_map(|row| self.columns.iter().map(|&column| row[column]))
            .collect()
    }

    /// A matrix of so many elements with these in their places, zeros elsewhere.
    pub(super) fn scatter(&self, left: &[f32], elements: usize) -> Vec<f32> {
        let mut matrix = vec![0.0; elements];
        let lines = left.chunks_exact(self.columns.len().max(1));
        for (&row, line) in self.rows.iter().zip(lines) {
            let target = &mut matrix[row * self.width..][..self.width];
            for (&column, &value) in self.columns.iter().zip(line) {
                target[column] = value;
            }
        }
        matrix
    }
}

/// Some columns of a matrix of `width`: `[rows, columns]`.
pub(super) fn take_columns(matrix: &[f32], width: usize, columns: &[usize]) -> Vec<f32> {
    let rows = matrix.chunks_exact(width.max(1));
    rows.flat_map(|row| columns.iter().map(|&column| row[column]))
        .collect()
}

/// Adds columns to those of a matrix of `width`.
pub(super) fn add_columns(matrix: &mut [f32], width: usize, columns: &[usize], added: &[f32]) {
    let lines = added.chunks_exact(columns.len().max(1));
    for (row, line) in matrix.chunks_exact_mut(width.max(1)).zip(lines) {
        for (&column, &value) in columns.iter().zip(line) {
            row[column] += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::Bitmask;

    #[test]
    fn empty_rows_and_columns_are_left_out() {
        let bits: Vec<bool> = (0..20).map(|i| i == 6 || i == 13).collect();
        let support = |bits: &[bool]| Support::Unstructured(Bitmask::from_bools(bits));
        let live = Live::of(&support(&bits), (4, 5)).unwrap();
        assert_eq!(
            (live.rows.as_slice(), live.columns.as_slice()),
            (&[1, 2][..], &[1, 3][..])
        );
        let matrix: Vec<f32> = (0..20).map(|v| v as f32).collect();
        let left = live.gather(&matrix);
        assert_eq!(left, [6.0, 8.0, 11.0, 13.0]);
        let back = live.scatter(&left, 20);
        assert_eq!(live.gather(&back), left);
        assert_eq!(back.iter().sum::<f32>(), 38.0);
        assert!(Live::of(&support(&[true; 20]), (4, 5)).is_none());
        assert!(Live::of(&support(&[]), (4, 0)).is_some());
        assert!(Live::of(&Support::All, (4, 5)).is_none());
    }
}
