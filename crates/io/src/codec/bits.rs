//! Bytes and bits, written and read with bounds: fixed-width fields least
//! significant bit first, LEB128 counts, slices.

use super::CodecError;

/// Collects bit fields into bytes.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    out: Vec<u8>,
    pending: u64,
    filled: u32,
}

impl BitWriter {
    /// Writes the low `width` (0 to 32) bits of `value`.
    #[inline]
    pub(super) fn put(&mut self, value: u32, width: u32) {
        let value = u64::from(value) & ((1 << width) - 1);
        self.pending |= value << self.filled;
        self.filled += width;
        while self.filled >= 8 {
            self.out.push(self.pending as u8);
            self.pending >>= 8;
            self.filled -= 8;
        }
    }

    /// The bytes, the last one filled up with zero bits.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.out.push(self.pending as u8);
        }
        self.out
    }
}

/// Takes bit fields from bytes.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offset of `bytes` in the whole blob, for errors.
    origin: usize,
    what: &'static str,
    pending: u64,
    filled: u32,
}

impl BitReader<'_> {
    /// Reads the next field of `width` (0 to 32) bits.
    ///
    /// # Errors
    /// At the end of the bytes.
    #[inline]
    pub(super) fn take(&mut self, width: u32) -> Result<u32, CodecError> {
        if self.filled < width {
            self.refill(width)?;
        }
        let value = self.pending & ((1 << width) - 1);
        self.pending >>= width;
        self.filled -= width;
        Ok(value as u32)
    }

    /// Takes in eight bytes at once where there are so many.
    fn refill(&mut self, width: u32) -> Result<(), CodecError> {
        let ahead = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk);
        if let Some(&ahead) = ahead {
            let taken = (64 - self.filled) / 8;
            let kept = u64::MAX >> (64 - 8 * taken);
            self.pending |= (u64::from_le_bytes(ahead) & kept) << self.filled;
            self.at += taken as usize;
            self.filled += 8 * taken;
        }
        while self.filled < width {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(CodecError::Truncated {
                    at: self.origin + self.at,
                    what: self.what,
                });
            };
            self.pending |= u64::from(byte) << self.filled;
            self.at += 1;
            self.filled += 8;
        }
        Ok(())
    }

    /// Ends the fields.
    ///
    /// # Errors
    /// When whole bytes, or set bits of the last byte, are left over.
    pub(super) fn finish(self) -> Result<(), CodecError> {
        let at = self.at - self.filled as usize / 8;
        let bytes = self.bytes.len() - at;
        if bytes > 0 || self.pending != 0 {
            return Err(CodecError::Trailing {
                at: self.origin + at,
                bytes,
            });
        }
        Ok(())
    }
}

/// Appends a count in LEB128.
pub(super) fn put_count(out: &mut Vec<u8>, mut count: u64) {
    while count >= 0x80 {
        out.push(count as u8 | 0x80);
        count >>= 7;
    }
    out.push(count as u8);
}

/// Walks over a blob, remembering the offset.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// A complaint about what was read last.
    pub(super) fn corrupt(&self, what: &'static str) -> CodecError {
        CodecError::Corrupt { at: self.at, what }
    }

    /// The next byte.
    ///
    /// # Errors
    /// At the end of the blob.
    pub(super) fn byte(&mut self, what: &'static str) -> Result<u8, CodecError> {
        let (at, bytes) = (self.at, self.bytes);
        let byte = bytes.get(at).ok_or(CodecError::Truncated { at, what })?;
        self.at += 1;
        Ok(*byte)
    }

    /// The next LEB128 count, which may be `max` at most.
    ///
    /// # Errors
    /// At the end of the blob, or when the count is larger.
    pub(super) fn count(&mut self, what: &'static str, max: usize) -> Result<usize, CodecError> {
        let mut count = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte(what)?;
            count |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(count)
                    .ok()
                    .filter(|&count| count <= max)
                    .ok_or_else(|| self.corrupt("a count is larger than its plane allows"));
            }
        }
        Err(self.corrupt("a count does not end"))
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub(super) fn slice(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], CodecError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let slice = rest.get(..len).ok_or(CodecError::Truncated {
            at: self.bytes.len(),
            what,
        })?;
        self.at += len;
        Ok(slice)
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// A walk over the next `len` bytes alone, with the same offsets.
    ///
    /// # Errors
    /// When there are fewer.
    pub(super) fn part(&mut self, len: usize, what: &'static str) -> Result<Self, CodecError> {
        let start = self.at;
        self.slice(len, what)?;
        Ok(Self {
            bytes: self.bytes.get(..self.at).unwrap_or(&[]),
            at: start,
        })
    }

    /// Ends the walk.
    ///
    /// # Errors
    /// When bytes are left over.
    pub(super) fn end(&self) -> Result<(), CodecError> {
        match self.left() {
            0 => Ok(()),
            bytes => Err(CodecError::Trailing { at: self.at, bytes }),
        }
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        self.at = self.bytes.len();
        rest
    }

    /// Everything that is left, as bit fields.
    pub(super) fn bits(&mut self, what: &'static str) -> BitReader<'a> {
        BitReader {
            origin: self.at,
            bytes: self.rest(),
            at: 0,
            what,
            pending: 0,
            filled: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_at_every_width() {
        let mut writer = BitWriter::default();
        for width in 0..=32 {
            writer.put(0xDEAD_BEEF, width);
        }
        let bytes = writer.finish();
        let mut reader = Cursor::new(&bytes).bits("fields");
        for width in 0..=32u32 {
            let want = u64::from(0xDEAD_BEEFu32) & ((1u64 << width) - 1);
            assert_eq!(u64::from(reader.take(width).unwrap()), want);
        }
        reader.finish().unwrap();
    }

    #[test]
    fn reading_beyond_the_end_names_the_place() {
        let mut cursor = Cursor::new(&[7, 1]);
        assert_eq!(cursor.byte("tag").unwrap(), 7);
        let mut reader = cursor.bits("mask");
        assert_eq!(reader.take(8).unwrap(), 1);
        let error = reader.take(1).unwrap_err();
        assert_eq!(
            error,
            CodecError::Truncated {
                at: 2,
                what: "mask"
            }
        );
    }

    #[test]
    fn left_over_bits_are_an_error() {
        let mut reader = Cursor::new(&[0b100]).bits("mask");
        reader.take(2).unwrap();
        assert!(matches!(reader.finish(), Err(CodecError::Trailing { .. })));
    }

    #[test]
    fn counts_come_back_and_are_bounded() {
        for count in [0u64, 1, 127, 128, 300, 1 << 40] {
            let mut bytes = Vec::new();
            put_count(&mut bytes, count);
            let read = Cursor::new(&bytes).count("n", usize::MAX);
            assert_eq!(read.unwrap() as u64, count);
        }
        assert!(Cursor::new(&[200, 1]).count("n", 100).is_err());
        assert!(Cursor::new(&[0xFF; 20]).count("n", usize::MAX).is_err());
    }
}
