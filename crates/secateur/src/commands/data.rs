//! `secateur data`: the sets that are known by name.

use crate::args::{Data, DataCommand};
use crate::out::Out;
use crate::progress::Bar;
use crate::{file, interrupt};
use anyhow::{Context, Result, bail};
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use secateur_data::{Dataset, KnownSet};
use serde_json::{Value, json};
use std::io::Cursor;
use std::path::Path;

pub fn run(args: &Data) -> Result<()> {
    let out = Out::new(args.json.json.as_deref())?;
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
            out.line(format_args!(
                "{path}: test picture {index} of {data}, class {class}"
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

/// Writes a picture of a set as a PNG file; returns its class.
pub fn sample(data: &Dataset, index: usize, path: &Path) -> Result<String> {
    let Some(&label) = data.labels().get(index) else {
        bail!(
            "{} has {} test images, counted from 0; there is no {index}",
            data.name,
            data.len()
        );
    };
    let png = png(data, index)
        .with_context(|| format!("{}: image {index} is no picture of 8 bits", data.name))?;
    file::write(path, &png)?;
    Ok(data.classes[label as usize].clone())
}

fn png(data: &Dataset, index: usize) -> Option<Vec<u8>> {
    let planes = data.raw_u8(index)?;
    let (height, width) = (data.height as u32, data.width as u32);
    let picture: DynamicImage = match data.channels {
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
