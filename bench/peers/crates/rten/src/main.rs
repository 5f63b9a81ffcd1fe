//! rten as a worker of the comparison.

use anyhow::Result;
use peer_protocol::{Engine, Task, serve};
use rten::{Model, ModelOptions, RunOptions, ThreadPool, Value};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;
use std::process::ExitCode;
use std::sync::Arc;

struct Rten {
    model: Model,
    pool: Arc<ThreadPool>,
    input: Value,
    outputs: Vec<Value>,
}

impl Engine for Rten {
    fn run(&mut self) -> Result<()> {
        let options = RunOptions::default().with_thread_pool(Some(self.pool.clone()));
        let input = (self.model.input_ids()[0], (&self.input).into());
        self.outputs = self
            .model
            .run(vec![input], self.model.output_ids(), Some(options))?;
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for output in &self.outputs {
            all.extend(Tensor::<f32>::try_from(output.clone())?.iter());
        }
        Ok(all)
    }
}

fn load(task: Task) -> Result<Rten> {
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(true);
    Ok(Rten {
        model: options.load_file(&task.model)?,
        pool: Arc::new(ThreadPool::with_num_threads(task.threads)),
        input: Tensor::from_data(&task.shape, task.input).into(),
        outputs: Vec::new(),
    })
}

fn main() -> ExitCode {
    serve(load)
}
