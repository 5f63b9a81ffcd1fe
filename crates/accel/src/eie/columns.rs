//! A sparse matrix as the elements hold it.

use super::Eie;
use crate::AccelError;

/// A stored position: how many zeros of its element's rows lie before it in the column, and its code.
/// Code 0 only carries a gap on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Zeros before it.
    pub gap: u16,
    /// Index into the codebook; 0 multiplies nothing.
    pub code: u16,
}

/// A matrix of codes, `[rows, columns]`, by element and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) banks: Vec<Bank>,
}

/// What one element holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bank {
    /// Where each column begins, and where the last ends.
    pub starts: Vec<u32>,
    pub entries: Vec<Entry>,
}

impl Columns {
    /// Lays a matrix out; `code(row, column)` is 0 where it has no weight.
    ///
    /// # Errors
    /// An engine that cannot be built, a code wider than its codes, more entries than can be addressed.
    pub fn new(
        eie: &Eie,
        rows: usize,
        columns: usize,
        code: impl Fn(usize, usize) -> u16,
    ) -> Result<Self, AccelError> {
        eie.check()?;
        let longest = (1usize << eie.gap_bits) - 1;
        let mut banks = vec![Bank::default(); eie.elements];
        for (element, bank) in banks.iter_mut().enumerate() {
            bank.starts.push(0);
            for column in 0..columns {
                let mut zeros = 0;
                for row in (element..rows).step_by(eie.elements) {
                    let code = code(row, column);
                    if u32::from(code) >> eie.code_bits != 0 {
                        return Err(AccelError::Operands {
                            what: "a code of the matrix",
                            needed: format!("less than {}", 1u32 << eie.code_bits),
                            found: format!("{code} at row {row}, column {column}"),
                        });
                    }
                    if code == 0 {
                        zeros += 1;
                        continue;
                    }
                    while zeros > longest {
                        bank.entries.push(Entry {
                            gap: longest as u16,
                            code: 0,
                        });
                        zeros -= longest + 1;
                    }
                    bank.entries.push(Entry {
                        gap: zeros as u16,
                        code,
                    });
                    zeros = 0;
                }
                let end = u32::try_from(bank.entries.len()).map_err(|_| AccelError::Operands {
                    what: "the matrix",
                    needed: "less than 2^32 entries an element".into(),
                    found: bank.entries.len().to_string(),
                })?;
                bank.starts.push(end);
            }
        }
        Ok(Self {
            rows,
            columns,
            banks,
        })
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What an element holds: where each column begins and the last ends, and its entries.
    pub fn of_element(&self, element: usize) -> (&[u32], &[Entry]) {
        match self.banks.get(element) {
            Some(bank) => (&bank.starts, &bank.entries),
            None => (&[], &[]),
        }
    }

    /// Stored positions, fillers included.
    pub fn entries(&self) -> usize {
        self.banks.iter().map(|b| b.entries.len()).sum()
    }

    /// Stored positions that only carry a gap on.
    pub fn fillers(&self) -> usize {
        let of = |bank: &Bank| bank.entries.iter().filter(|e| e.code == 0).count();
        self.banks.iter().map(of).sum()
    }
}

impl Bank {
    /// The places of a column's entries.
    pub fn column(&self, column: usize) -> std::ops::Range<usize> {
        self.starts[column] as usize..self.starts[column + 1] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_gaps_take_fillers() {
        let eie = Eie {
            elements: 1,
            gap_bits: 2,
            ..Eie::default()
        };
        // One column of ten rows: 4 zeros, a weight, 3 zeros, a weight, a zero.
        let codes = [0, 0, 0, 0, 7, 0, 0, 0, 9, 0];
        let columns = Columns::new(&eie, 10, 1, |row, _| codes[row]).unwrap();
        let entry = |gap, code| Entry { gap, code };
        assert_eq!(
            columns.banks[0].entries,
            [entry(3, 0), entry(0, 7), entry(3, 9)]
        );
        assert_eq!((columns.entries(), columns.fillers()), (3, 1));
    }

    #[test]
    fn codes_too_wide_are_refused() {
        let error = Columns::new(&Eie::default(), 1, 1, |_, _| 16).unwrap_err();
        assert!(error.to_string().contains("less than 16"), "{error}");
        let none = Eie {
            elements: 0,
            ..Eie::default()
        };
        let error = Columns::new(&none, 1, 1, |_, _| 0).unwrap_err();
        assert!(error.to_string().contains("1 to 65536"), "{error}");
    }
}
