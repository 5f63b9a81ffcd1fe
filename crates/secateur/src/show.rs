//! What a user sees: progress, tables, JSON.

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

static STOPPED: AtomicBool = AtomicBool::new(false);

/// Asks long work to stop at its next step; the second time, ends the program.
pub fn stop() {
    if STOPPED.swap(true, Ordering::Relaxed) {
        std::process::exit(1);
    }
}

/// Whether the work goes on.
pub fn go_on() -> ControlFlow<()> {
    match STOPPED.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// A bar with the time left; silent where there is no terminal.
pub fn bar(what: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg:12} {bar:30} {percent:>3} %  {eta} left  {prefix}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(1)
        .with_style(style)
        .with_message(what.to_owned())
}

/// Moves a bar; the loss stands beside it.
pub fn advance(bar: &ProgressBar, done: usize, total: usize, loss: f32) -> ControlFlow<()> {
    bar.set_length(total as u64);
    bar.set_position(done as u64);
    if done.is_multiple_of(50) {
        bar.set_prefix(format!("loss {loss:.4}"));
    }
    go_on()
}

/// Prints rows under headings; all columns but the first to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(headings);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
}

/// Writes a result for programs, if a file was asked for.
pub fn json(path: Option<&Path>, value: &impl Serialize) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    let place = || format!("writing {}", path.display());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(place)?;
    serde_json::to_writer_pretty(&mut file, value).with_context(place)?;
    file.write_all(b"\n").with_context(place)?;
    file.persist(path).with_context(place)?;
    Ok(())
}

/// A size with its unit.
pub fn bytes(n: usize) -> String {
    match n {
        0..=9_999 => format!("{n} B"),
        10_000..=9_999_999 => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}
