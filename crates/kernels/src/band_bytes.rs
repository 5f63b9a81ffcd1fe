use crate::{After, IntOut, epilogue::LANES, passes::BAND};

/// The 8-bit outputs of a band of sparse rows at `P` pixels, kept in group order until all are there:
/// one permutation of 64 bytes then replaces 64 scattered stores.
#[derive(Debug)]
pub(crate) struct BandBytes<const P: usize> {
    bytes: [[u8; BAND]; P],
    /// The first pixel.
    pixel: usize,
    /// First output of the range that is computed.
    base: usize,
}

impl<const P: usize> BandBytes<P> {
    #[inline(always)]
    pub(crate) fn new(pixel: usize, base: usize) -> Self {
        Self {
            bytes: [[0; BAND]; P],
            pixel,
            base,
        }
    }

    /// Finishes the sums of outputs `rows`, which are lanes `lane..lane + 16` of the band; what is
    /// wider than a byte is stored at once.
    #[inline(always)]
    pub(crate) fn put(
        &mut self,
        out: &mut IntOut<'_>,
        acc: &[[i32; LANES]; P],
        lane: usize,
        rows: &[u32],
    ) {
        let Some(requantize) = out.requantize() else {
            out.scatter(acc, self.pixel, self.base, rows);
            return;
        };
        let multiplier = requantize.multipliers(rows);
        for (bytes, acc) in self.bytes.iter_mut().zip(acc) {
            bytes[lane..lane + LANES].copy_from_slice(&requantize.bytes(acc, &multiplier));
        }
    }

    /// Stores the bytes of `outputs`, the band; `permute` brings a pixel's from group order to theirs.
    #[inline(always)]
    pub(crate) fn store(
        self,
        out: &mut IntOut<'_>,
        outputs: &std::ops::Range<usize>,
        permute: impl Fn(&[u8; BAND]) -> [u8; BAND],
    ) {
        let to = outputs.start - self.base..outputs.end - self.base;
        let after = out.after();
        for (p, bytes) in self.bytes.iter().enumerate() {
            let Some(y) = out.byte_row(self.pixel + p) else {
                return;
            };
            let y = &mut y[to.clone()];
            let ordered = permute(bytes);
            if !matches!(after, After::Nothing) {
                after.apply(&ordered, y);
                continue;
            }
            match <&mut [u8; BAND]>::try_from(&mut *y) {
                Ok(whole) => *whole = ordered,
                Err(_) => y.copy_from_slice(&ordered[..y.len()]),
            }
        }
    }
}
