//! The roofline of a network as a picture, and as a page that needs nothing else.

use super::{Arithmetic, Place, Roof};
use crate::report::html::{self, Column, Section};
use crate::report::svg::{Axis, Frame, Plot, Scale, Shape, at_both_widths};
use crate::units;
use secateur_engine::StepProfile;

/// What the picture shows beyond its points, as a factor.
const MARGIN: f64 = 2.0;

/// Steps that are drawn alike, under the same roof.
pub struct Series<'a> {
    /// What they are, in words.
    pub name: &'a str,
    /// The class that gives them their colour.
    pub class: &'a str,
    pub steps: Vec<&'a StepProfile>,
    pub roof: &'a Roof,
}

/// A multiplying step and where it stands.
struct Point<'a> {
    series: usize,
    step: &'a StepProfile,
    place: Place,
}

/// The page of a network's steps.
pub fn page(title: &str, subtitle: &str, steps: &[StepProfile], roof: &Roof) -> String {
    let of = |name, class, sparse: bool| Series {
        name,
        class,
        steps: steps.iter().filter(|s| is_sparse(s) == sparse).collect(),
        roof,
    };
    let series = [of("sparse", "after", true), of("dense", "before", false)];
    let key = html::legend(&[("after", "sparse kernel"), ("before", "dense kernel")]);
    let picture = Section {
        title: "Roofline",
        lead: format!(
            "Each mark is a layer, its area the time it takes. A layer cannot be above the roof: on the slope it waits \
             for bytes ({:.1} GB/s over {}), under the flat part it multiplies as fast as the best dense kernel of its \
             arithmetic (without AVX-512 or VNNI, integers of small weights go faster than that). Only multiplies with a weight that is not zero count. Rates {}.",
            roof.gb_per_s,
            units::bytes(roof.working_set as u64),
            match roof.measured {
                true => "were measured on this machine",
                false => "are those of typical machines",
            }
        ),
        body: key + &chart(&series),
    };
    let table = Section {
        title: "Steps",
        lead: String::new(),
        body: table(steps, roof),
    };
    html::page(title, subtitle, "", &[picture, table])
}

