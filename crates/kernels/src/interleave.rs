//! The channels of bytes brought together: what stands between a picture and its first layer.

use crate::{Isa, KernelError, error::check_len, nchw_to_nhwc};

/// `[c, pixels] -> [pixels, c]`: one NCHW image of bytes to NHWC, fast for the two to four channels
/// of a picture.
///
/// ```
/// use secateur_kernels::{Isa, interleave};
/// let mut y = [0; 6];
/// interleave(Isa::best(), 3, &[1, 2, 3, 4, 5, 6], &mut y)?;
/// assert_eq!(y, [1, 3, 5, 2, 4, 6]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
///
/// # Errors
/// When the lengths differ or are no multiple of the channels, or the processor lacks the instruction
/// set.
pub fn interleave(isa: Isa, channels: usize, x: &[u8], y: &mut [u8]) -> Result<(), KernelError> {
    let pixels = x.len().checked_div(channels).unwrap_or(0);
    check_len("image", pixels * channels, x.len())?;
    check_len("transposed image", x.len(), y.len())?;
    match (isa.require()?, channels) {
        #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
        (Isa::Avx512Vnni, 3) => {
            // SAFETY: `require` found the instruction set on this processor.
            let done = unsafe { crate::x86_64::codes::interleave_avx512(x, y) };
            planes::<3>(x, y, done);
        }
        (_, 2) => planes::<2>(x, y, 0),
        (_, 3) => planes::<3>(x, y, 0),
        (_, 4) => planes::<4>(x, y, 0),
        _ => return nchw_to_nhwc(channels, x, y),
    }
    Ok(())
}

/// The pixels of `C` planes from `first` on.
fn planes<const C: usize>(x: &[u8], y: &mut [u8], first: usize) {
    let pixels = x.len() / C;
    let (y, _) = y.as_chunks_mut::<C>();
    for (c, plane) in x.chunks_exact(pixels.max(1)).enumerate() {
        for (y, &x) in y.iter_mut().zip(plane).skip(first) {
            y[c] = x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_transposition() {
        for channels in 1..6 {
            for pixels in [0, 1, 63, 64, 65, 130, 200] {
                let x: Vec<u8> = (0..channels * pixels)
                    .map(|i| (i * 37 % 251) as u8)
                    .collect();
                let mut expected = vec![0; x.len()];
                nchw_to_nhwc(channels, &x, &mut expected).unwrap();
                for isa in Isa::available() {
                    let mut y = vec![0; x.len()];
                    interleave(isa, channels, &x, &mut y).unwrap();
                    assert_eq!(y, expected, "{isa} {channels} {pixels}");
                }
            }
        }
        assert!(interleave(Isa::Generic, 2, &[0; 3], &mut [0; 3]).is_err());
        assert!(interleave(Isa::Generic, 3, &[0; 3], &mut [0; 6]).is_err());
    }
}
