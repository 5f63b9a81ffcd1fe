//! The folder in which fetched sets are kept, and the check of what is in it.

use std::{env, fs, path::PathBuf};

use sha2::{Digest, Sha256};

use crate::{DataError, KnownSet};

/// The folder that holds fetched sets, one folder a set: `SECATEUR_DATA` where it is set, else
/// `secateur` in the user's cache directory (in the temporary directory for a user without one).
pub fn cache_dir() -> PathBuf {
    if let Some(dir) = env::var_os("SECATEUR_DATA").filter(|dir| !dir.is_empty()) {
        return dir.into();
    }
    match directories::BaseDirs::new() {
        Some(dirs) => dirs.cache_dir().join("secateur"),
        None => env::temp_dir().join("secateur"),
    }
}

/// A file of a set and the digest that it must have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pinned {
    pub name: &'static str,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: &'static str,
}

impl Pinned {
    /// Checks `bytes`, which came from `path`.
    pub fn verify(&self, bytes: &[u8], path: impl Into<PathBuf>) -> Result<(), DataError> {
        let there = sha256_hex(bytes);
        if there == self.sha256 {
            return Ok(());
        }
        Err(DataError::Hash {
            path: path.into(),
            needed: self.sha256,
            there,
        })
    }
}

impl KnownSet {
    /// Whether every file of the set is in the cache; [`load`](crate::load) checks their digests.
    pub fn is_cached(self) -> bool {
        self == Self::Digits
            || self
                .files()
                .iter()
                .all(|file| self.folder().join(file.name).is_file())
    }

    /// Reads one of the set's files from the cache and checks its digest.
    pub(crate) fn read(self, file: &Pinned) -> Result<Vec<u8>, DataError> {
        let path = self.folder().join(file.name);
        if !path.is_file() {
            return Err(DataError::NotFetched {
                set: self.to_string(),
                cache: cache_dir(),
            });
        }
        let bytes = fs::read(&path).map_err(DataError::io(&path))?;
        file.verify(&bytes, path)?;
        Ok(bytes)
    }
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_the_standards_example() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), abc);
        let file = Pinned {
            name: "abc",
            sha256: abc,
        };
        assert!(file.verify(b"abc", "abc").is_ok());
        let message = file.verify(b"abd", "some/abc").unwrap_err().to_string();
        assert!(
            message.starts_with("some/abc: SHA-256 needed ba78"),
            "{message}"
        );
    }
}
