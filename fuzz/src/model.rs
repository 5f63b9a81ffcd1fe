//! Readers of networks, and the engine on what they read.

use crate::{NAME, names_the_file};
use secateur_engine::{Session, SessionOptions};
use secateur_io::{onnx as onnx_format, sct as sct_format, squeezenet as squeezenet_format};
use secateur_model::{DType, Dim, Graph, Op, Shape, Tensor, ValueInfo, infer};

/// ONNX: an error that names the file, or a graph that is written and read back; what was written
/// once comes back the same for ever.
pub fn onnx(bytes: &[u8]) {
    let graph = match onnx_format::read(bytes, None, NAME) {
        Err(error) => return names_the_file(&error),
        Ok(graph) => graph,
    };
    // The first trip may change forms: integer layers get integer biases, pruned zeros are found.
    let Some(first) = through_onnx(&graph) else {
        return;
    };
    assert_eq!(first.inputs, graph.inputs);
    assert_eq!(first.outputs, graph.outputs);
    assert_eq!(first.metadata, graph.metadata);
    if let Some(second) = through_onnx(&first) {
        same(&first, &second);
    }
}

/// The graph written and read back. Writing may be refused only where operators are carried that
/// are not known, since the forms of the known ones must go with theirs.
fn through_onnx(graph: &Graph) -> Option<Graph> {
    let written = onnx_format::write(graph);
    let carries = graph
        .nodes
        .iter()
        .any(|n| matches!(n.op, Op::Unknown(_) | Op::Control(_)));
    assert!(written.is_ok() || carries, "cannot write it: {written:?}");
    let again = onnx_format::read(&written.ok()?, None, NAME);
    assert!(again.is_ok(), "what was written cannot be read: {again:?}");
    again.ok()
}

/// `.sct`: as [`onnx`], for the bytes as they are and with the checksums made right.
pub fn sct(bytes: &[u8]) {
    for bytes in [bytes, &resealed(bytes)] {
        let summary = sct_format::inspect(bytes, NAME);
        let graph = match sct_format::read(bytes, NAME) {
            Err(error) => {
                names_the_file(&error);
                assert!(summary.is_err(), "inspected but not read");
                continue;
            }
            Ok(graph) => graph,
        };
        let parts = summary.map(|s| s.rest + s.weights.iter().map(|w| w.bytes).sum::<usize>());
        assert_eq!(parts.ok(), Some(bytes.len()), "parts add up to the file");
        for store in [sct_format::Store::Small, sct_format::Store::Fast] {
            let written = sct_format::write(&graph, store);
            assert!(written.is_ok(), "cannot write it: {written:?}");
            let again = sct_format::read(&written.unwrap_or_default(), NAME);
            assert!(again.is_ok(), "what was written cannot be read: {again:?}");
            again.iter().for_each(|again| same(&graph, again));
        }
    }
}

/// Deep Compression's SqueezeNet, for the bytes as they are and with what they lack for the entries
/// that they count: an error that names the file, or the whole network, no larger than its entries.
pub fn squeezenet(bytes: &[u8]) {
    for bytes in [bytes, &filled(bytes)] {
        let (graph, summary) = match squeezenet_format::read_and_inspect(bytes, NAME) {
            Err(error) => {
                names_the_file(&error);
                continue;
            }
            Ok(read) => read,
        };
        let weights: usize = summary.weights.iter().map(|w| w.bytes).sum();
        assert_eq!(
            weights + summary.rest,
            bytes.len(),
            "parts add up to the file"
        );
        let kept: usize = graph.weights().map(|(_, weight)| weight.kept()).sum();
        assert!(
            kept <= bytes.len(),
            "{kept} weights of {} bytes",
            bytes.len()
        );
        let picture = Shape::new(&[1, 3, 227, 227]).map(|shape| [("input", shape)]);
        let macs = picture.and_then(|input| infer::macs(&graph, &input));
        assert!(macs.is_ok(), "the network does not hold together: {macs:?}");
    }
}

/// Counts of entries, then a body of the length that these need: codebooks and biases of zeros, the
/// bytes behind the counts as codes and gaps, again and again.
fn filled(bytes: &[u8]) -> Vec<u8> {
    // Squeezed, and expanded by each of two kernels; the first and the last convolution.
    const FIRES: [(usize, usize); 4] = [(16, 64), (32, 128), (48, 192), (64, 256)];
    let fires = FIRES.iter().flat_map(|&(s, e)| [s, e, e, s, e, e]);
    let outputs: Vec<usize> = std::iter::once(96).chain(fires).chain([1000]).collect();
    let (counts, rest) = bytes
        .as_chunks::<2>()
        .0
        .split_at(outputs.len().min(bytes.len() / 2));
    let count = |layer: usize| {
        counts
            .get(layer)
            .map_or(0, |c| u16::from_le_bytes(*c) % 2048)
    };
    let mut body = rest.as_flattened().iter().copied().cycle();
    let mut file: Vec<u8> = (0..outputs.len())
        .flat_map(|layer| u32::from(count(layer)).to_le_bytes())
        .collect();
    for (layer, outputs) in outputs.into_iter().enumerate() {
        file.resize(file.len() + 4 * (256 + outputs), 0);
        let entries = usize::from(count(layer));
        let end = file.len() + entries + entries.div_ceil(2);
        file.extend(body.by_ref().take(entries + entries.div_ceil(2)));
        file.resize(end, 0);
    }
    file
}

