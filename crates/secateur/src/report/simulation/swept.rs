//! What other settings of a machine would do.

use super::super::html::{Column, Section, escaped, rows, table};
use super::super::svg::{Axis as Along, Frame, Plot, Scale, Shape, at_both_widths, bar};
use crate::commands::simulate;
use crate::sweep::{Axis, Figures, Point, Sweep};
use crate::units;
use std::fmt::Write;

/// Something that is the better the less there is of it.
struct Measure {
    name: &'static str,
    /// The unit, as axes name it.
    unit: &'static str,
    of: fn(&Figures) -> Option<f64>,
    write: fn(f64) -> String,
}

const MEASURES: [Measure; 2] = [
    Measure {
        name: "Time",
        unit: "time, µs",
        of: |figures| Some(figures.microseconds),
        write: |us| units::short(us / 1e3),
    },
    Measure {
        name: "Energy",
        unit: "energy, µJ",
        of: |figures| figures.microjoules,
        write: |uj| format!("{} µJ", digits(uj)),
    },
];

pub fn swept(sweep: &Sweep) -> Section {
    let keys: Vec<&str> = sweep.axes.iter().map(|axis| axis.key.as_str()).collect();
    let mut lead = format!(
        "The network on the machine with another {}: a point is a whole run.",
        keys.join(" and another ")
    );
    let mut body = String::new();
    for measure in &MEASURES {
        let Some(least) = sweep.least(measure.of) else {
            continue;
        };
        let at_least = least.result.as_ref().ok().and_then(measure.of);
        let _ = write!(
            lead,
            " Least {}: {} at {}.",
            measure.name.to_lowercase(),
            at_least.map_or(String::new(), measure.write),
            sweep.settings(least)
        );
        let picture = match &sweep.axes[..] {
            [rows, columns] => heat(sweep, rows, columns, measure),
            [axis] => match numbers(axis) {
                Some(values) => {
                    at_both_widths(|frame| line(sweep, &axis.key, &values, measure, frame))
                }
                None => bars(sweep, measure),
            },
            _ => String::new(),
        };
        let _ = write!(body, "<h3 class=\"machine\">{}</h3>{picture}", measure.name);
    }
    for (settings, why) in sweep.refused() {
        let text = escaped(&format!("{settings}: {why}."));
        let _ = write!(body, "<p class=\"note\">{text}</p>");
    }
    let columns = keys.iter().chain(&simulate::SWEPT);
    let headings: Vec<(&str, Column)> = columns.map(|&key| (key, Column::Figure)).collect();
    body += &table(&headings, &simulate::swept(sweep));
    Section {
        title: "Other settings",
        lead,
        body,
    }
}

/// The values of an axis, where all are numbers and there are several.
fn numbers(axis: &Axis) -> Option<Vec<f64>> {
    let values: Option<Vec<f64>> = axis.values.iter().map(|v| v.parse().ok()).collect();
    values.filter(|values| values.len() > 1)
}

/// A measure over the values of one setting.
fn line(sweep: &Sweep, key: &str, values: &[f64], measure: &Measure, frame: Frame) -> String {
    let measured = |point: &Point| point.result.as_ref().ok().and_then(measure.of);
    let mut points: Vec<(f64, f64)> = values
        .iter()
        .zip(&sweep.points)
        .filter_map(|(&x, point)| Some((x, measured(point)?)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    let room = (most - least) * 0.05;
    // Where values double, each step is as wide as the next.
    let x = match least > 0.0 && most / least >= 4.0 {
        true => Scale::Log {
            from: least / 1.15,
            to: most * 1.15,
        },
        false => Scale::Linear {
            from: least - room,
            to: most + room,
        },
    };
    let top = points.iter().map(|p| p.1).fold(0.0, f64::max);
    let y = Scale::Linear {
        from: 0.0,
        to: (1.12 * top).max(1e-9),
    };
    let mut plot = Plot::new(
        frame,
        &Along {
            name: key,
            scale: x,
            write: digits,
        },
        &Along {
            name: measure.unit,
            scale: y,
            write: digits,
        },
    );
    plot.line(&points, "m0");
    for &(x, y) in &points {
        let told = format!("{key} = {x}: {}", (measure.write)(y));
        plot.mark((x, y), Shape::Circle, 4.5, "m0", &told);
    }
    for &(x, y) in &points {
        plot.label_of_line((x, y), 5.0, "minor", &(measure.write)(y));
    }
    plot.finish(&format!("{} by {key}", measure.name))
}

/// A measure over words.
fn bars(sweep: &Sweep, measure: &Measure) -> String {
    let measured = |point: &Point| point.result.as_ref().ok().and_then(measure.of);
    let most = sweep
        .points
        .iter()
        .filter_map(measured)
        .fold(1e-12, f64::max);
    rows(sweep.points.iter().map(|point| {
        let value = measured(point);
        let told = value.map_or("–".to_owned(), measure.write);
        let share = value.unwrap_or(0.0) / most;
        (sweep.settings(point), bar(&[(share, "m0")], &told), told)
    }))
}

/// A measure over two settings: the stronger the colour, the more.
fn heat(sweep: &Sweep, rows: &Axis, columns: &Axis, measure: &Measure) -> String {
    let measured = |point: &Point| point.result.as_ref().ok().and_then(measure.of);
    let values = || sweep.points.iter().filter_map(measured);
    let (least, most) = values().fold((f64::MAX, 0.0), |(l, m): (f64, f64), v| {
        (l.min(v), m.max(v))
    });
    let heads: String = columns
        .values
        .iter()
        .map(|value| format!("<th scope=\"col\">{}</th>", escaped(value)))
        .collect();
    let cell = |point: &Point| match (&point.result, measured(point)) {
        (Err(why), _) => format!("<td class=\"none\" title=\"{}\">–</td>", escaped(why)),
        (_, None) => "<td></td>".to_owned(),
        (_, Some(value)) => {
            // By factors: twice as much is as far from once as four times is from twice.
            let range = (most / least).max(1.0 + 1e-9).ln();
            let shade = (5.0 * (value / least).max(1.0).ln() / range).round();
            let text = (measure.write)(value);
            let text = match value <= least {
                true => format!("<b>{text}</b>"),
                false => text,
            };
            format!("<td class=\"h{shade:.0}\">{text}</td>")
        }
    };
    let of_rows = rows
        .values
        .iter()
        .zip(sweep.points.chunks(columns.values.len().max(1)));
    let body: String = of_rows
        .map(|(value, points)| {
            let cells: String = points.iter().map(cell).collect();
            format!(
                "<tr><th scope=\"row\">{}</th>{cells}</tr>\n",
                escaped(value)
            )
        })
        .collect();
    format!(
        "<div class=\"scroll\"><table class=\"heat\"><thead><tr><td></td><th class=\"group\" scope=\"colgroup\" colspan=\"{}\">{}</th></tr>\
         <tr><th class=\"text\" scope=\"col\">{}</th>{heads}</tr></thead><tbody>\n{body}</tbody></table></div>",
        columns.values.len(),
        escaped(&columns.key),
        escaped(&rows.key)
    )
}

/// A number of few digits.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 1e5 => units::rounded(value as u64),
        v if v >= 99.5 => format!("{value:.0}"),
        _ => format!("{}", (value * 100.0).round() / 100.0),
    }
}
