//! `secateur simulate`: a network on the model of a machine.

use super::machines;
use crate::args::Simulate;
use crate::out::Out;
use crate::report::simulation::{Ran, Simulation};
use crate::sweep::{Figures, Machines, Sweep};
use crate::{file, interrupt, network, picture, samples, units};
use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use secateur_accel::energy::EnergyParts;
use secateur_accel::{Cause, Evaluated, Kind, LayerCost, Machine, NetworkCost};
use secateur_model::{Graph, Tensor};
use secateur_plan::lower::lower;
use serde_json::json;

pub fn run(args: &Simulate) -> Result<()> {
    let out = Out::new(&args.json)?;
    if let Some(path) = &args.html {
        file::check_output(path)?;
    }
    let place = || args.network.display().to_string();
    let base = machines::find(&args.machine)?;
    let others = args.compare.iter().map(|name| machines::find(name));
    let machines: Vec<Machine> = std::iter::once(Ok(base.clone()))
        .chain(others)
        .collect::<Result<_>>()?;
    let swept = match args.sweep.is_empty() {
        true => None,
        false => Some(Machines::new(&base, &args.sweep)?),
    };
    interrupt::at_once();
    let graph = network::load(&args.network)?;
    let inputs = inputs(args, &graph).with_context(place)?;
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let (draft, _) = lower(&graph).with_context(place)?;
    let evaluated = Evaluated::new(&draft, &inputs).with_context(place)?;
    let costs: Vec<NetworkCost> = machines
        .par_iter()
        .map(|machine| {
            let cost = match &args.html {
                Some(_) => evaluated.recorded(machine),
                None => evaluated.cost(machine),
            };
            cost.with_context(|| format!("{}: {}", place(), machine.name))
        })
        .collect::<Result<_>>()?;
    let Some(cost) = costs.first() else {
        return Ok(());
    };
    if !cost.layers.iter().any(|l| l.kind == Kind::Array) {
        bail!(
            "{}: {} runs none of its layers: layers of integers with codes between them are needed: `secateur compress {} --recipe int8 --data D -o OUT` makes such",
            place(),
            cost.machine,
            place()
        );
    }
    let layer = timed(args, cost).with_context(place)?;
    show(&out, cost);
    if costs.len() > 1 {
        out.line("");
        out.table(1, &COMPARED, &compared(&costs));
    }
    let sweep = swept.map(|machines| machines.run(&evaluated));
    let sweep = sweep.transpose().with_context(place)?;
    if let Some(sweep) = &sweep {
        show_sweep(&out, cost, sweep);
    }
    if let Some(path) = &args.html {
        let file_name = args.network.file_name().unwrap_or_default();
        let page = Simulation {
            network: &file_name.to_string_lossy(),
            input: args.input.as_deref(),
            runs: machines
                .iter()
                .zip(&costs)
                .map(|(machine, cost)| Ran { machine, cost })
                .collect(),
            layer,
            sweep: sweep.as_ref(),
        };
        file::write(path, page.page().as_bytes())?;
        out.line(format_args!("page: {}", path.display()));
    }
    match &sweep {
        None => out.finish(&costs),
        Some(sweep) => out.finish(&json!({ "machines": costs, "sweep": sweep })),
    }
}

/// The layer whose time is drawn: the one that was asked for, else the one with the most cycles.
fn timed(args: &Simulate, cost: &NetworkCost) -> Result<usize> {
    let on_array = || {
        let layers = cost.layers.iter().enumerate();
        layers.filter(|(_, layer)| layer.kind == Kind::Array)
    };
    let found = match &args.layer {
        Some(name) => on_array().find(|(_, layer)| layer.name == *name),
        None => on_array().max_by_key(|(_, layer)| layer.cycles + layer.dram_wait_cycles),
    };
    let Some((index, _)) = found else {
        let names: Vec<&str> = on_array().map(|(_, layer)| layer.name.as_str()).collect();
        bail!(
            "--layer: needed one that {} runs: {}",
            cost.machine,
            names.join(", ")
        );
    };
    Ok(index)
}

