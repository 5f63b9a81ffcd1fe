//! Plots as inline SVG: colours are the page's, by class, so that they follow light and dark.

use super::html::escaped;
use std::fmt::Write;

/// Extents of a plot, in units of its own: about pixels on the screen that it is for.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub width: f64,
    pub height: f64,
}

/// For a phone.
const NARROW: Frame = Frame {
    width: 340.0,
    height: 290.0,
};
/// For a page of print and anything wider.
const WIDE: Frame = Frame {
    width: 860.0,
    height: 420.0,
};

/// Room around the field of a plot.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 44.0;
/// Size of text, and the mean width of a letter, both in units of a frame.
const TEXT: f64 = 12.0;
const LETTER: f64 = 0.56 * TEXT;

/// A plot at both widths, of which the page shows one.
pub fn at_both_widths(draw: impl Fn(Frame) -> String) -> String {
    format!(
        "<div class=\"narrow\">{}</div><div class=\"wide\">{}</div>",
        draw(NARROW),
        draw(WIDE)
    )
}

/// How values lie along an axis, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    Linear { from: f64, to: f64 },
    Log { from: f64, to: f64 },
}

impl Scale {
    /// Where a value lies: 0 at the beginning, 1 at the end.
    pub fn place(self, value: f64) -> f64 {
        let (value, from, to) = match self {
            Self::Linear { from, to } => (value, from, to),
            Self::Log { from, to } => (value.max(f64::MIN_POSITIVE).ln(), from.ln(), to.ln()),
        };
        ((value - from) / (to - from)).clamp(0.0, 1.0)
    }

    /// Round values within it, so many at the most.
    pub fn ticks(self, most: usize) -> Vec<f64> {
        let (from, to) = match self {
            Self::Linear { from, to } | Self::Log { from, to } => (from, to),
        };
        let within = |ticks: Vec<f64>| -> Vec<f64> {
            let slack = (to - from) * 1e-9;
            let inside = |t: &f64| (from - slack..=to + slack).contains(t);
            ticks.into_iter().filter(inside).collect()
        };
        if let Self::Log { .. } = self {
            let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
            for (parts, every) in [
                (&[1.0, 2.0, 5.0][..], 1),
                (&[1.0, 3.0], 1),
                (&[1.0], 1),
                (&[1.0], 2),
                (&[1.0], 3),
            ] {
                let exponents = decades.clone().filter(|d| d % every == 0);
                let ticks = exponents.flat_map(|d| parts.iter().map(move |p| p * 10f64.powi(d)));
                let ticks = within(ticks.collect());
                if (2..=most).contains(&ticks.len()) {
                    return ticks;
                }
            }
        }
        let rough = (to - from) / most.max(1) as f64;
        let unit = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|f| f * unit)
            .into_iter()
            .find(|step| *step >= rough * (1.0 - 1e-9))
            .unwrap_or(10.0 * unit);
        let first = (from / step).ceil();
        let count = ((to / step).floor() - first).clamp(-1.0, 100.0) + 1.0;
        within(
            (0..count as usize)
                .map(|i| (first + i as f64) * step)
                .collect(),
        )
    }
}

/// An axis: what it measures, and how its values are written.
pub struct Axis<'a> {
    pub name: &'a str,
    pub scale: Scale,
    pub write: fn(f64) -> String,
}

/// What stands at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Circle,
    Square,
    Diamond,
}

/// A field with two axes, on which marks and lines are put.
pub struct Plot {
    frame: Frame,
    x: Scale,
    y: Scale,
    svg: String,
    /// Left, top, right and bottom of what no label may cover.
    taken: Vec<[f64; 4]>,
}

impl Plot {
    pub fn new(frame: Frame, x: &Axis<'_>, y: &Axis<'_>) -> Self {
        let mut plot = Self {
            frame,
            x: x.scale,
            y: y.scale,
            svg: String::new(),
            taken: Vec::new(),
        };
        let (left, right) = (LEFT, frame.width - RIGHT);
        let (top, bottom) = (TOP, frame.height - BOTTOM);
        for tick in y.scale.ticks((frame.height / 60.0) as usize) {
            let at = plot.across(tick);
            plot.rule(left, at, right, at, "grid");
            plot.text(left - 6.0, at + 4.0, "tick end", &(y.write)(tick));
        }
        for tick in x.scale.ticks((frame.width / 75.0) as usize) {
            let at = plot.along(tick);
            plot.rule(at, top, at, bottom, "grid");
            plot.text(at, bottom + 16.0, "tick middle", &(x.write)(tick));
        }
        plot.rule(left, bottom, right, bottom, "axis");
        plot.text(0.0, 13.0, "name", y.name);
        plot.text(right, bottom + 36.0, "name end", x.name);
        plot
    }

    fn along(&self, x: f64) -> f64 {
        LEFT + self.x.place(x) * (self.frame.width - LEFT - RIGHT)
    }

    fn across(&self, y: f64) -> f64 {
        self.frame.height - BOTTOM - self.y.place(y) * (self.frame.height - TOP - BOTTOM)
    }

