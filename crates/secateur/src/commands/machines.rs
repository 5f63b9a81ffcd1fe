//! `secateur machines`: the machines that come along.

use crate::args::Machines;
use crate::out::Out;
use anyhow::Result;
use secateur_accel::{Array, Machine};

pub fn run(args: &Machines) -> Result<()> {
    let out = Out::new(&args.json)?;
    let machines: Vec<Machine> = Machine::names()
        .map(Machine::builtin)
        .collect::<Result<_, _>>()?;
    let rows: Vec<Vec<String>> = machines
        .iter()
        .map(|machine| {
            let dram = machine.memory.as_ref().map_or("-".into(), |memory| {
                format!("{:.1}", memory.dram_bytes_a_cycle * machine.clock_mhz / 1e3)
            });
            vec![
                machine.name.clone(),
                kind(&machine.array).to_owned(),
                machine.cells().to_string(),
                format!("{:.0}", machine.clock_mhz),
                format!("{:.3}", machine.peak_tops()),
                dram,
            ]
        })
        .collect();
    let headings = [
        "machine",
        "array",
        "cells",
        "MHz",
        "peak TOPS",
        "DRAM, GB/s",
    ];
    out.table(2, &headings, &rows);
    out.finish(&machines)
}

/// What an array is called.
fn kind(array: &Array) -> &'static str {
    match array {
        Array::Sparse(_) => "sparse",
        Array::Systolic(_) => "systolic",
        Array::Spatial(_) => "spatial",
        Array::RowStationary(_) => "row-stationary",
        Array::Eie(_) => "matrix-vector",
    }
}
