//! What an argument may be; anything else is bad usage (exit status 2).

use crate::sweep::Axis;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use secateur_data::KnownSet;
use secateur_model::zoo;
use std::path::{Path, PathBuf};

/// A network's file.
pub fn network(text: &str) -> Result<PathBuf, String> {
    with_extension(text, &["onnx", "sct", "net"])
}

/// A network's file that can be written.
pub fn written_network(text: &str) -> Result<PathBuf, String> {
    with_extension(text, &["onnx", "sct"])
}

/// A `.sct` file.
pub fn sct(text: &str) -> Result<PathBuf, String> {
    with_extension(text, &["sct"])
}

/// A PNG file.
pub fn png(text: &str) -> Result<PathBuf, String> {
    with_extension(text, &["png"])
}

/// A page.
pub fn html(text: &str) -> Result<PathBuf, String> {
    with_extension(text, &["html"])
}

/// A recipe's file.
pub fn toml(text: &str) -> Result<PathBuf, String> {
    with_extension(text, &["toml"])
}

/// A setting of a machine and its values.
pub fn sweep(text: &str) -> Result<Axis, String> {
    text.parse()
}

/// A length of time, in seconds.
pub fn duration(text: &str) -> Result<f64, String> {
    let needed = || "a time such as 90s, 30m or 2h".to_owned();
    let factor = match text.chars().last() {
        Some('s') => 1.0,
        Some('m') => 60.0,
        Some('h') => 3600.0,
        _ => return Err(needed()),
    };
    let number: f64 = text[..text.len() - 1].parse().map_err(|_| needed())?;
    match number.is_finite() && number > 0.0 {
        true => Ok(number * factor),
        false => Err(needed()),
    }
}

/// A built-in network's name, or a network's file.
pub fn built_in_or_file(text: &str) -> Result<String, String> {
    let names = zoo::NETWORKS.map(|(name, _)| name);
    match names.contains(&text) || network(text).is_ok() {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "needed one of {}, or an .onnx, .sct or .net file",
            names.join(", ")
        )),
    }
}

/// The name of a known set.
pub fn known_set() -> impl TypedValueParser<Value = KnownSet> {
    PossibleValuesParser::new(KnownSet::ALL.map(KnownSet::name))
        .try_map(|name| name.parse::<KnownSet>())
}

/// A number above zero.
pub fn positive(text: &str) -> Result<f32, String> {
    number(text, "a number above 0", |x| x > 0.0)
}

/// A number that is not below zero.
pub fn not_negative(text: &str) -> Result<f32, String> {
    number(text, "a number of at least 0", |x| x >= 0.0)
}

/// A part of one, not all of it.
pub fn part(text: &str) -> Result<f32, String> {
    number(text, "a number of at least 0 and below 1", |x| {
        (0.0..1.0).contains(&x)
    })
}

/// A number from 0 to 1.
pub fn share(text: &str) -> Result<f32, String> {
    number(text, "a number from 0 to 1", |x| (0.0..=1.0).contains(&x))
}

/// Any number.
pub fn finite(text: &str) -> Result<f32, String> {
    number(text, "a number", |_| true)
}

/// A count of at least one.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n >= 1 => Ok(n),
        _ => Err("needed a whole number of at least 1".into()),
    }
}

/// A number of threads that run at once here.
pub fn threads(text: &str) -> Result<usize, String> {
    let most = std::thread::available_parallelism().map_or(1, usize::from);
    match text.parse() {
        Ok(n) if (1..=most).contains(&n) => Ok(n),
        _ => Err(format!(
            "needed a whole number from 1 to {most}, the processors there are"
        )),
    }
}

/// A number of repetitions.
pub fn repeats(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1_000_000) => Ok(n),
        _ => Err("needed a whole number from 1 to 1000000".into()),
    }
}

fn number(text: &str, needed: &str, fits: impl Fn(f32) -> bool) -> Result<f32, String> {
    match text.trim().parse::<f32>() {
        Ok(x) if x.is_finite() && fits(x) => Ok(x),
        _ => Err(format!("needed {needed}")),
    }
}

fn with_extension(text: &str, extensions: &[&str]) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let extension = path.extension().and_then(|e| e.to_str());
    match extension.map(str::to_ascii_lowercase) {
        Some(e) if extensions.contains(&e.as_str()) => Ok(path.to_owned()),
        _ => Err(format!(
            "needed a name that ends in .{}",
            extensions.join(" or .")
        )),
    }
}
