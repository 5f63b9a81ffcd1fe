//! What makes two runs the same run.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that decides a run's result, by name; files by their checksums.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity(BTreeMap<String, String>);

impl Identity {
    /// With one more setting.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    /// With a file by its contents.
    pub fn with_bytes(self, name: &str, bytes: &[u8]) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(bytes);
        self.with(
            name,
            format!("{} bytes, CRC-32 {:08x}", bytes.len(), hasher.finalize()),
        )
    }

    /// An error that says what differs.
    pub fn check(&self, now: &Self) -> Result<()> {
        let names = self.0.keys().chain(now.0.keys());
        for name in names {
            let (then, now) = (self.0.get(name), now.0.get(name));
            if then != now {
                let show = |v: Option<&String>| v.map_or("nothing".into(), |v| format!("`{v}`"));
                bail!(
                    "the run was begun with {name} {}, now it is {}",
                    show(then),
                    show(now)
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told() {
        let first = Identity::default()
            .with("seed", 1)
            .with_bytes("network", b"abc");
        assert!(first.check(&first.clone()).is_ok());
        let error = first.check(&first.clone().with("seed", 2)).unwrap_err();
        assert!(
            error.to_string().contains("seed `1`, now it is `2`"),
            "{error}"
        );
        let error = first
            .check(&first.clone().with_bytes("network", b"abd"))
            .unwrap_err();
        assert!(error.to_string().contains("network"), "{error}");
        assert!(first.check(&first.clone().with("goal", "x")).is_err());
    }
}
