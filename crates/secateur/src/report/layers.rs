//! How many weights each layer keeps, and how wide they are.

use super::headline::share;
use super::html::{Column, Section, figures, legend, rows};
use super::svg::bar;
use super::{MOST_LAYERS, Run, layers, shape};
use crate::units;

/// Bits of a weight before.
const FULL: f64 = 32.0;

pub fn kept(run: &Run<'_>) -> Option<Section> {
    let all = layers(run.after);
    if all.is_empty() {
        return None;
    }
    let bars = rows(all.iter().take(MOST_LAYERS).map(|(name, weight)| {
        let kept = weight.nonzeros() as f64 / weight.shape().elements().max(1) as f64;
        let bits = f64::from(weight.bits());
        let picture = format!(
            "{}{}",
            bar(
                &[(kept, "after"), (1.0 - kept, "track")],
                &format!("{} kept", share(kept))
            ),
            bar(
                &[(bits / FULL, "support"), (1.0 - bits / FULL, "track")],
                &format!("{bits} bits of 32")
            )
        );
        let figure = format!(
            "{} of {} · {bits} bit",
            share(kept),
            units::rounded(weight.shape().elements() as u64)
        );
        ((*name).to_owned(), picture, figure)
    }));
    let table: Vec<Vec<String>> = run
        .after
        .weights()
        .map(|(name, weight)| {
            let (all, left) = (weight.shape().elements(), weight.nonzeros());
            vec![
                name.to_owned(),
                shape(weight),
                units::count(all),
                units::count(left),
                share(left as f64 / all.max(1) as f64),
                weight.bits().to_string(),
            ]
        })
        .collect();
    let headings = [
        ("weight", Column::Text),
        ("shape", Column::Figure),
        ("weights", Column::Figure),
        ("not zero", Column::Figure),
        ("kept", Column::Figure),
        ("bits", Column::Figure),
    ];
    let key = legend(&[
        ("after", "share of the weights that is kept"),
        ("support", "bits of a weight, of the 32 before"),
    ]);
    Some(Section {
        title: "Layers",
        lead: "How many of its weights each layer keeps, and how wide they are before coding."
            .to_owned(),
        body: format!(
            "{key}<div class=\"thin\">{bars}</div>{}{}",
            super::left_out(all.len()),
            figures(&headings, &table)
        ),
    })
}
