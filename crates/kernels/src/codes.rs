//! What kernels on 8-bit codes share: where the codes lie, and how a real
//! number becomes one.

use crate::{Clamp, KernelError, epilogue::round_small};

/// 8-bit codes with the one that stands for 0.
///
/// Signed codes are worked on 128 higher, as unsigned ones: `x ^ 0x80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// Turns a byte into an unsigned code, and back.
    pub(crate) flip: u8,
    /// The unsigned code of 0.
    pub(crate) zero_point: i32,
}

impl Codes {
    /// Codes 0 to 255.
    ///
    /// # Errors
    /// When the zero point is none of them.
    pub fn unsigned(zero_point: i32) -> Result<Self, KernelError> {
        Self::new(0, zero_point)
    }

    /// Codes -128 to 127.
    ///
    /// # Errors
    /// When the zero point is none of them.
    pub fn signed(zero_point: i32) -> Result<Self, KernelError> {
        Self::new(0x80, zero_point.saturating_add(128))
    }

    fn new(flip: u8, zero_point: i32) -> Result<Self, KernelError> {
        if !(0..=255).contains(&zero_point) {
            return Err(KernelError::Parameter {
                what: "zero point",
                reason: "needed a code of its type",
            });
        }
        Ok(Self { flip, zero_point })
    }

    /// Steps from the code of 0.
    #[inline(always)]
    pub(crate) fn centred(self, byte: u8) -> i32 {
        i32::from(byte ^ self.flip) - self.zero_point
    }
}

/// `saturate(round_half_even(v) + zero_point)` within bounds, as a byte.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rounding {
    pub(crate) codes: Codes,
    /// The bounds before the zero point is added, exact in f32.
    pub(crate) bounds: Clamp,
}

impl Rounding {
    /// `range`: the smallest and the largest code that is given.
    pub(crate) fn new(codes: Codes, range: (i32, i32)) -> Result<Self, KernelError> {
        let up = i32::from(codes.flip);
        let (lo, hi) = (range.0.saturating_add(up), range.1.saturating_add(up));
        if lo < 0 || hi > 255 || lo > hi {
            return Err(KernelError::Parameter {
                what: "range of codes",
                reason: "needed two codes of the output's type in order",
            });
        }
        let bounds = Clamp {
            lo: (lo - codes.zero_point) as f32,
            hi: (hi - codes.zero_point) as f32,
        };
        Ok(Self { codes, bounds })
    }

    #[inline(always)]
    pub(crate) fn byte(&self, v: f32) -> u8 {
        (round_small(self.bounds.apply(v)) + self.codes.zero_point) as u8 ^ self.codes.flip
    }
}

/// Where a kernel on codes writes.
#[derive(Debug)]
pub enum CodesOut<'a> {
    /// Codes, of the type that the kernel was told.
    Codes(&'a mut [u8]),
    /// Real numbers.
    Real(&'a mut [f32]),
}

impl CodesOut<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Codes(y) => y.len(),
            Self::Real(y) => y.len(),
        }
    }

    /// Fails unless codes are written exactly where there is a rounding.
    pub(crate) fn check(&self, end: &Option<Rounding>) -> Result<(), KernelError> {
        if matches!(self, Self::Codes(_)) == end.is_some() {
            return Ok(());
        }
        Err(KernelError::Parameter {
            what: "output of codes",
            reason: "needed the type that was declared",
        })
    }

    /// Writes the first `count` of some values from `at` on: all of them at the width of registers.
    #[inline(always)]
    pub(crate) fn put_lanes<const N: usize>(
        &mut self,
        end: &Option<Rounding>,
        at: usize,
        values: [f32; N],
        count: usize,
    ) {
        match (self, end) {
            (Self::Codes(y), Some(end)) => put(&mut y[at..], values.map(|v| end.byte(v)), count),
            (Self::Real(y), _) => put(&mut y[at..], values, count),
            (Self::Codes(_), None) => {}
        }
    }

    /// Writes values from `at` on.
    #[inline(always)]
    pub(crate) fn put(
        &mut self,
        end: &Option<Rounding>,
        at: usize,
        values: impl Iterator<Item = f32>,
    ) {
        match (self, end) {
            (Self::Codes(y), Some(end)) => {
                for (y, v) in y[at..].iter_mut().zip(values) {
                    *y = end.byte(v);
                }
            }
            (Self::Real(y), _) => {
                for (y, v) in y[at..].iter_mut().zip(values) {
                    *y = v;
                }
            }
            (Self::Codes(_), None) => {}
        }
    }
}

#[inline(always)]
fn put<T: Copy, const N: usize>(y: &mut [T], values: [T; N], count: usize) {
    match y.first_chunk_mut::<N>() {
        Some(y) if count == N => *y = values,
        _ => y[..count].copy_from_slice(&values[..count]),
    }
}

/// Fails unless a factor is a finite number.
pub(crate) fn check_factor(factor: f32) -> Result<(), KernelError> {
    if factor.is_finite() {
        return Ok(());
    }
    Err(KernelError::Parameter {
        what: "factor of codes",
        reason: "needed a finite number",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_codes_are_unsigned_ones_128_higher() {
        let codes = Codes::signed(-5).unwrap();
        assert_eq!(codes.centred((-128i8) as u8), -123);
        assert_eq!(codes.centred(127), 132);
        assert!(Codes::signed(128).is_err() && Codes::unsigned(-1).is_err());
    }

    #[test]
    fn rounding_saturates_at_the_range() {
        let end = Rounding::new(Codes::signed(-5).unwrap(), (-5, 100)).unwrap();
        let codes = [-3.0, 0.5, 1.5, 1e30].map(|v| end.byte(v) as i8);
        assert_eq!(codes, [-5, -5, -3, 100]);
        assert!(Rounding::new(Codes::unsigned(0).unwrap(), (-1, 3)).is_err());
        assert!(Rounding::new(Codes::unsigned(0).unwrap(), (4, 3)).is_err());
    }
}
