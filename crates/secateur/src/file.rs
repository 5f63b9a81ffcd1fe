//! Output files: checked before the work, whole after it.

use crate::interrupt;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::Path;
use tempfile::NamedTempFile;

/// An error where a file could not be written: found before the work that makes
/// it, not after.
pub fn check_output(path: &Path) -> Result<()> {
    let shown = path.display();
    let folder = folder(path);
    if path.is_dir() {
        bail!("{shown}: cannot be written: it is a folder");
    }
    if !folder.is_dir() {
        bail!(
            "{shown}: cannot be written: there is no folder {}",
            folder.display()
        );
    }
    temporary(folder)
        .map(drop)
        .with_context(|| format!("{shown}: cannot be written"))
}

/// Writes a file that is there whole or stays as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let place = || format!("{}: cannot be written", path.display());
    interrupt::whole(|| {
        let mut file = temporary(folder(path)).with_context(place)?;
        file.write_all(bytes).with_context(place)?;
        file.persist(path)
            .map_err(|e| e.error)
            .with_context(place)?;
        Ok(())
    })
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A nameless file beside the one to come, with the rights of an ordinary file.
fn temporary(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}
