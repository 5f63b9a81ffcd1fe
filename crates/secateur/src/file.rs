//! Output files: checked before the work, whole after it.

use crate::interrupt;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

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

/// An error where two outputs would be one file, or an output what is read.
pub fn check_apart(reads: &[PathBuf], writes: &[PathBuf]) -> Result<()> {
    // What is written to a device or a pipe overwrites nothing.
    let ordinary = |path: &Path| !path.exists() || path.is_file();
    for (index, path) in writes.iter().enumerate().filter(|(_, path)| ordinary(path)) {
        let same = |other: &PathBuf| are_one(other, path);
        if reads.iter().any(same) {
            bail!("{}: it is read, and would be overwritten", path.display());
        }
        if writes[..index].iter().any(same) {
            bail!("{}: two results would be written there", path.display());
        }
    }
    Ok(())
}

/// Whether two names are one file's, which need not be there yet.
pub fn are_one(a: &Path, b: &Path) -> bool {
    whole_name(a) == whole_name(b)
}

fn whole_name(path: &Path) -> PathBuf {
    let of_folder = || {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    };
    let known = path.canonicalize().ok();
    known.or_else(of_folder).unwrap_or_else(|| path.to_owned())
}

/// Writes a file that is there whole or stays as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    interrupt::whole(|| {
        secateur_io::replace(path, bytes)
            .with_context(|| format!("{}: cannot be written", path.display()))
    })
}
