//! Samples without labels, run on the engine: any network that it runs can be
//! calibrated, whatever its inputs are.

use crate::args::Scaling;
use crate::{interrupt, network, picture};
use anyhow::{Context, Result, bail};
use secateur_compress::CompressError;
use secateur_compress::ptq::{Each, Probe, Samples};
use secateur_data::{Array, Dataset, Normalize, Unlabelled, Values};
use secateur_engine::{Session, SessionOptions};
use secateur_model::{DType, Data, Dim, Graph, Shape, Tensor, ValueInfo};
use std::collections::BTreeMap;
use std::path::Path;

/// Numbers of the images of a batch.
const BATCH_NUMBERS: usize = 1 << 20;

/// One of so many pictures is for checking, not for calibration.
const CHECKED: usize = 6;

/// Cuts of pictures that a network learns from, at least.
const LEARNED: usize = 256;

/// What a recipe does with samples.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Samples that are measured.
    pub samples: usize,
    /// Whether the network learns from them, too: then from all images there are.
    pub learns: bool,
}

/// Inputs of a network, batch by batch.
pub struct Inputs {
    source: Source,
    /// Samples in all.
    pub len: usize,
}

enum Source {
    Images {
        input: String,
        batch: usize,
        data: Box<Dataset>,
    },
    Named(Vec<Vec<(String, Tensor)>>),
}

/// Samples to calibrate with, and others to check the result on.
pub struct Opened {
    pub calibration: Inputs,
    pub check: Inputs,
    /// What was made of pixels, where the samples are pictures.
    pub normalize: Option<Normalize>,
}

/// Samples for a network, if the path holds samples without labels.
pub fn open(
    path: &str,
    graph: &Graph,
    normalize: impl Fn(usize) -> Result<Normalize>,
    wanted: Wanted,
    seed: u64,
) -> Result<Option<Opened>> {
    let Some(found) = Unlabelled::at(Path::new(path))? else {
        return Ok(None);
    };
    let (calibration, check) = match found {
        Unlabelled::Pictures(pictures) => {
            let shape = image_shape(graph)?;
            let checked = |i: usize| pictures.len() >= CHECKED && i % CHECKED == CHECKED - 1;
            let (check, calibration): (Vec<_>, Vec<_>) =
                pictures.iter().enumerate().partition(|(i, _)| checked(*i));
            let paths = |list: Vec<(usize, &std::path::PathBuf)>| -> Vec<_> {
                list.into_iter().map(|(_, path)| path.clone()).collect()
            };
            let (check, calibration) = (paths(check), paths(calibration));
            // Too few to spare any: what is checked was seen.
            let check = if check.is_empty() {
                calibration.clone()
            } else {
                check
            };
            let cut = |pictures: &[_], samples: usize| -> Result<Dataset> {
                let each = samples.div_ceil(pictures.len().max(1)).max(1);
                let mut data = secateur_data::cuts(pictures, shape, each, seed)?;
                data.normalize = normalize(shape[0])?;
                Ok(data)
            };
            let least = if wanted.learns { LEARNED } else { 1 };
            let many = wanted.samples.max(least);
            let few = (many / CHECKED).max(check.len());
            (
                images(graph, cut(&calibration, many)?)?,
                images(graph, cut(&check, few)?)?,
            )
        }
        Unlabelled::Images(path) => {
            let mut data = secateur_data::images(&path)?;
            if data.normalisation().is_some() {
                data.normalize = normalize(data.channels)?;
            }
            let (calibration, check) = match data.len() >= CHECKED {
                true => data.split(data.len() / CHECKED, 0),
                false => (data.clone(), data),
            };
            let samples = wanted.samples.min(calibration.len());
            let calibration = match wanted.learns {
                true => images(graph, calibration)?.first(samples),
                false => {
                    let first: Vec<usize> = (0..samples).collect();
                    images(graph, calibration.subset(&first))?
                }
            };
            (calibration, images(graph, check)?)
        }
        Unlabelled::Named(path) => {
            let place = path.display().to_string();
            let bytes = std::fs::read(&path).with_context(|| place.clone())?;
            let arrays = secateur_data::read_npz(&bytes, &place)?;
            let mut samples = named(graph, arrays).with_context(|| place)?;
            let checked = samples.len() / CHECKED;
            let check = match checked {
                0 => samples.clone(),
                _ => samples.split_off(samples.len() - checked),
            };
            samples.truncate(wanted.samples);
            (Inputs::named(samples), Inputs::named(check))
        }
    };
    let normalize = calibration.normalize().cloned();
    Ok(Some(Opened {
        calibration,
        check,
        normalize,
    }))
}

