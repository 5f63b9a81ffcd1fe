//! Files that come with the program, and those of the same kinds.

use crate::AccelError;
use serde::de::DeserializeOwned;

/// A file's name and its text.
pub(crate) type Builtin = (&'static str, &'static str);

/// Files of a folder of the repository.
macro_rules! builtin {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../", $folder, "/", $name, ".toml")))),*]
    };
}
pub(crate) use builtin;

/// The text of a file.
///
/// # Errors
/// A name that none has.
pub(crate) fn text(files: &[Builtin], name: &str) -> Result<&'static str, AccelError> {
    let found = files.iter().find(|(builtin, _)| *builtin == name);
    let names = || files.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    found
        .map(|(_, text)| *text)
        .ok_or_else(|| AccelError::File {
            name: name.into(),
            reason: format!("none of {}", names().join(", ")),
        })
}

/// What a file's text says, if it can be; `place` is what errors call it.
///
/// # Errors
/// Text of another kind, whatever the check refuses.
pub(crate) fn parse<T: DeserializeOwned>(
    text: &str,
    place: &str,
    check: impl FnOnce(&T) -> Result<(), AccelError>,
) -> Result<T, AccelError> {
    let wrong = |reason: String| AccelError::File {
        name: place.into(),
        reason,
    };
    let found = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
    check(&found).map_err(|e| wrong(e.to_string()))?;
    Ok(found)
}
