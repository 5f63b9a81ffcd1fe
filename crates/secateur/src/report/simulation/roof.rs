//! The rooflines of machines, and the layers under them.

use super::super::html::{Section, legend};
use super::super::svg::{Axis, Frame, Plot, Scale, Shape, at_both_widths};
use super::{Ran, took};
use secateur_accel::LayerCost;

/// What the picture shows beyond its marks, as a factor.
const MARGIN: f64 = 2.0;

/// Classes of machines, one after the other.
const CLASSES: [&str; 6] = ["m0", "m1", "m2", "m3", "m4", "m5"];

/// A layer on a machine.
struct Point<'a> {
    run: usize,
    layer: &'a LayerCost,
    /// Operations of the dense layer a byte from or to DRAM.
    intensity: f64,
    /// Those operations a second, in 10⁹.
    gops: f64,
}

pub fn roof(runs: &[Ran<'_>]) -> Section {
    let keys: Vec<(&str, &str)> = runs
        .iter()
        .enumerate()
        .map(|(run, ran)| (class(run), ran.cost.machine.as_str()))
        .collect();
    let points: Vec<Point<'_>> = runs.iter().enumerate().flat_map(points).collect();
    let holding: Vec<&str> = runs
        .iter()
        .filter(|ran| ran.machine.memory.is_none())
        .map(|ran| ran.cost.machine.as_str())
        .collect();
    let mut lead = "Each mark is a layer, its area the time it takes. On the slope a machine waits for bytes from beyond the chip; \
                    the flat part is every cell multiplying in every cycle. Operations are those of the dense layer, so a \
                    layer above the flat roof is one whose zeros took no time, which a dense machine cannot reach. A layer \
                    may be above the slope if its bytes come and go while others work; a whole network, the diamond, \
                    cannot."
        .to_owned();
    if !holding.is_empty() {
        lead += &format!(
            " {} holds its weights and has no slope: its layers have no place here.",
            holding.join(", ")
        );
    }
    let body = match points.is_empty() {
        true => "<p class=\"note\">No layer moves bytes from or to DRAM.</p>".to_owned(),
        false => legend(&keys) + &at_both_widths(|frame| draw(runs, &points, frame)),
    };
    Section {
        title: "Roofline",
        lead,
        body,
    }
}

fn class(run: usize) -> &'static str {
    CLASSES[run % CLASSES.len()]
}

fn points<'a>((run, ran): (usize, &Ran<'a>)) -> impl Iterator<Item = Point<'a>> {
    let clock = ran.machine.clock_mhz;
    let layers = ran.cost.layers.iter();
    let placed = layers.filter(|l| l.activity.dense > 0 && l.moved.dram_bytes() > 0 && took(l) > 0);
    placed.map(move |layer| {
        let operations = 2.0 * layer.activity.dense as f64;
        Point {
            run,
            layer,
            intensity: operations / layer.moved.dram_bytes() as f64,
            gops: operations * clock / took(layer) as f64 / 1e3,
        }
    })
}

/// Where the whole network stands on a machine.
fn whole(ran: &Ran<'_>) -> Option<(f64, f64)> {
    let cost = ran.cost;
    let intensity = 2.0 * cost.macs as f64 / cost.moved.dram_bytes() as f64;
    (cost.moved.dram_bytes() > 0 && cost.macs > 0).then_some((intensity, 1e3 * cost.effective_tops))
}

fn draw(runs: &[Ran<'_>], points: &[Point<'_>], frame: Frame) -> String {
    // Machines with memory: what it gives, in GB/s, and what the cells can do.
    let roofs: Vec<(usize, f64, f64)> = runs
        .iter()
        .enumerate()
        .filter_map(|(run, ran)| {
            let rate =
                ran.machine.memory.as_ref()?.dram_bytes_a_cycle * ran.machine.clock_mhz / 1e3;
            Some((run, rate, 1e3 * ran.cost.peak_tops))
        })
        .collect();
    let span = |values: &mut dyn Iterator<Item = f64>| {
        let (least, most) = values.fold((f64::MAX, 0.0), |(least, most): (f64, f64), v| {
            (least.min(v), most.max(v))
        });
        Scale::Log {
            from: least / MARGIN,
            to: most * MARGIN,
        }
    };
    let ridges = roofs.iter().map(|(_, rate, peak)| peak / rate);
    let wholes: Vec<(f64, f64)> = runs.iter().filter_map(whole).collect();
    let of_wholes = wholes.iter().map(|w| w.0);
    let x = span(
        &mut points
            .iter()
            .map(|p| p.intensity)
            .chain(ridges)
            .chain(of_wholes),
    );
    let peaks = roofs.iter().map(|(_, _, peak)| *peak);
    let of_wholes = wholes.iter().map(|w| w.1);
    let y = span(&mut points.iter().map(|p| p.gops).chain(peaks).chain(of_wholes));
    let write = |v: f64| format!("{}", (v * 1e6).round() / 1e6);
    let mut plot = Plot::new(
        frame,
        &Axis {
            name: "operations of the dense layer a byte of DRAM",
            scale: x,
            write,
        },
        &Axis {
            name: "operations of the dense layer, 10⁹/s",
            scale: y,
            write,
        },
    );
    let (Scale::Log { from, to } | Scale::Linear { from, to }) = x;
    let (Scale::Log { from: floor, .. } | Scale::Linear { from: floor, .. }) = y;
    let mut written: Vec<f64> = Vec::new();
    for (run, rate, peak) in roofs {
        let start = from.max(floor / rate);
        let ridge = (peak / rate).max(start).min(to);
        plot.line(
            &[(start, start * rate), (ridge, peak), (to, peak)],
            class(run),
        );
        if !written.contains(&peak) {
            written.push(peak);
            plot.label_at_end(peak, "minor", &format!("{:.2} TOPS", peak / 1e3));
        }
    }
    let seconds = |p: &Point<'_>| took(p.layer) as f64 / runs[p.run].machine.clock_mhz;
    let longest = points.iter().map(seconds).fold(1e-12, f64::max);
    let radius = |p: &Point<'_>| 3.0 + 11.0 * (seconds(p) / longest).sqrt();
    let mut sorted: Vec<&Point<'_>> = points.iter().collect();
    sorted.sort_by(|a, b| seconds(b).total_cmp(&seconds(a)));
    for point in &sorted {
        let shape = [Shape::Circle, Shape::Square][point.run % 2];
        let title = format!(
            "{} on {}: {:.2} µs, {:.1} 10⁹ operations a second, {:.0} a byte",
            point.layer.name,
            runs[point.run].cost.machine,
            seconds(point),
            point.gops,
            point.intensity
        );
        let at = (point.intensity, point.gops);
        plot.mark(at, shape, radius(point), class(point.run), &title);
    }
    for (run, ran) in runs.iter().enumerate() {
        let Some(at) = whole(ran) else { continue };
        let name = &ran.cost.machine;
        let told = format!(
            "the whole network on {name}: {:.2} TOPS, {:.0} operations a byte",
            at.1 / 1e3,
            at.0
        );
        let class = format!("{} whole", class(run));
        plot.mark(at, Shape::Diamond, 8.0, &class, &told);
    }
    for ran in runs {
        if let Some(at) = whole(ran) {
            plot.label(at, 8.0, "label", &ran.cost.machine);
        }
    }
    // The longest have the first choice of a place for their name.
    for point in sorted.iter().filter(|p| p.run == 0) {
        let at = (point.intensity, point.gops);
        plot.label(at, radius(point), "minor", &point.layer.name);
    }
    plot.finish(&format!("Roofline of {} layers", points.len()))
}