/// `[channels, height, width]` of the pictures that a network takes.
fn image_shape(graph: &Graph) -> Result<[usize; 3]> {
    match network::input_shape(graph, network::fixed_batch(graph).unwrap_or(1), None)?.as_slice() {
        &[_, channels, height, width] => Ok([channels, height, width]),
        dims => {
            bail!("pictures need an input of [batch, channels, height, width], there is {dims:?}")
        }
    }
}

fn images(graph: &Graph, data: Dataset) -> Result<Inputs> {
    let batch = network::fixed_batch(graph);
    let batch = batch.unwrap_or((BATCH_NUMBERS / data.image_len()).clamp(1, 100));
    network::shape_for(graph, &data, batch)?;
    // A batch that the network insists on is always whole.
    let len = match network::fixed_batch(graph) {
        Some(batch) => data.len() / batch * batch,
        None => data.len(),
    };
    if len == 0 {
        bail!(
            "{}: {} images are no batch of {batch}",
            data.name,
            data.len()
        );
    }
    let input = network::input(graph)?.name.clone();
    let data = Box::new(data);
    let source = Source::Images { input, batch, data };
    Ok(Inputs { source, len })
}

/// Arrays by the names of the inputs, sample by sample: of an input's own rank,
/// the first axis is that of the samples where the network leaves it open, and the
/// array is the same for all samples where not; of one more, the first is that of
/// the samples.
fn named(graph: &Graph, arrays: BTreeMap<String, Array>) -> Result<Vec<Vec<(String, Tensor)>>> {
    let known = |name: &str| graph.inputs.iter().any(|i| i.name == name);
    if let Some(name) = arrays.keys().find(|name| !known(name)) {
        let names: Vec<&str> = graph.inputs.iter().map(|i| i.name.as_str()).collect();
        bail!("array `{name}` is no input; there are {}", names.join(", "));
    }
    let mut parts: Vec<(String, Vec<Tensor>)> = Vec::new();
    for input in graph
        .inputs
        .iter()
        .filter(|i| !graph.constants.contains_key(&i.name))
    {
        let Some(array) = arrays.get(&input.name) else {
            bail!("there is no array for input `{}`", input.name);
        };
        parts.push((input.name.clone(), split(input, array)?));
    }
    let count = parts.iter().map(|(_, t)| t.len()).max().unwrap_or(0);
    if let Some((name, t)) = parts.iter().find(|(_, t)| t.len() != count && t.len() != 1) {
        bail!(
            "input `{name}` has {} samples, others have {count}",
            t.len()
        );
    }
    let sample = |i: usize| {
        let tensor = |t: &Vec<Tensor>| t.get(i).or(t.first()).cloned();
        parts
            .iter()
            .filter_map(|(name, t)| Some((name.clone(), tensor(t)?)))
            .collect()
    };
    Ok((0..count).map(sample).collect())
}

/// The inputs of a network from a file: the first sample of a `.npz` file of an array for each input, taken as they are, or the first
/// image of a `.npy` file, whose bytes are pixels. `None` of files of other names.
pub fn first_of_arrays(
    graph: &Graph,
    path: &Path,
    scaling: &Scaling,
) -> Result<Option<Vec<(String, Tensor)>>> {
    let extension = path.extension().and_then(|e| e.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("npz") => {
            let place = path.display().to_string();
            if scaling.is_given() {
                bail!(
                    "{place}: --mean and --std are for pixels, and arrays by name are taken as they are"
                );
            }
            let bytes = std::fs::read(path).with_context(|| place.clone())?;
            let arrays = secateur_data::read_npz(&bytes, &place)?;
            let samples = named(graph, arrays).with_context(|| place.clone())?;
            let first = samples.into_iter().next();
            first
                .with_context(|| format!("{place}: no sample"))
                .map(Some)
        }
        Some("npy") => {
            let mut data = secateur_data::images(path)?;
            if data.normalisation().is_some() {
                data.normalize = picture::normalize(graph, scaling, data.channels)?;
            }
            let dims = network::least_shape_for(graph, &data)?;
            let batch: Vec<usize> = (0..dims.first().copied().unwrap_or(1)).collect();
            if batch.len() > data.len() {
                bail!(
                    "{}: {} images are no batch of {}",
                    data.name,
                    data.len(),
                    batch.len()
                );
            }
            let mut numbers = vec![0.0; batch.len() * data.image_len()];
            data.gather(&batch, &mut numbers);
            let name = network::input(graph)?.name.clone();
            Ok(Some(vec![(name, Tensor::f32(&dims, numbers)?)]))
        }
        _ => Ok(None),
    }
}

