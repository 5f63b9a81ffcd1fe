//! `secateur cpu`: the processor, and what there is for it.

use crate::args::Cpu;
use crate::out::Out;
use crate::{roofline, units};
use anyhow::Result;
use secateur_engine::{SessionOptions, costs_path, measure_costs};
use secateur_kernels::{Isa, KERNELS, Kernel, What, cpu_name, features};
use secateur_plan::Costs;
use serde_json::{Value, json};

pub fn run(args: &Cpu) -> Result<()> {
    let out = Out::new(&args.json)?;
    let options = SessionOptions::default();
    let isa = options.resolved_isa()?;
    let costs = match args.measure {
        true => measure_costs(isa)?,
        false => options.resolved_costs(isa)?,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sets: Vec<&str> = Isa::available().map(Isa::token).collect();
    out.line(format_args!("processor          {}", cpu_name()));
    out.line(format_args!("threads            {cores}"));
    out.line(format_args!("features           {}", features().join(" ")));
    out.line(format_args!("instruction sets   {}", sets.join(", ")));
    out.line(format_args!(
        "used               {isa} (another with SECATEUR_ISA)\n",
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
    show_costs(&out, isa, &costs)?;
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
        "best_isa": Isa::best().token(), "kernels": kernels, "costs": costs,
    }))
}

/// What the kernels of a set cost here, by which forms are chosen.
fn show_costs(out: &Out, isa: Isa, costs: &Costs) -> Result<()> {
    let source = match costs.measured {
        true => "measured",
        false => "typical ones, as SECATEUR_CALIBRATE is off",
    };
    out.line(format_args!("\ncosts              {source}"));
    if let Some(path) = costs_path(isa).filter(|path| costs.measured && path.exists()) {
        out.line(format_args!("kept in            {}", path.display()));
    }
    let levels: Vec<String> = costs
        .memory()
        .iter()
        .map(|l| format!("{:.1} of {}", l.gb_per_s, units::bytes(l.bytes as u64)))
        .collect();
    out.line(format_args!("memory, GB/s       {}", levels.join(", ")));
    out.line(format_args!("sharing work       {:.1} µs\n", costs.fork_us));
    let mut rows = Vec::new();
    for what in What::ALL {
        let kernel = Kernel::of(isa, what)?;
        let tiles = &costs.kernel(what).tiles;
        let (Some(one), Some(whole)) = (tiles.first(), tiles.last()) else {
            continue;
        };
        let rate = |pixels: usize, ns: f64| format!("{:.1}", pixels as f64 / ns);
        rows.push(vec![
            roofline::short_name(kernel.name).to_owned(),
            rate(one.pixels, one.multiply_ns),
            whole.pixels.to_string(),
            rate(whole.pixels, whole.multiply_ns),
            format!("{:.2}", whole.output_ns / whole.pixels as f64),
        ]);
    }
    let headings = [
        "kernel, GMAC/s",
        "1 pixel",
        "pixels",
        "whole tile",
        "ns an output",
    ];
    out.table(1, &headings, &rows);
    Ok(())
}
