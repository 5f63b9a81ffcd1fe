//! Networks as they are met: read from ONNX, run by a session for several
//! batches and lengths, and held against the outputs that come with them or that
//! ONNX Runtime gives.
//!
//! Without pip or a network the test says so and passes.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "support/python.rs"]
mod python;
#[path = "support/sets.rs"]
mod sets;

use secateur_engine::{Session, SessionOptions};
use secateur_io::onnx;
use secateur_model::Tensor;
use sets::{distance, name, sorted, tensors};
use std::path::Path;
use std::time::Instant;

const SCRIPT: &str = include_str!("support/networks.py");
const WHEELS: [&str; 3] = [
    "silero-vad==6.2.3",
    "rapidocr-onnxruntime==1.4.4",
    "magika==0.6.2",
];

#[test]
fn networks_compute_what_they_should() {
    let Some(python) = python::interpreter() else {
        return;
    };
    let Some(wheels) = python::wheels(&python, &WHEELS) else {
        return;
    };
    let folder = python::scratch("networks");
    assert!(
        python::run(&python, SCRIPT, &[&folder, &wheels]),
        "see above"
    );
    let mut wrong = Vec::new();
    for network in sorted(&folder) {
        let start = Instant::now();
        let result = compare(&network);
        let took = start.elapsed().as_millis();
        match result {
            Ok(sets) => println!("{}: {sets}; {took} ms", name(&network)),
            Err(why) => wrong.push(format!("{}: {why}; {took} ms", name(&network))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Runs all sets of a network in one session; what can be said of it.
fn compare(network: &Path) -> Result<String, String> {
    let graph = onnx::load(network.join("model.onnx")).map_err(|e| e.to_string())?;
    let options = SessionOptions {
        threads: Some(2),
        ..SessionOptions::default()
    };
    let session = Session::new(&graph, &options).map_err(|e| e.to_string())?;
    let mut apart = 0.0f64;
    let mut count = 0;
    for set in sorted(network).into_iter().filter(|path| path.is_dir()) {
        let inputs = tensors(&set, "input").unwrap();
        let named: Vec<(&str, &Tensor)> = graph
            .inputs
            .iter()
            .map(|value| value.name.as_str())
            .zip(&inputs)
            .collect();
        let found = session
            .run(&named)
            .map_err(|e| format!("set {}: {e}", name(&set)))?;
        for (index, pair) in found
            .iter()
            .zip(tensors(&set, "output").unwrap())
            .enumerate()
        {
            let far = distance(pair.0, &pair.1)
                .map_err(|why| format!("set {}, output {index}: {why}", name(&set)))?;
            apart = apart.max(far);
        }
        count += 1;
    }
    if apart > 1e-4 {
        return Err(format!("{apart:e} of the range apart"));
    }
    Ok(format!(
        "{count} sets, at most {apart:e} of the range apart"
    ))
}