    /// A line through points.
    pub fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let places: Vec<String> = points
            .iter()
            .map(|&(x, y)| format!("{:.1},{:.1}", self.along(x), self.across(y)))
            .collect();
        self.put(format_args!(
            "<polyline class=\"{class}\" points=\"{}\"/>",
            places.join(" ")
        ));
    }

    /// A mark whose title is shown where one points at it.
    pub fn mark(&mut self, at: (f64, f64), shape: Shape, radius: f64, class: &str, title: &str) {
        let (x, y) = (self.along(at.0), self.across(at.1));
        self.taken
            .push([x - radius, y - radius, x + radius, y + radius]);
        let title = escaped(title);
        let r = radius;
        match shape {
            Shape::Circle => self.put(format_args!(
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\"><title>{title}</title></circle>"
            )),
            Shape::Square => self.put(format_args!(
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{title}</title></rect>",
                x - r, y - r, 2.0 * r, 2.0 * r
            )),
            Shape::Diamond => self.put(format_args!(
                "<path class=\"{class}\" d=\"M{x:.1} {:.1}l{r:.1} {r:.1}l-{r:.1} {r:.1}l-{r:.1} -{r:.1}z\"><title>{title}</title></path>",
                y - r
            )),
        }
    }

    /// Text beside a point, where it covers nothing; nowhere if there is no such place.
    pub fn label(&mut self, at: (f64, f64), away: f64, class: &str, text: &str) {
        let [left, right, above, below] = self.beside(at, away, text);
        self.label_at(&[right, left, above, below], class, text);
    }

    /// Text above or below a point of a line, where it covers nothing; nowhere if there is no such place.
    pub fn label_of_line(&mut self, at: (f64, f64), away: f64, class: &str, text: &str) {
        let [_, _, above, below] = self.beside(at, away, text);
        self.label_at(&[above, below], class, text);
    }

    /// Where text begins that stands left of a point, right of it, above and below.
    fn beside(&self, at: (f64, f64), away: f64, text: &str) -> [(f64, f64); 4] {
        let (x, y) = (self.along(at.0), self.across(at.1));
        let width = text.chars().count() as f64 * LETTER;
        let middle = (x - width / 2.0).clamp(2.0, (self.frame.width - 2.0 - width).max(2.0));
        [
            (x - away - 3.0 - width, y + 4.0),
            (x + away + 3.0, y + 4.0),
            (middle, y - away - 5.0),
            (middle, y + away + TEXT),
        ]
    }

    /// Text at the first of some places where it covers nothing.
    fn label_at(&mut self, places: &[(f64, f64)], class: &str, text: &str) {
        let width = text.chars().count() as f64 * LETTER;
        for &(left, base) in places {
            let place = [left, base - TEXT + 2.0, left + width, base + 2.0];
            // Wide letters take more than the mean.
            let inside = left >= 2.0
                && left + 1.2 * width <= self.frame.width
                && place[1] >= TOP - TEXT
                && place[3] <= self.frame.height - BOTTOM;
            if inside && self.taken.iter().all(|other| apart(other, &place)) {
                self.taken.push(place);
                return self.text(left, base, class, text);
            }
        }
    }

    /// Text at the right end of a height.
    pub fn label_at_end(&mut self, y: f64, class: &str, text: &str) {
        let (right, base) = (self.frame.width - RIGHT, self.across(y) - 5.0);
        let width = text.chars().count() as f64 * LETTER;
        self.taken
            .push([right - width, base - TEXT, right, base + 2.0]);
        self.text(right, base, &format!("{class} end"), text);
    }

    /// The plot; `description` is read out.
    pub fn finish(self, description: &str) -> String {
        let Frame { width, height } = self.frame;
        let description = escaped(description);
        format!(
            "<svg class=\"plot\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{description}\">{}</svg>",
            self.svg
        )
    }

    fn rule(&mut self, x0: f64, y0: f64, x1: f64, y1: f64, class: &str) {
        self.put(format_args!(
            "<path class=\"{class}\" d=\"M{x0:.1} {y0:.1}L{x1:.1} {y1:.1}\"/>"
        ));
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            escaped(text)
        ));
    }

    fn put(&mut self, part: std::fmt::Arguments<'_>) {
        // A string takes anything.
        let _ = self.svg.write_fmt(part);
    }
}

fn apart(a: &[f64; 4], b: &[f64; 4]) -> bool {
    a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1]
}

/// A bar of parts, each a share of the whole width and a class; it is as wide as it has room.
pub fn bar(parts: &[(f64, &str)], description: &str) -> String {
    let mut at = 0.0;
    let mut rects = String::new();
    for &(share, class) in parts {
        let width = 1000.0 * share.clamp(0.0, 1.0);
        if width > 0.0 {
            // What is there is seen, however little it is.
            let seen = width.max(2.0);
            let _ = write!(
                rects,
                "<rect class=\"{class}\" x=\"{at:.1}\" width=\"{seen:.1}\" height=\"10\"/>"
            );
        }
        at += width;
    }
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{rects}</svg>",
        escaped(description)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round() {
        let scale = Scale::Linear {
            from: 0.93,
            to: 2.1,
        };
        assert_eq!(scale.ticks(3).len(), 3);
        let log = Scale::Log {
            from: 900.0,
            to: 1_100_000.0,
        };
        assert_eq!(log.ticks(4), [1e3, 1e4, 1e5, 1e6]);
        assert_eq!(log.place(900.0), 0.0);
    }

    #[test]
    fn labels_do_not_cover_each_other() {
        let axis = |name| Axis {
            name,
            scale: Scale::Linear { from: 0.0, to: 1.0 },
            write: |v| v.to_string(),
        };
        let mut plot = Plot::new(NARROW, &axis("x"), &axis("y"));
        for _ in 0..9 {
            plot.label((0.5, 0.5), 4.0, "label", "a long name");
        }
        let written = plot.finish("labels").matches("a long name").count();
        assert!((2..9).contains(&written), "{written}");
    }

    proptest! {
        #[test]
        fn ticks_are_within_and_few(from in -1e6f64..1e6, span in 1e-6f64..1e6, most in 1usize..12) {
            let scale = Scale::Linear { from, to: from + span };
            let ticks = scale.ticks(most);
            prop_assert!(ticks.len() <= most + 1);
            for tick in ticks {
                prop_assert!(tick >= from - span * 1e-6 && tick <= from + span * (1.0 + 1e-6));
            }
        }
    }
}
