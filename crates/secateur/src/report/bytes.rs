//! What the bytes of the file are spent on.

use super::html::{Column, Section, figures, legend, rows};
use super::svg::bar;
use super::{MOST_LAYERS, Run};
use crate::units;
use secateur_io::sct::{Parts, Summary, WeightSummary};
use std::collections::BTreeMap;

const SUPPORT: &str = "support";
const VALUES: &str = "values";
const PARAMETERS: &str = "parameters";
const REST: &str = "rest";

pub fn bytes(run: &Run<'_>) -> Section {
    let file = run.file;
    // Small ones lie in the graph's section.
    let apart = file.weights.iter().filter(|w| w.bytes > 0);
    let mut sorted: Vec<&WeightSummary> = apart.collect();
    sorted.sort_by_key(|w| std::cmp::Reverse(w.bytes));
    let largest = sorted.first().map_or(1, |w| w.bytes.max(1));
    let (shown, small) = sorted.split_at(sorted.len().min(MOST_LAYERS));
    let mut lines: Vec<(String, String, String)> = shown
        .iter()
        .map(|w| {
            let picture = parts_bar(&w.parts, largest, w.bytes);
            let figure = format!("{} · {}", units::bytes(w.bytes as u64), coder(w));
            (w.name.clone(), picture, figure)
        })
        .collect();
    let mut line = |name: String, bytes: usize| {
        if bytes > 0 {
            let picture = bar(
                &[(bytes as f64 / largest.max(bytes) as f64, REST)],
                &units::bytes(bytes as u64),
            );
            lines.push((name, picture, units::bytes(bytes as u64)));
        }
    };
    line(
        format!("{} more weights", small.len()),
        small.iter().map(|w| w.bytes).sum(),
    );
    line("graph, and what is small".into(), file.graph);
    line("other tensors".into(), file.tensors);
    line("metadata".into(), file.metadata);
    line("frame".into(), file.frame());
    let body = format!(
        "{}<div class=\"sum\">{}</div>{}{}",
        legend(&[
            (SUPPORT, "where: positions of the kept weights"),
            (VALUES, "what: their values"),
            (PARAMETERS, "scales and codebooks"),
            (REST, "names, extents, tables, graph"),
        ]),
        sum(file),
        rows(lines),
        table(file)
    );
    Section {
        title: "Bytes",
        lead: format!(
            "What the {} bytes of the file are spent on, the largest first, and the coder that was smallest. {}",
            units::count(file.bytes),
            by_coder(file)
        ),
        body,
    }
}

fn coder(weight: &WeightSummary) -> &'static str {
    weight.coder.map_or("uncoded", |coder| coder.name())
}

/// `By coder: context 5200 B, raw 40 B.`
fn by_coder(file: &Summary) -> String {
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    for weight in file.weights.iter().filter(|w| w.bytes > 0) {
        *sums.entry(coder(weight)).or_default() += weight.bytes;
    }
    let mut sums: Vec<(&str, usize)> = sums.into_iter().collect();
    sums.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
    let told: Vec<String> = sums
        .iter()
        .map(|(coder, bytes)| format!("{coder} {}", units::bytes(*bytes as u64)))
        .collect();
    match told.is_empty() {
        true => String::new(),
        false => format!("By coder: {}.", told.join(", ")),
    }
}

/// The whole file as one bar.
fn sum(file: &Summary) -> String {
    let all = file.weights.iter().fold(Parts::default(), |sum, w| Parts {
        support: sum.support + w.parts.support,
        values: sum.values + w.parts.values,
        parameters: sum.parameters + w.parts.parameters,
        rest: sum.rest + w.parts.rest,
    });
    let all = Parts {
        rest: all.rest + file.rest,
        ..all
    };
    parts_bar(&all, file.bytes.max(1), file.bytes)
}

fn parts_bar(parts: &Parts, of: usize, bytes: usize) -> String {
    let share = |part: usize| part as f64 / of as f64;
    let description = format!(
        "{bytes} bytes: {} where, {} what, {} scales and codebook, {} rest",
        parts.support, parts.values, parts.parameters, parts.rest
    );
    bar(
        &[
            (share(parts.support), SUPPORT),
            (share(parts.values), VALUES),
            (share(parts.parameters), PARAMETERS),
            (share(parts.rest), REST),
        ],
        &description,
    )
}

fn table(file: &Summary) -> String {
    let mut rows: Vec<Vec<String>> = file
        .weights
        .iter()
        .map(|w| {
            let per_weight = 8.0 * w.bytes as f64 / w.shape.elements().max(1) as f64;
            vec![
                w.name.clone(),
                w.support.clone(),
                w.values.to_owned(),
                w.coder.map_or("–".to_owned(), |c| c.to_string()),
                units::count(w.parts.support),
                units::count(w.parts.values),
                units::count(w.parts.parameters),
                units::count(w.parts.rest),
                units::count(w.bytes),
                format!("{per_weight:.2}"),
            ]
        })
        .collect();
    for (name, bytes) in [
        ("graph", file.graph),
        ("other tensors", file.tensors),
        ("metadata", file.metadata),
        ("frame", file.frame()),
        ("all", file.bytes),
    ] {
        let mut row = vec![String::new(); 10];
        row[0] = name.to_owned();
        row[8] = units::count(bytes);
        rows.push(row);
    }
    let headings = [
        ("weight", Column::Text),
        ("support", Column::Text),
        ("values", Column::Text),
        ("coder", Column::Text),
        ("where", Column::Figure),
        ("what", Column::Figure),
        ("scales", Column::Figure),
        ("rest", Column::Figure),
        ("bytes", Column::Figure),
        ("bits a weight", Column::Figure),
    ];
    figures(&headings, &rows)
}
