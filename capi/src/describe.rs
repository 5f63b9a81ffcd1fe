//! What a session takes, gives and knows.

use crate::argument::{given, text};
use crate::failure::{Failure, guard};
use crate::interface::Port;
use crate::{Session, Status, Tensor};
use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::ptr;

/// How many inputs the network takes; 0 for null.
#[unsafe(no_mangle)]
pub extern "C" fn secateur_session_input_count(session: Option<&Session>) -> usize {
    session.map_or(0, |session| session.interface.inputs.len())
}

/// How many outputs the network gives; 0 for null.
#[unsafe(no_mangle)]
pub extern "C" fn secateur_session_output_count(session: Option<&Session>) -> usize {
    session.map_or(0, |session| session.interface.outputs.len())
}

/// Describes an input: name, type and extents, which stay the session's. With `data`, `bytes` and, where extents are open,
/// `dims` filled in, the description is what a run takes.
#[unsafe(no_mangle)]
pub extern "C" fn secateur_session_input(
    session: Option<&Session>,
    index: usize,
    input: Option<&mut MaybeUninit<Tensor>>,
) -> Status {
    guard(|| {
        let input = given(input, "input")?;
        describe(&given(session, "session")?.interface.inputs, index, input)
    })
}

/// Describes an output: name, type and extents, which stay the session's.
#[unsafe(no_mangle)]
pub extern "C" fn secateur_session_output(
    session: Option<&Session>,
    index: usize,
    output: Option<&mut MaybeUninit<Tensor>>,
) -> Status {
    guard(|| {
        let output = given(output, "output")?;
        describe(&given(session, "session")?.interface.outputs, index, output)
    })
}

/// Text that is kept with the network, such as its class names, one a line (`classes`); null if there is none of that key.
/// It stays the session's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_session_metadata(
    session: Option<&Session>,
    key: *const c_char,
) -> *const c_char {
    let mut found = ptr::null();
    guard(|| {
        // SAFETY: null or a text that ends, by the contract of all functions.
        let key = unsafe { text(key, "key") }?;
        let value = given(session, "session")?.metadata(key);
        found = value.map_or(ptr::null(), CStr::as_ptr);
        Ok(())
    });
    found
}

fn describe(ports: &[Port], index: usize, tensor: &mut MaybeUninit<Tensor>) -> Result<(), Failure> {
    let port = ports.get(index).ok_or_else(|| {
        let words = format!("there is no index {index} among {}", ports.len());
        Failure::new(Status::Argument, words)
    })?;
    tensor.write(port.described());
    Ok(())
}
