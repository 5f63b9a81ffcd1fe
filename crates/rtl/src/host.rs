//! A verilated model behind its port: the one place that calls C++.

#![allow(unsafe_code)]

use crate::DESIGNS;

/// A model of hardware, clocked by whoever holds it.
#[derive(Debug)]
pub struct Host {
    #[cfg(verilated)]
    model: std::ptr::NonNull<std::ffi::c_void>,
    /// There is none to be had.
    #[cfg(not(verilated))]
    never: std::convert::Infallible,
}

#[cfg(verilated)]
mod shim {
    use std::ffi::c_void;

    // SAFETY: as `shim.cpp` declares them; none throws.
    unsafe extern "C" {
        pub fn rtl_new(design: u32) -> *mut c_void;
        pub fn rtl_free(host: *mut c_void);
        pub fn rtl_write(host: *mut c_void, address: u32, value: u64);
        pub fn rtl_read(host: *mut c_void, address: u32) -> u64;
        pub fn rtl_clock(host: *mut c_void, most: u64) -> u64;
        pub fn rtl_running(host: *mut c_void) -> bool;
    }
}

#[cfg(verilated)]
impl Host {
    /// A design by its name; `None` where none has it, or where this was built without verilator.
    pub fn new(name: &str) -> Option<Self> {
        let index = DESIGNS.iter().position(|design| design.name == name)?;
        // SAFETY: any index may be asked for; what has no model gives null.
        let model = unsafe { shim::rtl_new(index as u32) };
        std::ptr::NonNull::new(model).map(|model| Self { model })
    }

    /// Writes a value in one cycle.
    pub fn write(&mut self, address: u32, value: u64) {
        // SAFETY: the model lives until it is dropped, and is borrowed by no one else.
        unsafe { shim::rtl_write(self.model.as_ptr(), address, value) }
    }

    /// What lies at an address; takes no cycle.
    pub fn read(&mut self, address: u32) -> u64 {
        // SAFETY: as in `write`.
        unsafe { shim::rtl_read(self.model.as_ptr(), address) }
    }

    /// Lets cycles pass, one at least, until it no longer runs or so many are over; gives how many passed.
    pub fn clock(&mut self, most: u64) -> u64 {
        // SAFETY: as in `write`.
        unsafe { shim::rtl_clock(self.model.as_ptr(), most) }
    }

    /// Whether it runs.
    pub fn running(&mut self) -> bool {
        // SAFETY: as in `write`.
        unsafe { shim::rtl_running(self.model.as_ptr()) }
    }
}

#[cfg(verilated)]
impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: made by `rtl_new`, and freed once.
        unsafe { shim::rtl_free(self.model.as_ptr()) }
    }
}

#[cfg(not(verilated))]
impl Host {
    /// None: this was built without verilator.
    pub fn new(_: &str) -> Option<Self> {
        let _ = DESIGNS;
        None
    }

    /// Writes a value in one cycle.
    pub fn write(&mut self, _: u32, _: u64) {
        match self.never {}
    }

    /// What lies at an address; takes no cycle.
    pub fn read(&mut self, _: u32) -> u64 {
        match self.never {}
    }

    /// Lets cycles pass, one at least, until it no longer runs or so many are over; gives how many passed.
    pub fn clock(&mut self, _: u64) -> u64 {
        match self.never {}
    }

    /// Whether it runs.
    pub fn running(&mut self) -> bool {
        match self.never {}
    }
}
