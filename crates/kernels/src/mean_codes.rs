//! Means of codes: exact sums, one division, one product.

use std::ops::Range;

use crate::codes::{Codes, CodesOut, Rounding, check_factor};
use crate::{Isa, KernelError, PadCount, Window2d, error::check_len, range::check_pixels};

/// Lanes whose sums stay in registers.
const LANES: usize = 64;

/// Codes of which one mean is taken at most: 2²³ · 255 < 2³¹.
const MAX_COUNT: usize = 1 << 23;

/// `mean = Σ (x − zx) / count`, the sum exact and the quotient rounded once to f32; then
/// `saturate(round_half_even(mean · factor) + zy)` or `mean · factor`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanCodes {
    x: Codes,
    factor: f32,
    end: Option<Rounding>,
}

impl MeanCodes {
    /// Means of `x` as codes of `y`, or as real numbers where that is `None`; `factor` is `sx/sy` or
    /// `sx`.
    ///
    /// # Errors
    /// When the factor is not finite.
    pub fn new(x: Codes, factor: f32, y: Option<Codes>) -> Result<Self, KernelError> {
        check_factor(factor)?;
        let all = |y: Codes| (-i32::from(y.flip), 255 - i32::from(y.flip));
        let end = y.map(|y| Rounding::new(y, all(y))).transpose()?;
        Ok(Self { x, factor, end })
    }

