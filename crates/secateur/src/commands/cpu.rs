//! `secateur cpu`: the processor, and what there is for it.

use crate::args::Cpu;
use crate::out::Out;
use anyhow::Result;
use secateur_kernels::{Isa, KERNELS, cpu_name, features};
use serde_json::{Value, json};

pub fn run(args: &Cpu) -> Result<()> {
    let out = Out::new(args.json.json.as_deref())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sets: Vec<&str> = Isa::available().map(Isa::token).collect();
    out.line(format_args!("processor          {}", cpu_name()));
    out.line(format_args!("threads            {cores}"));
    out.line(format_args!("features           {}", features().join(" ")));
    out.line(format_args!("instruction sets   {}", sets.join(", ")));
    out.line(format_args!(
        "used               {} (another with SECATEUR_ISA)\n",
        Isa::best()
    ));
    let rows: Vec<Vec<String>> = KERNELS
        .iter()
        .map(|kernel| {
            let (what, _) = kernel.name.split_once("__").unwrap_or((kernel.name, ""));
            let runs = if kernel.isa.is_available() {
                "yes"
            } else {
                "no"
            };
            vec![what.into(), kernel.isa.token().into(), runs.into()]
        })
        .collect();
    out.table(3, &["kernel", "instruction set", "runs here"], &rows);
    let kernels: Vec<Value> = KERNELS
        .iter()
        .map(|kernel| {
            json!({
                "name": kernel.name,
                "isa": kernel.isa.token(),
                "available": kernel.isa.is_available(),
            })
        })
        .collect();
    out.finish(&json!({
        "cpu": cpu_name(), "threads": cores, "features": features(), "isas": sets,
        "best_isa": Isa::best().token(), "kernels": kernels,
    }))
}
