//! tract as a worker of the comparison.

use anyhow::Result;
use peer_protocol::{Engine, Task, serve};
use std::process::ExitCode;
use std::sync::Arc;
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

struct Tract {
    plan: Arc<TypedRunnableModel>,
    input: TValue,
    outputs: TVec<TValue>,
}

impl Engine for Tract {
    fn run(&mut self) -> Result<()> {
        self.outputs = self.plan.run(tvec!(self.input.clone()))?;
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for output in &self.outputs {
            all.extend(output.to_plain_array_view::<f32>()?.iter());
        }
        Ok(all)
    }
}

fn load(task: Task) -> Result<Tract> {
    if task.threads > 1 {
        set_default_executor(Executor::multithread(task.threads));
    }
    let input = Tensor::from_shape(&task.shape, &task.input)?.into_tvalue();
    let plan = tract_onnx::onnx()
        // The files leave the batch open; what they say of it gets in tract's way.
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true)
        .model_for_path(&task.model)?
        .with_input_fact(0, f32::fact(&task.shape).into())?
        .into_optimized()?
        .into_runnable()?;
    Ok(Tract {
        plan,
        input,
        outputs: tvec!(),
    })
}

fn main() -> ExitCode {
    serve(load)
}