/// The picture, the first sample of the arrays, or noise where there is neither.
fn inputs(args: &Simulate, graph: &Graph) -> Result<Vec<(String, Tensor)>> {
    let (numbers, dims) = match &args.input {
        Some(file) => match samples::first_of_arrays(graph, file, &args.scaling)? {
            Some(_) if args.invert => bail!("--invert is for pictures"),
            Some(sample) => return Ok(sample),
            None => {
                let (pixels, dims) = picture::read(graph, file, args.invert, &args.scaling)?;
                (pixels, dims.to_vec())
            }
        },
        None => {
            let dims = network::shape(graph, &args.shape.shape, None)?;
            (noise(dims.iter().product()), dims)
        }
    };
    let name = network::input(graph)?.name.clone();
    Ok(vec![(name, Tensor::f32(&dims, numbers)?)])
}

/// Numbers from 0 to 1, the same each time.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Headings of [`steps`].
pub const STEPS: [&str; 10] = [
    "layer",
    "operator",
    "MACs",
    "weight 0",
    "input 0",
    "cycles",
    "DRAM",
    "cells busy",
    "TOPS",
    "bound by",
];

/// What each step of a network costs.
pub fn steps(cost: &NetworkCost) -> Vec<Vec<String>> {
    cost.layers.iter().map(|layer| row(cost, layer)).collect()
}

/// Tells what each layer costs, and the whole.
fn show(out: &Out, cost: &NetworkCost) {
    out.table(2, &STEPS, &steps(cost));
    let exact = cost.layers.iter().filter_map(|l| l.exact);
    let (right, all) = (exact.clone().filter(|e| *e).count(), exact.count());
    out.line(format_args!(
        "\n{}: {} cycles, {}, {}",
        cost.machine,
        units::count(cost.cycles as usize),
        units::short(cost.microseconds / 1e3),
        energy(cost),
    ));
    out.line(format_args!(
        "{:.2} TOPS by the {} operations of the dense network, {:.2} without skipping at most; {} from and to DRAM, {} at least",
        cost.effective_tops,
        units::rounded(2 * cost.macs),
        cost.peak_tops,
        units::bytes(cost.moved.dram_bytes()),
        units::bytes(cost.dram_least_bytes),
    ));
    if let Some(chains) = chains(cost) {
        out.line(format_args!(
            "worked on together, band by band, so that what flows between stays on the chip: {chains}"
        ));
    }
    let hosts = cost.layers.iter().filter(|l| l.kind == Kind::Host).count();
    if hosts > 0 {
        let are = if hosts == 1 { "step is" } else { "steps are" };
        out.line(format_args!(
            "{hosts} {are} a host's (floats, and operators that the machine lacks), {} beside the machine's time; what goes to and fro is counted",
            units::short(cost.host_microseconds / 1e3)
        ));
    }
    if all > 0 {
        out.line(format_args!(
            "sums of {right} of {all} layers equal the reference's, to the bit"
        ));
    }
}

/// Steps that are worked on together: the first and the last, and in how many bands.
fn chains(cost: &NetworkCost) -> Option<String> {
    let mut chains = Vec::new();
    let mut rest = cost.layers.as_slice();
    while let Some(first) = rest.first() {
        let (chain, behind) = rest.split_at(first.together.clamp(1, rest.len()));
        if let (2.., Some(last), Some(mapping)) = (chain.len(), chain.last(), first.mapping) {
            let (first, last, bands) = (&first.name, &last.name, mapping.bands);
            chains.push(format!("{first} to {last} in {bands} bands"));
        }
        rest = behind;
    }
    (!chains.is_empty()).then(|| chains.join(", "))
}

