//! Which Secateur this is.

use std::ffi::{CStr, c_char};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

/// The library's version, such as "0.1.0". The text is static.
#[unsafe(no_mangle)]
pub extern "C" fn secateur_version() -> *const c_char {
    let version = CStr::from_bytes_with_nul(VERSION.as_bytes());
    version.unwrap_or_default().as_ptr()
}