    /// Means over the middle axis: `[outer, count, inner] -> [outer, inner]`.
    ///
    /// # Errors
    /// When a length does not match, `count` is 0 or more than 2²³, or the processor lacks the
    /// instruction set.
    pub fn axis(
        &self,
        isa: Isa,
        x: &[u8],
        (count, inner): (usize, usize),
        y: CodesOut<'_>,
    ) -> Result<(), KernelError> {
        y.check(&self.end)?;
        if count == 0 || count > MAX_COUNT {
            return Err(KernelError::TooDeep {
                depth: count,
                max: MAX_COUNT,
            });
        }
        let needed = y.len().checked_mul(count);
        check_len("codes", needed.unwrap_or(usize::MAX), x.len())?;
        if y.len() == 0 || inner == 0 {
            return Ok(());
        }
        check_len("means", y.len() / inner * inner, y.len())?;
        match isa.require()? {
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            // SAFETY: `require` found the instruction set on this processor.
            Isa::Avx512Vnni => unsafe {
                crate::x86_64::codes::mean_avx512(self, x, (count, inner), y);
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `require` found the instruction set on this processor.
            Isa::Avx2 => unsafe { crate::x86_64::codes::mean_avx2(self, x, (count, inner), y) },
            _ => self.axis_body(x, (count, inner), y),
        }
        Ok(())
    }

    /// Means of windows, padding left out of the sums: `[h, w, c] -> [pixels.len(), c]`.
    ///
    /// # Errors
    /// When a length does not match or the processor lacks the instruction set.
    pub fn windows(
        &self,
        isa: Isa,
        window: &Window2d,
        image: &[u8],
        pixels: Range<usize>,
        pad: PadCount,
        y: CodesOut<'_>,
    ) -> Result<(), KernelError> {
        y.check(&self.end)?;
        window.check()?;
        check_len("image", window.image_len(), image.len())?;
        check_pixels(&pixels, window.pixels())?;
        check_len("means", pixels.len() * window.channels, y.len())?;
        if window.taps() > MAX_COUNT {
            return Err(KernelError::TooDeep {
                depth: window.taps(),
                max: MAX_COUNT,
            });
        }
        match isa.require()? {
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            // SAFETY: `require` found the instruction set on this processor.
            Isa::Avx512Vnni => unsafe {
                crate::x86_64::codes::windows_avx512(self, window, image, pixels, pad, y);
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `require` found the instruction set on this processor.
            Isa::Avx2 => unsafe {
                crate::x86_64::codes::windows_avx2(self, window, image, pixels, pad, y);
            },
            _ => self.windows_body(window, image, pixels, pad, y),
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn axis_body(&self, x: &[u8], (count, inner): (usize, usize), mut y: CodesOut<'_>) {
        for (outer, x) in x.chunks_exact(count * inner).enumerate() {
            if inner == 1 {
                let sum: i32 = x.iter().map(|&x| i32::from(x ^ self.x.flip)).sum();
                self.put(&[sum], count, count, outer, &mut y);
                continue;
            }
            for first in (0..inner).step_by(LANES) {
                let lanes = LANES.min(inner - first);
                let mut sums = [0i32; LANES];
                for row in x.chunks_exact(inner) {
                    self.gather(&mut sums, &row[first..first + lanes]);
                }
                self.put(&sums[..lanes], count, count, outer * inner + first, &mut y);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn windows_body(
        &self,
        window: &Window2d,
        image: &[u8],
        pixels: Range<usize>,
        pad: PadCount,
        mut y: CodesOut<'_>,
    ) {
        let channels = window.channels;
        for (row, pixel) in pixels.enumerate() {
            let inside = window.taps_of(pixel).flatten().count();
            let count = match pad {
                PadCount::Exclude => inside,
                PadCount::Include => window.padded_taps(pixel),
            };
            for first in (0..channels).step_by(LANES) {
                let lanes = LANES.min(channels - first);
                let mut sums = [0i32; LANES];
                for at in window.taps_of(pixel).flatten() {
                    self.gather(&mut sums, &image[at * channels + first..][..lanes]);
                }
                let sums = &sums[..lanes];
                self.put(sums, inside, count.max(1), row * channels + first, &mut y);
            }
        }
    }

    /// Adds a row of codes.
    #[inline(always)]
    fn gather(&self, sums: &mut [i32; LANES], row: &[u8]) {
        if let Some(row) = row.first_chunk::<LANES>() {
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum += i32::from(x ^ self.x.flip);
            }
            return;
        }
        for (sum, &x) in sums.iter_mut().zip(row) {
            *sum += i32::from(x ^ self.x.flip);
        }
    }

    /// Finishes sums of `added` codes.
    #[inline(always)]
    fn put(&self, sums: &[i32], added: usize, count: usize, at: usize, y: &mut CodesOut<'_>) {
        let zero = self.x.zero_point * added as i32;
        let scaled = |sum: i32| (f64::from(sum - zero) / count as f64) as f32 * self.factor;
        y.put(&self.end, at, sums.iter().map(|&sum| scaled(sum)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 151 % 256) as u8).collect()
    }

    #[test]
    fn means_over_an_axis_are_exact_sums_divided_once() {
        let mean = MeanCodes::new(Codes::unsigned(7).unwrap(), 0.3, Codes::signed(-9).ok());
        let mean = mean.unwrap();
        for isa in Isa::available() {
            for (outer, count, inner) in [(1, 49, 70), (2, 1, 64), (3, 50, 1), (2, 9, 3)] {
                let x = image(outer * count * inner);
                let mut y = vec![0; outer * inner];
                mean.axis(isa, &x, (count, inner), CodesOut::Codes(&mut y))
                    .unwrap();
                for (at, &y) in y.iter().enumerate() {
                    let (o, i) = (at / inner, at % inner);
                    let sum: i32 = (0..count)
                        .map(|k| i32::from(x[(o * count + k) * inner + i]) - 7)
                        .sum();
                    let v = (f64::from(sum) / count as f64) as f32 * 0.3;
                    let code = (v.round_ties_even() as i32 - 9).clamp(-128, 127);
                    assert_eq!(i32::from(y as i8), code, "{isa} {count} {inner}");
                }
            }
        }
    }

    #[test]
    fn windows_leave_padding_out_and_count_it_as_told() {
        let window = Window2d {
            pads: [1; 4],
            ..Window2d::new([4, 5], 67, [3, 3])
        };
        let window = window.fitted().unwrap();
        let x = image(window.image_len());
        let mean = MeanCodes::new(Codes::unsigned(100).unwrap(), 0.5, None).unwrap();
        for isa in Isa::available() {
            for pad in [PadCount::Exclude, PadCount::Include] {
                let mut y = vec![0.0; window.pixels() * 67];
                let out = CodesOut::Real(&mut y);
                mean.windows(isa, &window, &x, 0..window.pixels(), pad, out)
                    .unwrap();
                for (at, &y) in y.iter().enumerate() {
                    let (pixel, c) = (at / 67, at % 67);
                    let taps: Vec<usize> = window.taps_of(pixel).flatten().collect();
                    let sum: i32 = taps.iter().map(|t| i32::from(x[t * 67 + c]) - 100).sum();
                    let count = match pad {
                        PadCount::Exclude => taps.len(),
                        PadCount::Include => 9,
                    };
                    assert_eq!(y, (f64::from(sum) / count as f64) as f32 * 0.5);
                }
            }
        }
    }

    #[test]
    fn outputs_of_the_other_type_and_empty_means_are_refused() {
        let mean = MeanCodes::new(Codes::unsigned(0).unwrap(), 1.0, None).unwrap();
        let (isa, mut y) = (Isa::Generic, [0; 1]);
        assert!(
            mean.axis(isa, &[1], (1, 1), CodesOut::Codes(&mut y))
                .is_err()
        );
        let mut y = [0.0; 1];
        assert!(mean.axis(isa, &[], (0, 1), CodesOut::Real(&mut y)).is_err());
        assert!(
            mean.axis(isa, &[1; 3], (2, 1), CodesOut::Real(&mut y))
                .is_err()
        );
    }
}
