//! Whether a nest can be.

use super::{Axis, Layer, Level, Loop, Nest, Operand};
use crate::AccelError;

// More than any layer has, and few enough that no product of extents and strides leaves 64 bits.
const MOST_OF_A_STRIDE: u64 = 64;
const MOST_PRODUCTS: u64 = 1 << 48;

/// Levels of a hierarchy.
const MOST_LEVELS: usize = 16;
/// A memory slower than this is none.
const LEAST_WORDS_A_CYCLE: f64 = 1e-3;

impl Nest {
    /// Loops must make up the layer, and the outermost level must hold everything.
    pub(super) fn check(&self) -> Result<(), AccelError> {
        let whole = Place("nest");
        self.layer.check()?;
        whole.energy("multiply_pj", self.multiply_pj)?;
        let levels = self.levels.len();
        whole.needs((1..=MOST_LEVELS).contains(&levels), "level", || {
            (format!("1 to {MOST_LEVELS} of them"), levels.to_string())
        })?;
        self.levels.iter().try_for_each(Level::check)?;
        let first = &self.levels[0];
        Place(&first.name).needs(first.holds.len() == Operand::ALL.len(), "holds", || {
            let all = "all operands, as it is the outermost".into();
            (all, Operand::list(&first.holds))
        })?;
        let covered = self.extents(0..levels);
        Axis::ALL.into_iter().try_for_each(|axis| {
            let (found, extent) = (covered.along(axis), self.layer.along(axis));
            whole.needs(found == extent, "loops", || {
                let needed = format!("those over {} to make {extent} steps", axis.name());
                (needed, found.to_string())
            })
        })
    }
}

impl Layer {
    fn check(&self) -> Result<(), AccelError> {
        let place = Place("layer");
        for axis in Axis::ALL {
            let extent = self.along(axis);
            place.needs((1..=Loop::MOST).contains(&extent), axis.name(), || {
                (format!("1 to {}", Loop::MOST), extent.to_string())
            })?;
        }
        let stride = self.stride;
        place.needs((1..=MOST_OF_A_STRIDE).contains(&stride), "stride", || {
            (format!("1 to {MOST_OF_A_STRIDE}"), stride.to_string())
        })?;
        let mut extents = Axis::ALL.iter().map(|&axis| self.along(axis));
        let products = extents.try_fold(1u64, |all, n| all.checked_mul(n));
        let few = products.is_some_and(|n| n <= MOST_PRODUCTS);
        place.needs(few, "extents", || {
            (format!("{MOST_PRODUCTS} products at most"), "more".into())
        })
    }
}

impl Level {
    fn check(&self) -> Result<(), AccelError> {
        let place = Place(&self.name);
        place.energy("read_pj", self.read_pj)?;
        place.energy("write_pj", self.write_pj)?;
        place.energy("leak_pj_a_cycle", self.leak_pj_a_cycle)?;
        if let Some(words) = self.words_a_cycle {
            let fast = words.is_finite() && words >= LEAST_WORDS_A_CYCLE;
            place.needs(fast, "words_a_cycle", || {
                (format!("{LEAST_WORDS_A_CYCLE} or more"), words.to_string())
            })?;
        }
        place.needs(self.block_words > 0, "block_words", || {
            ("1 or more".into(), "0".into())
        })?;
        for loops in [&self.loops, &self.across] {
            let again = |i: usize| loops[..i].iter().any(|l| l.axis == loops[i].axis);
            place.needs(!(0..loops.len()).any(again), "loops", || {
                let found = loops.iter().map(|&l| String::from(l));
                let found = found.collect::<Vec<_>>().join(", ");
                ("one over each extent".into(), found)
            })?;
        }
        let again = |i: usize| self.holds[..i].contains(&self.holds[i]);
        let sound = !self.holds.is_empty() && !(0..self.holds.len()).any(again);
        place.needs(sound, "holds", || {
            let found = Operand::list(&self.holds);
            ("operands, each once".into(), found)
        })
    }
}

/// The part of a nest that is looked at.
struct Place<'a>(&'a str);

impl Place<'_> {
    fn energy(&self, setting: &'static str, pj: f64) -> Result<(), AccelError> {
        self.needs(pj.is_finite() && pj >= 0.0, setting, || {
            ("0 or more".into(), pj.to_string())
        })
    }

    /// `told` says what is needed and what was found.
    fn needs(
        &self,
        is_so: bool,
        setting: &'static str,
        told: impl FnOnce() -> (String, String),
    ) -> Result<(), AccelError> {
        if is_so {
            return Ok(());
        }
        let (needed, found) = told();
        Err(AccelError::Nest {
            place: self.0.to_owned(),
            setting,
            needed,
            found,
        })
    }
}
