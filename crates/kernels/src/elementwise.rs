use crate::{
    Clamp, Isa, KernelError,
    epilogue::round_small,
    error::check_len,
    multiversion,
    squares::{SIDE, turn_square},
};

/// The affine map between f32 and 8 bits of one tensor (ONNX QuantizeLinear, DequantizeLinear).
///
/// ```
/// use secateur_kernels::{Affine, Isa};
/// let affine = Affine::new(0.5, 10)?;
/// let mut q = [0u8; 3];
/// affine.quantize_u8(Isa::best(), &[0.25, 1.0, 1e9], &mut q)?; // 0.5 rounds to even
/// assert_eq!(q, [10, 12, 255]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    scale: f32,
    zero_point: i32,
}

impl Affine {
    /// `real = (q - zero_point) · scale`.
    ///
    /// # Errors
    /// When the scale is not a positive finite number or the zero point is outside -128..=255.
    pub fn new(scale: f32, zero_point: i32) -> Result<Self, KernelError> {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(KernelError::Parameter {
                what: "scale",
                reason: "needed a positive finite number",
            });
        }
        if !(-128..=255).contains(&zero_point) {
            return Err(KernelError::Parameter {
                what: "zero point",
                reason: "needed -128..=255",
            });
        }
        Ok(Self { scale, zero_point })
    }

    /// `saturate(round_half_even(quotient) + zero_point)` to `lo..=hi`; NaN gives the zero point.
    #[inline(always)]
    fn code(self, quotient: f32, lo: i32, hi: i32) -> i32 {
        let bounds = Clamp {
            lo: (lo - self.zero_point) as f32,
            hi: (hi - self.zero_point) as f32,
        };
        let v = bounds.apply(quotient);
        let v = if v.is_nan() { 0.0 } else { v };
        (round_small(v) + self.zero_point).clamp(lo, hi)
    }

    /// Quantizes all of `x` to codes from `lo` to `hi`, which `of` makes bytes of.
    #[inline(always)]
    fn quantize<T>(self, isa: Isa, x: &[f32], y: &mut [T], range: [i32; 2], of: impl Fn(i32) -> T) {
        let [lo, hi] = range;
        multiversion::run(
            isa,
            // The loop owns what it reads: behind references, every byte that is written might change it.
            #[inline(always)]
            move || {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = of(self.code(x / self.scale, lo, hi));
                }
            },
        );
    }

    /// `y[i] = saturate(round_half_even(x[i] / scale) + zero_point)`, the quotient one f32 division.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn quantize_u8(self, isa: Isa, x: &[f32], y: &mut [u8]) -> Result<(), KernelError> {
        check_len("quantized", x.len(), y.len())?;
        self.quantize(
            isa,
            x,
            y,
            [0, 255],
            #[inline(always)]
            |code| code as u8,
        );
        Ok(())
    }

    /// As [`Affine::quantize_u8`], saturating to i8.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn quantize_i8(self, isa: Isa, x: &[f32], y: &mut [i8]) -> Result<(), KernelError> {
        check_len("quantized", x.len(), y.len())?;
        self.quantize(
            isa,
            x,
            y,
            [-128, 127],
            #[inline(always)]
            |code| code as i8,
        );
        Ok(())
    }

    /// `y[i] = (x[i] - zero_point) · scale`, for u8 and i8.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn dequantize<T: Copy + Into<i32>>(
        self,
        isa: Isa,
        x: &[T],
        y: &mut [f32],
    ) -> Result<(), KernelError> {
        check_len("dequantized", x.len(), y.len())?;
        multiversion::run(
            isa,
            #[inline(always)]
            || {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = (x.into() - self.zero_point) as f32 * self.scale;
                }
            },
        );
        Ok(())
    }
}

impl Affine {
    /// `y[i] = x[i] + (codes[i] - zero_point) · scale`, the product rounded before the sum, for u8 and i8.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn add_dequantized<T: Copy + Into<i32>>(
        self,
        isa: Isa,
        x: &[f32],
        codes: &[T],
        y: &mut [f32],
    ) -> Result<(), KernelError> {
        check_len("addend", x.len(), codes.len())?;
        check_len("sum", x.len(), y.len())?;
        multiversion::run(
            isa,
            #[inline(always)]
            || {
                for ((y, &x), &code) in y.iter_mut().zip(x).zip(codes) {
                    *y = x + (code.into() - self.zero_point) as f32 * self.scale;
                }
            },
        );
        Ok(())
    }
}

/// `y[i] = a[i] + b[i]`.
///
/// # Errors
/// When the lengths differ.
pub fn add(isa: Isa, a: &[f32], b: &[f32], y: &mut [f32]) -> Result<(), KernelError> {
    check_len("addend", a.len(), b.len())?;
    check_len("sum", a.len(), y.len())?;
    multiversion::run(
        isa,
        #[inline(always)]
        || {
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y = a + b;
            }
        },
    );
    Ok(())
}

/// `[c, pixels] -> [pixels, c]`: one NCHW image to NHWC.
///
/// # Errors
/// When the lengths differ or are no multiple of the channels.
pub fn nchw_to_nhwc<T: Copy>(channels: usize, x: &[T], y: &mut [T]) -> Result<(), KernelError> {
    let pixels = x.len().checked_div(channels).unwrap_or(0);
    check_len("image", pixels * channels, x.len())?;
    check_len("transposed image", x.len(), y.len())?;
    transpose(channels, pixels, x, y);
    Ok(())
}

