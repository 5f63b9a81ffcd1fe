//! `secateur data`: the sets that are known by name.

use crate::args::{Data, DataCommand};
use crate::out::Out;
use crate::progress::Bar;
use crate::{detector, file, interrupt};
use anyhow::{Context, Result, bail};
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use secateur_data::image::Picture;
use secateur_data::{Dataset, KnownSet, Targets};
use secateur_model::detection::{Detection, Object};
use serde_json::{Value, json};
use std::io::Cursor;
use std::path::Path;

pub fn run(args: &Data) -> Result<()> {
    let out = Out::new(&args.json)?;
    match &args.command {
        DataCommand::Fetch { set } => {
            let folder = fetch(*set, &out)?;
            out.finish(&json!({ "set": set.name(), "folder": folder }))
        }
        DataCommand::List => list(&out),
        DataCommand::Sample {
            data,
            index,
            output,
        } => {
            file::check_output(output)?;
            let test = secateur_data::load(data)?.test;
            let class = sample(&test, *index, output)?;
            let path = output.display().to_string();
            let what = match test.targets() {
                Targets::Classes(_) => "class",
                Targets::Boxes(_) => "with",
            };
            out.line(format_args!(
                "{path}: test picture {index} of {data}, {what} {class}"
            ));
            out.finish(&json!({ "file": path, "index": index, "class": class }))
        }
    }
}

/// Brings a set into the cache, telling what goes on.
pub fn fetch(set: KnownSet, out: &Out) -> Result<std::path::PathBuf> {
    let bar = Bar::spinner(set.name());
    let folder = secateur_data::fetch(set, &mut |line| {
        bar.say(line);
    })?;
    drop(bar);
    interrupt::check()?;
    match set {
        KnownSet::Digits => out.line("digits: part of the program, nothing to fetch"),
        _ => out.line(format_args!("{set}: in {}", folder.display())),
    }
    Ok(folder)
}

fn list(out: &Out) -> Result<()> {
    let rows: Vec<Vec<String>> = KnownSet::ALL
        .iter()
        .map(|set| {
            let there = if set.is_cached() { "yes" } else { "no" };
            vec![set.name().into(), there.into(), set.description().into()]
        })
        .collect();
    out.table(3, &["set", "fetched", "what"], &rows);
    let sets: Vec<Value> = KnownSet::ALL
        .iter()
        .map(|set| {
            json!({
                "set": set.name(), "description": set.description(),
                "licence": set.licence(), "fetched": set.is_cached(),
            })
        })
        .collect();
    out.finish(&sets)
}

/// Writes a picture of a set as a PNG file, with the boxes it has; returns its class, or how
/// many of each class are in it.
pub fn sample(data: &Dataset, index: usize, path: &Path) -> Result<String> {
    if index >= data.len() {
        bail!(
            "{} has {} test images, counted from 0; there is no {index}",
            data.name,
            data.len()
        );
    }
    let no_picture = || format!("{}: image {index} is no picture of 8 bits", data.name);
    let raw = data.raw_u8(index).with_context(no_picture)?;
    let picture = Picture {
        channels: data.channels,
        height: data.height,
        width: data.width,
        pixels: raw.to_vec(),
    };
    let (png, class) = match data.targets() {
        Targets::Classes(labels) => {
            let class = data.classes[labels[index] as usize].clone();
            (png(&picture).with_context(no_picture)?, class)
        }
        Targets::Boxes(boxes) => (
            boxed(&picture, &boxes[index])?,
            counted(data, &boxes[index]),
        ),
    };
    file::write(path, &png)?;
    Ok(class)
}

fn boxed(picture: &Picture, objects: &[Object]) -> Result<Vec<u8>> {
    let certain = objects.iter().map(|object| Detection {
        class: object.class,
        score: 1.0,
        bbox: object.bbox,
    });
    detector::draw(picture, &certain.collect::<Vec<_>>())
}

/// As `12 RBC, 1 WBC`.
fn counted(data: &Dataset, objects: &[Object]) -> String {
    let classes = data.classes.iter().zip(0..);
    let counts = classes.filter_map(|(name, class)| {
        match objects.iter().filter(|o| o.class == class).count() {
            0 => None,
            n => Some(format!("{n} {name}")),
        }
    });
    counts.collect::<Vec<_>>().join(", ")
}

fn png(picture: &Picture) -> Option<Vec<u8>> {
    let planes = &picture.pixels;
    let (height, width) = (picture.height as u32, picture.width as u32);
    let picture: DynamicImage = match picture.channels {
        1 => GrayImage::from_raw(width, height, planes.to_vec())?.into(),
        3 => {
            let plane = planes.len() / 3;
            let pixels = (0..plane).flat_map(|i| [0, 1, 2].map(|c| planes[c * plane + i]));
            RgbImage::from_raw(width, height, pixels.collect())?.into()
        }
        _ => return None,
    };
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).ok()?;
    Some(bytes.into_inner())
}
