//! Designs for tests.

use secateur_rtl::{DESIGNS, Host};

/// A design, or word that its test was skipped.
pub fn host(name: &str) -> Option<Host> {
    assert!(DESIGNS.iter().any(|design| design.name == name), "{name}");
    let host = Host::new(name);
    if host.is_none() {
        eprintln!("SKIPPED: {name} was not built: no verilator");
    }
    host
}
