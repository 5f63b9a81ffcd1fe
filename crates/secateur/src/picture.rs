//! Pictures as a network sees them: which numbers its training made of their pixels.
//!
//! A network's metadata keeps them (`mean` and `std`, a number for each
//! channel), with the names of its classes (`classes`, one a line); options
//! have the first word, then the network, then the data set.

use crate::args::Scaling;
use anyhow::{Context, Result, bail};
use secateur_data::{Dataset, Normalize, Split, image};
use secateur_model::Graph;
use std::path::Path;

/// Sees a data set through the network's eyes.
pub fn adapt(data: &mut Split, graph: &Graph, scaling: &Scaling) -> Result<()> {
    let channels = data.train.channels;
    let Some(normalize) = chosen(graph, scaling, channels)? else {
        return Ok(());
    };
    if !has_pixels(&data.train) {
        match scaling.is_given() {
            true => bail!(
                "--mean and --std are for pixels of 8 bits; {} holds numbers, which are taken as they are",
                data.train.name
            ),
            false => return Ok(()),
        }
    }
    data.train.normalize = normalize.clone();
    data.test.normalize = normalize;
    Ok(())
}

/// Keeps with the network how the set it learns from looks, and what its
/// classes are called unless they have names already.
pub fn record(graph: &mut Graph, data: &Dataset) {
    if has_pixels(data) {
        let text = |figures: &[f32]| {
            let figures: Vec<String> = figures.iter().map(f32::to_string).collect();
            figures.join(" ")
        };
        let Normalize { mean, std } = &data.normalize;
        graph.metadata.insert("mean".into(), text(mean));
        graph.metadata.insert("std".into(), text(std));
    }
    // Numbers are what classes without names are called anyway.
    let numbered = data
        .classes
        .iter()
        .enumerate()
        .all(|(i, c)| *c == i.to_string());
    if !numbered && !graph.metadata.contains_key("classes") {
        graph
            .metadata
            .insert("classes".into(), data.classes.join("\n"));
    }
}

/// The name of a class.
pub fn class(graph: &Graph, index: usize) -> String {
    let names = graph.metadata.get("classes");
    match names.and_then(|names| names.lines().nth(index)) {
        Some(name) => name.to_owned(),
        None => index.to_string(),
    }
}

/// Reads a picture as an input `[channels, height, width]` of the network.
pub fn load(
    path: &Path,
    graph: &Graph,
    scaling: &Scaling,
    invert: bool,
    [channels, height, width]: [usize; 3],
) -> Result<Vec<f32>> {
    let normalize = match chosen(graph, scaling, channels)? {
        Some(normalize) => normalize,
        None => Normalize::unit(channels),
    };
    let raw = image::load_gray_or_rgb(path, channels, height, width)?;
    let plane = (height * width).max(1);
    let pixel = |(i, &raw): (usize, &u8)| {
        let raw = if invert { 255 - raw } else { raw };
        normalize.apply(i / plane, raw)
    };
    Ok(raw.iter().enumerate().map(pixel).collect())
}

/// What the options say, else what the network says.
fn chosen(graph: &Graph, scaling: &Scaling, channels: usize) -> Result<Option<Normalize>> {
    let (mean, std) = match scaling.is_given() {
        true => (scaling.mean.clone(), scaling.std.clone()),
        false => (figures(graph, "mean")?, figures(graph, "std")?),
    };
    if mean.is_empty() && std.is_empty() {
        return Ok(None);
    }
    let each = |what: &str, figures: Vec<f32>, default: f32| match figures.as_slice() {
        [] => Ok(vec![default; channels]),
        [one] => Ok(vec![*one; channels]),
        several if several.len() == channels => Ok(figures),
        several => bail!(
            "{what}: needed one number, or one for each of {channels} channels, found {}",
            several.len()
        ),
    };
    let normalize = Normalize {
        mean: each("mean", mean, 0.0)?,
        std: each("std", std, 1.0)?,
    };
    Ok(Some(normalize))
}

/// Numbers among a network's metadata, however they are set apart.
fn figures(graph: &Graph, key: &str) -> Result<Vec<f32>> {
    let text = graph.metadata.get(key).map_or("", String::as_str);
    let words = text.split(|c: char| c.is_whitespace() || ",;[]()".contains(c));
    words
        .filter(|word| !word.is_empty())
        .map(|word| match word.parse::<f32>() {
            Ok(x) if x.is_finite() && (key != "std" || x > 0.0) => Ok(x),
            _ => bail!("found `{word}`"),
        })
        .collect::<Result<_>>()
        .with_context(|| format!("the network's metadata: `{key}` is no list of numbers"))
}

fn has_pixels(data: &Dataset) -> bool {
    data.raw_u8(0).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_before_the_network() {
        let mut graph = Graph::default();
        let none = Scaling::default();
        assert_eq!(chosen(&graph, &none, 1).unwrap(), None);
        graph.metadata.insert("mean".into(), "[0.5, 0.25]".into());
        let normalize = chosen(&graph, &none, 2).unwrap().unwrap();
        assert_eq!((normalize.mean[1], normalize.std[1]), (0.25, 1.0));
        assert!(chosen(&graph, &none, 3).is_err());
        let given = Scaling {
            mean: vec![],
            std: vec![2.0],
        };
        let normalize = chosen(&graph, &given, 3).unwrap().unwrap();
        assert_eq!((normalize.mean[2], normalize.std[2]), (0.0, 2.0));
        graph.metadata.insert("std".into(), "wide".into());
        let error = format!("{:#}", chosen(&graph, &none, 2).unwrap_err());
        assert!(error.contains("`std`") && error.contains("wide"), "{error}");
    }

    #[test]
    fn a_network_keeps_what_it_was_trained_on() {
        let data = secateur_data::load("digits").unwrap().train;
        let mut graph = Graph::default();
        record(&mut graph, &data);
        assert_eq!(figures(&graph, "std").unwrap(), [1.0]);
        assert!(!graph.metadata.contains_key("classes"));
        assert_eq!(class(&graph, 3), "3");
        graph.metadata.insert("classes".into(), "cat\ndog".into());
        assert_eq!(class(&graph, 1), "dog");
    }
}
