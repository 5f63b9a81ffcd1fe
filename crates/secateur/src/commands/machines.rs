//! `secateur machines`: the machines that come along.

use crate::args::Machines;
use crate::out::Out;
use anyhow::{Context, Result, bail};
use secateur_accel::energy::Process;
use secateur_accel::spatial::Spatial;
use secateur_accel::{AccelError, Array, Buffers, Host, Machine, Memory};
use secateur_engine::SessionOptions;
use secateur_kernels::{Isa, What, cpu_name};

/// The machine that is a core of the processor that this runs on.
const THIS_CPU: &str = "this-cpu";
/// Half of what a core has for itself on most processors: as much for activations as for weights.
const HALF_OF_SECOND_CACHE: usize = 1 << 19;
/// More than any cache holds.
const BEYOND_CACHES: usize = 1 << 28;

pub fn run(args: &Machines) -> Result<()> {
    let out = Out::new(&args.json)?;
    let mut machines: Vec<Machine> = Machine::names()
        .map(Machine::builtin)
        .collect::<Result<_, _>>()?;
    machines.push(this_cpu()?);
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

/// A machine that comes along, this processor's core, or one from a file.
pub fn find(name: &str) -> Result<Machine> {
    if name == THIS_CPU {
        return this_cpu();
    }
    if !name.ends_with(".toml") {
        return match Machine::builtin(name) {
            Err(AccelError::File { .. }) => bail!(
                "machine {name}: none of {}, {THIS_CPU}; a file's name ends in .toml",
                Machine::names().collect::<Vec<_>>().join(", ")
            ),
            found => Ok(found?),
        };
    }
    let text = std::fs::read_to_string(name).with_context(|| name.to_owned())?;
    Ok(Machine::from_toml(&text, name)?)
}

/// One core of this processor, at the rate that the best dense kernel on codes has: its cells are those of its vectors, its
/// clock is what they would need for that rate.
fn this_cpu() -> Result<Machine> {
    let options = SessionOptions::default();
    let isa = options.resolved_isa()?;
    let costs = options.resolved_costs(isa)?;
    let outputs = match isa {
        Isa::Generic => 1,
        Isa::Simd128 | Isa::Neon | Isa::NeonDot => 4,
        Isa::Avx2 | Isa::AvxVnni => 8,
        Isa::Avx512BwVnni | Isa::Avx512Vnni => 16,
    };
    let array = Spatial {
        channels: 4,
        outputs,
        pixels: 1,
        taps_beside_channels: false,
        skips_two_of_four: false,
    };
    let clock_mhz = costs.peak_gmacs(What::DenseI8) * 1e3 / array.cells() as f64;
    let of_cycle = |gb_per_s: f64| gb_per_s * 1e3 / clock_mhz;
    Ok(Machine {
        name: THIS_CPU.to_owned(),
        source: match costs.measured {
            true => format!("{}, as measured", cpu_name()),
            false => format!("{}, as typical ones", cpu_name()),
        },
        clock_mhz,
        process: Process::default(),
        array: Array::Spatial(array),
        memory: Some(Memory {
            activation_bytes: HALF_OF_SECOND_CACHE,
            weight_bytes: HALF_OF_SECOND_CACHE,
            activation_bytes_a_cycle: of_cycle(costs.gb_per_s(HALF_OF_SECOND_CACHE)),
            dram_bytes_a_cycle: of_cycle(costs.gb_per_s(BEYOND_CACHES)),
            vector_elements_a_cycle: 4.0 * outputs as f64,
            buffers: Buffers::Parted,
            fuses_layers: false,
        }),
        host: Host::default(),
    })
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
