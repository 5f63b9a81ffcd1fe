//! What was tried: error against bytes.

use super::Run;
use super::html::{Column, Section, figures};
use super::svg::{Axis, Frame, Plot, Scale, Shape, at_both_widths};
use crate::units;
use secateur_compress::record::{Point, RunRecord};

/// Where the errors of a picture were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Validation,
    Test,
}

impl On {
    fn error(self, point: &Point) -> Option<f64> {
        let error = match self {
            Self::Validation => point.validation_error_percent,
            Self::Test => point.test_error_percent,
        };
        error.filter(|e| e.is_finite())
    }
}

pub fn curve(run: &Run<'_>) -> Option<Section> {
    let record = run.record;
    // Where most points are known, so that they are compared on the same data.
    let known = |on: On| all(record).filter(|p| on.error(p).is_some()).count();
    let on = match known(On::Validation) >= known(On::Test) {
        true => On::Validation,
        false => On::Test,
    };
    if known(on) < 2 {
        return None;
    }
    let data = match on {
        On::Validation => "training data that nothing was trained on",
        On::Test => "the test set",
    };
    let picture = at_both_widths(|frame| draw(record, on, frame));
    let body = format!("{picture}\n{}", table(record));
    Some(Section {
        title: "The trade",
        lead: format!(
            "Error against bytes of every network that was tried, on {data}; further down and further left is better. \
             The dashed line is the network before."
        ),
        body,
    })
}

fn all(record: &RunRecord) -> impl Iterator<Item = &Point> {
    std::iter::once(&record.dense).chain(&record.points)
}

fn draw(record: &RunRecord, on: On, frame: Frame) -> String {
    let places: Vec<(f64, f64, &Point)> = all(record)
        .filter_map(|p| Some((p.bytes.max(1) as f64, on.error(p)?, p)))
        .collect();
    let dense = on.error(&record.dense);
    let (x, y) = scales(&places);
    let mut plot = Plot::new(
        frame,
        &Axis {
            name: "bytes of the file",
            scale: x,
            write: bytes,
        },
        &Axis {
            name: "error, %",
            scale: y,
            write: |v| format!("{}", (v * 1e6).round() / 1e6),
        },
    );
    let (Scale::Log { from, to } | Scale::Linear { from, to }) = x;
    if let Some(level) = dense {
        plot.line(&[(from, level), (to, level)], "level");
    }
    plot.line(&front(&places), "front");
    let is_dense = |point: &Point| std::ptr::eq(point, &record.dense);
    let title = |point: &Point, error: f64| {
        format!(
            "{}: {}, error {}",
            point.name,
            units::bytes(point.bytes),
            units::percent(error)
        )
    };
    // What matters most is drawn last, over the rest, and named first.
    let rank = |point: &Point| (point.chosen, is_dense(point));
    let mut sorted = places.clone();
    sorted.sort_by_key(|(_, _, point)| rank(point));
    for &(x, y, point) in &sorted {
        let (shape, radius, class) = match rank(point) {
            (true, _) => (Shape::Diamond, 9.0, "after chosen"),
            (_, true) => (Shape::Square, 6.0, "before"),
            _ => (Shape::Circle, 4.0, "tried"),
        };
        plot.mark((x, y), shape, radius, class, &title(point, y));
    }
    for &(x, y, point) in sorted.iter().rev() {
        let (away, class) = match rank(point) {
            (true, _) => (9.0, "label"),
            (_, true) => (6.0, "label"),
            // Names in a crowd only hide it.
            _ if places.len() > 12 => continue,
            _ => (4.0, "minor"),
        };
        let text = match point.chosen || is_dense(point) {
            true => format!("{}: {}", point.name, units::bytes(point.bytes)),
            false => point.name.clone(),
        };
        plot.label((x, y), away, class, &text);
    }
    plot.finish(&format!(
        "Error against bytes of {} networks; the table below has the figures",
        places.len()
    ))
}

