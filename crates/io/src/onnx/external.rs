//! Tensor data that stands in a file beside the model.

use super::proto::TensorProto;
use crate::IoError;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

/// `TensorProto.DataLocation.EXTERNAL`.
pub(super) const EXTERNAL: i32 = 1;

/// Reads the `needed` bytes of a tensor from its file, which must lie in
/// `folder`, links followed.
pub(super) fn read(
    file: &str,
    place: &str,
    proto: &TensorProto,
    folder: Option<&Path>,
    needed: usize,
) -> Result<Vec<u8>, IoError> {
    let malformed = |reason: String| IoError::malformed(file, place, reason);
    let entry = |key: &str| {
        proto
            .external_data
            .iter()
            .find(|e| e.key == key)
            .map(|e| e.value.as_str())
    };
    let number = |key: &str| {
        entry(key)
            .map(|v| {
                v.parse::<u64>()
                    .map_err(|_| malformed(format!("external `{key}` is no number: {v:?}")))
            })
            .transpose()
    };
    let location =
        entry("location").ok_or_else(|| malformed("external data names no `location`".into()))?;
    let folder = folder.ok_or_else(|| {
        malformed(format!(
            "the data stands in `{location}`, but the model has no folder"
        ))
    })?;
    let relative = Path::new(location);
    let inside = relative
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !inside || location.is_empty() {
        return Err(malformed(format!(
            "external file `{location}` is outside the model's folder"
        )));
    }
    let path = folder.join(relative);
    let fail = |e: std::io::Error| malformed(format!("external file `{location}`: {e}"));
    let root = folder.canonicalize().map_err(fail)?;
    let real = path.canonicalize().map_err(fail)?;
    if !real.starts_with(&root) {
        return Err(malformed(format!(
            "external file `{location}` is a link out of the model's folder"
        )));
    }

    let offset = number("offset")?.unwrap_or(0);
    let length = number("length")?.unwrap_or(needed as u64);
    if length != needed as u64 {
        return Err(malformed(format!(
            "shape and type need {needed} bytes, external `length` is {length}"
        )));
    }
    let mut data = File::open(&real).map_err(fail)?;
    let size = data.metadata().map_err(fail)?.len();
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(malformed(format!(
            "needs {length} bytes from {offset} on, `{location}` has {size}"
        )));
    }
    data.seek(SeekFrom::Start(offset)).map_err(fail)?;
    let mut bytes = vec![0; needed];
    data.read_exact(&mut bytes).map_err(fail)?;
    Ok(bytes)
}
