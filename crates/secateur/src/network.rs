//! Networks as files, and what they take.

use crate::interrupt;
use anyhow::{Context, Result, bail};
use secateur_data::{Dataset, Split};
use secateur_io::codec::Store;
use secateur_io::{Form, onnx, sct, squeezenet};
use secateur_model::{Dim, Graph, ValueInfo};
use std::path::Path;

/// Reads a network by its file's extension.
pub fn load(path: &Path) -> Result<Graph> {
    Ok(secateur_io::load(path)?)
}

/// Reads a network, and where its bytes are if its file is a compressed one.
pub fn load_and_inspect(path: &Path) -> Result<(Graph, Option<sct::Summary>)> {
    let inspect = match Form::of(path) {
        Form::Sct => sct::read_and_inspect,
        Form::Net => squeezenet::read_and_inspect,
        Form::Onnx => return Ok((load(path)?, None)),
    };
    let place = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| place.clone())?;
    let (graph, summary) = inspect(&bytes, &place)?;
    Ok((graph, Some(summary)))
}

/// Writes a network by its file's extension.
pub fn save(graph: &Graph, path: &Path, store: Store) -> Result<()> {
    interrupt::whole(|| match Form::of(path) {
        Form::Sct => Ok(sct::save(graph, path, store)?),
        Form::Onnx => Ok(onnx::save(graph, path)?),
        Form::Net => bail!("{}: a .net file is only read", path.display()),
    })
}

/// Bytes of a file.
pub fn size(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(metadata.len())
}

/// Loads a set by its name or path, as [`load_data`], with labels as the network has its classes: by their names, where both
/// have some. Numbers are names, too: of classes without others.
pub fn load_data_for(graph: &Graph, name: &str) -> Result<Split> {
    let Split { train, test } = load_data(graph, name)?;
    let known = graph.metadata.get("classes");
    let mut names: Vec<String> = known
        .iter()
        .flat_map(|n| n.lines())
        .map(str::to_owned)
        .collect();
    let numbers = train
        .classes
        .iter()
        .map(|class| class.parse::<usize>().ok());
    let numbers: Option<Vec<usize>> = numbers.collect();
    if names.is_empty()
        && let Some(most) = numbers
            .as_ref()
            .and_then(|n| n.iter().max())
            .filter(|most| **most < MOST_CLASSES)
    {
        names = (0..=*most).map(|i| i.to_string()).collect();
    }
    let is_known = |class: &String| names.contains(class);
    let found = train.classes.iter().filter(|class| is_known(class)).count();
    let in_order = numbers.is_some_and(|numbers| numbers.into_iter().eq(0..train.classes.len()));
    match found {
        // Nothing to go by but the order.
        0 if in_order || names.len() <= 1 => Ok(Split { train, test }),
        0 if names.len() == train.classes.len() => {
            eprintln!(
                "warning: the classes of {name} are none of the network's by name, and are taken in their order"
            );
            Ok(Split { train, test })
        }
        _ => {
            let place = || format!("the network tells {} classes apart", names.len());
            Ok(Split {
                train: train.in_classes(&names).with_context(place)?,
                test: test.in_classes(&names).with_context(place)?,
            })
        }
    }
}

/// More are no numbers of classes.
const MOST_CLASSES: usize = 100_000;

/// Loads a set by its name or path, in the size that the network takes where pictures are scaled.
pub fn load_data(graph: &Graph, name: &str) -> Result<Split> {
    let size = match input(graph).map(dims) {
        Ok([_, _, Dim::Known(height), Dim::Known(width)]) => Some([*height, *width]),
        _ => None,
    };
    Ok(secateur_data::load_sized(name, size)?)
}

/// Splits training images into `(training, validation)`: the same ones for a
/// set and a number, so that what `train` never saw `compress` never trains on. A set's own
/// validation images are those held out, where it has any.
pub fn hold_out(data: &Dataset, images: usize) -> (Dataset, Dataset) {
    data.split(images.min(data.len() / 6), 0)
}

/// The batch that the network insists on, if it does.
pub fn fixed_batch(graph: &Graph) -> Option<usize> {
    match dims(input(graph).ok()?) {
        [Dim::Known(n), ..] => Some(*n),
        _ => None,
    }
}