/// Energy by what it is for, in picojoules.
pub fn parts(energy: &EnergyParts) -> [(&'static str, f64); 5] {
    let EnergyParts {
        multiply_pj,
        inputs_pj,
        weights_pj,
        outputs_pj,
        dram_pj,
    } = *energy;
    [
        ("multiplies", multiply_pj),
        ("inputs", inputs_pj),
        ("weights", weights_pj),
        ("outputs", outputs_pj),
        ("DRAM", dram_pj),
    ]
}

/// What a run takes of energy, and where most of it goes.
fn energy(cost: &NetworkCost) -> String {
    let Some(energy) = cost.energy else {
        return "energy unknown".into();
    };
    let all = energy.total_pj();
    let share = |(name, pj)| format!("{name} {:.0} %", 100.0 * pj / f64::max(all, 1e-9));
    let shares = parts(&energy).map(share);
    format!(
        "{} ({}), {:.2} TOPS a watt",
        units::energy(all),
        shares.join(", "),
        cost.effective_tops_a_watt().unwrap_or(0.0)
    )
}

fn row(cost: &NetworkCost, layer: &LayerCost) -> Vec<String> {
    let activity = &layer.activity;
    let share = |part: u64| match activity.dense {
        0 => String::new(),
        all => format!("{:.1} %", 100.0 * part as f64 / all as f64),
    };
    let host = layer.kind == Kind::Host;
    let busy = match activity.dense {
        0 => String::new(),
        _ => format!("{:.1} %", 100.0 * cost.cells_busy(layer)),
    };
    let tops = match activity.dense {
        0 => String::new(),
        _ => format!("{:.2}", cost.layer_tops(layer)),
    };
    vec![
        layer.name.clone(),
        layer.operator.clone(),
        match activity.dense {
            0 => String::new(),
            macs => units::rounded(macs),
        },
        share(activity.weight_zero),
        share(activity.input_zero),
        match host {
            true => format!("host {}", units::short(layer.host_microseconds / 1e3)),
            false => units::count(layer.cycles as usize),
        },
        units::bytes(layer.moved.dram_bytes()),
        busy,
        tops,
        bound(layer),
    ]
}

/// What most of a layer's cycles went to; where that is DRAM, whether the mapping makes it move more than it has to.
fn bound(layer: &LayerCost) -> String {
    let causes = layer.causes().into_iter();
    let most = causes.max_by(|a, b| a.1.total_cmp(&b.1));
    let (moved, least) = (layer.moved.dram_bytes(), layer.dram_least_bytes);
    match most {
        Some((Cause::Dram, _)) if least == 0 => "DRAM, none at least".to_owned(),
        Some((Cause::Dram, _)) if moved > least => {
            format!("DRAM, {:.1}x the least", moved as f64 / least as f64)
        }
        Some((cause, _)) => cause.name().to_owned(),
        None => String::new(),
    }
}

/// Headings of [`compared`].
pub const COMPARED: [&str; 9] = [
    "machine",
    "layers",
    "MACs",
    "cycles",
    "time",
    "TOPS",
    "peak TOPS",
    "µJ",
    "DRAM",
];

/// What machines make of the same network.
pub fn compared<'a>(costs: impl IntoIterator<Item = &'a NetworkCost>) -> Vec<Vec<String>> {
    let row = |cost: &NetworkCost| {
        let figures = Figures::of(cost);
        let run = figures.as_ref().map_or(0, |figures| figures.layers);
        let told = match &figures {
            Ok(figures) => written(figures),
            Err(_) => std::array::from_fn(|_| "-".to_owned()),
        };
        let before = [
            cost.machine.clone(),
            run.to_string(),
            units::rounded(cost.macs),
        ];
        before.into_iter().chain(told).collect()
    };
    costs.into_iter().map(row).collect()
}

/// Cycles, time, rates, energy and bytes of a machine.
fn written(figures: &Figures) -> [String; 6] {
    let energy = figures.microjoules.map(|uj| format!("{uj:.1}"));
    [
        units::count(figures.cycles as usize),
        units::short(figures.microseconds / 1e3),
        format!("{:.2}", figures.effective_tops),
        format!("{:.2}", figures.peak_tops),
        energy.unwrap_or_else(|| "-".into()),
        units::bytes(figures.dram_bytes),
    ]
}

/// Headings of [`swept`] behind the settings.
pub const SWEPT: [&str; 8] = [
    "cells",
    "cycles",
    "time",
    "TOPS",
    "peak TOPS",
    "µJ",
    "DRAM",
    "layers",
];

/// What each point of a sweep comes to, behind its settings.
pub fn swept(sweep: &Sweep) -> Vec<Vec<String>> {
    let row = |figures: &Figures| {
        let cells = std::iter::once(figures.cells.to_string());
        let layers = figures.layers.to_string();
        cells.chain(written(figures)).chain([layers]).collect()
    };
    let rows = sweep.points.iter().map(|point| {
        let figures = match &point.result {
            Ok(figures) => row(figures),
            Err(_) => vec!["-".to_owned(); SWEPT.len()],
        };
        point.values.iter().cloned().chain(figures).collect()
    });
    rows.collect()
}

/// Tells what came of a sweep, and why points of it could not be run.
fn show_sweep(out: &Out, cost: &NetworkCost, sweep: &Sweep) {
    let keys = sweep.axes.iter().map(|axis| axis.key.as_str());
    let headings: Vec<&str> = keys.chain(SWEPT).collect();
    out.line(format_args!("\n{}, changed:", cost.machine));
    out.table(0, &headings, &swept(sweep));
    for (settings, why) in sweep.refused() {
        out.line(format_args!("{settings}: {why}"));
    }
}
