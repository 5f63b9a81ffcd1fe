//! What becomes of a layer's codes before they are stored.

use std::sync::Arc;

use crate::AddCodes;

/// A step on codes that the layer before it takes along, so that its codes are never written and read.
///
/// ```
/// use secateur_kernels::{AddCodes, After, Codes, Held};
/// let codes = Codes::unsigned(0)?;
/// let add = AddCodes::new((codes, 0.5), (codes, 1.0), codes, (0, 255))?;
/// let after = After::Add { add, held: Held::Second };
/// let mut y = [10, 20];                          // what is added to
/// after.apply(&[4, 8], &mut y);
/// assert_eq!(y, [12, 24]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub enum After {
    /// They are stored.
    Nothing,
    /// The sum of them and of the codes that the output holds, which it replaces.
    Add {
        /// The sum.
        add: AddCodes,
        /// Which addend the output holds.
        held: Held,
    },
    /// What the table has at their bits.
    Table(Arc<[u8; 256]>),
}

/// One of the two addends of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The first.
    First,
    /// The second.
    Second,
}

impl After {
    /// Stores what becomes of `codes` over as many bytes that `y` holds.
    #[inline(always)]
    pub fn apply(&self, codes: &[u8], y: &mut [u8]) {
        let pairs = y.iter_mut().zip(codes);
        match self {
            Self::Nothing => pairs.for_each(|(y, &code)| *y = code),
            Self::Add {
                add,
                held: Held::First,
            } => pairs.for_each(|(y, &code)| *y = add.apply(*y, code)),
            Self::Add {
                add,
                held: Held::Second,
            } => pairs.for_each(|(y, &code)| *y = add.apply(code, *y)),
            Self::Table(table) => pairs.for_each(|(y, &code)| *y = table[usize::from(code)]),
        }
    }
}
