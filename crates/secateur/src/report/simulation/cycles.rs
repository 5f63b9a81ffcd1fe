//! Where every cycle of every step goes.

use super::super::html::{Column, Section, escaped, figures, legend, rows};
use super::super::svg::bar;
use super::{Ran, drawn, part, took};
use crate::units;
use secateur_accel::{Cause, LayerCost};
use std::collections::HashMap;

/// The class that gives a cause its colour; of causes that no machine has both of, two may share one.
pub fn class(cause: Cause) -> &'static str {
    match cause {
        Cause::Multiplying => "c-multiplying",
        Cause::Vector => "c-vector",
        Cause::Gaps => "c-gaps",
        Cause::Empty => "c-empty",
        Cause::Imbalance | Cause::Skew => "c-imbalance",
        Cause::Patches | Cause::Banks | Cause::Loading | Cause::Starved => "c-patches",
        Cause::Requantizing | Cause::Done => "c-requantizing",
        Cause::Dram => "c-dram",
    }
}

/// What a cause is, to one who has not met it.
pub fn told(cause: Cause) -> &'static str {
    match cause {
        Cause::Multiplying => "multiplying",
        Cause::Vector => "operators without weights",
        Cause::Gaps => "entries that only carry a gap on",
        Cause::Empty => "outputs without weights",
        Cause::Imbalance => "waiting for the slowest",
        Cause::Patches => "waiting for inputs from the scratchpad",
        Cause::Banks => "waiting at a bank",
        Cause::Requantizing => "waiting for sums to become codes",
        Cause::Loading => "weights go to their cells",
        Cause::Skew => "filling and draining the array",
        Cause::Starved => "waiting for inputs",
        Cause::Done => "done before the others",
        Cause::Dram => "waiting for DRAM",
    }
}

/// The bars of all machines, one below the other.
pub fn cycles(runs: &[Ran<'_>]) -> Section {
    let longest = Longest::of(runs);
    Section {
        title: "Where cycles go",
        lead: "Each bar is a step, as long as its time; the first is the whole network, on a scale of its own. Only what is \
               multiplied is work: every other colour is time that another shape of the machine, or of the weights, could \
               save. Of an array with groups it is their mean."
            .into(),
        body: runs.iter().map(|ran| of_machine(ran, &longest)).collect(),
    }
}

/// What fills the width, in microseconds, so that bars of several machines can be compared.
struct Longest {
    network: f64,
    layer: f64,
}

impl Longest {
    fn of(runs: &[Ran<'_>]) -> Self {
        let layers = runs.iter().flat_map(|ran| {
            let of = |layer: &LayerCost| took(layer) as f64 / ran.machine.clock_mhz;
            ran.cost.layers.iter().map(of)
        });
        Self {
            network: runs.iter().map(|r| r.cost.microseconds).fold(0.0, f64::max),
            layer: layers.fold(0.0, f64::max),
        }
    }
}

fn of_machine(ran: &Ran<'_>, longest: &Longest) -> String {
    let cost = ran.cost;
    let clock = ran.machine.clock_mhz;
    let mut all: HashMap<Cause, f64> = HashMap::new();
    for (cause, cycles) in cost.layers.iter().flat_map(LayerCost::causes) {
        *all.entry(cause).or_default() += cycles;
    }
    *all.entry(Cause::Dram).or_default() += cost.answer_cycles as f64;
    let whole: Vec<(Cause, f64)> = Cause::ALL
        .into_iter()
        .filter_map(|cause| Some((cause, all.get(&cause).copied().filter(|n| *n > 0.0)?)))
        .collect();
    let keys: Vec<(&str, &str)> = whole.iter().map(|(c, _)| (class(*c), told(*c))).collect();
    let timed = cost.layers.iter().filter(|layer| took(layer) > 0).collect();
    let (layers, note) = drawn(timed, |layer| took(layer) as f64);
    let of_layers = layers.iter().map(|layer| {
        let causes = layer.causes();
        (
            layer.name.clone(),
            stacked(&causes, longest.layer * clock),
            figure(&causes, took(layer)),
        )
    });
    let name = escaped(&cost.machine);
    format!(
        "<h3 class=\"machine\">{name}</h3>{}<div class=\"sum\">{}</div>{}{note}{}",
        legend(&keys),
        rows([(
            "whole network".to_owned(),
            stacked(&whole, longest.network * clock),
            figure(&whole, cost.cycles)
        )]),
        rows(of_layers),
        table(cost.layers.iter().filter(|l| took(l) > 0), &whole),
    )
}

fn stacked(causes: &[(Cause, f64)], longest: f64) -> String {
    let longest = longest.max(1.0);
    let parts: Vec<(f64, &str)> = causes
        .iter()
        .map(|(cause, cycles)| (cycles / longest, class(*cause)))
        .collect();
    let all: f64 = causes.iter().map(|(_, cycles)| cycles).sum();
    let words = causes
        .iter()
        .map(|(cause, cycles)| format!("{} {}", told(*cause), part(*cycles, all)));
    bar(&parts, &words.collect::<Vec<_>>().join(", "))
}

/// Cycles, and what most of them went to.
fn figure(causes: &[(Cause, f64)], cycles: u64) -> String {
    let most = causes.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let most = most.map_or(String::new(), |(cause, n)| {
        format!(", {} {}", part(*n, cycles as f64), cause.name())
    });
    format!("{}{most}", units::count(cycles as usize))
}

fn table<'a>(layers: impl Iterator<Item = &'a LayerCost>, whole: &[(Cause, f64)]) -> String {
    let mut headings = vec![("step", Column::Text), ("cycles", Column::Figure)];
    headings.extend(whole.iter().map(|(c, _)| (c.name(), Column::Figure)));
    let row = |layer: &LayerCost| {
        let causes = layer.causes();
        let of = |cause: Cause| {
            causes
                .iter()
                .find(|(c, _)| *c == cause)
                .map_or(0.0, |c| c.1)
        };
        let mut row = vec![layer.name.clone(), units::count(took(layer) as usize)];
        row.extend(
            whole
                .iter()
                .map(|(cause, _)| units::count(of(*cause).round() as usize)),
        );
        row
    };
    let rows: Vec<Vec<String>> = layers.map(row).collect();
    figures(&headings, &rows)
}
