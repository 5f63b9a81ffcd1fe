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
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let fail = |source| IoError::File {
        path: path.to_owned(),
        source,
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // Temporary files are private by default; a model is an ordinary file, as
    // the user's mask allows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}
