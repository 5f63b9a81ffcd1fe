//! The weights of each layer before and after: how they are spread, and which are left.

use super::headline::share;
use super::html::{Section, escaped, legend};
use super::svg::bar;
use super::{MOST_LAYERS, Run, layers, png, shape};
use secateur_model::Weight;
use std::fmt::Write;

/// Bins of a histogram: odd, so that one has zero in its middle.
const BINS: usize = 41;
/// Share of the values that a histogram spreads out; its outermost bins hold what lies beyond.
const SPREAD: f64 = 0.999;
/// Pixels along a side of a mask, where there are few masks and where there are many.
const SIDES: [usize; 2] = [800, 128];
const FEW: usize = 10;

pub fn weights(run: &Run<'_>) -> Option<Section> {
    let all = layers(run.after);
    if all.is_empty() {
        return None;
    }
    let side = SIDES[usize::from(all.len() > FEW)];
    let tiles: String = all
        .iter()
        .take(MOST_LAYERS)
        .map(|(name, after)| tile(name, run.before.weight(name), after, run.image, side))
        .collect();
    let key = legend(&[("before", "before"), ("after", "after")]);
    Some(Section {
        title: "Weights",
        lead: "How the values of each layer are spread, zeros apart, each side at its own height; and which weights \
               are left, rows of a picture being outputs, columns inputs."
            .to_owned(),
        body: format!(
            "{key}<div class=\"tiles\">{tiles}</div>{}",
            super::left_out(all.len())
        ),
    })
}

fn tile(
    name: &str,
    before: Option<&Weight>,
    after: &Weight,
    image: Option<[usize; 3]>,
    side: usize,
) -> String {
    let zeros = |weight: &Weight| {
        let all = weight.shape().elements().max(1) as f64;
        1.0 - weight.nonzeros() as f64 / all
    };
    let gone = zeros(after);
    let mut out = format!(
        "<div class=\"tile\"><h3>{}</h3><p class=\"note\">{}, zeros {}{}</p>",
        escaped(name),
        shape(after),
        before.map_or(String::new(), |b| format!("{} → ", share(zeros(b)))),
        share(gone),
    );
    out += &histogram(before, after);
    out += &bar(
        &[(1.0 - gone, "after"), (gone, "track")],
        &format!("{} of the weights are zero", share(gone)),
    );
    if let Some(mask) = mask(after, side) {
        out += &mask;
    }
    if let Some(eye) = image.and_then(|image| eye(after, image)) {
        out += &eye;
    }
    out += "</div>\n";
    out
}

/// Both spreads along one axis: before upwards, after downwards.
fn histogram(before: Option<&Weight>, after: &Weight) -> String {
    let values = |weight: &Weight| -> Vec<f32> {
        let kept = weight.kept_f32();
        kept.into_iter().filter(|v| *v != 0.0).collect()
    };
    let (above, below) = (before.map(values).unwrap_or_default(), values(after));
    let reach = reach(&above).max(reach(&below));
    let (width, height, middle) = (260.0, 118.0, 52.0);
    let step = width / BINS as f64;
    let mut bars = String::new();
    for (values, class, up) in [(&above, "before", true), (&below, "after", false)] {
        let counts = counts(values, reach);
        let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let mut path = String::new();
        for (bin, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            // One weight is seen, too.
            let tall = ((middle - 2.0) * count as f64 / most).max(0.7);
            let top = if up {
                middle - 1.0 - tall
            } else {
                middle + 1.0
            };
            let _ = write!(
                path,
                "M{:.1} {top:.1}h{:.1}v{tall:.1}h-{:.1}z",
                bin as f64 * step + 0.4,
                step - 0.8,
                step - 0.8
            );
        }
        let _ = write!(bars, "<path class=\"{class}\" d=\"{path}\"/>");
    }
    let end = figure(reach);
    format!(
        "<svg class=\"small\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Values of {} weights before and {} after, from -{end} to {end}\">\
         {bars}<path class=\"axis\" d=\"M0 {middle}H{width}\"/>\
         <text x=\"0\" y=\"{height}\">-{end}</text><text class=\"middle\" x=\"{}\" y=\"{height}\">0</text>\
         <text class=\"end\" x=\"{width}\" y=\"{height}\">{end}</text></svg>",
        above.len(),
        below.len(),
        width / 2.0
    )
}

/// The magnitude that all but the outermost values stay under.
fn reach(values: &[f32]) -> f32 {
    let mut sizes: Vec<f32> = values.iter().map(|v| v.abs()).collect();
    let Some(last) = sizes.len().checked_sub(1) else {
        return 0.0;
    };
    let (_, reach, _) =
        sizes.select_nth_unstable_by((last as f64 * SPREAD) as usize, f32::total_cmp);
    *reach
}

