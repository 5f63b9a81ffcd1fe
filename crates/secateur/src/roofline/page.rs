//! The roofline of a network as a page that needs nothing else: a picture and the figures under it.

use super::{Arithmetic, Place, Roof};
use crate::units;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use secateur_engine::StepProfile;
use std::fmt::Write;

/// Pixels of the picture.
const SIZE: (u32, u32) = (1000, 560);
/// What the picture shows beyond its points, as a factor.
const MARGIN: f64 = 2.0;

const SPARSE: RGBColor = RGBColor(0xc2, 0x3b, 0x22);
const DENSE: RGBColor = RGBColor(0x1f, 0x5f, 0xa8);
const ROOFS: RGBColor = RGBColor(0x44, 0x44, 0x44);

/// A multiplying step: its number in the table, and where it stands.
struct Point<'a> {
    number: usize,
    step: &'a StepProfile,
    place: Place,
}

/// The page of a network's steps.
///
/// # Errors
/// Where the picture cannot be drawn.
pub fn page(title: &str, subtitle: &str, steps: &[StepProfile], roof: &Roof) -> Result<String> {
    let points: Vec<Point<'_>> = steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step.nonzero_macs > 0 && step.median_us > 0.0)
        .map(|(index, step)| Point {
            number: index + 1,
            step,
            place: roof.place(step),
        })
        .collect();
    let (title, subtitle) = (escaped(title), escaped(subtitle));
    let picture = match points.is_empty() {
        true => "<p>No step multiplies.</p>".to_owned(),
        false => picture(&points, roof)?,
    };
    let rows = table(steps, roof)?;
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}: roofline</title>\n\
         <style>\n\
         body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; color: #222; }}\n\
         svg {{ width: 100%; height: auto; }}\n\
         table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 13px; }}\n\
         th, td {{ padding: 2px 8px; text-align: right; white-space: nowrap; border-bottom: 1px solid #e4e4e4; }}\n\
         th {{ position: sticky; top: 0; background: #fff; }}\n\
         .text {{ text-align: left; white-space: normal; overflow-wrap: anywhere; }}\n\
         .sparse {{ color: #c23b22; }} .dense {{ color: #1f5fa8; }}\n\
         </style></head><body>\n<h1>{title}</h1>\n<p>{subtitle}</p>\n{picture}\n\
         <p>Each circle is a layer, its area the time it takes: <b class=\"sparse\">sparse</b> or \
         <b class=\"dense\">dense</b>. A layer cannot be above the roof: on the slope it waits for bytes \
         ({bandwidth:.1} GB/s over {set}), under the flat part it multiplies as fast as the best dense kernel of its \
         arithmetic. Only multiplies with a weight that is not zero count. Rates {source}.</p>\n\
         <table>\n<tr><th>#</th><th class=\"text\">layer</th><th class=\"text\">kernel</th><th>µs</th>\
         <th>predicted</th><th>non-zero MACs</th><th>bytes</th><th>GMAC/s</th><th>of the roof</th>\
         <th class=\"text\">instead of</th></tr>\n{rows}</table>\n</body></html>\n",
        bandwidth = roof.gb_per_s,
        set = units::bytes(roof.working_set as u64),
        source = match roof.measured {
            true => "were measured on this machine",
            false => "are those of typical machines",
        },
    ))
}

fn picture(points: &[Point<'_>], roof: &Roof) -> Result<String> {
    let mut svg = String::new();
    // Its own errors borrow the picture.
    draw(&mut svg, points, roof).map_err(|e| anyhow!("the picture cannot be drawn: {e}"))?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    points: &[Point<'_>],
    roof: &Roof,
) -> Result<(), Box<dyn std::error::Error>> {
    let least =
        |of: fn(&Place) -> f64| points.iter().map(|p| of(&p.place)).fold(f64::MAX, f64::min);
    let most = |of: fn(&Place) -> f64| points.iter().map(|p| of(&p.place)).fold(0.0, f64::max);
    let top = roof.int8_gmacs.max(most(|p| p.gmacs));
    let right = most(|p| p.intensity).max(top / roof.gb_per_s);
    let (left, bottom) = (least(|p| p.intensity), least(|p| p.gmacs));
    let (x0, x1) = (left / MARGIN, right * MARGIN);
    let (y0, y1) = (bottom / MARGIN, top * MARGIN);

    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(10)
        .x_label_area_size(45)
        .y_label_area_size(65)
        .build_cartesian_2d((x0..x1).log_scale(), (y0..y1).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("multiplies of non-zeros a byte")
        .y_desc("multiplies of non-zeros, GMAC/s")
        .label_style(("sans-serif", 14))
        .x_label_formatter(&|x| x.to_string())
        .y_label_formatter(&|y| y.to_string())
        .light_line_style(WHITE)
        .draw()?;
    for (arithmetic, name) in [(Arithmetic::Int8, "int8"), (Arithmetic::F32, "f32")] {
        let used = |p: &Point<'_>| Arithmetic::of(p.step) == arithmetic;
        if !points.iter().any(used) {
            continue;
        }
        let peak = roof.peak(arithmetic);
        let ridge = (peak / roof.gb_per_s).clamp(x0, x1);
        let line = [(x0, x0 * roof.gb_per_s), (ridge, peak), (x1, peak)];
        chart.draw_series(LineSeries::new(line, ROOFS.stroke_width(2)))?;
        let label = format!("{name}: {peak:.0} GMAC/s");
        let style = ("sans-serif", 14).into_text_style(&root).color(&ROOFS);
        let over = (x1 / MARGIN.powf(0.3), peak * 1.08);
        let anchor = plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Right,
            plotters::style::text_anchor::VPos::Bottom,
        );
        chart.draw_series([Text::new(label, over, style.pos(anchor))])?;
    }
    let longest = points.iter().map(|p| p.step.median_us).fold(0.0, f64::max);
    for point in points {
        let at = (point.place.intensity, point.place.gmacs);
        let radius = 4.0 + 14.0 * (point.step.median_us / longest).sqrt();
        let colour = match is_sparse(point.step) {
            true => SPARSE,
            false => DENSE,
        };
        chart.draw_series([Circle::new(at, radius as i32, colour.mix(0.35).filled())])?;
        let style = ("sans-serif", 11).into_text_style(&root).color(&BLACK);
        chart.draw_series([Text::new(point.number.to_string(), at, style)])?;
    }
    root.present()?;
    Ok(())
}

fn table(steps: &[StepProfile], roof: &Roof) -> Result<String> {
    let mut rows = String::new();
    for (index, step) in steps.iter().enumerate() {
        let place = roof.place(step);
        let class = match (step.nonzero_macs, is_sparse(step)) {
            (0, _) => "",
            (_, true) => " sparse",
            (_, false) => " dense",
        };
        let instead: Vec<String> = step.choice.refused.iter().map(super::instead).collect();
        writeln!(
            rows,
            "<tr><td>{}</td><td class=\"text\">{}</td><td class=\"text{class}\">{}</td><td>{:.1}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{:.1}</td><td>{:.0} %</td><td class=\"text\">{}</td></tr>",
            index + 1,
            escaped(&step.name),
            escaped(super::short_name(&step.choice.kernel)),
            step.median_us,
            step.predicted_us
                .map_or(String::new(), |us| format!("{us:.1}")),
            units::rounded(step.nonzero_macs),
            units::bytes(step.bytes),
            place.gmacs,
            100.0 * place.share,
            escaped(&instead.join("; ")),
        )?;
    }
    Ok(rows)
}

fn is_sparse(step: &StepProfile) -> bool {
    step.choice.kernel.contains("_spmm_")
}

/// Text as a page may hold it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ROOF, step};
    use super::*;

    #[test]
    fn a_page_has_a_point_for_each_layer_and_a_row_for_each_step() {
        let steps = [
            step("u8i8i32_spmm_16x14_gather64__avx512vnni", 1_000_000, 10_000),
            step("max_pool", 0, 50_000),
        ];
        let page = page("a & b", "here", &steps, &ROOF).unwrap();
        assert!(page.contains("<h1>a &amp; b</h1>") && page.contains("conv &lt;1&gt;"));
        assert_eq!(page.matches("<circle").count(), 1);
        assert_eq!(page.matches("<tr>").count(), 3);
        assert!(page.contains("int8: 100 GMAC/s") && !page.contains("f32: "));
    }

    #[test]
    fn a_network_that_does_not_multiply_has_a_page_too() {
        let page = page("x", "y", &[step("add", 0, 10)], &ROOF).unwrap();
        assert!(page.contains("No step multiplies"));
    }
}
