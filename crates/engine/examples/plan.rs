//! Every step of a network's plan: what it computes, with which kernel, on
//! which types.
//!
//! `cargo run --release -p secateur-engine --example plan -- NETWORK.onnx [EXTENT]`
//!
//! `EXTENT` stands for every extent that the network leaves open. `--notes`
//! adds what the lowering rules left as it was, and why.

use secateur_kernels::Isa;
use secateur_model::{Dim, Shape};
use secateur_plan::{Operand, Plan, Planner, Step};
use std::collections::BTreeMap;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (options, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let path = words.first().ok_or("needed the path of a network")?;
    let open = words.get(1).map_or(Ok(1), |word| word.parse())?;
    let graph = secateur_io::onnx::load(path)?;
    let planner = Planner::new(&graph, Isa::best())?;
    let shapes = planner.draft().graph.inputs.iter().map(|input| {
        let dims = input.dims.iter().flatten().map(|dim| match dim {
            Dim::Known(extent) => *extent,
            Dim::Named(_) => open,
        });
        Shape::new(&dims.collect::<Vec<_>>())
    });
    let plan = planner.plan(&shapes.collect::<Result<Vec<_>, _>>()?, 1)?;
    let mut kernels: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for step in &plan.steps {
        println!("{}", line(&plan, step));
        let (steps, macs) = kernels.entry(&step.choice.kernel).or_default();
        *steps += 1;
        *macs += step.macs;
    }
    println!(
        "\n{} steps, arena {} bytes",
        plan.steps.len(),
        plan.arena_bytes
    );
    for (kernel, (steps, macs)) in kernels {
        println!("{kernel:44} {steps:5} steps {macs:14} MACs");
    }
    if options.iter().any(|o| o == "--notes") {
        for note in planner.notes() {
            if let Some(why) = &note.skipped {
                println!("{} left {}: {why}", note.rule, note.node);
            }
        }
    }
    Ok(())
}

fn line(plan: &Plan, step: &Step) -> String {
    let buffer = |index: usize| {
        let buffer = &plan.buffers[index];
        format!("{}{}", buffer.dtype, buffer.shape)
    };
    let inputs = step.inputs.iter().map(|operand| match operand {
        Operand::Absent => "-".into(),
        Operand::Buffer(index) => buffer(*index),
        Operand::Constant(tensor) => format!("constant {}", tensor.shape()),
    });
    let outputs = step.outputs.iter().map(|&index| buffer(index));
    format!(
        "{:40} {:34} {} -> {}  {} MACs",
        step.name,
        step.choice.kernel,
        inputs.collect::<Vec<_>>().join(", "),
        outputs.collect::<Vec<_>>().join(", "),
        step.macs
    )
}
