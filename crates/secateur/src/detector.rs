//! Networks that find objects: what they say, and pictures of it.

use anyhow::{Context, Result, bail};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use secateur_data::image::Picture;
use secateur_model::Graph;
use secateur_model::detection::{Detection, Head};
use std::io::Cursor;

/// Colours of the classes, by turns; told apart by people who see few colours, too (Okabe, Ito 2008).
const COLOURS: [(&str, [u8; 3]); 7] = [
    ("blue", [0, 114, 178]),
    ("vermilion", [213, 94, 0]),
    ("green", [0, 158, 115]),
    ("purple", [204, 121, 167]),
    ("sky blue", [86, 180, 233]),
    ("orange", [230, 159, 0]),
    ("yellow", [240, 228, 66]),
];

/// How the network finds objects, if it does.
pub fn head(graph: &Graph) -> Result<Option<Head>> {
    Ok(Head::stored(&graph.metadata)?)
}

/// The objects of a picture, from a network's first output.
pub fn decode(head: &Head, output: &[f32], least: f32) -> Result<Vec<Detection>> {
    let needed = head.cell_count() * head.width();
    if output.len() != needed {
        bail!(
            "its metadata says that it tells {needed} numbers of a picture, it tells {}",
            output.len()
        );
    }
    Ok(head.decode(output, least))
}

/// The name of a class's colour.
pub fn colour(class: u32) -> &'static str {
    COLOURS[class as usize % COLOURS.len()].0
}

/// The picture with the objects' boxes drawn, as PNG.
pub fn draw(picture: &Picture, found: &[Detection]) -> Result<Vec<u8>> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    let plane = picture.width * picture.height;
    let channel = |c: usize| if picture.channels == 3 { c * plane } else { 0 };
    let pixels = (0..plane).flat_map(|i| [0, 1, 2].map(|c| picture.pixels[channel(c) + i]));
    let mut canvas = RgbImage::from_raw(width, height, pixels.collect())
        .context("the picture has too few pixels")?;
    // The best are drawn last, over the others.
    for detection in found.iter().rev() {
        outline(&mut canvas, detection);
    }
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(canvas).write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// Draws the edges of a box, inwards.
fn outline(canvas: &mut RgbImage, detection: &Detection) {
    let (width, height) = canvas.dimensions();
    let thick = (width.max(height) / 250).max(1);
    let colour = Rgb(COLOURS[detection.class as usize % COLOURS.len()].1);
    let at = |part: f32, side: u32| ((part * side as f32).round() as u32).min(side);
    let b = detection.bbox;
    let (left, right) = (at(b.left, width), at(b.right, width));
    let (top, bottom) = (at(b.top, height), at(b.bottom, height));
    for y in top..bottom {
        for x in left..right {
            let inside =
                x >= left + thick && x + thick < right && y >= top + thick && y + thick < bottom;
            if !inside {
                canvas.put_pixel(x, y, colour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::detection::BBox;

    #[test]
    fn boxes_are_drawn_around_what_they_hold() {
        let picture = Picture {
            channels: 1,
            height: 10,
            width: 20,
            pixels: vec![200; 200],
        };
        let detection = Detection {
            class: 8,
            score: 0.9,
            bbox: BBox::new(0.25, 0.2, 0.75, 1.0),
        };
        let png = draw(&picture, &[detection]).unwrap();
        let drawn = secateur_data::image::decode(&png, "drawn").unwrap();
        let coloured = |x: usize, y: usize| drawn.pixels[y * 20 + x] == COLOURS[1].1[0];
        for y in 0..10 {
            for x in 0..20 {
                let inside = (5..15).contains(&x) && (2..10).contains(&y);
                let edge = inside && (x == 5 || x == 14 || y == 2 || y == 9);
                assert_eq!(coloured(x, y), edge, "{x} {y}");
            }
        }
        assert_eq!(colour(8), "vermilion");
    }
}
