#![no_main]
#![allow(missing_docs)] // a fuzz target has no items of its own

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secateur_fuzz::model::squeezenet(bytes));
