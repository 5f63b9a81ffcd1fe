//! Rows of time: what each part of a machine does when, as inline SVG.

use super::super::html::escaped;
use super::super::svg::{Frame, Scale};
use std::fmt::Write;

/// Room around the rows.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 6.0;
const BOTTOM: f64 = 40.0;
/// What the eye cannot tell apart, in units of the frame.
const LEAST: f64 = 0.3;
/// The mean distance of lines, at the least.
const CLOSEST: f64 = 12.0;

/// A stretch of time in a row.
#[derive(Debug, Clone, Copy)]
pub struct Stretch<'a> {
    pub row: usize,
    pub from: f64,
    pub to: f64,
    pub class: &'a str,
}

/// A name over a stretch of time in a row, written where there is room.
pub struct Name<'a> {
    pub row: usize,
    pub from: f64,
    pub to: f64,
    pub text: &'a str,
}

/// Rows with one axis of time below.
pub struct Lanes<'a> {
    /// Names of the rows, from above.
    pub rows: Vec<String>,
    /// Height of a row, and of the gap below it.
    pub height: [f64; 2],
    /// What the axis measures.
    pub axis: String,
    pub from: f64,
    pub to: f64,
    pub stretches: Vec<Stretch<'a>>,
    pub names: Vec<Name<'a>>,
    /// Times that are marked by a line through all rows.
    pub lines: Vec<f64>,
}

impl Lanes<'_> {
    /// The picture; `description` is read out.
    pub fn draw(&self, frame: Frame, description: &str) -> String {
        let [height, gap] = self.height;
        let bottom = TOP + self.rows.len() as f64 * (height + gap);
        let top = |row: usize| TOP + row as f64 * (height + gap);
        let width = frame.width - LEFT - RIGHT;
        let scale = Scale::Linear {
            from: self.from,
            to: self.to.max(self.from + 1.0),
        };
        let along = |time: f64| LEFT + width * scale.place(time);
        let mut svg = String::new();
        let mut put = |part: std::fmt::Arguments<'_>| {
            // A string takes anything.
            let _ = svg.write_fmt(part);
        };
        for (row, name) in self.rows.iter().enumerate() {
            let middle = top(row) + height / 2.0 + 4.0;
            put(format_args!(
                "<rect class=\"lane\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{width}\" height=\"{height}\"/>",
                top(row)
            ));
            if !name.is_empty() {
                put(format_args!(
                    "<text class=\"tick end\" x=\"{:.1}\" y=\"{middle:.1}\">{}</text>",
                    LEFT - 6.0,
                    escaped(name)
                ));
            }
        }
        for tick in scale.ticks((frame.width / 85.0) as usize) {
            let x = along(tick);
            put(format_args!(
                "<path class=\"axis\" d=\"M{x:.1} {bottom:.1}v4\"/><text class=\"tick middle\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                bottom + 16.0,
                crate::units::count(tick.max(0.0) as usize)
            ));
        }
        for (class, path) in self.paths(along, top, height) {
            put(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
        }
        // Lines that stand close would hide what is between them.
        let lines = match self.lines.len() as f64 * CLOSEST <= width {
            true => &self.lines[..],
            false => &[],
        };
        for &time in lines {
            put(format_args!(
                "<path class=\"meet\" d=\"M{:.1} {TOP}V{bottom:.1}\"/>",
                along(time)
            ));
        }
        for name in &self.names {
            let room = along(name.to) - along(name.from);
            // Wide letters take more than the mean.
            if 8.0 * name.text.chars().count() as f64 <= room {
                put(format_args!(
                    "<text class=\"over middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    (along(name.from) + along(name.to)) / 2.0,
                    top(name.row) + height / 2.0 + 4.0,
                    escaped(name.text)
                ));
            }
        }
        put(format_args!(
            "<text class=\"name end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            frame.width - RIGHT,
            bottom + 34.0,
            escaped(&self.axis)
        ));
        format!(
            "<svg class=\"plot lanes\" viewBox=\"0 0 {} {:.0}\" role=\"img\" aria-label=\"{}\">{svg}</svg>",
            frame.width,
            bottom + BOTTOM,
            escaped(description)
        )
    }

    /// All stretches of a class as one path. Those between which no gap could be seen are one.
    fn paths(
        &self,
        along: impl Fn(f64) -> f64,
        top: impl Fn(usize) -> f64,
        height: f64,
    ) -> Vec<(&str, String)> {
        let mut sorted: Vec<&Stretch<'_>> = self.stretches.iter().collect();
        sorted.sort_by(|a, b| {
            let place = a.class.cmp(b.class).then(a.row.cmp(&b.row));
            place.then(a.from.total_cmp(&b.from))
        });
        let mut paths: Vec<(&str, String)> = Vec::new();
        for of_class in sorted.chunk_by(|a, b| a.class == b.class) {
            let mut path = String::new();
            for of_row in of_class.chunk_by(|a, b| a.row == b.row) {
                let mut merged: Vec<[f64; 2]> = Vec::new();
                for stretch in of_row {
                    let [from, to] = [along(stretch.from), along(stretch.to)];
                    match merged.last_mut() {
                        Some(last) if from - last[1] < LEAST => last[1] = last[1].max(to),
                        _ => merged.push([from, to]),
                    }
                }
                let y = of_row.first().map_or(0.0, |s| top(s.row));
                for [from, to] in merged {
                    // What is there is seen, however short it is.
                    let wide = (to - from).max(LEAST);
                    let _ = write!(path, "M{from:.1} {y:.1}h{wide:.1}v{height}h-{wide:.1}z");
                }
            }
            if let Some(first) = of_class.first() {
                paths.push((first.class, path));
            }
        }
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_drawn_in_their_rows_and_joined_where_no_gap_is_seen() {
        let stretch = |row, from, to| Stretch {
            row,
            from,
            to,
            class: "a",
        };
        let lanes = Lanes {
            rows: vec!["<x>".into(), "y".into()],
            height: [10.0, 2.0],
            axis: "cycles".into(),
            from: 0.0,
            to: 1000.0,
            stretches: vec![
                stretch(0, 0.0, 100.0),
                stretch(0, 100.1, 200.0),
                stretch(1, 500.0, 500.0),
            ],
            names: vec![],
            lines: vec![],
        };
        let frame = Frame {
            width: 340.0,
            height: 290.0,
        };
        let drawn = lanes.draw(frame, "what");
        assert!(drawn.contains("&lt;x&gt;") && drawn.contains("aria-label=\"what\""));
        assert_eq!(drawn.matches("class=\"a\"").count(), 1);
        let path = drawn.split("class=\"a\"").nth(1).unwrap();
        assert_eq!(path.split("/>").next().unwrap().matches('M').count(), 2);
    }
}
