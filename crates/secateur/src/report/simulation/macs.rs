//! Multiply-accumulates that are done, and those that are left out.

use super::super::html::{Section, legend, rows};
use super::super::svg::bar;
use super::{Ran, drawn, part};
use crate::units;
use secateur_accel::sparse::Activity;

pub fn macs(ran: &Ran<'_>) -> Section {
    let cost = ran.cost;
    let layers = cost.layers.iter().map(|layer| layer.activity);
    let all = layers.fold(Activity::default(), |sum, layer| sum.plus(&layer));
    let multiplying = cost
        .layers
        .iter()
        .filter(|l| l.activity.dense > 0)
        .collect();
    let (layers, note) = drawn(multiplying, |layer| layer.activity.dense as f64);
    let of_layers = layers
        .iter()
        .map(|layer| row(layer.name.clone(), &layer.activity));
    let body = format!(
        "{}<div class=\"sum\">{}</div>{}{note}",
        legend(&[
            ("support", "done"),
            ("values", "not done: the input is zero"),
            ("rest", "not done: the weight is zero"),
        ]),
        rows([row("whole network".into(), &all)]),
        rows(of_layers),
    );
    let saved = match (all.weight_zero + all.input_zero, all.skipped) {
        (0, _) => "This machine multiplies zeros like everything else.".to_owned(),
        (_, 0) => "Every product takes its cycle; one of a zero takes less energy, where the machine is gated.".to_owned(),
        (_, n) => format!(
            "{} of those that are not done took no cycle either; the others save energy only, where the machine is gated.",
            units::rounded(n)
        ),
    };
    Section {
        title: "Multiply-accumulates",
        lead: format!(
            "Of those of the dense layers on {}, each bar one layer's: what is done, what is not because the input is zero, \
             and what is not because the weight is. {saved}",
            cost.machine
        ),
        body,
    }
}

fn row(name: String, activity: &Activity) -> (String, String, String) {
    let Activity {
        dense,
        weight_zero,
        input_zero,
        done,
        ..
    } = *activity;
    let all = dense.max(1) as f64;
    let parts = [
        (done as f64 / all, "support"),
        (input_zero as f64 / all, "values"),
        (weight_zero as f64 / all, "rest"),
    ];
    let told = part(done as f64, all);
    let description = format!(
        "{told} done, input zero {}, weight zero {}",
        part(input_zero as f64, all),
        part(weight_zero as f64, all)
    );
    let figure = format!("{told} of {} done", units::rounded(dense));
    (name, bar(&parts, &description), figure)
}
