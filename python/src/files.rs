//! What the part for training loops needs of recipes and files.

use crate::errors::{of_command, of_file};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use secateur::compress::ptq::{Each, Probe, Samples};
use secateur::compress::recipe::{QuantizeStep, Step};
use secateur::compress::{CompressError, Recipe, quantize_network};
use secateur::io::codec::Store;
use secateur::io::{Form, onnx, sct};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// A recipe, built in or in a file, as JSON.
#[pyfunction]
pub fn recipe(name: &str) -> PyResult<String> {
    let recipe = secateur::recipe(name).map_err(of_command)?;
    serde_json::to_string(&recipe).map_err(|e| PyRuntimeError::new_err(e.to_string()))
}

/// Writes an ONNX network in the form that the output's name says; with `bits`, its weights become
/// integers with a scale for each output channel. Weights that are such integers times a scale
/// already come out as these.
#[pyfunction]
pub fn pack(
    py: Python<'_>,
    network: PathBuf,
    output: PathBuf,
    bits: Option<u8>,
    store: &str,
) -> PyResult<()> {
    let store = match store {
        "smallest" => Store::Smallest,
        "small" => Store::Small,
        "fast" => Store::Fast,
        other => {
            let text = format!("store: needed smallest, small or fast, found {other}");
            return Err(PyValueError::new_err(text));
        }
    };
    let step = bits.map(weights_of).transpose()?;
    py.detach(|| {
        let mut graph = secateur::io::load(network).map_err(|e| of_file(&e))?;
        if let Some(step) = step {
            let go_on = &mut |_, _| ControlFlow::Continue(());
            let done = quantize_network(&mut graph, &step, &NoSamples, go_on);
            done.map_err(|e| PyRuntimeError::new_err(e.to_string()))?;
        }
        match Form::of(&output) {
            Form::Sct => sct::save(&graph, output, store),
            _ => onnx::save(&graph, output),
        }
        .map_err(|e| of_file(&e))
    })
}

/// A step that makes integers of weights alone.
fn weights_of(bits: u8) -> PyResult<QuantizeStep> {
    let text = format!("name = \"pack\"\n[[step]]\nkind = \"quantize\"\nweight_bits = {bits}\n");
    let wrong = |text: String| PyValueError::new_err(text);
    let recipe = Recipe::from_toml(&text, "pack").map_err(|e| wrong(e.to_string()))?;
    match recipe.steps.into_iter().next() {
        Some(Step::Quantize(step)) => Ok(step),
        _ => Err(wrong(format!("weights of {bits} bits: no such step"))),
    }
}

/// Weights are rounded without any.
struct NoSamples;

impl Samples for NoSamples {
    fn observe(&self, _: &[Probe<'_>], _: &mut Each<'_>) -> Result<(), CompressError> {
        Ok(())
    }
}
