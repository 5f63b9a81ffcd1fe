//! Pictures as a network sees them: which numbers its training made of their pixels.
//!
//! A network's metadata keeps them (`mean` and `std`, a number for each
//! channel), with the names of its classes (`classes`, one a line); options
//! have the first word, then the network, then the data set.

use crate::args::Scaling;
use crate::network;
use anyhow::{Result, bail};
use secateur_data::{Dataset, Normalize, Split, image};
use secateur_model::Graph;
use std::path::Path;

/// Sees a data set through the network's eyes; its images have to fit it.
pub fn adapt(data: &mut Split, graph: &Graph, scaling: &Scaling) -> Result<()> {
    network::least_shape_for(graph, &data.train)?;
    let channels = data.train.channels;
    let Some(normalize) = chosen(graph, scaling, channels)? else {
        return Ok(());
    };
    if data.train.normalisation().is_none() {
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
    if let Some(normalize) = data.normalisation() {
        normalize.store(&mut graph.metadata);
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

/// What the network makes of 8-bit pixels of so many channels: what the options
/// say, else what the network says, else that they are divided by 255.
pub fn normalize(graph: &Graph, scaling: &Scaling, channels: usize) -> Result<Normalize> {
    Ok(chosen(graph, scaling, channels)?.unwrap_or_else(|| Normalize::unit(channels)))
}

/// A picture file, scaled to the network's input and as it sees it: `[1, channels, height, width]` numbers.
pub fn read(
    graph: &Graph,
    file: &Path,
    invert: bool,
    scaling: &Scaling,
) -> Result<(Vec<f32>, [usize; 4])> {
    let (channels, height, width) = match network::input_shape(graph, 1, None)?.as_slice() {
        &[1, channels @ (1 | 3), height, width] => (channels, height, width),
        dims => bail!("a picture needs an input of [1, 1 or 3, height, width], there is {dims:?}"),
    };
    let normalize = normalize(graph, scaling, channels)?;
    let mut raw = image::load_gray_or_rgb(file, channels, height, width)?;
    if invert {
        raw.iter_mut().for_each(|p| *p = 255 - *p);
    }
    Ok((normalize.planes(&raw), [1, channels, height, width]))
}

fn chosen(graph: &Graph, scaling: &Scaling, channels: usize) -> Result<Option<Normalize>> {
    if !scaling.is_given() {
        let stored = Normalize::stored(&graph.metadata)?;
        return match stored {
            Some(n) if n.channels() != channels => bail!(
                "its metadata has means of {} channels, its input {channels}",
                n.channels()
            ),
            stored => Ok(stored),
        };
    }
    let each = |option: &str, figures: &[f32], default: f32| match figures {
        [] => Ok(vec![default; channels]),
        [one] => Ok(vec![*one; channels]),
        several if several.len() == channels => Ok(several.to_vec()),
        several => bail!(
            "{option}: needed one number, or one for each of {channels} channels, found {}",
            several.len()
        ),
    };
    let mean = each("--mean", &scaling.mean, 0.0)?;
    Ok(Some(Normalize::new(
        mean,
        each("--std", &scaling.std, 1.0)?,
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_before_the_network() {
        let mut graph = Graph::default();
        let none = Scaling::default();
        assert_eq!(normalize(&graph, &none, 1).unwrap(), Normalize::unit(1));
        let own = Normalize::new(vec![0.5, 0.25], vec![1.0, 2.0]).unwrap();
        own.store(&mut graph.metadata);
        assert_eq!(normalize(&graph, &none, 2).unwrap(), own);
        let error = normalize(&graph, &none, 3).unwrap_err().to_string();
        assert!(error.contains("2 channels"), "{error}");
        let given = Scaling {
            mean: vec![],
            std: vec![2.0],
        };
        let asked = normalize(&graph, &given, 3).unwrap();
        assert_eq!((asked.mean[2], asked.std[2]), (0.0, 2.0));
        let error = normalize(&graph, &given, 0).unwrap_err().to_string();
        assert!(error.contains("normalisation"), "{error}");
    }

    #[test]
    fn a_network_keeps_what_it_was_trained_on() {
        let data = secateur_data::load("digits").unwrap().train;
        let mut graph = Graph::default();
        record(&mut graph, &data);
        let stored = Normalize::stored(&graph.metadata).unwrap();
        assert_eq!(stored.as_ref(), data.normalisation());
        assert!(!graph.metadata.contains_key("classes"));
        assert_eq!(class(&graph, 3), "3");
        graph.metadata.insert("classes".into(), "cat\ndog".into());
        assert_eq!(class(&graph, 1), "dog");
    }
}
