//! C and C++ programs are compiled against the header, linked with the static library and run.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests

use secateur_engine::{Session, SessionOptions};
use secateur_io::sct::{self, Store};
use secateur_model::{Graph, Tensor, zoo};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// What the standard library of Rust asks of the system.
const SYSTEM: [&str; 3] = ["-lpthread", "-ldl", "-lm"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a program can be started; where not, the test says so and is over.
fn there_is(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED: there is no `{program}` here");
    }
    there
}

/// The static library that was built with this test, beside it or a folder up; or that of `SECATEUR_C_LIBRARY`.
fn library() -> PathBuf {
    if let Some(other) = std::env::var_os("SECATEUR_C_LIBRARY") {
        return other.into();
    }
    let test = std::env::current_exe().unwrap();
    let mut folders = test.ancestors().skip(1).take(2);
    let found = folders.find_map(|folder| {
        let path = folder.join("libsecateur_c.a");
        path.is_file().then_some(path)
    });
    found.expect("libsecateur_c.a is built beside its tests")
}

/// Compiles a source with all warnings, as errors.
fn compile(compiler: &[&str], source: &str, folder: &Path) -> PathBuf {
    let program = folder.join("program");
    let output = Command::new(compiler[0])
        .args(&compiler[1..])
        .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic"])
        .arg("-I")
        .arg(root().join("include"))
        .arg(root().join(source))
        // What is a C source when C++ compiles it ends here.
        .args(["-x", "none"])
        .arg(library())
        .args(SYSTEM)
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap();
    succeeded(&output);
    program
}

fn succeeded(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// A small network and its file.
fn network(folder: &Path) -> (Graph, PathBuf) {
    let mut net = zoo::build("lenet-300-100", [1, 28, 28], 10, 1).unwrap();
    net.metadata.insert("classes".into(), "zero\none".into());
    let path = folder.join("lenet.sct");
    sct::save(&net, &path, Store::Fast).unwrap();
    (net, path)
}

#[test]
fn the_example_gives_the_bits_of_the_engine() {
    if !there_is("cc") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (net, path) = network(folder.path());
    let program = compile(&["cc", "-std=c11"], "examples/classify.c", folder.path());
    let picture: Vec<f32> = (0..784).map(|i| (i % 23) as f32 / 23.0).collect();
    let bytes: Vec<u8> = picture.iter().flat_map(|p| p.to_ne_bytes()).collect();
    let [from, to] = ["in.raw", "out.raw"].map(|name| folder.path().join(name));
    std::fs::write(&from, bytes).unwrap();
    let output = Command::new(&program)
        .args([&path, &from, &to])
        .output()
        .unwrap();
    let said = succeeded(&output);
    assert!(
        said.contains("input input, type 1, [-1, 1, 28, 28]"),
        "{said}"
    );

    let session = Session::new(&net, &SessionOptions::default()).unwrap();
    let picture = Tensor::f32(&[1, 1, 28, 28], picture).unwrap();
    let outputs = session.run(&[("input", &picture)]).unwrap();
    let expected: Vec<u8> = outputs[0]
        .as_f32()
        .unwrap()
        .iter()
        .flat_map(|score| score.to_ne_bytes())
        .collect();
    assert_eq!(std::fs::read(&to).unwrap(), expected);

    let missing = Command::new(&program).arg("none.sct").output().unwrap();
    assert!(!missing.status.success());
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.starts_with("open: none.sct"), "{said}");
}

#[test]
fn c_gets_what_the_header_promises() {
    if !there_is("cc") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (_, path) = network(folder.path());
    let program = compile(&["cc", "-std=c11"], "tests/contract.c", folder.path());
    succeeded(&Command::new(&program).arg(&path).output().unwrap());
    if there_is("valgrind") {
        let output = Command::new("valgrind")
            .args(["--quiet", "--error-exitcode=9", "--leak-check=full"])
            // The pool that decodes files sleeps until the process ends, which is "possibly" a leak.
            .args([
                "--show-leak-kinds=definite",
                "--errors-for-leak-kinds=definite",
            ])
            .args([&program, &path])
            .output()
            .unwrap();
        succeeded(&output);
    }
}

#[test]
fn cpp_gets_the_same() {
    if !there_is("c++") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (_, path) = network(folder.path());
    let compiler = ["c++", "-std=c++17", "-x", "c++"];
    let program = compile(&compiler, "tests/contract.c", folder.path());
    succeeded(&Command::new(&program).arg(&path).output().unwrap());
}
