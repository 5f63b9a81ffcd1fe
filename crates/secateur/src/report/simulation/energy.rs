//! Where energy goes.

use super::super::html::{Column, Section, escaped, figures, legend, rows};
use super::super::svg::bar;
use super::{Ran, drawn, part};
use crate::commands::simulate::parts;
use crate::units;
use secateur_accel::LayerCost;
use secateur_accel::energy::EnergyParts;

/// The classes of the parts, in their order.
const CLASSES: [&str; 5] = ["support", "values", "parameters", "rest", "c-dram"];

/// What the parts are, in their order.
const TOLD: [&str; 5] = [
    "products and sums",
    "inputs, on the chip",
    "weights, on the chip",
    "results, on the chip",
    "from and to DRAM",
];

/// Machines of which the model knows no energy are left out; nothing if it knows that of none.
pub fn energy(runs: &[Ran<'_>]) -> Option<Section> {
    let known: Vec<(&Ran<'_>, EnergyParts)> = runs
        .iter()
        .filter_map(|ran| Some((ran, ran.cost.energy?)))
        .collect();
    if known.is_empty() {
        return None;
    }
    let keys: Vec<(&str, &str)> = CLASSES.into_iter().zip(TOLD).collect();
    let most = known.iter().map(|(_, e)| e.total_pj()).fold(0.0, f64::max);
    let machines = rows(
        known
            .iter()
            .map(|(ran, energy)| row(ran.cost.machine.clone(), energy, most)),
    );
    let of_one = known.iter().flat_map(|(ran, _)| &ran.cost.layers).map(of);
    let longest = of_one.fold(0.0, f64::max);
    let layers = known.iter().map(|(ran, _)| of_layers(ran, longest));
    Some(Section {
        title: "Energy",
        lead: "Each bar is as long as its energy: above whole networks, then their steps. What is far away is dear: a byte from \
               DRAM costs as much as hundreds of products of 8 bits. Energies are published ones of operations and memories; \
               wires, clocks and leakage are not in them."
            .into(),
        body: legend(&keys) + "<div class=\"sum\">" + &machines + "</div>" + &layers.collect::<String>(),
    })
}

/// A step's energy.
fn of(layer: &LayerCost) -> f64 {
    layer.energy.map_or(0.0, |e| e.total_pj())
}

/// The steps of a machine; of all machines, the one with the most is as wide as there is room.
fn of_layers(ran: &Ran<'_>, most: f64) -> String {
    let with = ran.cost.layers.iter().filter(|l| of(l) > 0.0).collect();
    let (layers, note) = drawn(with, of);
    let bars = layers.iter().filter_map(|layer| {
        let energy = layer.energy?;
        Some(row(layer.name.clone(), &energy, most))
    });
    let mut headings = vec![("step", Column::Text), ("µJ", Column::Figure)];
    headings.extend(TOLD.map(|told| (told, Column::Figure)));
    let table: Vec<Vec<String>> = ran
        .cost
        .layers
        .iter()
        .filter_map(|layer| {
            let energy = layer.energy?;
            let pj = parts(&energy).map(|(_, pj)| pj);
            let all = [energy.total_pj()].into_iter().chain(pj);
            let figures = all.map(|pj| format!("{:.3}", pj / 1e6));
            Some([layer.name.clone()].into_iter().chain(figures).collect())
        })
        .collect();
    format!(
        "<h3 class=\"machine\">{}</h3>{}{note}{}",
        escaped(&ran.cost.machine),
        rows(bars),
        figures(&headings, &table)
    )
}

fn row(name: String, energy: &EnergyParts, most: f64) -> (String, String, String) {
    let all = energy.total_pj();
    let named = parts(energy);
    let shares: Vec<(f64, &str)> = named
        .iter()
        .zip(CLASSES)
        .map(|((_, pj), class)| (pj / most.max(1e-9), class))
        .collect();
    let told = named.map(|(what, pj)| format!("{what} {}", part(pj, all)));
    let dearest = named.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let dearest = dearest.map_or(String::new(), |(what, pj)| {
        format!(", {} {what}", part(*pj, all))
    });
    let figure = format!("{}{dearest}", units::energy(all));
    (name, bar(&shares, &told.join(", ")), figure)
}
