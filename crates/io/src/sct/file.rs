//! Graphs in files.

use super::{read, write};
use crate::codec::Store;
use crate::{IoError, file};
use secateur_model::Graph;
use std::path::Path;

/// Writes a graph to a file, which is there whole or stays as it was: the bytes
/// go to a temporary name in the same folder, to the disk, then to their name.
///
/// # Errors
/// As [`write`](super::write), and [`IoError::File`] from the file system.
pub fn save(graph: &Graph, path: impl AsRef<Path>, store: Store) -> Result<(), IoError> {
    file::replace(path.as_ref(), &write(graph, store)?)
}

/// Reads a graph from a file.
///
/// # Errors
/// As [`read`](super::read), and [`IoError::File`] from the file system.
pub fn load(path: impl AsRef<Path>) -> Result<Graph, IoError> {
    let path = path.as_ref();
    read(&file::read(path)?, &path.display().to_string())
}
