//! The hardware's sources are clean of warnings.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;
use std::process::Command;

#[test]
fn sources_are_clean_of_warnings() {
    if Command::new("verilator").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no verilator");
        return;
    }
    let rtl = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rtl");
    let run = Command::new("bash")
        .arg("synth.sh")
        .arg("lint")
        .current_dir(rtl)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}");
}