fn split(input: &ValueInfo, array: &Array) -> Result<Vec<Tensor>> {
    let dims = input.dims.as_deref().unwrap_or_default();
    let open = matches!(dims.first(), Some(Dim::Named(_)));
    let (count, shape) = match array.shape.as_slice() {
        [count, rest @ ..] if array.shape.len() == dims.len() && open => {
            (*count, [&[1], rest].concat())
        }
        shape if shape.len() == dims.len() => (1, shape.to_vec()),
        [count, rest @ ..] if rest.len() == dims.len() => (*count, rest.to_vec()),
        shape => bail!(
            "input `{}` has {} axes, its array is {shape:?}",
            input.name,
            dims.len()
        ),
    };
    let shape = Shape::new(&shape)?;
    let each = shape.elements();
    let data = |range: std::ops::Range<usize>| match (&array.values, input.dtype) {
        (Values::F32(v), DType::F32) => Ok(Data::F32(v[range].to_vec())),
        (Values::U8(v), DType::F32) => Ok(Data::F32(v[range].iter().map(|&x| x.into()).collect())),
        (Values::I64(v), DType::I64) => Ok(Data::I64(v[range].to_vec())),
        (Values::I64(v), DType::I32) => Ok(Data::I32(v[range].iter().map(|&x| x as i32).collect())),
        (Values::U8(v), DType::I64) => Ok(Data::I64(v[range].iter().map(|&x| x.into()).collect())),
        (Values::U8(v), DType::U8) => Ok(Data::U8(v[range].to_vec())),
        (Values::U8(v), DType::Bool) => Ok(Data::Bool(v[range].iter().map(|&x| x != 0).collect())),
        (_, dtype) => bail!(
            "input `{}` is {dtype}, its array is of another kind",
            input.name
        ),
    };
    let tensor = |i: usize| Ok(Tensor::new(shape.clone(), data(i * each..(i + 1) * each)?)?);
    (0..count).map(tensor).collect()
}

impl Inputs {
    fn named(samples: Vec<Vec<(String, Tensor)>>) -> Self {
        let len = samples.len();
        Self {
            source: Source::Named(samples),
            len,
        }
    }

    /// Measured on so many only, from the first on; whole batches, where the network insists.
    fn first(mut self, samples: usize) -> Self {
        if let Source::Images { batch, .. } = self.source {
            self.len = self.len.min(samples.next_multiple_of(batch));
        }
        self
    }

    fn normalize(&self) -> Option<&Normalize> {
        match &self.source {
            Source::Images { data, .. } => data.normalisation(),
            Source::Named(_) => None,
        }
    }

    /// Extents of a network's only input, of one sample where it leaves that open.
    pub fn shape(&self, graph: &Graph) -> Result<Vec<usize>> {
        let name = &network::input(graph)?.name;
        match &self.source {
            Source::Images { data, .. } => network::least_shape_for(graph, data),
            Source::Named(samples) => {
                let mut inputs = samples.iter().flatten();
                let given = inputs.find(|(input, _)| input == name);
                let (_, tensor) = given.with_context(|| format!("no sample has input `{name}`"))?;
                Ok(tensor.shape().dims().to_vec())
            }
        }
    }

    /// Hands over batch after batch, by input name, and of how many samples it is.
    pub fn batches<E: From<secateur_model::ModelError>>(
        &self,
        mut each: impl FnMut(&[(&str, &Tensor)], usize) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.source {
            Source::Named(samples) => samples.iter().try_for_each(|sample| {
                let inputs: Vec<_> = sample.iter().map(|(n, t)| (n.as_str(), t)).collect();
                each(&inputs, 1)
            }),
            Source::Images { input, batch, data } => {
                let indices: Vec<usize> = (0..self.len).collect();
                indices.chunks(*batch).try_for_each(|indices| {
                    let mut pixels = vec![0.0; indices.len() * data.image_len()];
                    data.gather(indices, &mut pixels);
                    let dims = [indices.len(), data.channels, data.height, data.width];
                    let tensor = Tensor::f32(&dims, pixels)?;
                    each(&[(input, &tensor)], indices.len())
                })
            }
        }
    }
}

impl Samples for Inputs {
    fn observe(&self, probes: &[Probe<'_>], each: &mut Each<'_>) -> Result<(), CompressError> {
        let failed = |e: secateur_engine::EngineError| CompressError::Samples(e.into());
        let sessions = probes.iter().map(|p| Running::new(p).map_err(failed));
        let sessions = sessions.collect::<Result<Vec<_>, _>>()?;
        self.batches(|inputs, _| {
            if interrupt::go_on().is_break() {
                return Err(CompressError::Stopped {
                    step: "calibration",
                });
            }
            let values = sessions.iter().map(|s| s.run(inputs).map_err(failed));
            each(&values.collect::<Result<Vec<_>, _>>()?)
        })
    }

    fn images(&self) -> Option<&Dataset> {
        match &self.source {
            Source::Images { data, .. } => Some(data),
            Source::Named(_) => None,
        }
    }
}

/// A network whose outputs are what a probe asks for.
struct Running<'a> {
    names: &'a [String],
    /// What is computed of it; the rest are inputs.
    computed: Vec<&'a str>,
    session: Session,
}

