//! Whether a nest can be.

use super::{Axis, Layer, Level, Nest, Operand};
use crate::AccelError;

// More than any layer has, and few enough that no product of extents and strides leaves 64 bits.
const MOST_OF_AN_EXTENT: u64 = 1 << 16;
const MOST_OF_A_STRIDE: u64 = 64;
const MOST_PRODUCTS: u64 = 1 << 48;

/// Levels of a hierarchy; loops of a level one for each extent.
const MOST_LEVELS: usize = 16;
const MOST_LOOPS: usize = 6;

impl Nest {
    /// Loops must make up the layer, and the outermost level must hold everything.
    pub(super) fn check(&self) -> Result<(), AccelError> {
        self.layer.check()?;
        energy("multiply_pj", self.multiply_pj)?;
        let first = self.levels.first();
        let all = first.is_some_and(|level| level.holds.len() == Operand::ALL.len());
        needed(
            all && self.levels.len() <= MOST_LEVELS,
            "level",
            || format!("1 to {MOST_LEVELS} of them, of which the first holds all operands"),
            || self.levels.len().to_string(),
        )?;
        self.levels.iter().try_for_each(Level::check)?;
        let covered = self.extents(0..self.levels.len());
        Axis::ALL.into_iter().try_for_each(|axis| {
            let (found, extent) = (covered.along(axis), self.layer.along(axis));
            needed(
                found == extent,
                "loops",
                || format!("loops over {axis:?} of {extent} steps in all"),
                || found.to_string(),
            )
        })
    }
}

impl Layer {
    fn check(&self) -> Result<(), AccelError> {
        let extents = Axis::ALL.map(|axis| self.along(axis));
        let within = |n: &u64| (1..=MOST_OF_AN_EXTENT).contains(n);
        let products = extents.iter().try_fold(1u64, |all, &n| all.checked_mul(n));
        needed(
            extents.iter().all(within)
                && (1..=MOST_OF_A_STRIDE).contains(&self.stride)
                && products.is_some_and(|n| n <= MOST_PRODUCTS),
            "layer",
            || {
                format!(
                    "extents of 1 to {MOST_OF_AN_EXTENT}, a stride of 1 to {MOST_OF_A_STRIDE}, \
                     {MOST_PRODUCTS} products at most"
                )
            },
            || format!("{self:?}"),
        )
    }
}

impl Level {
    fn check(&self) -> Result<(), AccelError> {
        energy("read_pj", self.read_pj)?;
        energy("write_pj", self.write_pj)?;
        energy("leak_pj_a_cycle", self.leak_pj_a_cycle)?;
        needed(
            self.words_a_cycle.is_none_or(|n| n.is_finite() && n > 0.0),
            "words_a_cycle",
            || "more than 0".into(),
            || format!("{:?}", self.words_a_cycle),
        )?;
        needed(
            self.block_words > 0,
            "block_words",
            || "1 or more".into(),
            || "0".into(),
        )?;
        let loops = self.loops.len().max(self.across.len());
        needed(
            loops <= MOST_LOOPS,
            "loops",
            || format!("{MOST_LOOPS} at most, one for each extent"),
            || loops.to_string(),
        )?;
        let again = |i: usize| self.holds[..i].contains(&self.holds[i]);
        needed(
            !self.holds.is_empty() && !(0..self.holds.len()).any(again),
            "holds",
            || format!("operands of `{}`, each once", self.name),
            || format!("{:?}", self.holds),
        )
    }
}

fn energy(setting: &'static str, pj: f64) -> Result<(), AccelError> {
    needed(
        pj.is_finite() && pj >= 0.0,
        setting,
        || "0 or more".into(),
        || pj.to_string(),
    )
}

fn needed(
    is_so: bool,
    setting: &'static str,
    needed: impl FnOnce() -> String,
    found: impl FnOnce() -> String,
) -> Result<(), AccelError> {
    match is_so {
        true => Ok(()),
        false => Err(AccelError::Machine {
            setting,
            needed: needed(),
            found: found(),
        }),
    }
}
