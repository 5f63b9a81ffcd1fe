//! What the page calls: the functions of [`Page`] without names mangled and with numbers for networks.
#![allow(unsafe_code)] // a symbol's own name, for which this crate has to be alone with it: no other exports any

use crate::page::Page;
use secateur_io::Form;
use std::cell::RefCell;

/// What a call gives that failed; the answer says why.
const FAILED: i32 = -1;

thread_local! {
    static PAGE: RefCell<Page> = RefCell::default();
}

fn with<T>(work: impl FnOnce(&mut Page) -> T) -> T {
    PAGE.with_borrow_mut(work)
}

/// Where the page writes what it gives: `bytes` bytes, null where there is not so much memory.
#[unsafe(no_mangle)]
extern "C" fn room(bytes: usize) -> *mut u8 {
    with(|page| {
        page.room(bytes)
            .map_or(std::ptr::null_mut(), <[u8]>::as_mut_ptr)
    })
}

/// Where the last answer lies.
#[unsafe(no_mangle)]
extern "C" fn answer() -> *const u8 {
    with(|page| page.answer().as_ptr())
}

/// Its length.
#[unsafe(no_mangle)]
extern "C" fn answer_bytes() -> usize {
    with(|page| page.answer().len())
}

/// See [`Page::open`]: 1 is a `.sct` file, 2 a `.net`, all else ONNX.
#[unsafe(no_mangle)]
extern "C" fn open(form: u32) -> i32 {
    let form = match form {
        1 => Form::Sct,
        2 => Form::Net,
        _ => Form::Onnx,
    };
    number(with(|page| page.open(&form)))
}

/// See [`Page::twin`].
#[unsafe(no_mangle)]
extern "C" fn twin(network: usize) -> i32 {
    number(with(|page| page.twin(network)))
}

/// See [`Page::run`].
#[unsafe(no_mangle)]
extern "C" fn run(network: usize) -> i32 {
    done(with(|page| page.run(network)))
}

/// See [`Page::time`].
#[unsafe(no_mangle)]
extern "C" fn time(network: usize, runs: usize) -> i32 {
    done(with(|page| page.time(network, runs)))
}

/// See [`Page::picture`].
#[unsafe(no_mangle)]
extern "C" fn picture(network: usize, weight: usize, side: usize) -> i32 {
    done(with(|page| page.picture(network, weight, side)))
}

/// See [`Page::close`].
#[unsafe(no_mangle)]
extern "C" fn close(network: usize) {
    with(|page| page.close(network));
}

fn number(opened: Option<usize>) -> i32 {
    opened.and_then(|n| i32::try_from(n).ok()).unwrap_or(FAILED)
}

fn done(well: bool) -> i32 {
    if well { 0 } else { FAILED }
}
