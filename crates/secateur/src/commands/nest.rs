//! `secateur nest`: what a mapping of a layer costs on a hierarchy of memories.

use crate::args::Nest as Args;
use crate::out::Out;
use crate::units;
use anyhow::{Context, Result, bail};
use secateur_accel::AccelError;
use secateur_accel::nest::{Level, Nest, NestCost};
use serde::Serialize;

/// What `nest --json` writes.
#[derive(Serialize)]
struct Costed {
    nest: Nest,
    cost: NestCost,
    total_pj: f64,
}

pub fn run(args: &Args) -> Result<()> {
    let out = Out::new(&args.json)?;
    let given = find(&args.nest)?;
    let nest = match args.reorder {
        true => given.reordered()?,
        false => given.clone(),
    };
    let cost = nest.cost()?;
    let layer = nest.layer;
    out.line(format_args!(
        "{}: {} to {} channels, {}x{} results, {}x{} taps, stride {}",
        nest.name, layer.c, layer.m, layer.p, layer.q, layer.r, layer.s, layer.stride
    ));
    table(&out, &nest, &cost);
    out.line(format_args!(
        "{} cycles, {} of {} multipliers at work; {:.2} µJ, {:.2} pJ a product",
        units::count(cost.cycles as usize),
        cost.multipliers_used,
        nest.multipliers,
        cost.total_pj() / 1e6,
        cost.total_pj() / cost.multiplies as f64
    ));
    let words = cost.outermost_words();
    out.line(format_args!(
        "{} words to and from {}, {:.2} times the least there could be",
        units::count(words as usize),
        nest.levels[0].name,
        words as f64 / cost.least_words as f64
    ));
    if args.reorder {
        let before = given.cost()?;
        out.line(format_args!(
            "in the order given: {:.2} µJ, {} cycles",
            before.total_pj() / 1e6,
            units::count(before.cycles as usize)
        ));
    }
    let total_pj = cost.total_pj();
    out.finish(&Costed {
        nest,
        cost,
        total_pj,
    })
}

/// A nest that comes along, or one from a file.
fn find(name: &str) -> Result<Nest> {
    if name.ends_with(".toml") {
        let text = std::fs::read_to_string(name).with_context(|| name.to_owned())?;
        return Ok(Nest::from_toml(&text, name)?);
    }
    match Nest::builtin(name) {
        Err(AccelError::File { reason, .. }) => {
            bail!("nest {name}: {reason}; a file's name ends in .toml")
        }
        found => Ok(found?),
    }
}

/// A row for each operand of each level.
fn table(out: &Out, nest: &Nest, cost: &NestCost) {
    let micro = |pj: f64| format!("{:.3}", pj / 1e6);
    let mut rows = Vec::new();
    for (level, of) in nest.levels.iter().zip(&cost.levels) {
        for (index, operand) in of.operands.iter().enumerate() {
            let first = |text: String| if index == 0 { text } else { String::new() };
            rows.push(vec![
                first(of.name.clone()),
                first(loops(level)),
                operand.operand.name().to_owned(),
                first(of.parts.to_string()),
                units::rounded(operand.held_words),
                units::rounded(operand.reads),
                units::rounded(operand.fills + operand.updates),
                micro(operand.pj),
            ]);
        }
        if of.leak_pj > 0.0 {
            let mut row = vec![String::new(); 7];
            row[2] = "leakage".into();
            row.push(micro(of.leak_pj));
            rows.push(row);
        }
    }
    let mut row = vec![String::new(); 7];
    row[0] = "multipliers".into();
    row[3] = cost.multipliers_used.to_string();
    row.push(micro(cost.multiply_pj));
    rows.push(row);
    let headings = [
        "level",
        "loops",
        "holds",
        "parts",
        "words each",
        "reads",
        "writes",
        "µJ",
    ];
    out.table(3, &headings, &rows);
}

/// A level's loops in time, and those across parts.
fn loops(level: &Level) -> String {
    let written = |loops: &[_]| {
        let texts = loops.iter().map(|&l| String::from(l));
        texts.collect::<Vec<_>>().join(", ")
    };
    match level.across.is_empty() {
        true => written(&level.loops),
        false => format!("{} | {}", written(&level.loops), written(&level.across))
            .trim_start()
            .to_owned(),
    }
}
