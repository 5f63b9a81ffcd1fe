//! The sparse matrix-vector engine of EIE (Han et al., ISCA 2016, arXiv 1602.01528): rows of the matrix lie
//! on processing elements in turn, each keeps its part of every column as codes and gaps, and only columns
//! whose input is not zero are fetched.

mod columns;
mod cycles;

pub use columns::{Columns, Entry};
pub use cycles::{ElementCycles, Run};

use crate::AccelError;
use serde::{Deserialize, Serialize};

/// The engine's extents.
///
/// ```
/// # use secateur_accel::eie::{Columns, Eie};
/// let eie = Eie { elements: 2, ..Eie::default() };
/// // [[3, 0], [0, 5]] by codes into a codebook.
/// let codes = |row: usize, column: usize| [[1, 0], [0, 2]][row][column];
/// let matrix = Columns::new(&eie, 2, 2, codes)?;
/// let run = eie.run(&matrix, &[0.0, 3.0, 5.0], &[2.0, 4.0])?;
/// assert_eq!(run.outputs, [6.0, 20.0]);
/// assert_eq!(run.multiplies, 2);
/// # Ok::<(), secateur_accel::AccelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eie {
    /// Processing elements; row r lies on element r mod this.
    pub elements: usize,
    /// Slots of an element's activation queue: a ring that holds one less.
    pub queue_slots: usize,
    /// Bits of a gap; longer gaps take entries that multiply nothing.
    pub gap_bits: u32,
    /// Bits of a code.
    pub code_bits: u32,
    /// Bits that a read of the weight memory gives.
    pub line_bits: usize,
}

impl Default for Eie {
    /// That of the paper.
    fn default() -> Self {
        Self {
            elements: 64,
            queue_slots: 8,
            gap_bits: 4,
            code_bits: 4,
            line_bits: 64,
        }
    }
}

impl Eie {
    /// Entries that a read of the weight memory gives.
    pub fn entries_a_line(&self) -> usize {
        self.line_bits / (self.gap_bits + self.code_bits).max(1) as usize
    }

    /// Whether it can be built.
    pub(crate) fn check(&self) -> Result<(), AccelError> {
        let wrong = |setting, needed: &str, found: usize| {
            Err(AccelError::Machine {
                setting,
                needed: needed.into(),
                found: found.to_string(),
            })
        };
        match self {
            _ if !(1..=1 << 16).contains(&self.elements) => {
                wrong("elements", "1 to 65536", self.elements)
            }
            _ if self.queue_slots < 2 => wrong("queue_slots", "2 or more", self.queue_slots),
            _ if !(1..=16).contains(&self.gap_bits) => {
                wrong("gap_bits", "1 to 16", self.gap_bits as usize)
            }
            _ if !(1..=16).contains(&self.code_bits) => {
                wrong("code_bits", "1 to 16", self.code_bits as usize)
            }
            _ if self.entries_a_line() == 0 => {
                wrong("line_bits", "room for a code and a gap", self.line_bits)
            }
            _ => Ok(()),
        }
    }
}
