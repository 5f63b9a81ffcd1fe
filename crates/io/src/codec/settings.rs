//! What the context coder's encoder decides for a tensor and tells the decoder.

use super::bits::{Cursor, put_count};
use super::mixer::{self, Pace};
use super::support;
use super::values::{IndexModel, SignedModel, ValueModel};
use super::{Alphabet, CodecError, Layout, Plane};

/// How the support may learn; the encoder picks the best.
const SUPPORT_PACES: [Pace; 4] = [
    Pace::new(10, 255, 600),
    Pace::new(10, 1023, 1000),
    Pace::new(30, 255, 300),
    Pace::new(16, 1023, 1500),
];

/// How the values may learn.
const VALUE_PACES: [Pace; 4] = [
    Pace::new(3, 1023, 1000),
    Pace::new(6, 255, 300),
    Pace::new(10, 255, 0),
    Pace::new(6, 255, 2000),
];

/// "Greater than k" flags before the Exp-Golomb tail.
const FLAGS: [u32; 4] = [0, 1, 7, 14];

/// What the encoder chose, told to the decoder ahead of the range coder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Settings {
    support_pace: u8,
    value_pace: u8,
    flags: u8,
    /// Smallest magnitude that occurs, 0 or 1.
    least: u8,
    /// Distance of columns that belong together, 0 for none.
    pub period: usize,
    /// Logit of the density, in steps of [`DENSITY_STEP`].
    density: u8,
}

const DENSITY_STEP: i32 = 12;
const DENSITY_ZERO: i32 = 128;

impl Settings {
    /// What follows from the plane itself; the rest is to be tried.
    pub(super) fn of(plane: &Plane<'_>) -> Self {
        let positions = plane.mask.map_or(0, <[bool]>::len).max(1) as u64;
        let p = ((plane.symbols.len() as u64) << 16) / positions;
        let logit = mixer::stretch((p as u32).clamp(1, mixer::ONE - 1));
        let steps = (logit + DENSITY_STEP / 2).div_euclid(DENSITY_STEP);
        Self {
            least: u8::from(!plane.symbols.contains(&0)),
            density: (steps + DENSITY_ZERO).clamp(0, 255) as u8,
            ..Self::default()
        }
    }

    /// Settings that differ in how the support is modelled.
    pub(super) fn support_options(self, period: Option<usize>) -> impl Iterator<Item = Self> {
        let periods = std::iter::once(0).chain(period);
        periods.flat_map(move |period| {
            (0..SUPPORT_PACES.len() as u8).map(move |support_pace| Self {
                period,
                support_pace,
                ..self
            })
        })
    }

    /// Settings that differ in how the values are modelled.
    pub(super) fn value_options(self, alphabet: Alphabet) -> impl Iterator<Item = Self> {
        let binarizations = match alphabet {
            Alphabet::Signed { .. } => FLAGS.len() as u8,
            Alphabet::Indexed { .. } => 1,
        };
        (0..binarizations).flat_map(move |flags| {
            (0..VALUE_PACES.len() as u8).map(move |value_pace| Self {
                flags,
                value_pace,
                ..self
            })
        })
    }

    pub(super) fn put(self, layout: &Layout, out: &mut Vec<u8>) {
        let has_period = u8::from(self.period > 0);
        out.push(
            self.support_pace
                | self.value_pace << 2
                | self.flags << 4
                | self.least << 6
                | has_period << 7,
        );
        if self.period > 0 {
            put_count(out, self.period as u64);
        }
        if layout.masked {
            out.push(self.density);
        }
    }

    pub(super) fn read(cursor: &mut Cursor<'_>, layout: &Layout) -> Result<Self, CodecError> {
        let byte = cursor.byte("context settings")?;
        let period = if byte >> 7 == 1 {
            cursor.count("period", support::MAX_PERIOD)?
        } else {
            0
        };
        let density = if layout.masked {
            cursor.byte("density")?
        } else {
            0
        };
        Ok(Self {
            support_pace: byte & 3,
            value_pace: byte >> 2 & 3,
            flags: byte >> 4 & 3,
            least: byte >> 6 & 1,
            period,
            density,
        })
    }

    pub(super) fn support_pace(self) -> Pace {
        SUPPORT_PACES[usize::from(self.support_pace & 3)]
    }

    fn value_pace(self) -> Pace {
        VALUE_PACES[usize::from(self.value_pace & 3)]
    }

    pub(super) fn density(self) -> u32 {
        mixer::squash((i32::from(self.density) - DENSITY_ZERO) * DENSITY_STEP)
    }

    /// The same where a symbol may be zero, whatever there was.
    pub(super) fn with_zeros(self) -> Self {
        Self { least: 0, ..self }
    }

    pub(super) fn value_model(self, alphabet: Alphabet) -> ValueModel {
        match alphabet {
            Alphabet::Signed { .. } => ValueModel::Signed(Box::new(self.signed_model())),
            Alphabet::Indexed { levels } => {
                ValueModel::Indexed(Box::new(IndexModel::new(levels, self.value_pace())))
            }
        }
    }

    pub(super) fn signed_model(self) -> SignedModel {
        let flags = FLAGS[usize::from(self.flags & 3)];
        SignedModel::new(u32::from(self.least), flags, self.value_pace())
    }
}
