//! What a command tells: lines and tables for a person, JSON for a program.

use crate::args::JsonArg;
use crate::{file, host};
use anyhow::{Context, Result};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;
use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};

/// Where a command's result goes.
pub struct Out {
    json: Json,
}

enum Json {
    No,
    File(PathBuf),
    /// The result alone goes to standard output; people read standard error.
    Stdout,
}

const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

impl Out {
    /// With JSON to a file, or to standard output for `-`. A file that could
    /// not be written is an error now, before any work.
    pub fn new(json: &JsonArg) -> Result<Self> {
        let json = match &json.json {
            None => Json::No,
            Some(path) if path == Path::new("-") => Json::Stdout,
            Some(path) => {
                file::check_output(path)?;
                Json::File(path.clone())
            }
        };
        Ok(Self { json })
    }

    /// A line. Nobody reading it is no reason to stop the work.
    pub fn line(&self, text: impl Display) {
        let text = text.to_string();
        if host::line(&text) {
            return;
        }
        let _ = match self.json {
            Json::Stdout => writeln!(stderr(), "{text}"),
            _ => writeln!(stdout(), "{text}"),
        };
    }

    /// Rows under headings; all columns but the first `left` to the right.
    pub fn table(&self, left: usize, headings: &[&str], rows: &[Vec<String>]) {
        let mut table = Table::new();
        table.load_style(STYLE);
        table.set_header(headings);
        for row in rows {
            table.add_row(row);
        }
        // On a terminal, what is too wide is wrapped within its column.
        table.set_content_arrangement(ContentArrangement::Dynamic);
        for (index, column) in table.column_iter_mut().enumerate() {
            let gap = if index + 1 < headings.len() { 1 } else { 0 };
            column.set_padding((0, gap));
            if index >= left {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.lines() {
            self.line(line.trim_end());
        }
    }

    /// The result, for programs.
    pub fn finish(&self, value: &impl Serialize) -> Result<()> {
        if host::is_there() {
            host::result(serde_json::to_value(value)?);
        }
        let mut text = match self.json {
            Json::No => return Ok(()),
            _ => serde_json::to_string_pretty(value)?,
        };
        text.push('\n');
        match &self.json {
            Json::File(path) => file::write(path, text.as_bytes()),
            _ => stdout()
                .write_all(text.as_bytes())
                .context("standard output"),
        }
    }
}
