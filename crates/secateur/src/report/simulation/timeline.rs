//! What is busy when: a whole network, and one layer.

use super::super::html::{Section, escaped, legend};
use super::super::svg::at_both_widths;
use super::cycles::{class, told};
use super::lanes::{Lanes, Name, Stretch};
use super::{Ran, part, took};
use crate::units;
use secateur_accel::sparse::{GroupCycles, Span};
use secateur_accel::{Busy, Cause, Kind, Lane, LayerCost, NetworkCost};

/// Groups that are drawn.
const MOST_GROUPS: usize = 32;

/// Rows of what is busy, from above.
const ROWS: [&str; 5] = ["array", "vector", "weights", "inputs", "results"];

/// When the array and memory are busy in a whole network; nothing where that was not recorded.
pub fn network(ran: &Ran<'_>) -> Option<Section> {
    let cost = ran.cost;
    let lanes = busy(cost, 0.0, cost.cycles as f64, None)?;
    let waited: u64 = cost.layers.iter().map(|l| l.dram_wait_cycles).sum();
    let waited = waited + cost.answer_cycles;
    Some(Section {
        title: "Time",
        lead: format!(
            "Above, what works: steps one behind the other, in turn dark and pale; those that are worked on together come back \
             band by band. Below, what comes from DRAM and goes there. Weights come a block ahead of the array; a gap above \
             is time in which nothing works because bytes are late: {} of all cycles.",
            part(waited as f64, cost.cycles as f64)
        ),
        body: key(
            &lanes,
            &[
                ("c-multiplying", "layers on the array"),
                ("c-vector", "operators without weights"),
                ("c-dram", "bytes from and to DRAM"),
            ],
        ) + &at_both_widths(|frame| {
            lanes.draw(frame, "What is busy when, in the whole network")
        }),
    })
}

/// From when to when a step is worked on. One that is worked on together with others comes back: their time is in it.
fn span(cost: &NetworkCost, index: usize, layer: &LayerCost) -> (f64, f64) {
    let before: u64 = cost.layers.iter().take(index).map(took).sum();
    let alone = (before as f64, (before + took(layer)) as f64);
    if layer.together == 1 {
        return alone;
    }
    let own = cost.busy.iter();
    let own = own.filter(|busy| busy.layer == index && busy.lane == Lane::Work);
    own.map(|busy| (busy.from, busy.to))
        .reduce(|all, next| (all.0.min(next.0), all.1.max(next.1)))
        .unwrap_or(alone)
}

/// One layer: when its weights come, and what each group does first.
pub fn layer(ran: &Ran<'_>, index: usize) -> Option<Section> {
    let cost = ran.cost;
    let layer = cost.layers.get(index)?;
    let (from, to) = span(cost, index, layer);
    let memory = busy(cost, from, to, Some(index));
    let groups = groups(layer);
    if memory.is_none() && groups.is_none() {
        return None;
    }
    let mut body = String::new();
    if let Some(lanes) = memory {
        body += "<h3>What is busy</h3>";
        body += &key(
            &lanes,
            &[
                ("c-multiplying", "this layer on the array"),
                ("c-dram", "its bytes from and to DRAM"),
                ("rest", "other steps"),
            ],
        );
        let description = format!("What is busy during {}", layer.name);
        body += &at_both_widths(|frame| lanes.draw(frame, &description));
    }
    if let Some((lanes, text, causes)) = groups {
        let keys: Vec<(&str, &str)> = causes.iter().map(|c| (class(*c), told(*c))).collect();
        body += &format!(
            "<h3 class=\"machine\">What each group does</h3><p class=\"note\">{}</p>{}",
            escaped(&text),
            legend(&keys)
        );
        let description = format!("What each group does at the beginning of {}", layer.name);
        body += &at_both_widths(|frame| lanes.draw(frame, &description));
    }
    Some(Section {
        title: "Time of one layer",
        lead: format!(
            "{}, {} of {} cycles: another is drawn by --layer NAME.",
            layer.name,
            units::count(took(layer) as usize),
            units::count(cost.cycles as usize),
        ),
        body,
    })
}

/// What the colours of a picture stand for, of those that are in it.
fn key(lanes: &Lanes<'_>, entries: &[(&str, &str)]) -> String {
    let drawn = |class: &str| lanes.stretches.iter().any(|s| s.class.starts_with(class));
    let entries = entries.iter().copied().filter(|(class, _)| drawn(class));
    legend(&entries.collect::<Vec<_>>())
}

