//! Verilates the designs where verilator is in reach, and compiles them with a shim; else the library says that it has none.

#[path = "src/designs.rs"]
mod designs;

use designs::{DESIGNS, Design};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(verilated)");
    for path in ["src/designs.rs", "src/shim.cpp", "build.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    for folder in ["../../rtl", "../../rtl/test"] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "sv") {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
    }
    println!("cargo::rerun-if-env-changed=PATH");
    let Some(root) = verilator_root() else {
        // What is not there is looked for again by the next build.
        println!("cargo::rerun-if-changed=no-verilator");
        println!(
            "cargo::warning=no verilator: the hardware in rtl/ is not built, its tests are skipped"
        );
        return Ok(());
    };
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(1)
        .debug(false)
        .warnings(false)
        .include(&out)
        .include(root.join("include"))
        .include(root.join("include/vltstd"));
    let mut table = String::new();
    for (index, design) in DESIGNS.iter().enumerate() {
        let folder = out.join(design.name);
        verilate(design, &folder)?;
        build.file(together(&folder)?);
        let name = design.name;
        table += &format!("MODEL({index}, V{name})\n");
        build.include(folder);
    }
    let headers: String = DESIGNS
        .iter()
        .map(|d| format!("#include \"V{}.h\"\n", d.name))
        .collect();
    fs::write(out.join("headers.inc"), headers)?;
    fs::write(out.join("models.inc"), table)?;
    for file in ["verilated.cpp", "verilated_threads.cpp"] {
        build.file(root.join("include").join(file));
    }
    build
        .file("src/shim.cpp")
        .try_compile("secateur_rtl_models")?;
    println!("cargo::rustc-cfg=verilated");
    Ok(())
}

/// Where verilator keeps what its models include; `None` where there is no verilator.
fn verilator_root() -> Option<PathBuf> {
    let told = Command::new("verilator")
        .args(["--getenv", "VERILATOR_ROOT"])
        .output()
        .ok()?;
    let root = PathBuf::from(String::from_utf8(told.stdout).ok()?.trim());
    root.join("include/verilated.cpp").is_file().then_some(root)
}

/// One file that includes all that were made of a design: what they all include is read once.
fn together(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "cpp") {
            lines.push(format!("#include \"{}\"\n", path.display()));
        }
    }
    lines.sort();
    let all = folder.join("all.cc");
    fs::write(&all, lines.concat())?;
    Ok(all)
}

/// A design as C++ in a folder of its own.
fn verilate(design: &Design, folder: &Path) -> Result<(), Box<dyn Error>> {
    let rtl = Path::new("../../rtl");
    // What another version left would be compiled as well.
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let mut command = Command::new("verilator");
    command
        .args([
            "--cc",
            "--no-timing",
            "-O3",
            "--x-assign",
            "fast",
            "--x-initial",
            "fast",
        ])
        .args([
            "--top-module",
            design.top,
            "--prefix",
            &format!("V{}", design.name),
        ])
        .arg("--Mdir")
        .arg(folder)
        .arg("-y")
        .arg(rtl)
        .arg("-y")
        .arg(rtl.join("test"));
    for (name, value) in design.parameters {
        command.arg(format!("-G{name}={value}"));
    }
    let file = format!("{}.sv", design.top);
    let source = [rtl.join(&file), rtl.join("test").join(&file)];
    command.args(source.iter().filter(|path| path.is_file()));
    let done = command.output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("{}: {}", design.name, String::from_utf8_lossy(&done.stderr)).into()),
    }
}
