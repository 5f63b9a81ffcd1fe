//! Files: read whole, written whole or not at all.

use crate::IoError;
use std::io::Write;
use std::path::Path;

/// All bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, IoError> {
    std::fs::read(path).map_err(|source| IoError::File {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file under a temporary name in the same folder and renames it once it is
/// on the disk, so that an interrupted run leaves the old file or none.
///
/// # Errors
/// What the system says, with the file's name.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let fail = |source| IoError::File {
        path: path.to_owned(),
        source,
    };
    let mut file = temporary(path).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// Whether [`replace`] could write the file, tried without writing it.
///
/// # Errors
/// What the system says, with the file's name.
pub fn check_replaceable(path: &Path) -> Result<(), IoError> {
    temporary(path).map(drop).map_err(|source| IoError::File {
        path: path.to_owned(),
        source,
    })
}

/// A file of a temporary name beside `path`.
fn temporary(path: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // Temporary files are private by default; this becomes an ordinary file, as
    // the user's mask allows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}
