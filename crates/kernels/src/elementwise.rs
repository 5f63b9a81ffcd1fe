use crate::{Clamp, Isa, KernelError, epilogue::round_small, error::check_len, multiversion};

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

    /// `saturate(round_half_even(x / scale) + zero_point)` to `lo..=hi`; NaN gives the zero point.
    #[inline(always)]
    fn quantize(self, x: f32, lo: i32, hi: i32) -> i32 {
        let bounds = Clamp {
            lo: (lo - self.zero_point) as f32,
            hi: (hi - self.zero_point) as f32,
        };
        let v = bounds.apply(x / self.scale);
        let v = if v.is_nan() { 0.0 } else { v };
        (round_small(v) + self.zero_point).clamp(lo, hi)
    }

    /// `y[i] = saturate(round_half_even(x[i] / scale) + zero_point)`, the quotient one f32 division.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn quantize_u8(self, isa: Isa, x: &[f32], y: &mut [u8]) -> Result<(), KernelError> {
        check_len("quantized", x.len(), y.len())?;
        multiversion::run(
            isa,
            #[inline(always)]
            || {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = self.quantize(x, 0, 255) as u8;
                }
            },
        );
        Ok(())
    }

    /// As [`Affine::quantize_u8`], saturating to i8.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn quantize_i8(self, isa: Isa, x: &[f32], y: &mut [i8]) -> Result<(), KernelError> {
        check_len("quantized", x.len(), y.len())?;
        multiversion::run(
            isa,
            #[inline(always)]
            || {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = self.quantize(x, -128, 127) as i8;
                }
            },
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

/// `x[rows, cols] -> y[cols, rows]`, in blocks that fit the first cache.
fn transpose<T: Copy>(rows: usize, cols: usize, x: &[T], y: &mut [T]) {
    for r0 in (0..rows).step_by(BLOCK) {
        for c0 in (0..cols).step_by(BLOCK) {
            if transpose_block(rows, cols, (r0, c0), x, y).is_some() {
                continue;
            }
            for c in c0..cols.min(c0 + BLOCK) {
                for r in r0..rows.min(r0 + BLOCK) {
                    y[c * rows + r] = x[r * cols + c];
                }
            }
        }
    }
}

/// Side of the squares that are transposed together: of f32, a cache line.
const BLOCK: usize = 16;

/// A whole square from row `r0` and column `c0` on, `None` where it is not whole. Lengths that are
/// known leave neither checks nor steps between elements to the loops.
#[expect(clippy::needless_range_loop, reason = "a column is read of every line")]
fn transpose_block<T: Copy>(
    rows: usize,
    cols: usize,
    (r0, c0): (usize, usize),
    x: &[T],
    y: &mut [T],
) -> Option<()> {
    if r0 + BLOCK > rows || c0 + BLOCK > cols {
        return None;
    }
    let mut block = [[*x.first()?; BLOCK]; BLOCK];
    for (r, line) in block.iter_mut().enumerate() {
        *line = *x.get((r0 + r) * cols + c0..)?.first_chunk()?;
    }
    for c in 0..BLOCK {
        let line: &mut [T; BLOCK] = y.get_mut((c0 + c) * rows + r0..)?.first_chunk_mut()?;
        *line = std::array::from_fn(|r| block[r][c]);
    }
    Some(())
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