/// All series in one picture, at both widths.
pub fn chart(series: &[Series<'_>]) -> String {
    let points: Vec<Point<'_>> = series
        .iter()
        .enumerate()
        .flat_map(|(index, series)| {
            let multiplying = |s: &&&StepProfile| s.nonzero_macs > 0 && s.median_us > 0.0;
            series
                .steps
                .iter()
                .filter(multiplying)
                .map(move |step| Point {
                    series: index,
                    step,
                    place: series.roof.place(step),
                })
        })
        .collect();
    if points.is_empty() {
        return "<p class=\"note\">No step multiplies.</p>".to_owned();
    }
    at_both_widths(|frame| draw(series, &points, frame))
}

fn draw(series: &[Series<'_>], points: &[Point<'_>], frame: Frame) -> String {
    let least =
        |of: fn(&Place) -> f64| points.iter().map(|p| of(&p.place)).fold(f64::MAX, f64::min);
    let most = |of: fn(&Place) -> f64| points.iter().map(|p| of(&p.place)).fold(0.0, f64::max);
    // The part of each roof that has something under it.
    let roofs: Vec<(&Series<'_>, Arithmetic, f64)> = series
        .iter()
        .enumerate()
        .flat_map(|(index, series)| {
            let of = [Arithmetic::Int8, Arithmetic::F32];
            let used = of.into_iter().filter(move |arithmetic| {
                let mut own = points.iter().filter(|p| p.series == index);
                own.any(|p| Arithmetic::of(p.step) == *arithmetic)
            });
            used.map(move |arithmetic| (series, arithmetic, series.roof.peak(arithmetic)))
        })
        .collect();
    let top = roofs.iter().map(|r| r.2).fold(most(|p| p.gmacs), f64::max);
    let ridges = roofs.iter().map(|(s, _, peak)| peak / s.roof.gb_per_s);
    let right = ridges.fold(most(|p| p.intensity), f64::max);
    let x = Scale::Log {
        from: least(|p| p.intensity) / MARGIN,
        to: right * MARGIN,
    };
    let y = Scale::Log {
        from: least(|p| p.gmacs) / MARGIN,
        to: top * MARGIN,
    };
    let write = |v: f64| format!("{}", (v * 1e6).round() / 1e6);
    let mut plot = Plot::new(
        frame,
        &Axis {
            name: "multiplies of non-zeros a byte",
            scale: x,
            write,
        },
        &Axis {
            name: "multiplies of non-zeros, GMAC/s",
            scale: y,
            write,
        },
    );
    let (Scale::Log { from, to } | Scale::Linear { from, to }) = x;
    let (Scale::Log { from: floor, .. } | Scale::Linear { from: floor, .. }) = y;
    let mut written: Vec<f64> = Vec::new();
    for (series, arithmetic, peak) in roofs {
        let rate = series.roof.gb_per_s;
        // Where the slope comes out of the floor.
        let start = from.max(floor / rate);
        // A layer above every roof would put the floor there, too.
        let ridge = (peak / rate).max(start).min(to);
        plot.line(
            &[(start, start * rate), (ridge, peak), (to, peak)],
            series.class,
        );
        if !written.contains(&peak) {
            written.push(peak);
            let name = match arithmetic {
                Arithmetic::Int8 => "int8",
                Arithmetic::F32 => "f32",
            };
            plot.label_at_end(peak, "minor", &format!("{name}: {peak:.0} GMAC/s"));
        }
    }
    let longest = points.iter().map(|p| p.step.median_us).fold(0.0, f64::max);
    let radius = |p: &Point<'_>| 3.0 + 13.0 * (p.step.median_us / longest).sqrt();
    let at = |p: &Point<'_>| (p.place.intensity, p.place.gmacs);
    for point in points {
        let series = &series[point.series];
        let shape = [Shape::Circle, Shape::Square][point.series % 2];
        let title = format!(
            "{} ({}): {:.2} µs, {:.1} GMAC/s, {:.0} % of the roof",
            point.step.name,
            series.name,
            point.step.median_us,
            point.place.gmacs,
            100.0 * point.place.share
        );
        plot.mark(at(point), shape, radius(point), series.class, &title);
    }
    // The longest have the first choice of a place for their name.
    let mut sorted: Vec<&Point<'_>> = points.iter().collect();
    sorted.sort_by(|a, b| b.step.median_us.total_cmp(&a.step.median_us));
    for point in sorted {
        plot.label(at(point), radius(point), "minor", &point.step.name);
    }
    plot.finish(&format!("Roofline of {} layers", points.len()))
}

fn table(steps: &[StepProfile], roof: &Roof) -> String {
    let row = |step: &StepProfile| {
        let place = roof.place(step);
        let instead: Vec<String> = step.choice.refused.iter().map(super::instead).collect();
        vec![
            step.name.clone(),
            super::short_name(&step.choice.kernel).to_owned(),
            format!("{:.1}", step.median_us),
            step.predicted_us
                .map_or(String::new(), |us| format!("{us:.1}")),
            units::rounded(step.nonzero_macs),
            units::bytes(step.bytes),
            format!("{:.1}", place.gmacs),
            format!("{:.0} %", 100.0 * place.share),
            instead.join("; "),
        ]
    };
    let headings = [
        ("layer", Column::Text),
        ("kernel", Column::Text),
        ("µs", Column::Figure),
        ("predicted", Column::Figure),
        ("non-zero MACs", Column::Figure),
        ("bytes", Column::Figure),
        ("GMAC/s", Column::Figure),
        ("of the roof", Column::Figure),
        ("instead of", Column::Text),
    ];
    let rows: Vec<Vec<String>> = steps.iter().map(row).collect();
    html::table(&headings, &rows)
}

fn is_sparse(step: &StepProfile) -> bool {
    step.choice.kernel.contains("_spmm_")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ROOF, step};
    use super::*;

    #[test]
    fn a_page_has_a_point_for_each_layer_and_a_row_for_each_step() {
        let steps = [
            step("u8i8i32_spmm_16x14_gather64__avx512vnni", 1_000_000, 10_000),
            step("max_pool", 0, 50_000),
        ];
        let page = page("a & b", "here", &steps, &ROOF);
        assert!(page.contains("<h1>a &amp; b</h1>") && page.contains("conv &lt;1&gt;"));
        // One in each width.
        assert_eq!(page.matches("<circle").count(), 2);
        assert_eq!(page.matches("<tr>").count(), 3);
        assert!(page.contains("int8: 100 GMAC/s") && !page.contains("f32: "));
    }

    #[test]
    fn a_network_that_does_not_multiply_has_a_page_too() {
        let page = page("x", "y", &[step("add", 0, 10)], &ROOF);
        assert!(page.contains("No step multiplies"));
    }
}