fn counts(values: &[f32], reach: f32) -> [usize; BINS] {
    let mut counts = [0; BINS];
    let scale = BINS as f32 / (2.0 * reach).max(f32::MIN_POSITIVE);
    for value in values {
        let bin = ((value + reach) * scale).max(0.0) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    counts
}

fn figure(value: f32) -> String {
    match value {
        v if v >= 9.95 => format!("{v:.0}"),
        v if v >= 0.1 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}

/// Which weights are not zero.  Pixels of large layers stand for several weights: the more of them are left, the
/// stronger.
fn mask(weight: &Weight, side: usize) -> Option<String> {
    let (rows, columns) = weight.matrix();
    let elements = weight.shape().elements();
    if elements == 0 || weight.nonzeros() == elements {
        return None;
    }
    let (down, across) = (rows.div_ceil(side), columns.div_ceil(side));
    let (height, width) = (rows.div_ceil(down), columns.div_ceil(across));
    let mut counts = vec![0u32; height * width];
    for (position, value) in weight.positions().zip(weight.kept_f32()) {
        let (row, column) = (position / columns, position % columns);
        counts[row / down * width + column / across] += u32::from(value != 0.0);
    }
    let address = png::shades(width, height, &shades(&counts))?;
    let note = match down * across {
        1 => "a pixel a weight".to_owned(),
        _ => format!("a pixel for {down} × {across} weights"),
    };
    // What is higher than it is wide would be as long as a page.
    let tall = if height > width { " tall" } else { "" };
    Some(format!(
        "<img class=\"mask under{tall}\" width=\"{width}\" height=\"{height}\" src=\"{address}\" alt=\"Which weights are left\"><p class=\"note\">{rows} × {columns}, {note}</p>"
    ))
}

/// What a layer that reads a whole picture still reads of it.
fn eye(weight: &Weight, [channels, height, width]: [usize; 3]) -> Option<String> {
    let (rows, columns) = weight.matrix();
    let pixels = height.checked_mul(width)?;
    if weight.shape().rank() != 2 || pixels < 2 || pixels.checked_mul(channels)? != columns {
        return None;
    }
    let mut counts = vec![0u32; pixels];
    for (position, value) in weight.positions().zip(weight.kept_f32()) {
        counts[position % columns % pixels] += u32::from(value != 0.0);
    }
    let unread = counts.iter().filter(|&&count| count == 0).count();
    let address = png::shades(width, height, &shades(&counts))?;
    Some(format!(
        "<img class=\"mask eye under\" width=\"{width}\" height=\"{height}\" src=\"{address}\" alt=\"Weights left for each pixel of the input\"><p class=\"note\">weights left for each pixel of the input, of {rows}; {unread} of {pixels} pixels are not read</p>"
    ))
}

/// Counts as shades of which the strongest is the most; one is always seen.
fn shades(counts: &[u32]) -> Vec<u8> {
    let most = f64::from(counts.iter().copied().max().unwrap_or(0).max(1));
    counts
        .iter()
        .map(|&count| match count {
            0 => 0,
            // The square root, so that few among many are seen.
            count => (255.0 * (f64::from(count) / most).sqrt()).max(40.0) as u8,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secateur_model::{Bitmask, Shape, Support, Values};

    #[test]
    fn every_kept_weight_is_in_the_mask() {
        let mask_of = |len, kept: usize| {
            let bits = Bitmask::from_fn(len, |i| i == kept);
            let values = Values::F32(vec![2.0]);
            Weight::new(
                Shape::new(&[3, len / 3]).unwrap(),
                Support::Unstructured(bits),
                values,
            )
            .unwrap()
        };
        let picture = mask(&mask_of(3000, 2999), 448).unwrap();
        assert!(picture.contains("1 × 3 weights"), "{picture}");
        assert!(eye(&mask_of(12, 0), [1, 2, 2]).unwrap().contains("3 of 4"));
        assert_eq!(eye(&mask_of(12, 0), [1, 3, 2]), None);
        let dense = Weight::dense(Shape::new(&[1, 2]).unwrap(), vec![1.0, 2.0]).unwrap();
        assert_eq!(mask(&dense, 448), None);
    }

    #[test]
    fn shades_are_seen() {
        assert_eq!(shades(&[0, 1, 4]), [0, 127, 255]);
        assert_eq!(shades(&[1, 10_000])[0], 40);
        assert_eq!(shades(&[0, 0]), [0, 0]);
    }

    proptest! {
        #[test]
        fn bins_hold_every_value(values in prop::collection::vec(-10f32..10.0, 0..200)) {
            let reach = reach(&values);
            prop_assert_eq!(counts(&values, reach).iter().sum::<usize>(), values.len());
        }
    }
}