impl<'a> Running<'a> {
    fn new(probe: &Probe<'a>) -> Result<Self, secateur_engine::EngineError> {
        let mut graph: Graph = probe.graph.clone();
        let is_input = |name: &str| probe.graph.inputs.iter().any(|i| i.name == name);
        graph.outputs.retain(|o| !is_input(&o.name));
        Ok(Self {
            names: probe.names,
            computed: probe
                .names
                .iter()
                .map(String::as_str)
                .filter(|n| !is_input(n))
                .collect(),
            session: Session::new(&graph, &SessionOptions::default())?,
        })
    }

    fn run(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, secateur_engine::EngineError> {
        let computed = match self.computed.is_empty() {
            true => Vec::new(),
            false => self.session.run(inputs)?,
        };
        let value = |name: &String| {
            let at = self.computed.iter().position(|n| n == name);
            let given = || {
                inputs
                    .iter()
                    .find(|(n, _)| n == name)
                    .map(|(_, t)| (*t).clone())
            };
            at.and_then(|at| computed.get(at).cloned()).or_else(given)
        };
        Ok(self.names.iter().filter_map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::zoo;

    fn graph(inputs: &[(&str, DType, &[Option<usize>])]) -> Graph {
        let dim = |d: &Option<usize>| d.map_or(Dim::Named("n".into()), Dim::Known);
        let inputs = inputs.iter().map(|(name, dtype, dims)| ValueInfo {
            name: (*name).into(),
            dtype: *dtype,
            dims: Some(dims.iter().map(dim).collect()),
        });
        Graph {
            inputs: inputs.collect(),
            ..Graph::default()
        }
    }

    fn array(shape: &[usize], values: Values) -> Array {
        Array {
            shape: shape.to_vec(),
            values,
        }
    }

    #[test]
    fn arrays_are_split_into_samples() {
        let graph = graph(&[
            ("x", DType::F32, &[None, Some(2)]),
            ("state", DType::F32, &[Some(1), Some(3)]),
            ("rate", DType::I64, &[]),
        ]);
        let floats = |n: usize| Values::F32((0..n).map(|v| v as f32).collect());
        let arrays = || {
            BTreeMap::from([
                ("x".to_owned(), array(&[4, 2], floats(8))),
                ("state".to_owned(), array(&[4, 1, 3], floats(12))),
                ("rate".to_owned(), array(&[], Values::I64(vec![16_000]))),
            ])
        };
        let samples = named(&graph, arrays()).unwrap();
        assert_eq!(samples.len(), 4);
        assert_eq!(
            samples[3][0].1,
            Tensor::f32(&[1, 2], vec![6.0, 7.0]).unwrap()
        );
        assert_eq!(samples[1][1].1.shape().dims(), [1, 3]);
        assert_eq!(samples[2][2].1, Tensor::i64(&[], vec![16_000]).unwrap());
        let wrong = |change: fn(&mut BTreeMap<String, Array>)| {
            let mut arrays = arrays();
            change(&mut arrays);
            named(&graph, arrays).unwrap_err().to_string()
        };
        assert!(wrong(|a| drop(a.remove("x"))).contains("input `x`"));
        assert!(wrong(|a| drop(a.insert("y".into(), a["x"].clone()))).contains("`y` is no input"));
        assert!(wrong(|a| drop(a.insert("rate".into(), a["x"].clone()))).contains("axes"));
    }

    #[test]
    fn values_are_those_of_the_network_and_inputs_may_be_asked_for() {
        let net = zoo::build("lenet-300-100", [1, 4, 4], 3, 1).unwrap();
        let x = Tensor::f32(&[2, 1, 4, 4], (0..32).map(|v| v as f32).collect()).unwrap();
        let names = ["input".to_owned(), net.outputs[0].name.clone()];
        let part = secateur_compress::ptq::prefix(&net, &names);
        let probe = Probe {
            graph: &part,
            names: &names,
        };
        let inputs = Inputs::named(vec![vec![("input".into(), x.clone())]]);
        let mut seen = Vec::new();
        inputs
            .observe(&[probe], &mut |v| {
                seen.extend(v[0].to_vec());
                Ok(())
            })
            .unwrap();
        assert_eq!(seen[0], x);
        assert_eq!(
            seen[1],
            Session::new(&net, &SessionOptions::default())
                .unwrap()
                .run(&[("input", &x)])
                .unwrap()[0]
        );
    }
}
