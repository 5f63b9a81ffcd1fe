//! Files: whole or not at all.

use super::{read, write};
use crate::IoError;
use crate::codec::Store;
use secateur_model::Graph;
use std::io::Write;
use std::path::Path;

/// Writes a graph to a file, which is there whole or stays as it was: the bytes
/// go to a temporary name in the same folder, to the disk, then to their name.
///
/// # Errors
/// As [`write`](super::write), and [`IoError::File`] from the file system.
pub fn save(graph: &Graph, path: impl AsRef<Path>, store: Store) -> Result<(), IoError> {
    let path = path.as_ref();
    let bytes = write(graph, store)?;
    let failed = |source| IoError::File {
        path: path.to_owned(),
        source,
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // Temporary files are private by default; this one becomes an ordinary one.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Reads a graph from a file.
///
/// # Errors
/// As [`read`](super::read), and [`IoError::File`] from the file system.
pub fn load(path: impl AsRef<Path>) -> Result<Graph, IoError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| IoError::File {
        path: path.to_owned(),
        source,
    })?;
    read(&bytes, &path.display().to_string())
}
