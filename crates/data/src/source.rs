use std::io::{Cursor, ErrorKind, Read};

use flate2::bufread::GzDecoder;

use crate::DataError;

/// No DEFLATE stream grows by more than this factor (258 bytes from 2 bits).
pub(crate) const DEFLATE_LIMIT: u64 = 1032;

/// Bytes that are read forward, with a bound on how many there can be: a length that a header
/// declares is compared with the bound before anything is allocated for it.
pub(crate) struct Source<R> {
    inner: R,
    place: String,
    at: usize,
    bound: u64,
}

impl<'a> Source<Box<dyn Read + 'a>> {
    /// Reads `bytes`, through gzip where they begin with its magic number.
    pub fn maybe_gzip(bytes: &'a [u8], place: &str) -> Self {
        let len = bytes.len() as u64;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let bound = len.saturating_mul(DEFLATE_LIMIT);
            return Source::new(Box::new(GzDecoder::new(Cursor::new(bytes))), place, bound);
        }
        Source::new(Box::new(bytes), place, len)
    }
}

impl<R: Read> Source<R> {
    /// Reads `inner`, which is known to yield no more than `bound` bytes.
    pub fn new(inner: R, place: &str, bound: u64) -> Self {
        Self {
            inner,
            place: place.into(),
            at: 0,
            bound,
        }
    }

    pub fn place(&self) -> &str {
        &self.place
    }

    /// The next `needed` bytes.
    pub fn bytes(&mut self, needed: usize, what: &'static str) -> Result<Vec<u8>, DataError> {
        let left = self.bound.saturating_sub(self.at as u64);
        if needed as u64 > left {
            let there = usize::try_from(left).unwrap_or(usize::MAX);
            return Err(self.truncated(needed, there, what));
        }
        let mut bytes = Vec::new();
        let got = self
            .inner
            .by_ref()
            .take(needed as u64)
            .read_to_end(&mut bytes);
        match got {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                Err(self.truncated(needed, bytes.len(), what))
            }
            Err(e) => Err(self.damaged(&e)),
            Ok(there) if there < needed => Err(self.truncated(needed, there, what)),
            Ok(_) => {
                self.at += needed;
                Ok(bytes)
            }
        }
    }

    /// The next `N` bytes, for the fixed fields of a header.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DataError> {
        let bytes = self.bytes(N, what)?;
        let there = bytes.len();
        bytes.try_into().map_err(|_| self.truncated(N, there, what))
    }

    /// Requires that all has been read; a compressed stream checks its own checksum here.
    pub fn end(mut self) -> Result<(), DataError> {
        let mut more = [0];
        match self.inner.read(&mut more) {
            Ok(0) => Ok(()),
            Ok(_) => {
                let needed = format!("the end of the data at byte {}", self.at);
                Err(DataError::malformed(
                    self.place,
                    "length",
                    needed,
                    "more bytes",
                ))
            }
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(self.truncated(1, 0, "checksum")),
            Err(e) => Err(self.damaged(&e)),
        }
    }

    fn truncated(&self, needed: usize, there: usize, what: &'static str) -> DataError {
        DataError::Truncated {
            place: self.place.clone(),
            at: self.at,
            what,
            needed,
            there,
        }
    }

    fn damaged(&self, error: &std::io::Error) -> DataError {
        let place = format!("{} at byte {}", self.place, self.at);
        DataError::malformed(place, "compressed stream", "valid data", error)
    }
}
