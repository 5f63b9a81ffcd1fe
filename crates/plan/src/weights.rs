//! The weights of a layer on their way from the graph to a packed form.

use crate::layer::{Linear, channels_last};
use crate::packed::Form;
use secateur_kernels::{KernelError, Nonzeros};
use std::borrow::Cow;
use std::ops::Range;

/// Weights of `[outputs, depth]` as a form is packed from them, groups of channels one behind the
/// other.
#[derive(Debug)]
pub enum Weights<T> {
    /// Zeros in place, row-major.
    Dense(Vec<T>),
    /// Zeros left out.
    Sparse(Nonzeros<T>),
}

impl<T: Copy + Default + PartialEq> Weights<T> {
    /// Weights that are not zero.
    pub fn nonzeros(&self) -> usize {
        match self {
            Self::Dense(rows) => rows.iter().filter(|w| **w != T::default()).count(),
            Self::Sparse(nonzeros) => nonzeros.len(),
        }
    }
}

impl Weights<f32> {
    /// The layer's, in f32.
    pub fn floats(linear: &Linear<'_>, form: Form) -> Result<Self, KernelError> {
        Ok(match form {
            Form::Dense => Self::Dense(linear.rows_f32()),
            Form::Sparse => Self::Sparse(linear.nonzeros_f32()?),
        })
    }
}

impl Weights<i8> {
    /// The layer's codes.
    pub fn codes(linear: &Linear<'_>, form: Form) -> Result<Self, KernelError> {
        Ok(match form {
            Form::Dense => Self::Dense(linear.rows_i8()),
            Form::Sparse => Self::Sparse(linear.nonzeros_i8()?),
        })
    }

    /// The same for operands whose image, `[c, h, w]`, lies channels last.
    pub fn of_image(self, [c, h, w]: [usize; 3]) -> Result<Self, KernelError> {
        let places = channels_last(c, h * w);
        Ok(match self {
            Self::Dense(mut rows) => {
                let mut moved = vec![0; places.len()];
                for row in rows.chunks_exact_mut(places.len().max(1)) {
                    for (&place, &w) in places.iter().zip(&*row) {
                        moved[place] = w;
                    }
                    row.copy_from_slice(&moved);
                }
                Self::Dense(rows)
            }
            Self::Sparse(nonzeros) => Self::Sparse(nonzeros.reordered(&places)?),
        })
    }

    /// The sum of each output's.
    pub fn sums(&self, outputs: usize) -> Vec<i32> {
        match self {
            Self::Dense(rows) => row_sums(rows, outputs),
            Self::Sparse(nonzeros) => {
                let row = |o| sum(nonzeros.row(o).1);
                (0..nonzeros.rows()).map(row).collect()
            }
        }
    }
}

/// The sums of `[outputs, depth]`.
pub fn row_sums(rows: &[i8], outputs: usize) -> Vec<i32> {
    let depth = rows.len() / outputs.max(1);
    (0..outputs)
        .map(|o| sum(&rows[o * depth..][..depth]))
        .collect()
}

fn sum(codes: &[i8]) -> i32 {
    codes.iter().map(|&w| i32::from(w)).sum()
}

/// Some of the rows.
pub fn rows_of<T: Copy + Default + PartialEq>(
    nonzeros: &Nonzeros<T>,
    outputs: Range<usize>,
) -> Result<Cow<'_, Nonzeros<T>>, KernelError> {
    Ok(match outputs == (0..nonzeros.rows()) {
        true => Cow::Borrowed(nonzeros),
        false => Cow::Owned(nonzeros.slice(outputs)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_follow_the_image() {
        // Two outputs of 2 channels × 1 × 3, one pixel behind the other.
        let rows = [1, 2, 0, 4, 5, 6, 7, 0, 9, 0, 11, 12];
        let expected = [1, 4, 2, 5, 0, 6, 7, 0, 0, 11, 9, 12];
        let image = [2, 1, 3];
        match Weights::Dense(rows.to_vec()).of_image(image).unwrap() {
            Weights::Dense(found) => assert_eq!(found, expected),
            Weights::Sparse(_) => panic!("another form"),
        }
        let sparse = Weights::Sparse(Nonzeros::of(&rows, 2, 6).unwrap());
        let moved = sparse.of_image(image).unwrap();
        assert_eq!(moved.sums(2), row_sums(&rows, 2));
        match moved {
            Weights::Sparse(found) => {
                assert_eq!(found, Nonzeros::of(&expected, 2, 6).unwrap());
                let second = rows_of(&found, 1..2).unwrap();
                assert_eq!(second.row(0), found.row(1));
            }
            Weights::Dense(_) => panic!("another form"),
        }
    }
}