/// `[pixels, c] -> [c, pixels]`: one NHWC image to NCHW.
///
/// # Errors
/// When the lengths differ or are no multiple of the channels.
pub fn nhwc_to_nchw<T: Copy>(channels: usize, x: &[T], y: &mut [T]) -> Result<(), KernelError> {
    let pixels = x.len().checked_div(channels).unwrap_or(0);
    check_len("image", pixels * channels, x.len())?;
    check_len("transposed image", x.len(), y.len())?;
    transpose(pixels, channels, x, y);
    Ok(())
}

/// `x[rows, cols] -> y[cols, rows]`, in squares that fit the first cache.
fn transpose<T: Copy>(rows: usize, cols: usize, x: &[T], y: &mut [T]) {
    for r0 in starts(rows) {
        for c0 in starts(cols) {
            let to = &mut y[c0 * rows + r0..];
            let is_whole = rows >= SIDE && cols >= SIDE;
            if is_whole && turn_square(&x[r0 * cols + c0..], cols, to, rows).is_some() {
                continue;
            }
            for c in c0..cols.min(c0 + SIDE) {
                for r in r0..rows.min(r0 + SIDE) {
                    y[c * rows + r] = x[r * cols + c];
                }
            }
        }
    }
}

/// Where squares begin along a side: the last one over the one before, rather than beyond the end.
fn starts(side: usize) -> impl Iterator<Item = usize> {
    let last = side.saturating_sub(SIDE);
    (0..side).step_by(SIDE).map(move |start| start.min(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn images_turn_and_turn_back() {
        let x: Vec<u16> = (0..37 * 19).collect();
        let (mut y, mut z) = (vec![0; x.len()], vec![0; x.len()]);
        nchw_to_nhwc(19, &x, &mut y).unwrap();
        assert_eq!(y[..3], [0, 37, 74]);
        nhwc_to_nchw(19, &y, &mut z).unwrap();
        assert_eq!(x, z);
        assert!(nchw_to_nhwc(2, &[0; 3], &mut [0; 3]).is_err());
    }

    #[test]
    fn nan_and_infinity_quantize() {
        let affine = Affine::new(1.0, 7).unwrap();
        let mut q = [0u8; 3];
        affine
            .quantize_u8(
                Isa::best(),
                &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY],
                &mut q,
            )
            .unwrap();
        assert_eq!(q, [7, 255, 0]);
        assert!(Affine::new(0.0, 0).is_err() && Affine::new(1.0, 256).is_err());
    }

    #[test]
    fn codes_are_those_of_a_division() {
        // Around the middles between codes, where the last bit of a quotient decides.
        let scales = (0..400u32).map(|i| f32::from_bits(0x3c00_0000 + i * 0x0001_2f35));
        for scale in scales.chain([1e-18, 1e-30, 1e-40, 1e18, 3e38, f32::MIN_POSITIVE]) {
            let affine = Affine::new(scale, 3).unwrap();
            let middles = (-140..140).map(|k| (k as f32 + 0.5) * scale);
            let near = |x: f32| {
                (-4..=4i32).map(move |d| f32::from_bits(x.to_bits().wrapping_add_signed(d)))
            };
            let x: Vec<f32> = middles.flat_map(near).collect();
            let division = |&x: &f32| {
                let q = x / scale;
                if q.is_nan() {
                    3
                } else {
                    (q.round_ties_even() + 3.0).clamp(-128.0, 127.0) as i8
                }
            };
            let expected: Vec<i8> = x.iter().map(division).collect();
            for isa in Isa::available() {
                let mut q = vec![0; x.len()];
                affine.quantize_i8(isa, &x, &mut q).unwrap();
                assert_eq!(q, expected, "{isa} {scale:e}");
            }
        }
    }

    #[test]
    fn sums_with_codes_are_those_with_what_they_stand_for() {
        let affine = Affine::new(0.3, 7).unwrap();
        let x: Vec<f32> = (0..99).map(|i| (i as f32).sin()).collect();
        let codes: Vec<u8> = (0..99).map(|i| (i * 37 % 256) as u8).collect();
        for isa in Isa::available() {
            let [mut reals, mut expected, mut found] = [(); 3].map(|()| vec![0.0; 99]);
            affine.dequantize(isa, &codes, &mut reals).unwrap();
            add(isa, &x, &reals, &mut expected).unwrap();
            affine.add_dequantized(isa, &x, &codes, &mut found).unwrap();
            assert_eq!(found, expected);
        }
        assert!(add(Isa::Generic, &x, &[], &mut [0.0; 99]).is_err());
    }

    proptest! {
        #[test]
        fn quantize_is_the_definition(x in -1e4f32..1e4, scale in 1e-3f32..10.0, zp in -128i32..128) {
            let affine = Affine::new(scale, zp).unwrap();
            let mut q = [0i8];
            affine.quantize_i8(Isa::best(), &[x], &mut q).unwrap();
            let wide = f64::from((x / scale).round_ties_even()) + f64::from(zp);
            prop_assert_eq!(f64::from(q[0]), wide.clamp(-128.0, 127.0));
            let mut back = [0.0];
            affine.dequantize(Isa::best(), &q, &mut back).unwrap();
            prop_assert_eq!(back[0], (i32::from(q[0]) - zp) as f32 * scale);
        }
    }
}