/// Scales that hold all places, with some room.
fn scales(places: &[(f64, f64, &Point)]) -> (Scale, Scale) {
    let fold = |of: fn(&(f64, f64, &Point)) -> f64| {
        let values = places.iter().map(of);
        values.fold((f64::MAX, 0.0f64), |(a, b), v| (a.min(v), b.max(v)))
    };
    let ((small, large), (best, worst)) = (fold(|p| p.0), fold(|p| p.1));
    let x = Scale::Log {
        from: small / 1.6,
        to: large * 1.6,
    };
    // A few that went wrong would press the rest flat.
    let y = match best > 0.0 && worst / best > 8.0 {
        true => Scale::Log {
            from: best / 1.3,
            to: worst * 1.3,
        },
        false => {
            let room = (0.15 * (worst - best)).max(0.02 * worst).max(0.01);
            Scale::Linear {
                from: (best - room).max(0.0),
                to: worst + room,
            }
        }
    };
    (x, y)
}

/// The networks of which none is both smaller and better, as steps.
fn front(places: &[(f64, f64, &Point)]) -> Vec<(f64, f64)> {
    let mut sorted: Vec<(f64, f64)> = places.iter().map(|p| (p.0, p.1)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for (bytes, error) in sorted {
        match steps.last() {
            Some(&(_, best)) if error >= best => {}
            Some(&(_, best)) => steps.extend([(bytes, best), (bytes, error)]),
            None => steps.push((bytes, error)),
        }
    }
    steps
}

/// Round bytes on an axis: `500 B`, `20 kB`, `3 MB`.
fn bytes(value: f64) -> String {
    let (value, unit) = match value {
        v if v < 999.5 => (v, "B"),
        v if v < 999_500.0 => (v / 1e3, "kB"),
        v if v < 999.5e6 => (v / 1e6, "MB"),
        v => (v / 1e9, "GB"),
    };
    format!("{} {unit}", (value * 100.0).round() / 100.0)
}

fn table(record: &RunRecord) -> String {
    let percent = |value: Option<f64>| value.map_or("–".to_owned(), units::percent);
    let rows: Vec<Vec<String>> = all(record)
        .map(|p| {
            vec![
                p.name.clone(),
                units::count(p.bytes as usize),
                percent(p.validation_error_percent),
                percent(p.test_error_percent),
                p.milliseconds.map_or("–".to_owned(), units::short),
                p.picojoules.map_or("–".to_owned(), units::energy),
                if p.chosen { "kept" } else { "" }.to_owned(),
            ]
        })
        .collect();
    figures(
        &[
            ("network", Column::Text),
            ("bytes", Column::Figure),
            ("validation error", Column::Figure),
            ("test error", Column::Figure),
            ("time", Column::Figure),
            ("energy", Column::Figure),
            ("", Column::Text),
        ],
        &rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(bytes: u64, error: f64) -> Point {
        Point {
            name: "x".into(),
            bytes,
            validation_error_percent: Some(error),
            test_error_percent: None,
            milliseconds: None,
            picojoules: None,
            chosen: false,
        }
    }

    #[test]
    fn sizes_on_an_axis_are_short() {
        let written = [500.0, 20_000.0, 3e6, 1e6].map(bytes);
        assert_eq!(written, ["500 B", "20 kB", "3 MB", "1 MB"]);
    }

    proptest! {
        #[test]
        fn nothing_beats_the_front(tried in prop::collection::vec((1u64..1000, 0u32..100), 1..40)) {
            let points: Vec<Point> = tried.iter().map(|&(b, e)| point(b, e.into())).collect();
            let places: Vec<_> = points
                .iter()
                .map(|p| (p.bytes as f64, p.validation_error_percent.unwrap(), p))
                .collect();
            let front = front(&places);
            for &(x, y, _) in &places {
                // The best of the front that is no larger.
                let best = front.iter().filter(|s| s.0 <= x).map(|s| s.1).fold(f64::MAX, f64::min);
                prop_assert!(best <= y);
            }
        }
    }
}
