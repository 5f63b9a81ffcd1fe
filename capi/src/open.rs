//! From a file, or bytes, to a session.

use crate::argument::{many, place, text};
use crate::failure::{Failure, guard};
use crate::{Options, Session, Status};
use secateur_io::sct;
use secateur_model::Graph;
use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::path::Path;

/// Reads a network from a file (`.sct`; `.onnx` where the library was built with it) and makes it ready to run.
///
/// `session` becomes the caller's, to be freed with `secateur_session_free`; it is null where this fails. The file and
/// `options` are not needed afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_session_open(
    path: *const c_char,
    options: Option<&Options>,
    session: Option<&mut MaybeUninit<Option<Box<Session>>>>,
) -> Status {
    guard(|| {
        let session = place(session, "session")?;
        // SAFETY: null or texts that end, by the contract of all functions.
        let (path, options) = unsafe { (text(path, "path")?, Options::resolved(options)?) };
        *session = Some(Box::new(Session::new(&load(path)?, &options)?));
        Ok(())
    })
}

/// Reads a network from the bytes of a `.sct` file, wherever they lie (in flash, in the executable), and makes it ready to
/// run. As `secateur_session_open` otherwise; the bytes are not needed afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_session_open_bytes(
    bytes: *const c_void,
    length: usize,
    options: Option<&Options>,
    session: Option<&mut MaybeUninit<Option<Box<Session>>>>,
) -> Status {
    guard(|| {
        let session = place(session, "session")?;
        // SAFETY: null, a text that ends, or so many bytes, by the contract of all functions.
        let (bytes, options) = unsafe {
            let bytes = many(bytes.cast::<u8>(), length, "bytes")?;
            (bytes, Options::resolved(options)?)
        };
        *session = Some(Box::new(Session::new(
            &sct::read(bytes, "bytes")?,
            &options,
        )?));
        Ok(())
    })
}

/// Reads a network by its file's extension.
fn load(path: &CStr) -> Result<Graph, Failure> {
    let path = system_path(path)?;
    #[cfg(feature = "onnx")]
    if path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("onnx"))
    {
        return Ok(secateur_io::onnx::load(path)?);
    }
    Ok(sct::load(path)?)
}

#[cfg(unix)]
fn system_path(path: &CStr) -> Result<&Path, Failure> {
    use std::os::unix::ffi::OsStrExt;
    Ok(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())))
}

#[cfg(not(unix))]
fn system_path(path: &CStr) -> Result<&Path, Failure> {
    let path = path.to_str().map(Path::new);
    path.map_err(|_| Failure::new(Status::Argument, "`path` is not UTF-8"))
}
