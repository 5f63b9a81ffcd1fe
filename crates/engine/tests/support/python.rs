//! ONNX Runtime and the `onnx` package, in an environment that pip fills in the
//! target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: [&str; 3] = ["onnxruntime==1.23.2", "onnx==1.19.1", "numpy==2.2.6"];

/// An interpreter that has the packages; where pip cannot install them, says so
/// and gives `None`. With `CI` set, that is a failure: nobody would read it.
pub fn interpreter() -> Option<PathBuf> {
    let python = environment();
    if python.is_none() {
        let why = format!("pip cannot install {PACKAGES:?} here; nothing was compared");
        assert!(std::env::var_os("CI").is_none(), "{why}");
        eprintln!("SKIPPED: {why}");
    }
    python
}

fn environment() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGES.join("-"));
    let python = folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let works = || succeeds(Command::new(&python).args(["-c", "import numpy, onnx, onnxruntime"]));
    if python.is_file() && works() {
        return Some(python);
    }
    let made = succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    let ready = made && succeeds(Command::new(&python).args(pip).args(PACKAGES)) && works();
    ready.then_some(python)
}

/// A folder of this process in the target folder.
pub fn scratch(name: &str) -> PathBuf {
    let folder = format!("{name}-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a script on paths; whether it succeeded.
pub fn run(python: &Path, script: &str, paths: &[&Path]) -> bool {
    succeeds(Command::new(python).args(["-c", script]).args(paths))
}

fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

/// A folder with the contents of wheels, without what they depend on; `None` where pip does not
/// give them, which is said, and with `CI` set a failure.
#[allow(dead_code)] // one test file needs them
pub fn wheels(python: &Path, names: &[&str]) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(names.join("-"));
    let done = folder.join("complete");
    if !done.is_file() {
        let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"];
        let mut install = Command::new(python);
        install.args(pip).arg("--target").arg(&folder).args(names);
        if !succeeds(&mut install) || std::fs::write(&done, "").is_err() {
            let why = format!("pip cannot install {names:?} here; they were not run");
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("SKIPPED: {why}");
            return None;
        }
    }
    Some(folder)
}
