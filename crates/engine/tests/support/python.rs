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