/// Plans and runs an ONNX network of small declared sizes.
pub fn run_onnx(bytes: &[u8]) {
    if let Ok(graph) = onnx_format::read(bytes, None, NAME) {
        run(&graph);
    }
}

/// Plans and runs an `.sct` network of small declared sizes; checksums do not count.
pub fn run_sct(bytes: &[u8]) {
    if let Ok(graph) = sct_format::read(&resealed(bytes), NAME) {
        run(&graph);
    }
}

/// Whether the graphs are the same. NaN is not equal to itself, so graphs that are not equal may
/// still print the same.
fn same(graph: &Graph, again: &Graph) {
    if again != graph {
        assert_eq!(format!("{again:?}"), format!("{graph:?}"));
    }
}

/// Bytes of activations up to which a network is run.
const MAX_ARENA: usize = 1 << 20;
/// Multiply-accumulates up to which a network is run.
const MAX_MACS: u64 = 1 << 22;

/// Runs a network on inputs of ones with every open extent 1: an error, or outputs of the
/// planned shapes, the same from the kernels and from the slow reference where kernels promise that.
fn run(graph: &Graph) {
    let Some((session, shapes)) = planned(graph) else {
        return;
    };
    let ones: Vec<Tensor> = shapes
        .iter()
        .filter_map(|s| Tensor::f32(s.dims(), vec![1.0; s.elements()]).ok())
        .collect();
    let is_exact = session
        .bind(&shapes)
        .is_ok_and(|bound| bound.plan().is_exact());
    let named = graph.inputs.iter().map(|input| input.name.as_str());
    let inputs: Vec<(&str, &Tensor)> = named.zip(&ones).collect();
    let outputs = session.run(&inputs);
    let reference = SessionOptions {
        reference: true,
        ..one_thread()
    };
    let expected = Session::new(graph, &reference).and_then(|s| s.run(&inputs));
    match (outputs, expected) {
        // What is only near may be anywhere after operators that blow differences up.
        (Ok(outputs), Ok(expected)) if !is_exact => {
            let shapes = |tensors: &[Tensor]| -> Vec<Shape> {
                tensors.iter().map(|t| t.shape().clone()).collect()
            };
            assert_eq!(shapes(&outputs), shapes(&expected));
        }
        (Ok(outputs), Ok(expected)) if outputs != expected => {
            assert_eq!(format!("{outputs:?}"), format!("{expected:?}"));
        }
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => {
            unreachable!("one of kernels and reference fails alone: {error}");
        }
        _ => {}
    }
}

/// Whether the network can be planned and is small enough to be run.
#[cfg(feature = "training")]
pub(crate) fn small(graph: &Graph) -> bool {
    planned(graph).is_some()
}

/// A session, and the shapes of its inputs, of a network that is small enough to be run.
fn planned(graph: &Graph) -> Option<(Session, Vec<Shape>)> {
    let shapes: Vec<Shape> = graph.inputs.iter().map(extents).collect::<Option<_>>()?;
    let session = Session::new(graph, &one_thread()).ok()?;
    let bound = session.bind(&shapes).ok()?;
    let plan = bound.plan();
    let macs = plan
        .steps
        .iter()
        .fold(0, |sum, step| step.macs.saturating_add(sum));
    (plan.arena_bytes <= MAX_ARENA && macs <= MAX_MACS).then_some((session, shapes))
}

fn one_thread() -> SessionOptions {
    SessionOptions {
        threads: Some(1),
        calibrate: Some(false),
        ..SessionOptions::default()
    }
}

/// The shape of an f32 input with 1 for every open extent, if it is small.
pub(crate) fn extents(input: &ValueInfo) -> Option<Shape> {
    let extent = |dim: &Dim| match dim {
        Dim::Known(n) => *n,
        Dim::Named(_) => 1,
    };
    let dims: Vec<usize> = input.dims.as_deref()?.iter().map(extent).collect();
    let shape = Shape::new(&dims).ok()?;
    (input.dtype == DType::F32 && shape.elements() <= MAX_ARENA / 64).then_some(shape)
}

/// The `.sct` file with the checksum that each section should have, as far as sections are found:
/// without this, hardly any mutation gets past the checksums.
fn resealed(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    let mut start = b"SCT".len() + 1;
    while let Some(end) = body_end(bytes, start) {
        let Some(section) = bytes.get(start..end) else {
            break;
        };
        let crc = crc32fast::hash(section).to_le_bytes();
        match sealed.get_mut(end..end + crc.len()) {
            Some(place) => place.copy_from_slice(&crc),
            None => break,
        }
        start = end + crc.len();
    }
    sealed
}

/// Where the body of the section at `start` ends: behind its tag, its LEB128 length and as many
/// bytes.
fn body_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut length = 0usize;
    for (index, shift) in (0..63).step_by(7).enumerate() {
        let byte = *bytes.get(start + 1 + index)?;
        length |= usize::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return (start + 2 + index).checked_add(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_right_stays_as_it_is() {
        for seed in crate::seeds::sct().unwrap() {
            assert_eq!(resealed(&seed), seed);
            let mut damaged = seed.clone();
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            assert_eq!(resealed(&damaged), seed);
        }
    }
}
