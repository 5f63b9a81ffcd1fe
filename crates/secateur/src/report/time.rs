//! Where the time of a run goes before and after, and what bounds it.

use super::Run;
use super::html::{Column, Section, figures, legend, rows};
use super::svg::bar;
use crate::commands::bench::Measured;
use crate::roofline::page::{Series, chart};
use crate::roofline::{Roof, short_name};
use crate::units;
use secateur_engine::StepProfile;
use secateur_kernels::cpu_name;

/// Steps that have a row of their own.
const MOST_STEPS: usize = 40;

/// Both networks on this machine.
pub struct Speed {
    pub before: Measured,
    pub after: Measured,
}

/// A step of either network or of both.
struct Pair<'a> {
    name: &'a str,
    before: Option<&'a StepProfile>,
    after: Option<&'a StepProfile>,
}

impl Pair<'_> {
    fn times(&self) -> [f64; 2] {
        [self.before, self.after].map(|step| step.map_or(0.0, |s| s.median_us))
    }

    fn longest(&self) -> f64 {
        let [before, after] = self.times();
        before.max(after)
    }
}

pub fn time(run: &Run<'_>) -> Option<Section> {
    let Speed { before, after } = run.speed.as_ref()?;
    let pairs = pairs(&before.layers, &after.layers);
    let longest = pairs.iter().map(Pair::longest).fold(1e-9, f64::max);
    // In the order in which they run, without those that take next to nothing.
    let mut lengths: Vec<f64> = pairs.iter().map(Pair::longest).collect();
    lengths.sort_by(|a, b| b.total_cmp(a));
    let least = lengths.get(MOST_STEPS).copied().unwrap_or(0.0);
    let bars = rows(pairs.iter().filter(|p| p.longest() > least).map(|pair| {
        let steps = [("before", pair.before), ("after", pair.after)];
        let figure = steps
            .map(|(_, step)| step.map_or("–".to_owned(), |s| units::short(s.median_us / 1e3)))
            .join(" → ");
        // A step that the other network lacks leaves its place empty.
        let [above, below] = steps.map(|(class, step)| {
            step.map_or("<span class=\"gap\"></span>".to_owned(), |s| {
                let description = format!("{class}: {:.2} µs", s.median_us);
                bar(&[(s.median_us / longest, class)], &description)
            })
        });
        (pair.name.to_owned(), above + &below, figure)
    }));
    let roofs =
        [("before", "before", before), ("after", "after", after)].map(|(name, class, measured)| {
            Series {
                name,
                class,
                steps: measured.layers.iter().collect(),
                roof: &measured.roof,
            }
        });
    let body = format!(
        "{}<div class=\"thin\">{bars}</div>{}\n<h3>Roofline</h3>\n<p class=\"note\">{}</p>{}{}",
        legend(&[("before", "before"), ("after", "after")]),
        match lengths.len() > MOST_STEPS {
            true => format!(
                "<p class=\"note\">The {} shortest of {} steps are not drawn.</p>",
                lengths.len() - MOST_STEPS,
                lengths.len()
            ),
            false => String::new(),
        },
        explained(&after.roof),
        chart(&roofs),
        table(&pairs, &before.roof, &after.roof)
    );
    Some(Section {
        title: "Time",
        lead: format!(
            "Where the time of one input goes, on one thread of {} ({}): {} before, {} after.",
            cpu_name(),
            after.isa,
            units::short(before.median_ms),
            units::short(after.median_ms)
        ),
        body,
    })
}

fn explained(roof: &Roof) -> String {
    format!(
        "Each mark is a layer, its area the time it takes. On the slope of its roof it waits for bytes, under the flat part \
         it multiplies as fast as the best dense kernel of its arithmetic; a layer whose bytes stay in a nearer cache \
         than those of the whole network may be above the slope. Only multiplies by weights that are not zero count. \
         Rates {}.",
        match roof.measured {
            true => "were measured on this machine",
            false => "are those of typical machines",
        }
    )
}

/// The steps of both, those of one name together, in the order in which they run.
fn pairs<'a>(before: &'a [StepProfile], after: &'a [StepProfile]) -> Vec<Pair<'a>> {
    let mut pairs: Vec<Pair<'a>> = Vec::with_capacity(before.len().max(after.len()));
    let mut rest = before.iter();
    for step in after {
        let same = rest.clone().position(|b| b.name == step.name);
        // Those between have no partner.
        let alone = same.map_or(0, |place| place);
        pairs.extend(rest.by_ref().take(alone).map(|b| Pair {
            name: &b.name,
            before: Some(b),
            after: None,
        }));
        pairs.push(Pair {
            name: &step.name,
            before: same.and_then(|_| rest.next()),
            after: Some(step),
        });
    }
    pairs.extend(rest.map(|b| Pair {
        name: &b.name,
        before: Some(b),
        after: None,
    }));
    pairs
}

fn table(pairs: &[Pair<'_>], before: &Roof, after: &Roof) -> String {
    let row = |pair: &Pair<'_>| {
        let mut row = vec![pair.name.to_owned()];
        for (step, roof) in [(pair.before, before), (pair.after, after)] {
            match step {
                Some(step) => row.extend([
                    short_name(&step.choice.kernel).to_owned(),
                    format!("{:.2}", step.median_us),
                    units::rounded(step.nonzero_macs),
                    units::bytes(step.bytes),
                    format!("{:.0} %", 100.0 * roof.place(step).share),
                ]),
                None => row.extend(["–", "", "", "", ""].map(str::to_owned)),
            }
        }
        row
    };
    let of = [
        ("kernel", Column::Text),
        ("µs", Column::Figure),
        ("multiplies", Column::Figure),
        ("moved", Column::Figure),
        ("of the roof", Column::Figure),
    ];
    let headings = [&[("step", Column::Text)][..], &of, &of].concat();
    let rows: Vec<Vec<String>> = pairs.iter().map(row).collect();
    figures(&headings, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roofline::tests::step;

    #[test]
    fn steps_of_a_name_stand_together_in_order() {
        let named = |names: &[&str]| -> Vec<StepProfile> {
            let of = |name: &&str| StepProfile {
                name: (*name).into(),
                ..step("gemm", 1, 1)
            };
            names.iter().map(of).collect()
        };
        let (before, after) = (named(&["a", "b", "c", "d"]), named(&["q", "a", "c", "e"]));
        let pairs = pairs(&before, &after);
        let found: Vec<(&str, bool, bool)> = pairs
            .iter()
            .map(|p| (p.name, p.before.is_some(), p.after.is_some()))
            .collect();
        assert_eq!(
            found,
            [
                ("q", false, true),
                ("a", true, true),
                ("b", true, false),
                ("c", true, true),
                ("e", false, true),
                ("d", true, false)
            ]
        );
    }
}
