//! A network on models of machines as one page: where cycles and energy go, and what other settings would do.

mod cycles;
mod energy;
mod lanes;
mod macs;
mod roof;
mod swept;
mod timeline;

use super::headline::share;
use super::html::{self, Column, Section, escaped};
use crate::commands::simulate::{COMPARED, STEPS, compared, steps};
use crate::sweep::Sweep;
use crate::units;
use secateur_accel::{Kind, LayerCost, Machine, NetworkCost};
use std::path::Path;

/// Rows of a picture; tables have them all.
const MOST_ROWS: usize = 60;

/// What a page shows.
pub struct Simulation<'a> {
    /// The network's name.
    pub network: &'a str,
    /// What it was given; noise where that is nothing.
    pub input: Option<&'a Path>,
    /// The machine that it is about, and those that it is compared with.
    pub runs: Vec<Ran<'a>>,
    /// The layer whose time is drawn, by its place in the first run.
    pub layer: usize,
    /// The machine with other settings.
    pub sweep: Option<&'a Sweep>,
}

/// A network that has run on a machine.
#[derive(Clone, Copy)]
pub struct Ran<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// What it took.
    pub cost: &'a NetworkCost,
}

impl Ran<'_> {
    /// Whether its array ran any layer.
    fn ran(&self) -> bool {
        let mut layers = self.cost.layers.iter();
        layers.any(|layer| layer.kind == Kind::Array)
    }
}

impl Simulation<'_> {
    /// The page, which needs nothing else.
    pub fn page(&self) -> String {
        let Some(first) = self.runs.first() else {
            return String::new();
        };
        let subtitle = format!(
            "on the model of a machine ({}), {}",
            first.machine.source,
            match self.input {
                Some(path) => format!("fed {}", path.display()),
                None => "fed noise: without --input, how many inputs are zero says nothing".into(),
            }
        );
        // Machines that leave the whole network to a host have no bars.
        let runs: Vec<Ran<'_>> = self.runs.iter().copied().filter(Ran::ran).collect();
        let sections = [
            self.comparison(),
            Some(cycles::cycles(&runs)),
            timeline::network(first),
            timeline::layer(first, self.layer),
            Some(roof::roof(&runs)),
            energy::energy(&runs),
            Some(macs::macs(first)),
            self.sweep.map(swept::swept),
            Some(self.table(first)),
        ];
        let sections: Vec<Section> = sections.into_iter().flatten().collect();
        let title = format!("{} on {}", self.network, first.cost.machine);
        html::page(&title, &subtitle, &headline(first.cost), &sections)
    }

    fn comparison(&self) -> Option<Section> {
        let [_, _, ..] = self.runs[..] else {
            return None;
        };
        Some(Section {
            title: "Machines",
            lead: "The same network on each. TOPS count the operations of the dense network, two a multiply-accumulate, also \
                   where a machine leaves them out, so one that skips zeros may have more than its peak. Machines that run \
                   fewer layers leave the others to a host, whose time stands apart."
                .into(),
            body: html::table(
                &headings(&COMPARED, 1),
                &compared(self.runs.iter().map(|ran| ran.cost)),
            ),
        })
    }

    fn table(&self, first: &Ran<'_>) -> Section {
        Section {
            title: "Steps",
            lead: "MACs are those of the dense layer. Cells are busy where they have a weight and an input, were one of them zero."
                .into(),
            body: html::table(&headings(&STEPS, 2), &steps(first.cost)),
        }
    }
}

/// Headings of which the first stand left, and the last too if it is in words.
fn headings<'a>(names: &[&'a str], left: usize) -> Vec<(&'a str, Column)> {
    let column = |(index, &name): (usize, &&'a str)| match index < left || name == "bound by" {
        true => (name, Column::Text),
        false => (name, Column::Figure),
    };
    names.iter().enumerate().map(column).collect()
}

/// The run in four figures.
fn headline(cost: &NetworkCost) -> String {
    let per_byte = 2.0 * cost.macs as f64 / cost.moved.dram_bytes().max(1) as f64;
    let cards = [
        (
            "time of one input",
            units::short(cost.microseconds / 1e3),
            format!("{} cycles", units::count(cost.cycles as usize)),
        ),
        (
            "operations of the dense network",
            format!("{:.2} TOPS", cost.effective_tops),
            format!("{:.2} if every cell worked", cost.peak_tops),
        ),
        (
            "energy",
            cost.energy.map_or("not known".into(), |energy| {
                units::energy(energy.total_pj())
            }),
            cost.effective_tops_a_watt()
                .map_or(String::new(), |tops| format!("{tops:.2} TOPS a watt")),
        ),
        (
            "from and to DRAM",
            units::bytes(cost.moved.dram_bytes()),
            match cost.moved.dram_bytes() {
                0 => "weights stay on the chip".into(),
                _ => format!("{per_byte:.0} operations a byte"),
            },
        ),
    ];
    let card = |(what, big, from): &(&str, String, String)| {
        format!(
            "<div class=\"card\"><div class=\"what\">{what}</div><div class=\"big\">{}</div><div class=\"from\">{}</div></div>",
            escaped(big),
            escaped(from)
        )
    };
    let cards: String = cards.iter().map(card).collect();
    format!("<div class=\"hero four\"><div class=\"cards\">{cards}</div></div>\n")
}

/// Cycles of a layer, those in which it waited for memory among them.
fn took(layer: &LayerCost) -> u64 {
    layer.cycles + layer.dram_wait_cycles
}

/// The layers of the most of something, in the order in which they run, and a note on the others.
fn drawn(layers: Vec<&LayerCost>, of: impl Fn(&LayerCost) -> f64) -> (Vec<&LayerCost>, String) {
    let mut sizes: Vec<f64> = layers.iter().map(|layer| of(layer)).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    let least = sizes.get(MOST_ROWS).copied().unwrap_or(-1.0);
    let all = layers.len();
    let kept: Vec<&LayerCost> = layers.into_iter().filter(|l| of(l) > least).collect();
    let note = match all - kept.len() {
        0 => String::new(),
        more => format!("<p class=\"note\">The {more} least of {all} are not drawn.</p>"),
    };
    (kept, note)
}

/// A part of a whole, as a percentage; nothing of nothing.
fn part(of: f64, all: f64) -> String {
    share(of / all.max(1e-12))
}
