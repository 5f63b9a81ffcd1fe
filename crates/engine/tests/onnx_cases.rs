//! Every network of ONNX's operator tests that is read, known operators or
//! carried ones, exported again: ONNX's checker and ONNX Runtime take it for
//! what it was. And every one that the reference evaluates, run by a session: the
//! same within the declared tolerance.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "support/python.rs"]
mod python;
#[path = "support/sets.rs"]
mod sets;

use secateur_engine::{Session, SessionOptions};
use secateur_io::onnx;
use secateur_model::{Data, Graph, Tensor, eval};
use sets::{distance, name, sorted, tensors};
use std::path::{Path, PathBuf};

const SCRIPT: &str = include_str!("support/onnx_cases.py");
const LIST: &str = "
import onnx, pathlib, sys
cases = pathlib.Path(onnx.__file__).parent / 'backend/test/data/node'
pathlib.Path(sys.argv[1]).write_text(str(cases))
";

/// Of the largest magnitude of a result.
const TOLERANCE: f64 = 2e-5;

/// An interpreter and the folder of the cases; `None` where pip does not give them.
fn cases(test: &str) -> Option<(PathBuf, PathBuf)> {
    let python = python::interpreter()?;
    let folder = python::scratch(&format!("onnx-cases-{test}"));
    let list = folder.join("where");
    assert!(python::run(&python, LIST, &[&list]));
    let cases = PathBuf::from(std::fs::read_to_string(&list).unwrap());
    std::fs::remove_dir_all(folder).unwrap();
    Some((python, cases))
}

#[test]
fn exported_cases_are_what_they_were() {
    let Some((python, cases)) = cases("exported") else {
        return;
    };
    let folder = python::scratch("onnx-cases");
    for case in sorted(&cases) {
        // Sequences and optionals are no tensors; they are refused by name.
        if let Ok(graph) = onnx::load(case.join("model.onnx")) {
            let bytes = onnx::write(&graph).unwrap();
            std::fs::write(folder.join(format!("{}.onnx", name(&case))), bytes).unwrap();
        }
    }
    assert!(python::run(&python, SCRIPT, &[&folder]), "see above");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn sessions_compute_what_the_reference_does() {
    let Some((_, cases)) = cases("sessions") else {
        return;
    };
    let (mut same, mut wrong) = (0, Vec::new());
    for case in sorted(&cases) {
        match compare(&case) {
            None => {}
            Some(Ok(())) => same += 1,
            Some(Err(why)) => wrong.push(format!("{}: {why}", name(&case))),
        }
    }
    println!("{same} cases are the same, {} are not", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(same >= 1300, "only {same} cases were compared");
}

/// `None` where the reference does not evaluate the case.
fn compare(case: &Path) -> Option<Result<(), String>> {
    let graph = onnx::load(case.join("model.onnx")).ok()?;
    let inputs = tensors(&case.join("test_data_set_0"), "input")?;
    if inputs
        .iter()
        .any(|t| matches!(t.data(), Data::Opaque { .. }))
    {
        return None;
    }
    let names = graph.inputs.iter().map(|value| value.name.as_str());
    let named: Vec<(&str, Tensor)> = names.zip(inputs).collect();
    let expected = eval(&graph, &named).ok()?;
    Some(session(&graph, &named, &expected))
}

fn session(graph: &Graph, named: &[(&str, Tensor)], expected: &[Tensor]) -> Result<(), String> {
    let options = SessionOptions {
        threads: Some(1),
        ..SessionOptions::default()
    };
    let session = Session::new(graph, &options).map_err(|e| e.to_string())?;
    let named: Vec<(&str, &Tensor)> = named.iter().map(|(name, t)| (*name, t)).collect();
    let found = session.run(&named).map_err(|e| e.to_string())?;
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let far = distance(found, expected).map_err(|why| format!("output {index}: {why}"))?;
        if far > TOLERANCE {
            return Err(format!("output {index}: {far:e} of the range apart"));
        }
    }
    Ok(())
}
