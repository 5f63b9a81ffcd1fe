//! Runs.

use crate::argument::{given, many, place};
use crate::failure::{Failure, guard};
use crate::tensor::start;
use crate::{Buffer, Outputs, Session, Status, Tensor};
use secateur_model::Tensor as Model;
use std::mem::MaybeUninit;
use std::ptr;

/// Runs the network on inputs in any order, by name or, without names, by place.
///
/// `outputs` become the caller's, to be freed with `secateur_outputs_free`; they are null where this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_session_run(
    session: Option<&Session>,
    inputs: *const Tensor,
    input_count: usize,
    outputs: Option<&mut MaybeUninit<Option<Box<Outputs>>>>,
) -> Status {
    guard(|| {
        let outputs = place(outputs, "outputs")?;
        let session = given(session, "session")?;
        // SAFETY: null or so many tensors, by the contract of all functions.
        let tensors = unsafe { run(session, many(inputs, input_count, "inputs")?) }?;
        *outputs = Some(Box::new(Outputs::new(session.interface.clone(), tensors)));
        Ok(())
    })
}

/// Runs the network and writes its outputs, in the network's order, to memory of the caller's: a buffer each, of exactly
/// its bytes. Where this fails nothing is written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_session_run_into(
    session: Option<&Session>,
    inputs: *const Tensor,
    input_count: usize,
    outputs: *const Buffer,
    output_count: usize,
) -> Status {
    guard(|| {
        let session = given(session, "session")?;
        // SAFETY: null or so many buffers, by the contract of all functions.
        let buffers = unsafe { many(outputs, output_count, "outputs") }?;
        // SAFETY: null or so many tensors, by the same.
        let tensors = unsafe { run(session, many(inputs, input_count, "inputs")?) }?;
        check(buffers, &tensors, session)?;
        for (buffer, tensor) in buffers.iter().zip(&tensors) {
            let bytes = tensor.bytes();
            // SAFETY: the tensor's bytes, which are the library's alone, go to a buffer of as many.
            unsafe {
                ptr::copy_nonoverlapping(start(tensor).cast(), buffer.data.cast::<u8>(), bytes)
            }
        }
        Ok(())
    })
}

/// What a run on C's tensors gives.
///
/// # Safety
/// Each tensor points to nothing, or to as much as it says.
unsafe fn run(session: &Session, inputs: &[Tensor]) -> Result<Vec<Model>, Failure> {
    let declared = &session.engine.planner().draft().graph.inputs;
    let mut named = Vec::with_capacity(inputs.len().min(declared.len()));
    for (place, input) in inputs.iter().enumerate() {
        // SAFETY: a tensor that points to as much as it says, as the caller promises.
        let name = match unsafe { input.own_name() }? {
            Some(name) => name,
            None => match declared.get(place) {
                Some(input) => input.name.as_str(),
                None => {
                    let words = format!("input {place} has no name; there are {}", declared.len());
                    return Err(Failure::new(Status::Input, words));
                }
            },
        };
        // SAFETY: as above.
        named.push((name, unsafe { input.copied(name) }?));
    }
    let named: Vec<(&str, &Model)> = named.iter().map(|(name, tensor)| (*name, tensor)).collect();
    session.engine.run(&named).map_err(Failure::of_running)
}

/// Whether each output has a buffer of its size.
fn check(buffers: &[Buffer], tensors: &[Model], session: &Session) -> Result<(), Failure> {
    let wrong = |words: String| Err(Failure::new(Status::Output, words));
    let (needed, found) = (tensors.len(), buffers.len());
    if needed != found {
        return wrong(format!(
            "the network gives {needed} outputs, there are {found} buffers"
        ));
    }
    let ports = &session.interface.outputs;
    for ((buffer, tensor), port) in buffers.iter().zip(tensors).zip(ports) {
        let (name, needed, found) = (port.name.to_string_lossy(), tensor.bytes(), buffer.bytes);
        if needed != found {
            return wrong(format!(
                "output `{name}` takes {needed} bytes, its buffer has {found}"
            ));
        }
        if buffer.data.is_null() && needed > 0 {
            return wrong(format!("output `{name}`: its buffer is null"));
        }
    }
    Ok(())
}
