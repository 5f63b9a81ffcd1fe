//! Residual sums on codes.

use crate::codes::{Codes, Rounding, check_factor};
use crate::{Isa, KernelError, error::check_len};

/// `y = saturate(round_half_even(fma(a − za, fa, (b − zb) · fb)) + zy)` within a range.
///
/// With `fa = sa/sy` and `fb = sb/sy` that is QuantizeLinear of the sum of two DequantizeLinear, but
/// for the rounding of two products: a division for each output would cost more than all the rest.
///
/// ```
/// use secateur_kernels::{AddCodes, Codes, Isa};
/// let codes = Codes::unsigned(10)?;
/// let add = AddCodes::new((codes, 0.5), (codes, 1.0), codes, (10, 255))?;   // the sum and Relu
/// let mut y = [0; 3];
/// add.run(Isa::Generic, &[13, 10, 0], &[10, 12, 0], &mut y)?;
/// assert_eq!(y, [12, 12, 10]);                                              // 1.5 rounds to even
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AddCodes {
    pub(crate) a: (Codes, f32),
    pub(crate) b: (Codes, f32),
    pub(crate) end: Rounding,
}

impl AddCodes {
    /// Two addends with their factors, and the codes and the range of the sum.
    ///
    /// # Errors
    /// When a factor is not finite, or the range is not of the output's codes.
    pub fn new(
        a: (Codes, f32),
        b: (Codes, f32),
        y: Codes,
        range: (i32, i32),
    ) -> Result<Self, KernelError> {
        check_factor(a.1)?;
        check_factor(b.1)?;
        let end = Rounding::new(y, range)?;
        Ok(Self { a, b, end })
    }

    /// The code of one sum.
    #[inline(always)]
    pub fn apply(&self, a: u8, b: u8) -> u8 {
        let b = self.b.0.centred(b) as f32 * self.b.1;
        let sum = (self.a.0.centred(a) as f32).mul_add(self.a.1, b);
        self.end.byte(sum)
    }

    /// `y[i] = apply(a[i], b[i])`.
    ///
    /// # Errors
    /// When the lengths differ or the processor lacks the instruction set.
    pub fn run(&self, isa: Isa, a: &[u8], b: &[u8], y: &mut [u8]) -> Result<(), KernelError> {
        check_len("second addend", a.len(), b.len())?;
        check_len("sum", a.len(), y.len())?;
        match isa.require()? {
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            // SAFETY: `require` found the instruction set on this processor.
            Isa::Avx512Vnni => unsafe { crate::x86_64::codes::add_avx512(self, a, b, y) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `require` found the instruction set on this processor.
            Isa::Avx2 => unsafe { crate::x86_64::codes::add_avx2(self, a, b, y) },
            _ => self.body(a, b, y),
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn body(&self, a: &[u8], b: &[u8], y: &mut [u8]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = self.apply(a, b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_usable_is_refused() {
        let codes = Codes::unsigned(0).unwrap();
        assert!(AddCodes::new((codes, f32::NAN), (codes, 1.0), codes, (0, 255)).is_err());
        let add = AddCodes::new((codes, 1.0), (codes, 1.0), codes, (0, 255)).unwrap();
        assert!(
            add.run(Isa::Generic, &[0; 2], &[0; 3], &mut [0; 2])
                .is_err()
        );
        assert!(
            add.run(Isa::Generic, &[0; 2], &[0; 2], &mut [0; 3])
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_definition(
            len in 0usize..200,
            seed: u64,
            zeros in (0i32..256, -128i32..128, 0i32..256),
            factors in (1e-3f32..4.0, 1e-3f32..4.0),
            lo in 0i32..256,
        ) {
            let bytes = |salt: u64| (0..len as u64)
                .map(|i| ((seed ^ salt).wrapping_add(i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
                .collect::<Vec<_>>();
            let (a, b) = (bytes(1), bytes(2));
            let add = AddCodes::new(
                (Codes::unsigned(zeros.0).unwrap(), factors.0),
                (Codes::signed(zeros.1).unwrap(), factors.1),
                Codes::unsigned(zeros.2).unwrap(),
                (lo, 255),
            ).unwrap();
            let expected: Vec<u8> = a.iter().zip(&b).map(|(&a, &b)| {
                let b = (i32::from(b as i8) - zeros.1) as f32 * factors.1;
                let sum = ((i32::from(a) - zeros.0) as f32).mul_add(factors.0, b);
                (sum.round_ties_even() as i32 + zeros.2).clamp(lo, 255) as u8
            }).collect();
            for isa in Isa::available() {
                let mut y = vec![0; len];
                add.run(isa, &a, &b, &mut y).unwrap();
                prop_assert_eq!(&y, &expected, "{}", isa);
            }
        }
    }
}
