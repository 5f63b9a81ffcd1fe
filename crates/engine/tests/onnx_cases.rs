//! Every network of ONNX's operator tests that is read, known operators or
//! carried ones, exported again: ONNX's checker and ONNX Runtime take it for
//! what it was.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "support/python.rs"]
mod python;

use secateur_io::onnx;
use std::path::PathBuf;

const SCRIPT: &str = include_str!("support/onnx_cases.py");
const LIST: &str = "
import onnx, pathlib, sys
cases = pathlib.Path(onnx.__file__).parent / 'backend/test/data/node'
pathlib.Path(sys.argv[1]).write_text(str(cases))
";

#[test]
fn exported_cases_are_what_they_were() {
    let Some(python) = python::interpreter() else {
        return;
    };
    let folder = python::scratch("onnx-cases");
    let list = folder.join("where");
    assert!(python::run(&python, LIST, &[&list]));
    let cases = PathBuf::from(std::fs::read_to_string(&list).unwrap());
    for case in std::fs::read_dir(cases).unwrap() {
        let case = case.unwrap();
        // Sequences and optionals are no tensors; they are refused by name.
        if let Ok(graph) = onnx::load(case.path().join("model.onnx")) {
            let name = case.file_name().into_string().unwrap();
            let bytes = onnx::write(&graph).unwrap();
            std::fs::write(folder.join(format!("{name}.onnx")), bytes).unwrap();
        }
    }
    assert!(python::run(&python, SCRIPT, &[&folder]), "see above");
    std::fs::remove_dir_all(folder).unwrap();
}
