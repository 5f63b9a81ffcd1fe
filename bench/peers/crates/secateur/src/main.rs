//! Secateur as a worker of the comparison.

use anyhow::{Context, Result};
use peer_protocol::{Engine, Task, serve};
use secateur_engine::{Bound, Session, SessionOptions};
use secateur_io::{onnx, sct};
use secateur_model::Shape;
use std::process::ExitCode;

struct Secateur {
    bound: Bound<'static>,
    input: Vec<f32>,
    outputs: Vec<Vec<f32>>,
}

impl Engine for Secateur {
    fn run(&mut self) -> Result<()> {
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        Ok(self.bound.run_into(&[&self.input], &mut outputs)?)
    }

    fn outputs(&self) -> Result<Vec<f32>> {
        Ok(self.outputs.concat())
    }
}

fn load(task: Task) -> Result<Secateur> {
    let graph = match task.model.extension().is_some_and(|e| e == "sct") {
        true => sct::load(&task.model)?,
        false => onnx::load(&task.model)?,
    };
    let options = SessionOptions {
        threads: Some(task.threads),
        ..SessionOptions::default()
    };
    let session = Session::new(&graph, &options)?;
    drop(graph);
    // The worker has one session, for as long as it lives.
    let session: &'static Session = Box::leak(Box::new(session));
    let bound = session.bind(&[Shape::new(&task.shape)?])?;
    let elements = bound
        .plan()
        .outputs
        .iter()
        .map(|port| port.shape.elements());
    let outputs = elements.map(|n| vec![0.0; n]).collect();
    Ok(Secateur {
        bound,
        input: task.input,
        outputs,
    })
}

fn main() -> ExitCode {
    serve(|task| {
        let name = task.model.display().to_string();
        load(task).context(name)
    })
}
