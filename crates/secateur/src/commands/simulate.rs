//! `secateur simulate`: a network on the model of a machine.

use crate::args::Simulate;
use crate::out::Out;
use crate::{network, picture, units};
use anyhow::{Context, Result, bail};
use secateur_accel::energy::EnergyParts;
use secateur_accel::{Kind, LayerCost, Machine, NetworkCost, simulate};
use secateur_model::{Graph, Tensor};
use secateur_plan::lower::lower;

pub fn run(args: &Simulate) -> Result<()> {
    let out = Out::new(&args.json)?;
    let place = || args.network.display().to_string();
    let machines: Vec<Machine> = std::iter::once(&args.machine)
        .chain(&args.compare)
        .map(|name| machine(name))
        .collect::<Result<_>>()?;
    let graph = network::load(&args.network)?;
    let input = input(args, &graph).with_context(place)?;
    let (draft, _) = lower(&graph).with_context(place)?;
    let name = network::input(&graph)?.name.as_str();
    let costs: Vec<NetworkCost> = machines
        .iter()
        .map(|machine| simulate(machine, &draft, &[(name, &input)]).with_context(place))
        .collect::<Result<_>>()?;
    let Some(cost) = costs.first() else {
        return Ok(());
    };
    if !cost.layers.iter().any(|l| l.kind == Kind::Array) {
        bail!(
            "{}: {} runs none of its layers: layers of integers are needed, as `compress --recipe int8` makes them",
            place(),
            cost.machine
        );
    }
    show(&out, cost);
    if costs.len() > 1 {
        compare(&out, &costs);
    }
    out.finish(&costs)
}

/// A machine that comes along, or one from a file.
fn machine(name: &str) -> Result<Machine> {
    if !name.ends_with(".toml") {
        return Ok(Machine::builtin(name)?);
    }
    let text = std::fs::read_to_string(name).with_context(|| name.to_owned())?;
    Ok(Machine::from_toml(&text, name)?)
}

/// The picture, or noise where there is none.
fn input(args: &Simulate, graph: &Graph) -> Result<Tensor> {
    if let Some(file) = &args.input {
        let (pixels, dims) = picture::read(graph, file, args.invert, &args.scaling)?;
        return Ok(Tensor::f32(&dims, pixels)?);
    }
    let dims = network::shape(graph, &args.shape.shape, None)?;
    let mut state = 1u64;
    let noise = (0..dims.iter().product()).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 24) as f32
    });
    Ok(Tensor::f32(&dims, noise.collect())?)
}

/// Tells what each layer costs, and the whole.
fn show(out: &Out, cost: &NetworkCost) {
    let rows: Vec<Vec<String>> = cost.layers.iter().map(|layer| row(cost, layer)).collect();
    let headings = [
        "layer",
        "operator",
        "MACs",
        "weight 0",
        "input 0",
        "cycles",
        "DRAM",
        "cells busy",
        "bound by",
    ];
    out.table(2, &headings, &rows);
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
        "{:.2} TOPS by the {} operations of the dense network, {:.2} without skipping at most; {} from and to DRAM",
        cost.effective_tops,
        units::rounded(2 * cost.macs),
        cost.peak_tops,
        units::bytes(cost.dram_bytes),
    ));
    let hosts = cost.layers.iter().filter(|l| l.kind == Kind::Host).count();
    if hosts > 0 {
        out.line(format_args!(
            "{hosts} steps are a host's, and what they take is not counted, but what goes to and fro: floats, and operators that the machine lacks"
        ));
    }
    if all > 0 {
        out.line(format_args!(
            "sums of {right} of {all} layers equal the reference's, to the bit"
        ));
    }
}

/// What a run takes of energy, and where most of it goes.
fn energy(cost: &NetworkCost) -> String {
    let Some(energy) = cost.energy else {
        return "energy unknown".into();
    };
    let EnergyParts {
        multiply_pj,
        inputs_pj,
        weights_pj,
        outputs_pj,
        dram_pj,
    } = energy;
    let all = energy.total_pj();
    let parts = [
        ("multiplies", multiply_pj),
        ("inputs", inputs_pj),
        ("weights", weights_pj),
        ("outputs", outputs_pj),
        ("DRAM", dram_pj),
    ];
    let shares = parts.map(|(name, pj)| format!("{name} {:.0} %", 100.0 * pj / all.max(1e-9)));
    format!(
        "{:.1} µJ ({}), {:.2} TOPS a watt",
        all / 1e6,
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
            true => "on the host".into(),
            false => units::count(layer.cycles as usize),
        },
        units::bytes(layer.dram_bytes),
        busy,
        bound(layer).into(),
    ]
}

/// What most of a layer's cycles went to.
fn bound(layer: &LayerCost) -> &'static str {
    let Some(groups) = &layer.groups else {
        return match layer.kind {
            Kind::Array if layer.dram_wait_cycles > layer.cycles => "DRAM",
            Kind::Array => "multiplies",
            Kind::Vector => "vector unit",
            Kind::Host => "",
        };
    };
    let share = groups.total() as f64 / layer.cycles.max(1) as f64;
    let causes = [
        (groups.busy as f64, "multiplies"),
        (groups.filler as f64, "gaps"),
        (groups.pointer as f64, "empty outputs"),
        (groups.imbalance as f64, "imbalance"),
        (groups.patch as f64, "patches"),
        (groups.drain as f64, "requantizing"),
        (layer.dram_wait_cycles as f64 * share, "DRAM"),
    ];
    let most = causes.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    most.map_or("", |(_, name)| name)
}

/// Tells what the machines make of the same network.
fn compare(out: &Out, costs: &[NetworkCost]) {
    let rows: Vec<Vec<String>> = costs
        .iter()
        .map(|cost| {
            let layers = cost.layers.iter();
            let run = layers.filter(|l| l.kind == Kind::Array).count();
            let mut row = vec![
                cost.machine.clone(),
                run.to_string(),
                units::rounded(cost.macs),
            ];
            row.extend(match run {
                0 => vec!["-".into(); 6],
                _ => vec![
                    units::count(cost.cycles as usize),
                    units::short(cost.microseconds / 1e3),
                    format!("{:.2}", cost.effective_tops),
                    format!("{:.2}", cost.peak_tops),
                    cost.energy
                        .map_or("-".into(), |e| format!("{:.1}", e.total_pj() / 1e6)),
                    units::bytes(cost.dram_bytes),
                ],
            });
            row
        })
        .collect();
    let headings = [
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
    out.line("");
    out.table(1, &headings, &rows);
}
