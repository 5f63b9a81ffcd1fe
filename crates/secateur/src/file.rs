//! Output files: checked before the work, whole after it.

use crate::interrupt;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// An error where a file could not be written: found before the work that makes
/// it, not after.
pub fn check_output(path: &Path) -> Result<()> {
    let place = || format!("{}: cannot be written", path.display());
    if path.is_dir() {
        bail!("{}: it is a folder", place());
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            bail!("{}: there is no folder {}", place(), folder.display())
        }
        _ => secateur_io::check_replaceable(path).with_context(place),
    }
}

/// Writes a file that is there whole or stays as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    interrupt::whole(|| {
        secateur_io::replace(path, bytes)
            .with_context(|| format!("{}: cannot be written", path.display()))
    })
}