/// The `[batch, …]` extents of the only input; extents that the network leaves
/// open are those of `item`.
pub fn input_shape(graph: &Graph, batch: usize, item: Option<&[usize]>) -> Result<Vec<usize>> {
    let input = input(graph)?;
    let dims = dims(input);
    if dims.is_empty() {
        let Some(item) = item else {
            bail!("the shape of input `{}` is open", input.name);
        };
        return Ok([&[batch], item].concat());
    }
    let item = item.filter(|item| item.len() + 1 == dims.len());
    let extent = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Known(n) if axis > 0 || *n == batch => Ok(*n),
        Dim::Known(n) => bail!("the network's batch is fixed at {n}, found {batch}"),
        Dim::Named(_) if axis == 0 => Ok(batch),
        Dim::Named(name) => item
            .and_then(|item| item.get(axis - 1).copied())
            .with_context(|| format!("extent `{name}` of input `{}` is open", input.name)),
    };
    dims.iter().enumerate().map(extent).collect()
}

/// The extents of a whole input: as they were asked for, else the network's own
/// with a batch.
pub fn shape(graph: &Graph, asked: &[usize], batch: Option<usize>) -> Result<Vec<usize>> {
    input(graph)?;
    let batch = batch.or(fixed_batch(graph)).unwrap_or(1);
    match asked {
        [] => input_shape(graph, batch, None).context("--shape may be needed"),
        [batch, item @ ..] => {
            let shape = input_shape(graph, *batch, Some(item))?;
            match shape == asked {
                true => Ok(shape),
                false => bail!("--shape: the network takes {shape:?}, found {asked:?}"),
            }
        }
    }
}

/// The extents of a batch of images as the network takes them: as they are, or
/// each as one row.
pub fn shape_for(graph: &Graph, data: &Dataset, batch: usize) -> Result<Vec<usize>> {
    let image = [data.channels, data.height, data.width];
    let shape = input_shape(graph, batch, Some(&image))?;
    let needed = shape.get(1..).unwrap_or_default();
    if needed != image && needed != [data.image_len()] {
        bail!(
            "the network takes {needed:?}, the images of {} are {image:?}",
            data.name
        );
    }
    Ok(shape)
}

/// The extents of the fewest images that the network takes at once: one, unless it insists on more.
pub fn least_shape_for(graph: &Graph, data: &Dataset) -> Result<Vec<usize>> {
    shape_for(graph, data, fixed_batch(graph).unwrap_or(1))
}

/// The only input that has to be given.
pub fn input(graph: &Graph) -> Result<&ValueInfo> {
    let mut given = graph
        .inputs
        .iter()
        .filter(|input| !graph.constants.contains_key(&input.name));
    match (given.next(), given.count()) {
        (Some(input), 0) => Ok(input),
        (None, _) => bail!("the network has no input, one is needed"),
        (Some(_), more) => bail!("the network has {} inputs, one is needed", more + 1),
    }
}

fn dims(input: &ValueInfo) -> &[Dim] {
    input.dims.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::DType;

    fn network(dims: Option<Vec<Dim>>) -> Graph {
        Graph {
            inputs: vec![ValueInfo {
                name: "x".into(),
                dtype: DType::F32,
                dims,
            }],
            ..Graph::default()
        }
    }

    #[test]
    fn open_extents_are_those_of_the_item() {
        let named = |name: &str| Dim::Named(name.into());
        let image = [1, 8, 8];
        let open = network(Some(vec![
            named("n"),
            Dim::Known(1),
            named("h"),
            named("w"),
        ]));
        assert_eq!(input_shape(&open, 4, Some(&image)).unwrap(), [4, 1, 8, 8]);
        let error = input_shape(&open, 4, None).unwrap_err().to_string();
        assert!(error.contains("`h`"), "{error}");
        let unknown = network(None);
        assert_eq!(
            input_shape(&unknown, 2, Some(&image)).unwrap(),
            [2, 1, 8, 8]
        );
        let fixed = network(Some(vec![Dim::Known(1), Dim::Known(64)]));
        assert_eq!(fixed_batch(&fixed), Some(1));
        assert!(input_shape(&fixed, 2, None).is_err());
    }
}
