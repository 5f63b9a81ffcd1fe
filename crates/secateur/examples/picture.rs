//! Draws the result of `secateur demo --json demo.json`:
//!
//! ```sh
//! cargo run --release --example picture -- demo.json demo.svg
//! ```

use serde_json::Value;
use std::error::Error;
use std::fmt::Write;

/// Width of the longest bar, in pixels.
const BAR: f64 = 420.0;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args().skip(1);
    let (Some(from), Some(to)) = (paths.next(), paths.next()) else {
        return Err("needed: the JSON of `secateur demo`, and the SVG file to write".into());
    };
    let demo: Value = serde_json::from_slice(&std::fs::read(from)?)?;
    std::fs::write(to, svg(&demo)?)?;
    Ok(())
}

/// A quantity before and after.
struct Pair {
    name: &'static str,
    before: f64,
    after: f64,
    /// The unit, and how many of what was measured make one.
    unit: (&'static str, f64),
}

fn svg(demo: &Value) -> Result<String, Box<dyn Error>> {
    let number = |pointer: &str| {
        let found = demo.pointer(pointer).and_then(Value::as_f64);
        found.ok_or_else(|| format!("{pointer}: no number"))
    };
    let pairs = [
        Pair {
            name: "size",
            before: number("/before/bytes")?,
            after: number("/after/bytes")?,
            unit: ("kB", 1e3),
        },
        Pair {
            name: "one picture",
            before: number("/dense_ms")?,
            after: number("/small_ms")?,
            unit: ("µs", 1e-3),
        },
        Pair {
            name: "test error",
            before: number("/before/top1_error_percent")?,
            after: number("/after/top1_error_percent")?,
            unit: ("%", 1.0),
        },
    ];
    let data = demo.get("data").and_then(Value::as_str).unwrap_or_default();
    let height = 60 + 70 * pairs.len();
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 {height}" font-family="sans-serif" font-size="14" fill="#777">
<style>.before {{ fill: #aaa }} .after {{ fill: #2a8 }}</style>
<text x="10" y="28" font-size="17">LeNet-300-100 on {data}: <tspan class="before">as trained, f32</tspan> and <tspan class="after">compressed, .sct</tspan></text>
"##
    );
    for (index, pair) in pairs.iter().enumerate() {
        draw(&mut svg, 60 + 70 * index, pair)?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn draw(svg: &mut String, top: usize, pair: &Pair) -> std::fmt::Result {
    let longest = pair.before.max(pair.after).max(f64::MIN_POSITIVE);
    writeln!(
        svg,
        r#"<text x="110" y="{}" text-anchor="end">{}</text>"#,
        top + 28,
        pair.name
    )?;
    let bars = [
        ("before", pair.before, top),
        ("after", pair.after, top + 24),
    ];
    for (class, value, y) in bars {
        let width = (BAR * value / longest).max(1.0);
        let (unit, one) = pair.unit;
        let figure = value / one;
        let digits = if figure < 100.0 { 2 } else { 0 };
        writeln!(
            svg,
            r#"<rect class="{class}" x="125" y="{y}" width="{width:.1}" height="20" rx="2"/>
<text x="{:.1}" y="{}">{figure:.digits$} {unit}</text>"#,
            133.0 + width,
            y + 15
        )?;
    }
    Ok(())
}