/// What is busy within a stretch of time; of a layer, what is for others is pale.
fn busy(cost: &NetworkCost, from: f64, to: f64, layer: Option<usize>) -> Option<Lanes<'_>> {
    // Ends of steps are rounded, so that a neighbour of a layer may reach in a little: that is not drawn.
    let slack = match layer.and_then(|index| cost.layers.get(index)) {
        Some(layer) if layer.together == 1 => (to - from) / 500.0,
        _ => 0.0,
    };
    let within: Vec<&Busy> = cost
        .busy
        .iter()
        .filter(|b| b.to > from + slack && b.from + slack < to)
        .collect();
    if within.is_empty() {
        return None;
    }
    let kind = |b: &Busy| cost.layers.get(b.layer).map(|l| l.kind);
    let row = |b: &Busy| match b.lane {
        Lane::Work if kind(b) == Some(Kind::Vector) => 1,
        Lane::Work => 0,
        Lane::Weights => 2,
        Lane::Inputs => 3,
        Lane::Outputs => 4,
    };
    // Rows without anything are left out.
    let used: Vec<usize> = (0..ROWS.len())
        .filter(|&r| within.iter().any(|b| row(b) == r))
        .collect();
    let place = |b: &Busy| used.iter().position(|&r| r == row(b)).unwrap_or(0);
    let other = |b: &Busy| layer.is_some_and(|layer| layer != b.layer);
    let class = |b: &Busy| match (other(b), row(b), b.layer % 2) {
        (true, ..) => "rest",
        (_, 0, 0) => "c-multiplying",
        (_, 0, _) => "c-multiplying pale",
        (_, 1, 0) => "c-vector",
        (_, 1, _) => "c-vector pale",
        (_, _, 0) => "c-dram",
        _ => "c-dram pale",
    };
    let stretches = within.iter().map(|b| Stretch {
        row: place(b),
        from: b.from.max(from),
        to: b.to.min(to),
        class: match layer.is_some() && !other(b) {
            true => class(b).trim_end_matches(" pale"),
            false => class(b),
        },
    });
    let working = within.iter().filter(|b| row(b) == 0);
    let names = working.filter_map(|b| {
        Some(Name {
            row: place(b),
            from: b.from.max(from),
            to: b.to.min(to),
            text: cost.layers.get(b.layer)?.name.as_str(),
        })
    });
    Some(Lanes {
        rows: used.iter().map(|&r| ROWS[r].to_owned()).collect(),
        height: [22.0, 6.0],
        axis: "cycles of the network".into(),
        from,
        to,
        stretches: stretches.collect(),
        names: names.collect(),
        lines: Vec::new(),
    })
}

/// What the groups do in the spans that were recorded, a note on that, and the causes there are.
fn groups(layer: &LayerCost) -> Option<(Lanes<'static>, String, Vec<Cause>)> {
    let all = layer.spans.first()?.groups.len();
    let drawn = all.min(MOST_GROUPS);
    let mut stretches = Vec::new();
    let mut seen = Vec::new();
    let mut end = 0;
    for span in &layer.spans {
        end = span.start + length(span);
        for (row, group) in span.groups.iter().take(drawn).enumerate() {
            let mut at = span.start;
            for (cause, cycles) in group.causes().into_iter().filter(|(_, n)| *n > 0) {
                stretches.push(Stretch {
                    row,
                    from: at as f64,
                    to: (at + cycles) as f64,
                    class: class(cause),
                });
                at += cycles;
                if !seen.contains(&cause) {
                    seen.push(cause);
                }
            }
        }
    }
    let blocks = layer.spans.last().map_or(0, |span| span.block + 1);
    // What is done for each part is recorded without the waits that bands add.
    let cycles = layer.cycles - layer.band_wait_cycles;
    let whole = end >= cycles;
    let text = format!(
        "{} as rows. At the end of each part of a tile (a thin line, where there is room) they wait for each other; within it, what a \
         group does is drawn cause by cause, not in the order in which it happens. {}",
        match drawn < all {
            true => format!("The first {drawn} of {all} groups"),
            false => format!("The {all} groups"),
        },
        match whole {
            true => format!("All {} parts are drawn.", layer.spans.len()),
            false => format!(
                "Of {} cycles, with every operand there, the first {} are drawn, in {} parts of the {}.",
                units::count(cycles as usize),
                units::count(end as usize),
                layer.spans.len(),
                match blocks {
                    1 => "first block of outputs".to_owned(),
                    n => format!("first {n} blocks of outputs"),
                }
            ),
        }
    );
    let every = drawn.div_ceil(16).max(1);
    let name = |group: usize| match group % every {
        0 => group.to_string(),
        _ => String::new(),
    };
    let lanes = Lanes {
        rows: (0..drawn).map(name).collect(),
        height: [11.0, 2.0],
        axis: "cycles of the layer, its operands there".into(),
        from: 0.0,
        to: end as f64,
        stretches,
        names: Vec::new(),
        lines: layer.spans.iter().map(|span| span.start as f64).collect(),
    };
    let causes = Cause::ALL.into_iter().filter(|c| seen.contains(c));
    Some((lanes, text, causes.collect()))
}

/// Cycles of a span: those of any of its groups.
fn length(span: &Span) -> u64 {
    span.groups.first().map_or(0, GroupCycles::total)
}
