//! Files: mapped or read whole, written whole or not at all.

use crate::IoError;
use bytes::Bytes;
use memmap2::Mmap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Smaller files are read: a page fault costs more than copying a few pages.
const MAPPED_FROM: u64 = 1 << 16;

/// All bytes of a file: mapped where the system can, so that what is only looked
/// at once is never copied; read otherwise, as pipes are.
pub(crate) fn read(path: &Path) -> Result<Bytes, IoError> {
    let open = || {
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_file()
            && about.len() >= MAPPED_FROM
            && let Some(mapped) = map(&file)
        {
            return Ok(mapped);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes.into())
    };
    open().map_err(|source| IoError::File {
        path: path.to_owned(),
        source,
    })
}

#[allow(unsafe_code)] // the one place where a file's pages become a slice
fn map(file: &File) -> Option<Bytes> {
    // SAFETY: the mapping is private and read-only, and lives as long as the `Bytes`
    // that own it. That nobody changes the file meanwhile cannot be had from the
    // system; networks are replaced by renaming ([`replace`]), which leaves a mapped
    // file as it is.
    let mapped = unsafe { Mmap::map(file) };
    mapped.ok().map(Bytes::from_owner)
}

/// Writes a file under a temporary name in the same folder and renames it once it is
/// on the disk, so that an interrupted run leaves the old file or none. A link's file is replaced, not the link; what
/// is no file, such as a pipe or a device, is written to.
///
/// # Errors
/// What the system says, with the file's name.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let fail = |source| IoError::File {
        path: path.to_owned(),
        source,
    };
    if is_special(path) {
        let mut special = File::options().append(true).open(path).map_err(fail)?;
        return special.write_all(bytes).map_err(fail);
    }
    let path = &linked(path);
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
    if is_special(path) {
        return Ok(());
    }
    let path = &linked(path);
    temporary(path).map(drop).map_err(|source| IoError::File {
        path: path.to_owned(),
        source,
    })
}

/// Whether something is there that is neither file nor folder, or that the system gives under a name of its own, as
/// `/dev/stdout`.
fn is_special(path: &Path) -> bool {
    let of_system = ["/dev", "/proc"]
        .iter()
        .any(|folder| path.starts_with(folder));
    std::fs::metadata(path).is_ok_and(|about| !about.is_dir() && (of_system || !about.is_file()))
}

/// The file that a link leads to, whether it is there or not yet.
fn linked(path: &Path) -> PathBuf {
    let target = std::fs::read_link(path).map(|target| match path.parent() {
        Some(folder) => folder.join(target),
        None => target,
    });
    let known = std::fs::canonicalize(path).or(target);
    known.unwrap_or_else(|_| path.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_files_come_whole_and_outlive_their_replacement() {
        let folder = tempfile::tempdir().unwrap();
        for length in [0, 5, MAPPED_FROM as usize, 100_001] {
            let path = folder.path().join("file");
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            replace(&path, &bytes).unwrap();
            let found = read(&path).unwrap();
            replace(&path, &[1; 70_000]).unwrap();
            assert_eq!(found, bytes);
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_devices_devices() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        replace(&file, b"old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert!(link.is_symlink());
        // Also where nothing is there yet, from beside.
        let early = folder.path().join("early");
        std::os::unix::fs::symlink("later", &early).unwrap();
        replace(&early, b"now").unwrap();
        assert_eq!(std::fs::read(folder.path().join("later")).unwrap(), b"now");
        assert!(early.is_symlink());
        let null = Path::new("/dev/null");
        check_replaceable(null).unwrap();
        replace(null, b"gone").unwrap();
        assert!(is_special(null));
    }

    #[test]
    fn what_is_no_file_is_an_error_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(&folder.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
        assert!(read(folder.path()).is_err());
    }
}
